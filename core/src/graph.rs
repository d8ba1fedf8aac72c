//! The immutable shape of a workflow: nodes and edges as flat arrays (compressed sparse rows).
//!
//! Nodes of subworkflows and the arms of branches live in the same arrays; `scope` says whose they are. Optional columns stay empty when every
//! node has the default, so that a plain graph costs eight bytes a node and four an edge.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::CoreError;
use crate::phase::Kind;

/// The scope of nodes that belong to the workflow itself, and "no node" everywhere else.
pub const NONE: u32 = u32::MAX;

/// The scope of nodes that a task had inside in an earlier attempt.
pub(crate) const ORPHANED: u32 = u32::MAX - 1;

/// `NONE` and `ORPHANED` are no nodes.
pub(crate) const NODES_MAX: usize = u32::MAX as usize - 2;

/// Rows, counters, and the order of the cycle check.
const BUILD_BYTES_PER_NODE: usize = 20;
const BUILD_BYTES_PER_EDGE: usize = 4;

/// Counters of upstreams share their word with two flags (`run.rs`).
pub(crate) const EDGES_MAX: usize = (1 << 30) - 1;

/// Columns that have a default for every node; an empty slice means "the default everywhere".
#[derive(Default, Clone, Copy)]
pub struct NodeColumns<'a> {
    pub kind: &'a [u8],
    pub scope: &'a [u32],
    pub attempts_max: &'a [u16],
    pub execution_timeout: &'a [i64],
    pub active_timeout: &'a [i64],
    /// Whether the node handles the failure of its scope.
    pub failure_handler: &'a [bool],
}

/// A checked, acyclic graph.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graph {
    node_count: u32,
    offset: Vec<u32>,
    target: Vec<u32>,
    pub(crate) indegree: Vec<u32>,
    kind: Vec<Kind>,
    scope: Vec<u32>,
    attempts_max: Vec<u16>,
    execution_timeout: Vec<i64>,
    active_timeout: Vec<i64>,
    /// The node that handles the failure of a scope, by the scope; `NONE` is the top one.
    failure_handler: BTreeMap<u32, u32>,
    scopes: Scopes,
}

