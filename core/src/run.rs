//! The mutable arrays of one run.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::elements::{Elements, MapCounts};
use crate::graph::{Graph, NONE};
use crate::phase::{Phase, RunPhase};
use crate::timer::Clock;

/// The bit of `upstream` that says that some upstream ended without success.
const SPOILED: u32 = 1 << 31;
/// The bit of `upstream` that says that the current attempt has started; of a node with nodes inside, that it is open.
const STARTED: u32 = 1 << 30;
const PENDING: u32 = !(SPOILED | STARTED);

/// Counters that only nodes with failures have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// Charged to the user's budget, timeouts of attempts included.
    pub user: u32,
    /// Forgiven as the platform's.
    pub system: u32,
}

/// Counters of one scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScopeState {
    /// Its nodes that have not settled.
    pub(crate) unsettled: u32,
    /// While it is stopped: ends that are awaited inside, at any depth.
    pub(crate) awaited: u32,
    /// Whether one of its nodes failed or timed out.
    pub(crate) broken: bool,
    pub(crate) handling: Handling,
}

/// How far the handling of a scope's failure is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Handling {
    /// The scope has not failed, or nothing handles its failure.
    #[default]
    None,
    /// What is under way inside must end first.
    Due,
    /// The failure handler is at work.
    Begun,
    /// It has ended, or is called off.
    Over,
}

/// One execution of a graph.
#[derive(Debug, Clone)]
pub struct Run {
    pub(crate) graph: Arc<Graph>,
    pub(crate) graph_index: u32,
    /// Whether the graph is the run's own, since it grew.
    pub(crate) has_grown: bool,
    pub(crate) state: RunState,
}

/// The arrays of a run; `check.rs` recomputes all that is derived.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RunState {
    pub(crate) phase: RunPhase,
    pub(crate) fails_late: bool,
    pub(crate) max_parallelism: u32,
    /// Whether any node has an upstream that ended without success.
    pub(crate) has_spoiled: bool,
    phases: Vec<Phase>,
    /// Upstreams that have not settled, and the two flags.
    upstream: Vec<u32>,
    /// Attempt numbers; empty until a node is tried again.
    attempts: Vec<u32>,
    pub(crate) failures: BTreeMap<u32, Failures>,
    /// Nodes that wait for a slot, in the order they became ready.
    pub(crate) ready: VecDeque<u32>,
    /// Nodes that hold a slot: launched and not ended.
    pub(crate) slots_used: u32,
    /// By scope slot; the top scope's `awaited` counts while the whole run is stopped.
    pub(crate) scopes: Vec<ScopeState>,
    /// The elements of maps, from their opening on.
    pub(crate) maps: BTreeMap<u32, Elements>,
    /// The first attempt number of the elements of maps that started over.
    pub(crate) map_bases: BTreeMap<u32, u32>,
    /// The deadlines that count, and no others.
    pub(crate) deadlines: BTreeMap<Clock, i64>,
}

impl Run {
    /// The phase of every node, a byte each.
    pub fn phases(&self) -> Vec<u8> {
        self.state.phases.iter().map(|phase| *phase as u8).collect()
    }

    /// Where the run stands.
    pub fn run_phase(&self) -> RunPhase {
        self.state.phase
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Where a node stands.
    pub fn phase_of(&self, node: u32) -> Phase {
        self.state.phase_of(node)
    }

    /// The number of a node's current attempt, from 0.
    pub fn attempt(&self, node: u32) -> u32 {
        self.state.attempt(node)
    }

    /// How many elements of a map stand where; none before it opens.
    pub fn map_counts(&self, node: u32) -> MapCounts {
        let elements = self.state.maps.get(&node);
        elements.map_or_else(MapCounts::default, Elements::counts)
    }

    /// The phases of some elements of a map, a byte each.
    pub fn element_phases(&self, node: u32, elements: Range<u32>) -> Vec<u8> {
        let found = self.state.maps.get(&node);
        let phase_of = |element| found.map_or(Phase::Undefined, |map| map.phase(element)) as u8;
        elements.map(phase_of).collect()
    }

    /// The current attempt numbers of some elements of a map.
    pub fn element_attempts(&self, node: u32, elements: Range<u32>) -> Vec<u32> {
        let found = self.state.maps.get(&node);
        let attempt_of = |element| found.map_or(0, |map| map.attempt(element));
        elements.map(attempt_of).collect()
    }

    /// Counters of a node's failures.
    pub fn failures_of(&self, node: u32) -> Failures {
        self.state.failures.get(&node).copied().unwrap_or_default()
    }
}

impl RunState {
    pub(crate) fn new(graph: &Graph, max_parallelism: u32, fails_late: bool) -> Self {
        let nodes = graph.node_count() as usize;
        let mut scopes = vec![ScopeState::default(); graph.scope_count()];
        for scope in graph.scope_nodes().chain([NONE]) {
            scopes[graph.scope_slot(scope)].unsettled = graph.member_count(scope);
        }
        RunState {
            phase: RunPhase::Running,
            fails_late,
            max_parallelism,
            has_spoiled: false,
            phases: vec![Phase::Undefined; nodes],
            upstream: graph.indegree.clone(),
            attempts: Vec::new(),
            failures: BTreeMap::new(),
            ready: VecDeque::new(),
            slots_used: 0,
            scopes,
            maps: BTreeMap::new(),
            map_bases: BTreeMap::new(),
            deadlines: BTreeMap::new(),
        }
    }

