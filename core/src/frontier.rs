//! What is ready: subworkflow and end nodes go out at once, tasks wait in line for a slot.

use crate::graph::Graph;
use crate::phase::{EffectKind, Kind, Phase, RunPhase};
use crate::step::Stepper;
use crate::timer::Limit;

/// The effect that asks for an attempt at a node.
#[inline]
pub(crate) fn effect_of(graph: &Graph, node: u32) -> EffectKind {
    match graph.kind(node) {
        Kind::Subworkflow => EffectKind::OpenScope,
        Kind::End => EffectKind::ResolveOutputs,
        Kind::Task | Kind::Start => EffectKind::LaunchAttempts,
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
            if self.graph.kind(node) == Kind::Task {
                self.run.ready.push_back(node);
            } else {
                self.begin(node);
            }
        }
        self.scratch.fresh = fresh;
    }

    /// Launches tasks from the head of the line while there are slots.
    #[inline]
    pub(crate) fn admit(&mut self) {
        while self.run.phase == RunPhase::Running && self.run.has_slot() {
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
        self.turn
            .effect(effect_of(self.graph, node), self.index, node, attempt, 0);
        self.arm(node, Limit::Active, self.graph.active_timeout(node));
    }

    #[inline]
    pub(crate) fn release_slot(&mut self, node: u32) {
        if self.graph.kind(node) == Kind::Task {
            self.run.slots_used -= 1;
        }
    }
}
