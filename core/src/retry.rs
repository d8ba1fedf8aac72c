//! Budgets: whether a failed node gets another attempt, and what another attempt is.

use crate::frontier::effect_of;
use crate::phase::{EffectKind, FailureClass, Kind, Phase};
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
        self.disarm(node, Limit::Sleep);
        let kind = self.graph.kind(node);
        let is_scope = kind.is_scope() && kind != Kind::Dynamic;
        if is_scope {
            self.start_over(node);
        } else if kind == Kind::Dynamic {
            // It is a task again: at once, whatever the others have taken of its slots meanwhile.
            self.run.slots_used += 1;
            self.scratch.shed.push(node);
        }
        let is_open_map = self.run.maps.contains_key(&node);
        let phase = if is_scope || (kind == Kind::Map && !is_open_map) {
            Phase::Queued
        } else {
            Phase::Running
        };
        if self.run.phase_of(node) != phase {
            self.set_phase(node, phase);
        }
        let attempt = self.run.attempt(node);
        let effect = if is_open_map {
            EffectKind::ResolveOutputs
        } else {
            effect_of(self.graph, node)
        };
        self.effect(effect, node, attempt, 0);
    }

    fn start_over(&mut self, scope: u32) {
        self.run.reset_scope(self.graph, scope);
        for node in self.graph.inside_from_the_start(scope) {
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
            match self.graph.kind(node) {
                Kind::Dynamic => self.scratch.shed.push(node),
                kind if kind.is_scope() => self.run.reset_scope(self.graph, node),
                _ => {}
            }
        }
    }
}
