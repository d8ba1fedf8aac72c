//! Ending things early: deadlines, aborts, failures that end the run.
//!
//! What is stopped, a run or an open scope, first calls off everything under way inside, then counts down the ends it
//! awaits, and goes on when the last has come. If something around it is stopped meanwhile, the count moves outwards: only
//! the outermost stop decides.

use crate::graph::NONE;
use crate::phase::{AbortReason, EffectKind, Phase, RunPhase};
use crate::run::Handling;
use crate::step::Stepper;
use crate::timer::{Limit, Timer};

impl Stepper<'_> {
    pub(crate) fn on_timer(&mut self, timer: Timer) {
        if timer.element != NONE {
            return self.on_element_timer(timer);
        }
        let node = timer.node;
        let was_retrying = self.run.phase_of(node) == Phase::Retrying;
        self.disarm(node, timer.limit);
        let (phase, reason) = match timer.limit {
            Limit::Sleep => {
                self.end(node, Phase::Succeeded);
                return self.follow_up();
            }
            Limit::Active => (Phase::TimingOut, AbortReason::ActiveTimeout),
            Limit::Execution if self.charge_user(node) => {
                (Phase::Retrying, AbortReason::ExecutionTimeout)
            }
            Limit::Execution => (Phase::Failing, AbortReason::ExecutionTimeout),
        };
        self.set_phase(node, phase);
        if was_retrying {
            // It was told to end already; only where it goes from there has changed.
        } else if self.run.is_open_scope(self.graph, node) {
            self.stop_scope(node, reason);
        } else {
            self.abort_effect(node, reason);
        }
        self.follow_up();
    }

    /// A failure goes outwards from a node that has failed: a scope fails with it, up to one whose failure is handled, or
    /// to the run. What is inside of where it stops is called off.
    pub(crate) fn fail_outwards(&mut self, node: u32) {
        let graph = self.graph;
        let mut failed = node;
        loop {
            let scope = graph.scope(failed);
            if graph.is_failure_handler(failed) {
                return self.fail_handler(scope, failed);
            }
            if scope == NONE {
                return self.stop_run(RunPhase::Failing, AbortReason::RunFailing);
            }
            if graph.failure_handler(scope).is_some() {
                let slot = graph.scope_slot(scope);
                self.run.scopes[slot].broken = true;
                self.run.scopes[slot].handling = Handling::Due;
                self.set_phase(scope, Phase::Failing);
                return self.stop_scope(scope, AbortReason::RunFailing);
            }
            self.set_phase(scope, Phase::Failed);
            failed = scope;
        }
    }

    /// The handler of a failure has itself failed; what is under way inside of it is called off.
    fn fail_handler(&mut self, scope: u32, handler: u32) {
        let slot = self.graph.scope_slot(scope);
        let inside = self.graph.descendants(handler);
        self.run
            .ready
            .retain(|node| inside.binary_search(node).is_err());
        self.run.scopes[slot].handling = Handling::Over;
        self.run.scopes[slot].awaited = self.call_off(inside, AbortReason::RunFailing);
        if scope != NONE && self.run.scopes[slot].awaited == 0 {
            self.leave_stopped(scope);
        }
    }

    /// Lets the failure handler of a scope begin; nothing else is under way there.
    pub(crate) fn begin_handling(&mut self, scope: u32) {
        if let Some(handler) = self.graph.failure_handler(scope) {
            self.run.scopes[self.graph.scope_slot(scope)].handling = Handling::Begun;
            self.scratch.fresh.push(handler);
        }
    }

    /// The failure handler of a scope has ended; how does not matter.
    pub(crate) fn on_handled(&mut self, scope: u32) {
        self.run.scopes[self.graph.scope_slot(scope)].handling = Handling::Over;
        if scope != NONE {
            self.end(scope, Phase::Failed);
        }
    }

    pub(crate) fn stop_run(&mut self, phase: RunPhase, reason: AbortReason) {
        self.set_run_phase(phase);
        if phase == RunPhase::Aborting {
            self.run.scopes[0].handling = Handling::Over;
        }
        self.run.ready.clear();
        let awaited = self.call_off(0..self.graph.node_count(), reason);
        self.run.scopes[0].awaited = awaited;
    }

    fn stop_scope(&mut self, scope: u32, reason: AbortReason) {
        let inside = self.graph.descendants(scope);
        self.run
            .ready
            .retain(|node| inside.binary_search(node).is_err());
        let awaited = self.call_off(inside, reason);
        self.run.scopes[self.graph.scope_slot(scope)].awaited = awaited;
        if awaited == 0 {
            self.leave_stopped(scope);
        }
    }

    /// Calls off what is under way among some nodes; returns how many ends are awaited. Whatever was called off before is not
    /// told again.
    fn call_off(&mut self, nodes: impl IntoIterator<Item = u32>, reason: AbortReason) -> u32 {
        let mut awaited = 0;
        for node in nodes {
            self.disarm_all(node);
            let phase = self.run.phase_of(node);
            if !(phase.is_active() || phase.is_waiting())
                || self.run.is_open_scope(self.graph, node)
            {
                continue;
            }
            if self.has_elements_under_way(node) {
                self.stop_elements(node, reason);
            } else if phase.is_active() {
                self.abort_effect(node, reason);
            }
            if phase != Phase::Aborting {
                self.set_phase(node, Phase::Aborting);
            }
            awaited += 1;
        }
        awaited
    }

    /// The attempt whose end was awaited is gone.
    pub(crate) fn on_gone(&mut self, node: u32, phase: Phase) {
        match phase {
            Phase::Retrying => self.try_again(node),
            Phase::Failing if self.is_due(node) => self.begin_handling(node),
            Phase::Failing => self.end(node, Phase::Failed),
            Phase::TimingOut => self.end(node, Phase::TimedOut),
            _ => {
                self.release_slot(node);
                self.set_phase(node, Phase::Aborted);
                self.count_down(node);
            }
        }
    }

    /// Tells whatever is stopped around a node, outermost, that one end less is awaited.
    fn count_down(&mut self, node: u32) {
        let graph = self.graph;
        let stopped = if self.run.lets_begin() {
            graph
                .ancestors(node)
                .filter(|scope| self.is_stopped(*scope))
                .last()
                .unwrap_or(NONE)
        } else {
            NONE
        };
        let awaited = &mut self.run.scopes[graph.scope_slot(stopped)].awaited;
        *awaited -= 1;
        if *awaited == 0 && stopped != NONE {
            self.leave_stopped(stopped);
        }
    }

    /// Whether the failure of a scope is to be handled once nothing is under way inside.
    fn is_due(&self, scope: u32) -> bool {
        self.graph.kind(scope).is_scope()
            && self.run.scopes[self.graph.scope_slot(scope)].handling == Handling::Due
    }

    /// Whether ends are awaited in a scope; while its failure is handled it goes on.
    fn is_stopped(&self, scope: u32) -> bool {
        self.run.phase_of(scope).is_stopping()
            && self.run.scopes[self.graph.scope_slot(scope)].handling != Handling::Begun
    }

    /// Nothing runs in a stopped scope any more.
    fn leave_stopped(&mut self, scope: u32) {
        self.abort_open_scopes(self.graph.descendants(scope));
        self.on_gone(scope, self.run.phase_of(scope));
    }

    fn abort_open_scopes(&mut self, nodes: impl IntoIterator<Item = u32>) {
        for node in nodes {
            let phase = self.run.phase_of(node);
            if matches!(phase, Phase::Running | Phase::DynamicRunning) || phase.is_waiting() {
                self.set_phase(node, Phase::Aborted);
            }
        }
    }

    /// Finishes a run that was stopped once nothing of it is under way.
    pub(crate) fn finish_if_stopped(&mut self) {
        if self.run.scopes[0].awaited > 0 {
            return;
        }
        let last = match (self.run.phase, self.run.scopes[0].handling) {
            (RunPhase::Aborting, _) => RunPhase::Aborted,
            (RunPhase::Failing, Handling::None) if self.graph.failure_handler(NONE).is_some() => {
                self.abort_open_scopes(0..self.graph.node_count());
                self.begin_handling(NONE);
                self.queue_fresh();
                return self.admit();
            }
            (RunPhase::Failing, Handling::Begun) => return,
            (RunPhase::Failing, _) => RunPhase::Failed,
            _ => return,
        };
        self.abort_open_scopes(0..self.graph.node_count());
        self.finish_run(last);
    }

    fn abort_effect(&mut self, node: u32, reason: AbortReason) {
        let attempt = self.run.attempt(node);
        self.effect(EffectKind::AbortAttempts, node, attempt, reason as i64);
    }
}