    /// Whether the arrays have the lengths that a graph asks for.
    pub(crate) fn fits(&self, graph: &Graph) -> bool {
        let nodes = graph.node_count() as usize;
        let is_inside = |node: &u32| (*node as usize) < nodes;
        self.phases.len() == nodes
            && self.upstream.len() == nodes
            && (self.attempts.is_empty() || self.attempts.len() == nodes)
            && self.scopes.len() == graph.scope_count()
            && self.ready.iter().all(is_inside)
            && self.failures.keys().all(is_inside)
            && self.maps.keys().all(is_inside)
            && self.maps.values().all(Elements::fits)
            && self.deadlines.keys().all(|clock| is_inside(&clock.node))
    }

    /// Makes room for the nodes that a graph has more; those are still to start.
    pub(crate) fn grow(&mut self, graph: &Graph) {
        let (before, after) = (self.phases.len(), graph.node_count() as usize);
        self.phases.resize(after, Phase::Undefined);
        self.upstream.extend(&graph.indegree[before..]);
        if !self.attempts.is_empty() {
            self.attempts.resize(after, 0);
        }
        let slots = self.scopes.len();
        self.scopes
            .resize(graph.scope_count(), ScopeState::default());
        for scope in graph.scope_nodes() {
            let slot = graph.scope_slot(scope);
            if slot >= slots {
                self.scopes[slot].unsettled = graph.member_count(scope);
            }
        }
    }

    #[inline]
    pub(crate) fn phase_of(&self, node: u32) -> Phase {
        self.phases[node as usize]
    }

    #[inline]
    pub(crate) fn set_phase(&mut self, node: u32, phase: Phase) {
        debug_assert!(
            self.phase_of(node).may_become(phase),
            "node {node}: {:?} -> {phase:?}",
            self.phase_of(node)
        );
        self.phases[node as usize] = phase;
    }

    #[inline]
    pub(crate) fn attempt(&self, node: u32) -> u32 {
        if self.attempts.is_empty() {
            0
        } else {
            self.attempts[node as usize]
        }
    }

    pub(crate) fn next_attempt(&mut self, node: u32) {
        if self.attempts.is_empty() {
            self.attempts = vec![0; self.phases.len()];
        }
        self.attempts[node as usize] += 1;
        self.upstream[node as usize] &= !STARTED;
    }

    /// How many upstreams of a node have not settled.
    pub(crate) fn pending(&self, node: u32) -> u32 {
        self.upstream[node as usize] & PENDING
    }

    /// Whether an upstream ended without success.
    #[inline]
    pub(crate) fn is_spoiled(&self, node: u32) -> bool {
        self.upstream[node as usize] & SPOILED != 0
    }

    /// Whether the current attempt has started.
    #[inline]
    pub(crate) fn is_started(&self, node: u32) -> bool {
        self.upstream[node as usize] & STARTED != 0
    }

    #[inline]
    pub(crate) fn set_started(&mut self, node: u32) {
        self.upstream[node as usize] |= STARTED;
    }

    /// Whether a node is a scope whose nodes may run: it has nothing of its own outside.
    #[inline]
    pub(crate) fn is_open_scope(&self, graph: &Graph, node: u32) -> bool {
        graph.kind(node).is_scope() && self.is_started(node)
    }

    /// Tells a node that one upstream settled; returns whether it was the last.
    #[inline]
    pub(crate) fn upstream_settled(&mut self, node: u32, good: bool) -> bool {
        let upstream = &mut self.upstream[node as usize];
        *upstream -= 1;
        if !good {
            *upstream |= SPOILED;
            self.has_spoiled = true;
        }
        *upstream & PENDING == 0
    }

    /// The same for an upstream that succeeded and a node without bad ones.
    #[inline]
    pub(crate) fn good_upstream_settled(&mut self, node: u32) -> bool {
        let upstream = &mut self.upstream[node as usize];
        *upstream -= 1;
        *upstream == 0
    }

    /// Whether anything may begin: the run goes on, or its failure is being handled.
    #[inline]
    pub(crate) fn lets_begin(&self) -> bool {
        match self.phase {
            RunPhase::Running => true,
            RunPhase::Failing => self.scopes[0].handling == Handling::Begun,
            _ => false,
        }
    }

    /// Whether a node that needs a slot may begin now.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        self.max_parallelism == 0 || self.slots_used < self.max_parallelism
    }

    /// Sends a node back to where it was before its scope opened, with an attempt number that was never used.
    pub(crate) fn reset(&mut self, graph: &Graph, node: u32) {
        self.next_attempt(node);
        self.phases[node as usize] = Phase::Undefined;
        self.upstream[node as usize] = graph.indegree(node);
        self.failures.remove(&node);
        if let Some(elements) = self.maps.remove(&node) {
            self.map_bases.insert(node, elements.next_base());
        }
    }

    /// Sends the counters of a scope back to where they were before it opened.
    pub(crate) fn reset_scope(&mut self, graph: &Graph, scope: u32) {
        self.scopes[graph.scope_slot(scope)] = ScopeState {
            unsettled: graph.member_count(scope),
            ..ScopeState::default()
        };
    }
}
