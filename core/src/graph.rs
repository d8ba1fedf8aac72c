//! The immutable shape of a workflow: nodes and edges as flat arrays (compressed sparse rows).
//!
//! Nodes of subworkflows live in the same arrays; `scope` says whose they are. Optional columns stay empty when every
//! node has the default, so that a plain graph costs five bytes a node and four an edge.

use serde::{Deserialize, Serialize};

use crate::error::CoreError;
use crate::phase::Kind;

/// The scope of nodes that belong to the workflow itself, and "no node" everywhere else.
pub const NONE: u32 = u32::MAX;

/// Columns that have a default for every node; an empty slice means "the default everywhere".
#[derive(Default, Clone, Copy)]
pub struct NodeColumns<'a> {
    pub kind: &'a [u8],
    pub scope: &'a [u32],
    pub attempts_max: &'a [u16],
    pub execution_timeout: &'a [i64],
    pub active_timeout: &'a [i64],
}

/// A checked, acyclic graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    node_count: u32,
    offset: Vec<u32>,
    target: Vec<u32>,
    pub(crate) indegree: Vec<u32>,
    kind: Vec<u8>,
    scope: Vec<u32>,
    attempts_max: Vec<u16>,
    execution_timeout: Vec<i64>,
    active_timeout: Vec<i64>,
    /// Members of each scope in ascending order, the top scope first; empty if there is none but the top.
    members: Vec<Vec<u32>>,
    slot_of_scope: Vec<u32>,
}

