//! Ending things early: deadlines, aborts, failures that end the run.
//!
//! What is stopped, a run or an open scope, first calls off everything under way inside, then counts down the ends it
//! awaits, and goes on when the last has come. If something around it is stopped meanwhile, the count moves outwards: only
//! the outermost stop decides.

use crate::graph::NONE;
use crate::phase::{AbortReason, EffectKind, Phase, RunPhase};
use crate::step::Stepper;
use crate::timer::{Limit, Timer};

impl Stepper<'_> {
    pub(crate) fn on_timer(&mut self, timer: Timer) {
        let node = timer.node;
        let was_retrying = self.run.phase_of(node) == Phase::Retrying;
        self.disarm(node, timer.limit);
        let (phase, reason) = match timer.limit {
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

    /// A failure that ends the run: the scopes around the node fail with it, everything else is stopped.
    pub(crate) fn fail_run(&mut self, node: u32) {
        let graph = self.graph;
        for scope in graph.ancestors(node) {
            self.set_phase(scope, Phase::Failed);
        }
        self.stop_run(RunPhase::Failing, AbortReason::RunFailing);
    }

    pub(crate) fn stop_run(&mut self, phase: RunPhase, reason: AbortReason) {
        self.set_run_phase(phase);
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
            if !self.run.deadlines.is_empty() {
                self.disarm(node, Limit::Active);
                self.disarm(node, Limit::Execution);
            }
            let phase = self.run.phase_of(node);
            if !(phase.is_active() || phase.is_waiting())
                || self.run.is_open_scope(self.graph, node)
            {
                continue;
            }
            if phase.is_active() {
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
        let stopped = if self.run.phase == RunPhase::Running {
            graph
                .ancestors(node)
                .filter(|scope| self.run.phase_of(*scope).is_stopping())
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

    /// Nothing runs in a stopped scope any more.
    fn leave_stopped(&mut self, scope: u32) {
        self.abort_open_scopes(self.graph.descendants(scope));
        self.on_gone(scope, self.run.phase_of(scope));
    }

    fn abort_open_scopes(&mut self, nodes: impl IntoIterator<Item = u32>) {
        for node in nodes {
            let phase = self.run.phase_of(node);
            if phase == Phase::Running || phase.is_waiting() {
                self.set_phase(node, Phase::Aborted);
            }
        }
    }

    /// Finishes a run that was stopped once nothing of it is under way.
    pub(crate) fn finish_if_stopped(&mut self) {
        if self.run.scopes[0].awaited > 0 {
            return;
        }
        let last = match self.run.phase {
            RunPhase::Aborting => RunPhase::Aborted,
            RunPhase::Failing => RunPhase::Failed,
            _ => return,
        };
        self.abort_open_scopes(0..self.graph.node_count());
        self.finish_run(last);
    }

    fn abort_effect(&mut self, node: u32, reason: AbortReason) {
        let attempt = self.run.attempt(node);
        self.turn.effect(
            EffectKind::AbortAttempts,
            self.index,
            node,
            attempt,
            reason as i64,
        );
    }
}
