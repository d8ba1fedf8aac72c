//! What is ready: nodes that count for the parallelism of their run wait in line for a slot, others go out at once.

use crate::graph::Graph;
use crate::phase::{EffectKind, Kind, Phase};
use crate::step::Stepper;
use crate::timer::{Clock, Limit};

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
        while self.run.lets_begin() && self.run.has_slot() {
            let Some(node) = self.run.ready.pop_front() else {
                return;
            };
            self.run.slots_used += 1;
            self.begin(node);
        }
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
