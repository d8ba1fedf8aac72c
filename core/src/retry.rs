//! Budgets: whether a failed node gets another attempt, and what another attempt is.

use crate::frontier::effect_of;
use crate::phase::{FailureClass, Kind, Phase};
use crate::step::Stepper;
use crate::timer::Limit;

impl Stepper<'_> {
    pub(crate) fn on_failed(&mut self, node: u32, class: FailureClass) {
        let again = match class {
            FailureClass::UserRecoverable => self.charge_user(node),
            FailureClass::SystemRecoverable => self.forgive_system(node),
            FailureClass::Permanent => false,
        };
        if again {
            self.try_again(node)
        } else {
            self.end(node, Phase::Failed)
        }
    }

    /// Charges the user's budget with a failure; returns whether an attempt is left.
    pub(crate) fn charge_user(&mut self, node: u32) -> bool {
        let failures = self.run.failures.entry(node).or_default();
        failures.user += 1;
        failures.user < u32::from(self.graph.attempts_max(node))
    }

    /// Forgives a failure of the platform if there is forgiveness left.
    fn forgive_system(&mut self, node: u32) -> bool {
        let failures = self.run.failures.entry(node).or_default();
        let again = failures.system < self.system_attempts_extra;
        failures.system += u32::from(again);
        again
    }

    /// Goes to the next attempt of a node, keeping its slot. A scope takes everything inside along.
    pub(crate) fn try_again(&mut self, node: u32) {
        self.run.next_attempt(node);
        self.disarm(node, Limit::Execution);
        let is_scope = self.graph.kind(node) == Kind::Subworkflow;
        if is_scope {
            self.start_over(node);
        }
        let phase = if is_scope {
            Phase::Queued
        } else {
            Phase::Running
        };
        if self.run.phase_of(node) != phase {
            self.set_phase(node, phase);
        }
        let attempt = self.run.attempt(node);
        self.turn
            .effect(effect_of(self.graph, node), self.index, node, attempt, 0);
    }

    fn start_over(&mut self, scope: u32) {
        self.run.reset_scope(self.graph, scope);
        for node in self.graph.descendants(scope) {
            let has_moved = self.run.phase_of(node) != Phase::Undefined;
            self.run.reset(self.graph, node);
            if has_moved {
                self.turn.transition(
                    self.index,
                    node,
                    Phase::Undefined as u8,
                    self.run.attempt(node),
                );
            }
            if self.graph.kind(node) == Kind::Subworkflow {
                self.run.reset_scope(self.graph, node);
            }
        }
    }
}
