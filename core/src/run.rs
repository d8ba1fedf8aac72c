//! The mutable arrays of one run.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::graph::{Graph, NONE};
use crate::phase::{Kind, Phase, RunPhase};
use crate::timer::Limit;

/// The bit of `pending` that says that some upstream ended without success.
const SPOILED: u32 = 1 << 31;

/// Counters that only nodes with failures have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    pub user: u32,
    pub system: u32,
}

/// One execution of a graph. Everything that is derived is recomputed by `check.rs`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Shared with other runs of the same graph; a snapshot names it by index.
    #[serde(skip)]
    pub(crate) graph: Arc<Graph>,
    pub(crate) graph_index: u32,
    pub(crate) phase: RunPhase,
    pub(crate) fails_late: bool,
    pub(crate) max_parallelism: u32,
    phases: Vec<u8>,
    /// Upstreams that have not settled, and the `SPOILED` bit.
    pending: Vec<u32>,
    /// Attempt numbers; empty until a node is tried again.
    attempts: Vec<u32>,
    pub(crate) failures: HashMap<u32, Failures>,
    /// Task nodes that wait for a slot, in the order they became ready.
    pub(crate) ready: VecDeque<u32>,
    /// Task nodes that hold a slot: launched and not ended.
    pub(crate) slots_used: u32,
    /// By scope slot: nodes that have not settled.
    pub(crate) unsettled: Vec<u32>,
    /// By scope slot: whether a node failed.
    pub(crate) failed: Vec<bool>,
    /// Nodes whose attempt's end is awaited, scopes not counted.
    pub(crate) awaited: u32,
    /// By waiting subworkflow node: how many nodes inside it are awaited.
    pub(crate) awaited_in_scope: HashMap<u32, u32>,
    /// The deadlines that count; a timer of another time means nothing any more.
    pub(crate) deadlines: HashMap<(u32, Limit), i64>,
}

impl Run {
    pub(crate) fn new(
        graph: Arc<Graph>,
        graph_index: u32,
        max_parallelism: u32,
        fails_late: bool,
    ) -> Self {
        let nodes = graph.node_count() as usize;
        let mut run = Run {
            phase: RunPhase::Running,
            graph_index,
            fails_late,
            max_parallelism,
            phases: vec![Phase::Undefined as u8; nodes],
            pending: graph.indegree.clone(),
            attempts: Vec::new(),
            failures: HashMap::new(),
            ready: VecDeque::new(),
            slots_used: 0,
            unsettled: Vec::new(),
            failed: vec![false; graph.scope_count()],
            awaited: 0,
            awaited_in_scope: HashMap::new(),
            deadlines: HashMap::new(),
            graph,
        };
        run.unsettled = vec![0; run.graph.scope_count()];
        run.unsettled[0] = run.graph.member_count(NONE);
        for node in 0..run.graph.node_count() {
            if run.graph.kind(node) == Kind::Subworkflow {
                run.unsettled[run.graph.scope_slot(node)] = run.graph.member_count(node);
            }
        }
        run
    }

    /// The phase of every node, a byte each.
    pub fn phases(&self) -> &[u8] {
        &self.phases
    }

    /// Where the run stands.
    pub fn run_phase(&self) -> RunPhase {
        self.phase
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Where a node stands.
    #[inline]
    pub fn phase_of(&self, node: u32) -> Phase {
        Phase::from_u8(self.phases[node as usize]).unwrap_or(Phase::Undefined)
    }

    #[inline]
    pub(crate) fn set_phase(&mut self, node: u32, phase: Phase) {
        debug_assert!(
            self.phase_of(node).may_become(phase),
            "{:?} -> {phase:?}",
            self.phase_of(node)
        );
        self.phases[node as usize] = phase as u8;
    }

    /// The number of a node's current attempt, from 0.
    #[inline]
    pub fn attempt(&self, node: u32) -> u32 {
        self.attempts.get(node as usize).copied().unwrap_or(0)
    }

    pub(crate) fn next_attempt(&mut self, node: u32) {
        if self.attempts.is_empty() {
            self.attempts = vec![0; self.phases.len()];
        }
        self.attempts[node as usize] += 1;
    }

    /// Counters of a node's failures.
    pub fn failures_of(&self, node: u32) -> Failures {
        self.failures.get(&node).copied().unwrap_or_default()
    }

    /// How many upstreams of a node have not settled.
    #[inline]
    pub(crate) fn pending(&self, node: u32) -> u32 {
        self.pending[node as usize] & !SPOILED
    }

    /// Whether an upstream ended without success.
    #[inline]
    pub(crate) fn is_spoiled(&self, node: u32) -> bool {
        self.pending[node as usize] & SPOILED != 0
    }

    /// Tells a node that one upstream settled; returns whether it was the last.
    #[inline]
    pub(crate) fn upstream_settled(&mut self, node: u32, succeeded: bool) -> bool {
        let pending = &mut self.pending[node as usize];
        *pending -= 1;
        if !succeeded {
            *pending |= SPOILED;
        }
        *pending & !SPOILED == 0
    }

    /// Whether a task may be launched now.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        self.max_parallelism == 0 || self.slots_used < self.max_parallelism
    }

    /// Sends a node back to where it was before its scope opened.
    pub(crate) fn reset(&mut self, node: u32) {
        self.phases[node as usize] = Phase::Undefined as u8;
        self.pending[node as usize] = self.graph.indegree[node as usize];
        self.failures.remove(&node);
        self.deadlines.remove(&(node, Limit::Active));
        self.deadlines.remove(&(node, Limit::Execution));
        if let Some(attempt) = self.attempts.get_mut(node as usize) {
            *attempt = 0;
        }
    }

    /// The nodes inside a subworkflow node, at any depth, in ascending order.
    pub(crate) fn descendants(&self, scope: u32) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .graph
            .members(scope)
            .map(<[u32]>::to_vec)
            .unwrap_or_default();
        let mut next = 0;
        while next < found.len() {
            let node = found[next];
            next += 1;
            if self.graph.kind(node) == Kind::Subworkflow {
                found.extend(self.graph.members(node).unwrap_or_default());
            }
        }
        found.sort_unstable();
        found
    }
}