impl Graph {
    /// Builds and checks a graph from edge lists.
    pub fn from_edges(
        node_count: u32,
        source: &[u32],
        target: &[u32],
        columns: NodeColumns<'_>,
    ) -> Result<Self, CoreError> {
        let nodes = node_count as usize;
        let max = (NONE - 1) as usize;
        if nodes > max || source.len() > max {
            return Err(CoreError::TooLarge {
                found: nodes.max(source.len()),
                max,
            });
        }
        same_length("target", target.len(), source.len())?;
        check_columns(nodes, &columns)?;
        let (offset, sorted, indegree) = rows(nodes, source, target)?;
        let mut graph = Graph {
            node_count,
            offset,
            target: sorted,
            indegree,
            kind: unless_default(columns.kind, |k| *k == Kind::Task as u8),
            scope: unless_default(columns.scope, |s| *s == NONE),
            attempts_max: unless_default(columns.attempts_max, |a| *a == 1),
            execution_timeout: unless_default(columns.execution_timeout, |t| *t == 0),
            active_timeout: unless_default(columns.active_timeout, |t| *t == 0),
            members: Vec::new(),
            slot_of_scope: Vec::new(),
        };
        graph.check_scopes(source, target)?;
        graph.check_acyclic()?;
        Ok(graph)
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> u32 {
        self.node_count
    }

    /// How many edges there are.
    pub fn edge_count(&self) -> usize {
        self.target.len()
    }

    /// The nodes that wait for `node`, in the order their edges were given.
    #[inline]
    pub fn downstream(&self, node: u32) -> &[u32] {
        let from = self.offset[node as usize] as usize;
        let to = self.offset[node as usize + 1] as usize;
        &self.target[from..to]
    }

    /// The kind of a node.
    #[inline]
    pub fn kind(&self, node: u32) -> Kind {
        self.kind.get(node as usize).map_or(Kind::Task, |kind| {
            Kind::from_u8(*kind).unwrap_or(Kind::Task)
        })
    }

    /// The subworkflow node whose scope a node belongs to, or `NONE`.
    #[inline]
    pub fn scope(&self, node: u32) -> u32 {
        self.scope.get(node as usize).copied().unwrap_or(NONE)
    }

    /// How often the user lets a node be tried.
    #[inline]
    pub fn attempts_max(&self, node: u32) -> u16 {
        self.attempts_max.get(node as usize).copied().unwrap_or(1)
    }

    /// How long one attempt may run, in nanoseconds; 0 is for ever.
    #[inline]
    pub fn execution_timeout(&self, node: u32) -> i64 {
        self.execution_timeout
            .get(node as usize)
            .copied()
            .unwrap_or(0)
    }

    /// How long a node may take in all, in nanoseconds; 0 is for ever.
    #[inline]
    pub fn active_timeout(&self, node: u32) -> i64 {
        self.active_timeout.get(node as usize).copied().unwrap_or(0)
    }

    /// How many scopes there are, the top one included.
    pub(crate) fn scope_count(&self) -> usize {
        self.members.len().max(1)
    }

    /// Where a scope's counters stand in arrays over scopes; the top scope is 0.
    #[inline]
    pub(crate) fn scope_slot(&self, scope: u32) -> usize {
        if scope == NONE {
            0
        } else {
            self.slot_of_scope[scope as usize] as usize
        }
    }

    /// The nodes of a scope in ascending order; `None` means every node there is.
    pub(crate) fn members(&self, scope: u32) -> Option<&[u32]> {
        self.members.get(self.scope_slot(scope)).map(Vec::as_slice)
    }

    /// How many nodes a scope has.
    pub(crate) fn member_count(&self, scope: u32) -> u32 {
        self.members(scope)
            .map_or(self.node_count, |members| members.len() as u32)
    }

    fn check_scopes(&mut self, source: &[u32], target: &[u32]) -> Result<(), CoreError> {
        let nodes = 0..self.node_count;
        if self.scope.is_empty()
            && !nodes
                .clone()
                .any(|node| self.kind(node) == Kind::Subworkflow)
        {
            return Ok(());
        }
        self.slot_of_scope = vec![NONE; self.node_count as usize];
        self.members.push(Vec::new());
        for node in nodes.clone() {
            if self.kind(node) != Kind::Subworkflow {
                continue;
            }
            self.slot_of_scope[node as usize] = self.members.len() as u32;
            self.members.push(Vec::new());
        }
        for node in nodes {
            let scope = self.scope(node);
            let encloses =
                scope == NONE || (scope < self.node_count && self.kind(scope) == Kind::Subworkflow);
            if !encloses || self.depth(node).is_none() {
                return Err(CoreError::BadScope { node, scope });
            }
            let slot = self.scope_slot(scope);
            self.members[slot].push(node);
        }
        for (edge, (from, to)) in source.iter().zip(target).enumerate() {
            if self.scope(*from) != self.scope(*to) {
                return Err(CoreError::EdgeAcrossScopes {
                    edge,
                    source_node: *from,
                    target_node: *to,
                });
            }
        }
        Ok(())
    }

    /// How deep a node is nested, or `None` if its scopes enclose each other.
    fn depth(&self, node: u32) -> Option<u32> {
        let mut depth = 0;
        let mut scope = self.scope(node);
        while scope != NONE {
            depth += 1;
            if scope >= self.node_count || depth > self.node_count {
                return None;
            }
            scope = self.scope(scope);
        }
        Some(depth)
    }

    fn check_acyclic(&self) -> Result<(), CoreError> {
        let mut pending = self.indegree.clone();
        let mut ready: Vec<u32> = (0..self.node_count)
            .filter(|node| pending[*node as usize] == 0)
            .collect();
        let mut seen = 0;
        while let Some(node) = ready.pop() {
            seen += 1;
            for &next in self.downstream(node) {
                pending[next as usize] -= 1;
                if pending[next as usize] == 0 {
                    ready.push(next);
                }
            }
        }
        if seen == self.node_count {
            Ok(())
        } else {
            Err(CoreError::Cycle(self.find_cycle(&pending)))
        }
    }

    /// Walks backwards among the nodes that never became ready until one repeats.
    fn find_cycle(&self, pending: &[u32]) -> Vec<u32> {
        let mut upstream = vec![NONE; self.node_count as usize];
        for node in (0..self.node_count).filter(|node| pending[*node as usize] > 0) {
            for &next in self.downstream(node) {
                upstream[next as usize] = node;
            }
        }
        let Some(start) = (0..self.node_count).find(|node| pending[*node as usize] > 0) else {
            return Vec::new();
        };
        let mut place = vec![usize::MAX; self.node_count as usize];
        let mut walk = Vec::new();
        let mut node = start;
        while place[node as usize] == usize::MAX {
            place[node as usize] = walk.len();
            walk.push(node);
            node = upstream[node as usize];
        }
        let mut cycle = walk[place[node as usize]..].to_vec();
        cycle.reverse();
        cycle.push(cycle[0]);
        cycle
    }
}

fn same_length(column: &'static str, found: usize, expected: usize) -> Result<(), CoreError> {
    if found == expected {
        Ok(())
    } else {
        Err(CoreError::ColumnLength {
            column,
            found,
            expected,
        })
    }
}

fn check_columns(nodes: usize, columns: &NodeColumns<'_>) -> Result<(), CoreError> {
    let lengths = [
        ("kind", columns.kind.len()),
        ("scope", columns.scope.len()),
        ("attempts_max", columns.attempts_max.len()),
        ("execution_timeout", columns.execution_timeout.len()),
        ("active_timeout", columns.active_timeout.len()),
    ];
    for (column, found) in lengths {
        if found != 0 {
            same_length(column, found, nodes)?;
        }
    }
    if let Some(node) = columns
        .kind
        .iter()
        .position(|kind| Kind::from_u8(*kind).is_none())
    {
        return Err(CoreError::UnsupportedKind {
            node: node as u32,
            kind: columns.kind[node],
        });
    }
    if let Some(node) = columns
        .attempts_max
        .iter()
        .position(|attempts| *attempts == 0)
    {
        return Err(CoreError::NoAttempts {
            node: node as u32,
            attempts: 0,
        });
    }
    for timeouts in [columns.execution_timeout, columns.active_timeout] {
        if let Some(node) = timeouts.iter().position(|timeout| *timeout < 0) {
            return Err(CoreError::NegativeTimeout {
                node: node as u32,
                timeout: timeouts[node],
            });
        }
    }
    Ok(())
}

type Rows = (Vec<u32>, Vec<u32>, Vec<u32>);

/// Sorts edges by source, keeping their order; returns offsets, targets and indegrees.
fn rows(nodes: usize, source: &[u32], target: &[u32]) -> Result<Rows, CoreError> {
    let mut offset = vec![0u32; nodes + 1];
    let mut indegree = vec![0u32; nodes];
    for (edge, (&from, &to)) in source.iter().zip(target).enumerate() {
        if from as usize >= nodes || to as usize >= nodes {
            return Err(CoreError::EdgeOutOfRange {
                edge,
                source_node: from,
                target_node: to,
                nodes: nodes as u32,
            });
        }
        offset[from as usize + 1] += 1;
        indegree[to as usize] += 1;
    }
    for node in 0..nodes {
        offset[node + 1] += offset[node];
    }
    let mut place = offset.clone();
    let mut sorted = vec![0u32; target.len()];
    for (&from, &to) in source.iter().zip(target) {
        let slot = &mut place[from as usize];
        sorted[*slot as usize] = to;
        *slot += 1;
    }
    Ok((offset, sorted, indegree))
}

fn unless_default<T: Clone>(column: &[T], is_default: impl Fn(&T) -> bool) -> Vec<T> {
    if column.iter().all(is_default) {
        Vec::new()
    } else {
        column.to_vec()
    }
}
