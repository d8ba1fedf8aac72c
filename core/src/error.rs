//! What callers can get wrong, with the value that was wrong.

use thiserror::Error;

/// Everything the core refuses before it changes anything.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CoreError {
    #[error("the edges close a cycle: {}", walk_text(.0))]
    Cycle(Vec<u32>),
    #[error("edge {edge} joins {source_node} and {target_node}, but the graph has {nodes} nodes")]
    EdgeOutOfRange {
        edge: usize,
        source_node: u32,
        target_node: u32,
        nodes: u32,
    },
    #[error(
        "edge {edge} joins node {source_node} and node {target_node}, which are arms of the branch {branch}: one of them \
         is chosen, none waits for another"
    )]
    EdgeBetweenArms {
        edge: usize,
        source_node: u32,
        target_node: u32,
        branch: u32,
    },
    #[error("edge {edge} joins node {source_node} and node {target_node} of different scopes")]
    EdgeAcrossScopes {
        edge: usize,
        source_node: u32,
        target_node: u32,
    },
    #[error("column {column} has {found} rows, expected {expected}")]
    ColumnLength {
        column: &'static str,
        found: usize,
        expected: usize,
    },
    #[error("node {node} has kind {kind} ({name}), which no graph can ask for")]
    UnsupportedKind {
        node: u32,
        kind: u8,
        name: &'static str,
    },
    #[error("node {node} is in scope {scope}, which is no scope that encloses it")]
    BadScope { node: u32, scope: u32 },
    #[error(
        "node {node} cannot handle the failure of its scope: it must have no edges and be no start or end node, and no \
         other may handle it; the failure of a branch is never handled"
    )]
    BadFailureHandler { node: u32 },
    #[error("node {node} may have {attempts} attempts, at least 1 is needed")]
    NoAttempts { node: u32, attempts: u16 },
    #[error("node {node} has the negative timeout {timeout}")]
    NegativeTimeout { node: u32, timeout: i64 },
    #[error("a graph holds at most {max} nodes and edges, not {found}")]
    TooLarge { found: usize, max: usize },
    #[error("{nodes} nodes and {edges} edges need {bytes} bytes, more than this machine gives")]
    NoMemory {
        nodes: usize,
        edges: usize,
        bytes: usize,
    },
    #[error("there is no run {0}, or it was released")]
    UnknownRun(u32),
    #[error("there is no node {node} in run {run}")]
    UnknownNode { run: u32, node: u32 },
    #[error("node {node} of run {run} is no map")]
    NoMap { run: u32, node: u32 },
    #[error("node {node} has no weight (NaN)")]
    NoWeight { node: u32 },
    #[error(
        "node {node} cannot be part of that subgraph: it is unknown, named twice, or what it is inside of is left out"
    )]
    NoSubgraph { node: u32 },
    #[error(
        "node {node} is a branch or a map: drive it with Kernel, a Run only knows what is ready"
    )]
    NeedsKernel { node: u32 },
    #[error("node {node} is a scope, a start or an end node: it opens and ends by itself")]
    MovesByItself { node: u32 },
    #[error("nobody has called off node {node}: `cancelled` lists what is to stop")]
    NotCalledOff { node: u32 },
    #[error("node {node} was never ready, or was skipped; story: {story}")]
    NotReady { node: u32, story: String },
    #[error("there is no graph {0}, or it was released")]
    UnknownGraph(u32),
    #[error("run {0} is still going on and cannot be released")]
    RunNotEnded(u32),
    #[error("the snapshot cannot be read: {0}")]
    BadSnapshot(&'static str),
    #[error("an invariant does not hold: {0}")]
    Invariant(String),
}

/// A walk in words; of a long one only both ends.
fn walk_text(walk: &[u32]) -> String {
    const END: usize = 12;
    let join = |nodes: &[u32]| {
        nodes
            .iter()
            .map(u32::to_string)
            .collect::<Vec<_>>()
            .join(" -> ")
    };
    match walk.len().checked_sub(2 * END) {
        None | Some(0) => join(walk),
        Some(between) => format!(
            "{} -> ({between} more) -> {}",
            join(&walk[..END]),
            join(&walk[walk.len() - END..])
        ),
    }
}
