//! What is ready: nodes that count for the parallelism of their run wait in line for a slot, others go out at once.

use crate::graph::Graph;
use crate::phase::{EffectKind, Kind, Phase};
use crate::step::Stepper;
use crate::timer::{Clock, Limit};

/// Nodes that begin at once from which on columns are filled in bulk.
const BULK_MIN: usize = 16;

/// The effect that asks for an attempt at a node.
#[inline]
pub(crate) fn effect_of(graph: &Graph, node: u32) -> EffectKind {
    match graph.kind(node) {
        Kind::Subworkflow => EffectKind::OpenScope,
        Kind::Branch => EffectKind::DecideBranch,
        Kind::Map => EffectKind::OpenMap,
        Kind::End => EffectKind::ResolveOutputs,
        _ => EffectKind::LaunchAttempts,
    }
}

impl Stepper<'_> {
    /// Puts the nodes that became ready during this event where they belong, in ascending order.
    #[inline]
    pub(crate) fn queue_fresh(&mut self) {
        if self.scratch.fresh.is_empty() {
            return;
        }
        let mut fresh = std::mem::take(&mut self.scratch.fresh);
        fresh.sort_unstable();
        for node in fresh.drain(..) {
            if self.graph.kind(node).takes_slot() {
                self.run.ready.push_back(node);
            } else {
                self.begin(node);
            }
        }
        self.scratch.fresh = fresh;
    }

    /// Lets nodes begin from the head of the line while there are slots.
    #[inline]
    pub(crate) fn admit(&mut self) {
        if self.run.ready.len() >= BULK_MIN && self.lets_all_begin() {
            self.admit_all();
        }
        while self.run.lets_begin() && self.run.has_slot() {
            let Some(node) = self.run.ready.pop_front() else {
                return;
            };
            self.run.slots_used += 1;
            self.begin(node);
        }
    }

    /// Whether every node in the line is a task that begins at once, without a timer.
    fn lets_all_begin(&self) -> bool {
        self.run.lets_begin()
            && self.run.max_parallelism == 0
            && self.graph.has_only_tasks()
            && !self.graph.has_timeouts()
    }

    fn admit_all(&mut self) {
        let line = std::mem::take(&mut self.run.ready);
        let nodes = Vec::from(line);
        self.run.slots_used += nodes.len() as u32;
        nodes
            .iter()
            .for_each(|node| self.run.set_phase(*node, Phase::Queued));
        let run = &*self.run;
        let attempt = |node| run.attempt(node);
        self.turn
            .transitions_of(self.index, &nodes, Phase::Queued, attempt);
        self.turn.launches_of(self.index, &nodes, attempt);
        let rows = self.turn.effects.run.len();
        self.turn.effects.cause.resize(rows, self.turn.cause);
    }

    #[inline]
    fn begin(&mut self, node: u32) {
        self.set_phase(node, Phase::Queued);
        let attempt = self.run.attempt(node);
        self.effect(effect_of(self.graph, node), node, attempt, 0);
        if self.graph.kind(node) != Kind::Map {
            let timeout = self.graph.active_timeout(node);
            self.arm(Clock::of_node(node, Limit::Active), timeout);
        }
    }

    #[inline]
    pub(crate) fn release_slot(&mut self, node: u32) {
        if self.graph.kind(node).takes_slot() {
            self.run.slots_used -= 1;
        }
    }
}