/// Which nodes each scope has, in rows; empty while there is only the top one. Scopes are numbered by slot: the top one is
/// 0, scope nodes follow in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Scopes {
    slot_of_node: Vec<u32>,
    offset: Vec<u32>,
    /// The nodes of each scope in ascending order.
    member: Vec<u32>,
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
        too_large(nodes, NODES_MAX)?;
        too_large(source.len(), EDGES_MAX)?;
        same_length("target", target.len(), source.len())?;
        check_columns(nodes, &columns)?;
        check_memory(nodes, source.len())?;
        let (offset, sorted, indegree) = rows(nodes, source, target)?;
        let mut graph = Graph {
            node_count,
            offset,
            target: sorted,
            indegree,
            kind: kinds(columns.kind)?,
            scope: unless_default(columns.scope, |s| *s == NONE),
            attempts_max: unless_default(columns.attempts_max, |a| *a == 1),
            execution_timeout: unless_default(columns.execution_timeout, |t| *t == 0),
            active_timeout: unless_default(columns.active_timeout, |t| *t == 0),
            failure_handler: BTreeMap::new(),
            scopes: Scopes::default(),
        };
        graph.check_scopes(source, target)?;
        graph.set_failure_handlers(columns.failure_handler)?;
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
        self.kind.get(node as usize).copied().unwrap_or(Kind::Task)
    }

    /// The node inside of which a node is, or `NONE`.
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

    /// How many upstreams a node has.
    #[inline]
    pub fn indegree(&self, node: u32) -> u32 {
        self.indegree[node as usize]
    }

    /// The names of the columns that are not the default everywhere.
    pub fn columns_in_use(&self) -> Vec<&'static str> {
        let columns = [
            ("kind", self.kind.is_empty()),
            ("scope", self.scope.is_empty()),
            ("attempts_max", self.attempts_max.is_empty()),
            ("execution_timeout", self.execution_timeout.is_empty()),
            ("active_timeout", self.active_timeout.is_empty()),
            ("failure_handler", self.failure_handler.is_empty()),
        ];
        let in_use = columns.into_iter().filter(|(_, is_empty)| !is_empty);
        in_use.map(|(name, _)| name).collect()
    }

    /// Whether any node has a deadline.
    pub(crate) fn has_timeouts(&self) -> bool {
        !(self.execution_timeout.is_empty() && self.active_timeout.is_empty())
    }

    /// Whether every node is a task.
    #[inline]
    pub(crate) fn has_only_tasks(&self) -> bool {
        self.kind.is_empty()
    }

    /// How many scopes there are, the top one included.
    pub(crate) fn scope_count(&self) -> usize {
        self.scopes.offset.len().saturating_sub(1).max(1)
    }

    /// Where a scope's counters stand in arrays over scopes; the top scope is 0.
    #[inline]
    pub(crate) fn scope_slot(&self, scope: u32) -> usize {
        if scope == NONE {
            0
        } else {
            self.scopes.slot_of_node[scope as usize] as usize
        }
    }

    /// The nodes of a scope in ascending order; `None` means every node there is.
    pub(crate) fn members(&self, scope: u32) -> Option<&[u32]> {
        let offset = &self.scopes.offset;
        let slot = self.scope_slot(scope);
        offset
            .get(slot + 1)
            .map(|end| &self.scopes.member[offset[slot] as usize..*end as usize])
    }

    /// How many nodes of a scope must settle; what handles its failure is not one of them.
    pub(crate) fn member_count(&self, scope: u32) -> u32 {
        let members = self
            .members(scope)
            .map_or(self.node_count, |members| members.len() as u32);
        members - u32::from(self.failure_handler.contains_key(&scope))
    }

    /// The node that handles the failure of a scope.
    #[inline]
    pub(crate) fn failure_handler(&self, scope: u32) -> Option<u32> {
        self.failure_handler.get(&scope).copied()
    }

    /// Whether a node handles the failure of its scope.
    #[inline]
    pub fn is_failure_handler(&self, node: u32) -> bool {
        !self.failure_handler.is_empty() && self.failure_handler(self.scope(node)) == Some(node)
    }

    /// The nodes that are scopes, in ascending order.
    pub(crate) fn scope_nodes(&self) -> impl Iterator<Item = u32> + '_ {
        let kinds = (0u32..).zip(&self.kind);
        kinds
            .filter(|(_, kind)| kind.is_scope())
            .map(|(node, _)| node)
    }

    /// The nodes inside a node, at any depth, in ascending order.
    pub(crate) fn descendants(&self, scope: u32) -> Vec<u32> {
        self.inside(scope, Kind::is_scope)
    }

    /// The same without what tasks inside have grown.
    pub(crate) fn inside_from_the_start(&self, scope: u32) -> Vec<u32> {
        self.inside(scope, |kind| kind.is_scope() && kind != Kind::Dynamic)
    }

    fn inside(&self, scope: u32, is_entered: impl Fn(Kind) -> bool) -> Vec<u32> {
        let mut found = if self.kind(scope).is_scope() {
            self.members(scope).unwrap_or_default().to_vec()
        } else {
            Vec::new()
        };
        let mut next = 0;
        while next < found.len() {
            let node = found[next];
            next += 1;
            if is_entered(self.kind(node)) {
                found.extend(self.members(node).unwrap_or_default());
            }
        }
        found.sort_unstable();
        found
    }

    /// The scopes around a node, innermost first.
    pub(crate) fn ancestors(&self, node: u32) -> impl Iterator<Item = u32> + '_ {
        let enclosing = |node: u32| Some(self.scope(node)).filter(|scope| *scope < ORPHANED);
        std::iter::successors(enclosing(node), move |scope| enclosing(*scope))
    }

    /// Whether `grow` would leave room for every index.
    pub(crate) fn can_grow_by(&self, inner: &Graph) -> bool {
        self.node_count as usize + inner.node_count as usize <= NODES_MAX
            && self.edge_count() + inner.edge_count() <= EDGES_MAX
    }

    /// Puts a graph inside of a task: its nodes follow the nodes that are there, its top scope is the task.
    pub(crate) fn grow(&mut self, node: u32, inner: &Graph) {
        let (base, edges) = (self.node_count, self.target.len() as u32);
        let (before, added) = (base as usize, inner.node_count as usize);
        let moved = |scope: u32| if scope == NONE { node } else { scope + base };
        self.grow_scopes(node, inner);
        self.offset
            .extend(inner.offset[1..].iter().map(|place| place + edges));
        self.target
            .extend(inner.target.iter().map(|next| next + base));
        self.indegree.extend(&inner.indegree);
        self.kind.resize(before, Kind::Task);
        self.kind[node as usize] = Kind::Dynamic;
        self.kind
            .extend((0..inner.node_count).map(|node| inner.kind(node)));
        self.scope.resize(before, NONE);
        self.scope
            .extend((0..inner.node_count).map(|node| moved(inner.scope(node))));
        extend(
            &mut self.attempts_max,
            &inner.attempts_max,
            before,
            added,
            1,
        );
        let timeouts = [
            (&mut self.execution_timeout, &inner.execution_timeout),
            (&mut self.active_timeout, &inner.active_timeout),
        ];
        for (column, more) in timeouts {
            extend(column, more, before, added, 0);
        }
        let handlers = inner.failure_handler.iter();
        self.failure_handler
            .extend(handlers.map(|(scope, handler)| (moved(*scope), handler + base)));
        self.node_count += inner.node_count;
    }

    /// New scopes get new slots, so that those of a run stay where they are.
    fn grow_scopes(&mut self, node: u32, inner: &Graph) {
        let base = self.node_count;
        if self.scopes.offset.is_empty() {
            self.scopes = Scopes {
                slot_of_node: vec![NONE; base as usize],
                offset: vec![0, base],
                member: (0..base).collect(),
            };
        }
        let slots = self.scope_count() as u32;
        let scopes = &mut self.scopes;
        scopes.slot_of_node[node as usize] = slots;
        let members = scopes.member.len() as u32;
        if inner.scopes.offset.is_empty() {
            scopes
                .slot_of_node
                .resize((base + inner.node_count) as usize, NONE);
            scopes.member.extend(base..base + inner.node_count);
            scopes.offset.push(members + inner.node_count);
        } else {
            let slot = |slot: &u32| if *slot == NONE { NONE } else { slot + slots };
            scopes
                .slot_of_node
                .extend(inner.scopes.slot_of_node.iter().map(slot));
            scopes
                .member
                .extend(inner.scopes.member.iter().map(|node| node + base));
            scopes
                .offset
                .extend(inner.scopes.offset[1..].iter().map(|place| place + members));
        }
    }

    /// Makes a node that grew a task again; what was inside belongs to nothing from then on.
    pub(crate) fn shed(&mut self, node: u32) {
        for member in self.members(node).unwrap_or_default().to_vec() {
            self.scope[member as usize] = ORPHANED;
        }
        self.failure_handler.remove(&node);
        self.scopes.slot_of_node[node as usize] = NONE;
        self.kind[node as usize] = Kind::Task;
    }

    fn set_failure_handlers(&mut self, column: &[bool]) -> Result<(), CoreError> {
        for (node, _) in (0u32..).zip(column).filter(|(_, is_one)| **is_one) {
            let scope = self.scope(node);
            let is_alone = self.indegree(node) == 0 && self.downstream(node).is_empty();
            let can_run = !matches!(self.kind(node), Kind::Start | Kind::End);
            let can_fail = scope == NONE || self.kind(scope) != Kind::Branch;
            let before = self.failure_handler.insert(scope, node);
            if !(is_alone && can_run && can_fail) || before.is_some() {
                return Err(CoreError::BadFailureHandler { node });
            }
        }
        Ok(())
    }

    fn check_scopes(&mut self, source: &[u32], target: &[u32]) -> Result<(), CoreError> {
        if self.scope.is_empty() && self.scope_nodes().next().is_none() {
            return Ok(());
        }
        self.check_nesting()?;
        self.scopes = self.rows_of_scopes();
        for (edge, (from, to)) in source.iter().zip(target).enumerate() {
            if self.scope(*from) != self.scope(*to) {
                return Err(CoreError::EdgeAcrossScopes {
                    edge,
                    source_node: *from,
                    target_node: *to,
                });
            }
            let branch = self.scope(*from);
            if branch != NONE && self.kind(branch) == Kind::Branch {
                return Err(CoreError::EdgeBetweenArms {
                    edge,
                    source_node: *from,
                    target_node: *to,
                    branch,
                });
            }
        }
        Ok(())
    }

    /// Every scope must be a node that has nodes inside, and none may be around itself. Each node is walked over once.
    fn check_nesting(&self) -> Result<(), CoreError> {
        let mut checked = vec![false; self.node_count as usize];
        let mut walked_from = vec![NONE; self.node_count as usize];
        for first in 0..self.node_count {
            let mut node = first;
            while !checked[node as usize] {
                let scope = self.scope(node);
                walked_from[node as usize] = first;
                if scope == NONE {
                    break;
                }
                let encloses = scope < self.node_count && self.kind(scope).is_scope();
                if !encloses || walked_from[scope as usize] == first {
                    return Err(CoreError::BadScope { node, scope });
                }
                node = scope;
            }
            let mut node = first;
            while node != NONE && !checked[node as usize] {
                checked[node as usize] = true;
                node = self.scope(node);
            }
        }
        Ok(())
    }

    fn rows_of_scopes(&self) -> Scopes {
        let mut slot_of_node = vec![NONE; self.node_count as usize];
        for (slot, node) in (1u32..).zip(self.scope_nodes()) {
            slot_of_node[node as usize] = slot;
        }
        let slot_of = |scope: u32| {
            if scope == NONE {
                0
            } else {
                slot_of_node[scope as usize] as usize
            }
        };
        let mut offset = vec![0u32; self.scope_nodes().count() + 2];
        for node in 0..self.node_count {
            offset[slot_of(self.scope(node)) + 1] += 1;
        }
        for slot in 1..offset.len() {
            offset[slot] += offset[slot - 1];
        }
        let mut place = offset.clone();
        let mut member = vec![0u32; self.node_count as usize];
        for node in 0..self.node_count {
            let place = &mut place[slot_of(self.scope(node))];
            member[*place as usize] = node;
            *place += 1;
        }
        Scopes {
            slot_of_node,
            offset,
            member,
        }
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
        ("failure_handler", columns.failure_handler.len()),
    ];
    for (column, found) in lengths {
        if found != 0 {
            same_length(column, found, nodes)?;
        }
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

fn extend<T: Clone>(column: &mut Vec<T>, more: &[T], before: usize, added: usize, default: T) {
    if column.is_empty() && more.is_empty() {
        return;
    }
    column.resize(before, default.clone());
    column.extend_from_slice(more);
    column.resize(before + added, default);
}

fn unless_default<T: Clone>(column: &[T], is_default: impl Fn(&T) -> bool) -> Vec<T> {
    if column.iter().all(is_default) {
        Vec::new()
    } else {
        column.to_vec()
    }
}

fn kinds(column: &[u8]) -> Result<Vec<Kind>, CoreError> {
    let kind_of = |(node, kind): (u32, &u8)| {
        Kind::from_u8(*kind)
            .filter(can_run)
            .ok_or_else(|| CoreError::UnsupportedKind {
                node,
                kind: *kind,
                name: reserved_kind(*kind),
            })
    };
    if column.iter().all(|kind| *kind == Kind::Task as u8) {
        return Ok(Vec::new());
    }
    (0u32..).zip(column).map(kind_of).collect()
}

/// Whether a node can be of a kind from the start.
fn can_run(kind: &Kind) -> bool {
    *kind != Kind::Dynamic
}

/// What the numbers stand for that no graph can ask for.
fn reserved_kind(kind: u8) -> &'static str {
    match kind {
        8 => "DYNAMIC",
        _ => "unknown",
    }
}

/// Refuses what the machine cannot hold at all, which would otherwise end the process: the allocator is asked once for
/// all that a build needs at its peak.
fn check_memory(nodes: usize, edges: usize) -> Result<(), CoreError> {
    let bytes = nodes
        .saturating_mul(BUILD_BYTES_PER_NODE)
        .saturating_add(edges.saturating_mul(BUILD_BYTES_PER_EDGE));
    Vec::<u8>::new()
        .try_reserve_exact(bytes)
        .map_err(|_| CoreError::NoMemory {
            nodes,
            edges,
            bytes,
        })
}

fn too_large(found: usize, max: usize) -> Result<(), CoreError> {
    if found <= max {
        Ok(())
    } else {
        Err(CoreError::TooLarge { found, max })
    }
}
