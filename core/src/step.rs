//! Events to effects: the rules of a run.
//!
//! `Stepper` borrows one run for the length of one event and is the only thing that changes it. Whatever follows from an
//! event is worked off in a list, so that nothing recurses however long a chain of skipped nodes is.

use crate::graph::NONE;
use crate::phase::{
    AbortReason, EffectKind, EventKind, FailureClass, Kind, Phase, Refusal, RunPhase,
};
use crate::run::Run;
use crate::timer::{Limit, Timer, Timers};
use crate::turn::{Event, Turn};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Applied,
    Absorbed,
    Refused(Refusal),
}

pub(crate) struct Stepper<'a> {
    pub(crate) now: i64,
    pub(crate) index: u32,
    pub(crate) run: &'a mut Run,
    pub(crate) turn: &'a mut Turn,
    pub(crate) timers: &'a mut Timers,
    pub(crate) system_attempts_extra: u32,
}

impl Stepper<'_> {
    // Events

    pub(crate) fn on_created(&mut self) {
        self.turn
            .transition(self.index, NONE, RunPhase::Running as u8, 0);
        self.open(NONE);
        self.finish_if_settled(NONE);
        self.admit();
    }

    pub(crate) fn on_run_aborted(&mut self) -> Taken {
        if self.run.phase.is_terminal() || self.run.phase == RunPhase::Aborting {
            return Taken::Absorbed;
        }
        let already_stopping = self.run.phase == RunPhase::Failing;
        self.set_run_phase(RunPhase::Aborting);
        if !already_stopping {
            self.stop_everything(AbortReason::RunAborted);
        }
        Taken::Applied
    }

    #[inline]
    pub(crate) fn on_attempt(&mut self, event: Event, kind: EventKind) -> Taken {
        let node = event.node;
        let phase = self.run.phase_of(node);
        let attempt = self.run.attempt(node);
        if event.attempt < attempt || phase.is_terminal() {
            return Taken::Absorbed;
        }
        if phase == Phase::Undefined {
            return Taken::Refused(Refusal::NeverLaunched);
        }
        if event.attempt > attempt {
            return Taken::Refused(Refusal::FutureAttempt);
        }
        let node_kind = self.run.graph.kind(node);
        let fits = match kind {
            EventKind::ScopeOpened => node_kind == Kind::Subworkflow,
            EventKind::AttemptStarted => node_kind == Kind::Task,
            EventKind::AttemptSucceeded => node_kind != Kind::Subworkflow,
            _ => true,
        };
        if !fits {
            return Taken::Refused(Refusal::WrongNodeKind);
        }
        if kind == EventKind::AttemptFailed
            && !(0..=FailureClass::Permanent as i64).contains(&event.argument)
        {
            return Taken::Refused(Refusal::BadArgument);
        }
        let taken = match kind {
            EventKind::AttemptStarted => self.on_started(node, phase),
            EventKind::ScopeOpened => self.on_scope_opened(node, phase),
            _ if phase.is_waiting() => self.on_gone(node),
            EventKind::AttemptSucceeded => {
                self.end(node, Phase::Succeeded);
                Taken::Applied
            }
            EventKind::AttemptFailed => self.on_failed(node, event.argument),
            _ => Taken::Refused(Refusal::NotAwaited),
        };
        self.admit();
        taken
    }

    fn on_started(&mut self, node: u32, phase: Phase) -> Taken {
        match phase {
            Phase::Queued => {
                self.set_phase(node, Phase::Running);
                self.arm(node, Limit::Execution);
                Taken::Applied
            }
            _ => {
                // A later attempt of a node that is RUNNING already: only its limit begins to count.
                if phase == Phase::Running
                    && self.run.attempt(node) > 0
                    && !self.run.deadlines.contains_key(&(node, Limit::Execution))
                {
                    self.arm(node, Limit::Execution);
                    return Taken::Applied;
                }
                Taken::Absorbed
            }
        }
    }

    fn on_scope_opened(&mut self, node: u32, phase: Phase) -> Taken {
        if phase != Phase::Queued {
            // Word of an opening that was called off: nothing runs inside, so the scope is gone.
            if phase.is_waiting() && self.run.awaited_in_scope.get(&node).copied().unwrap_or(0) == 0
            {
                return self.on_gone(node);
            }
            return Taken::Absorbed;
        }
        self.set_phase(node, Phase::Running);
        self.arm(node, Limit::Execution);
        self.open(node);
        self.finish_if_settled(node);
        Taken::Applied
    }

    fn on_failed(&mut self, node: u32, class: i64) -> Taken {
        let failures = self.run.failures.entry(node).or_default();
        let again = if class == FailureClass::UserRecoverable as i64 {
            failures.user += 1;
            failures.user < u32::from(self.run.graph.attempts_max(node))
        } else if class == FailureClass::SystemRecoverable as i64 {
            let again = failures.system < self.system_attempts_extra;
            failures.system += u32::from(again);
            again
        } else {
            false
        };
        if again {
            self.try_again(node)
        } else {
            self.end(node, Phase::Failed)
        }
        Taken::Applied
    }

    /// The attempt whose end was awaited is gone.
    fn on_gone(&mut self, node: u32) -> Taken {
        if self.run.graph.kind(node) == Kind::Subworkflow
            && self.run.awaited_in_scope.contains_key(&node)
        {
            let inside = self.run.awaited_in_scope[&node];
            if inside > 0 {
                return Taken::Absorbed;
            }
            self.run.awaited_in_scope.remove(&node);
        }
        self.run.awaited -= 1;
        match self.run.phase_of(node) {
            Phase::Retrying => self.try_again(node),
            Phase::Failing => self.end(node, Phase::Failed),
            Phase::TimingOut => self.end(node, Phase::TimedOut),
            _ => {
                self.release_slot(node);
                self.set_phase(node, Phase::Aborted);
                self.tell_waiting_scope(node);
            }
        }
        self.finish_if_stopped();
        Taken::Applied
    }

    /// Counts a node down in the scope that waits for the end of everything inside it.
    fn tell_waiting_scope(&mut self, node: u32) {
        let mut scope = self.run.graph.scope(node);
        while scope != NONE {
            if let Some(inside) = self.run.awaited_in_scope.get_mut(&scope) {
                *inside -= 1;
                if *inside == 0 {
                    self.on_gone(scope);
                }
                return;
            }
            scope = self.run.graph.scope(scope);
        }
    }

    // Timers

    pub(crate) fn on_timer(&mut self, timer: Timer) {
        let node = timer.node;
        let active = self.run.phase == RunPhase::Running && self.run.phase_of(node).is_active();
        if !active || (timer.limit == Limit::Execution && self.run.attempt(node) != timer.attempt) {
            return;
        }
        if self.run.deadlines.get(&(node, timer.limit)) != Some(&timer.deadline) {
            return;
        }
        self.run.deadlines.remove(&(node, timer.limit));
        match timer.limit {
            Limit::Active => self.wait_for_end(node, Phase::TimingOut, AbortReason::ActiveTimeout),
            Limit::Execution => {
                let failures = self.run.failures.entry(node).or_default();
                failures.user += 1;
                let again = failures.user < u32::from(self.run.graph.attempts_max(node));
                let phase = if again {
                    Phase::Retrying
                } else {
                    Phase::Failing
                };
                self.wait_for_end(node, phase, AbortReason::ExecutionTimeout);
            }
        }
        self.admit();
    }

    fn wait_for_end(&mut self, node: u32, phase: Phase, reason: AbortReason) {
        let opening = self.run.phase_of(node) == Phase::Queued;
        self.set_phase(node, phase);
        self.run.awaited += 1;
        if self.run.graph.kind(node) != Kind::Subworkflow || opening {
            if self.run.graph.kind(node) == Kind::Subworkflow {
                self.run.awaited_in_scope.insert(node, 0);
            }
            self.abort_effect(node, reason);
            return;
        }
        let inside = self.abort_inside(node, reason);
        self.run.awaited_in_scope.insert(node, inside);
        if inside == 0 {
            self.on_gone(node);
        }
    }

    /// Stops all that is active inside a scope; returns how many ends are awaited.
    fn abort_inside(&mut self, scope: u32, reason: AbortReason) -> u32 {
        let descendants = self.run.descendants(scope);
        self.run
            .ready
            .retain(|node| descendants.binary_search(node).is_err());
        let mut inside = 0;
        for node in descendants {
            inside += u32::from(self.abort_node(node, reason));
        }
        inside
    }

    /// Stops one node if it is active or waits already; returns whether its end is awaited.
    fn abort_node(&mut self, node: u32, reason: AbortReason) -> bool {
        let phase = self.run.phase_of(node);
        let is_open_scope =
            self.run.graph.kind(node) == Kind::Subworkflow && phase != Phase::Queued;
        if is_open_scope {
            // What runs inside is stopped by itself; the scope ends with the last of it.
            if self.run.awaited_in_scope.remove(&node).is_some() {
                self.run.awaited -= 1;
            }
            if phase == Phase::Running || phase.is_waiting() {
                self.set_phase(node, Phase::Aborted);
            }
            return false;
        }
        if phase.is_waiting() {
            if phase != Phase::Aborting {
                self.set_phase(node, Phase::Aborting);
            }
            return true;
        }
        if !phase.is_active() {
            return false;
        }
        self.set_phase(node, Phase::Aborting);
        self.run.awaited += 1;
        self.abort_effect(node, reason);
        true
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

    // Going on

    /// Starts what has no upstreams in a scope.
    fn open(&mut self, scope: u32) {
        let graph = self.run.graph.clone();
        match graph.members(scope) {
            Some(members) => {
                for &node in members
                    .iter()
                    .filter(|node| graph.indegree[**node as usize] == 0)
                {
                    self.on_ready(node);
                }
            }
            None => {
                for node in
                    (0..graph.node_count()).filter(|node| graph.indegree[*node as usize] == 0)
                {
                    self.on_ready(node);
                }
            }
        }
    }

    #[inline]
    fn on_ready(&mut self, node: u32) {
        match self.run.graph.kind(node) {
            Kind::Task if self.run.has_slot() && self.run.ready.is_empty() => self.launch(node),
            Kind::Task => self.run.ready.push_back(node),
            Kind::Start => {
                self.set_phase(node, Phase::Succeeded);
                self.settle(node);
            }
            Kind::End => self.queue(node, EffectKind::ResolveOutputs),
            Kind::Subworkflow => self.queue(node, EffectKind::OpenScope),
        }
    }

    fn admit(&mut self) {
        while self.run.phase == RunPhase::Running && self.run.has_slot() {
            let Some(node) = self.run.ready.pop_front() else {
                break;
            };
            self.launch(node);
        }
    }

    #[inline]
    fn launch(&mut self, node: u32) {
        self.run.slots_used += 1;
        self.queue(node, EffectKind::LaunchAttempts);
    }

    #[inline]
    fn queue(&mut self, node: u32, effect: EffectKind) {
        self.set_phase(node, Phase::Queued);
        let attempt = self.run.attempt(node);
        self.turn.effect(effect, self.index, node, attempt, 0);
        if attempt == 0 {
            self.arm(node, Limit::Active);
        }
    }

    fn try_again(&mut self, node: u32) {
        self.run.next_attempt(node);
        self.run.deadlines.remove(&(node, Limit::Execution));
        let attempt = self.run.attempt(node);
        if self.run.graph.kind(node) == Kind::Subworkflow {
            if self.run.phase_of(node) != Phase::Queued {
                for inside in self.run.descendants(node) {
                    self.start_over(inside);
                }
                let slot = self.run.graph.scope_slot(node);
                self.run.unsettled[slot] = self.run.graph.member_count(node);
                self.run.failed[slot] = false;
                self.set_phase(node, Phase::Queued);
            }
            self.turn
                .effect(EffectKind::OpenScope, self.index, node, attempt, 0);
            return;
        }
        if self.run.phase_of(node) != Phase::Running {
            self.set_phase(node, Phase::Running);
        }
        let effect = if self.run.graph.kind(node) == Kind::End {
            EffectKind::ResolveOutputs
        } else {
            EffectKind::LaunchAttempts
        };
        self.turn.effect(effect, self.index, node, attempt, 0);
    }

    fn start_over(&mut self, node: u32) {
        if self.run.phase_of(node) != Phase::Undefined {
            self.run.reset(node);
            self.turn
                .transition(self.index, node, Phase::Undefined as u8, 0);
        } else {
            self.run.reset(node);
        }
        if self.run.graph.kind(node) == Kind::Subworkflow {
            let slot = self.run.graph.scope_slot(node);
            self.run.unsettled[slot] = self.run.graph.member_count(node);
            self.run.failed[slot] = false;
        }
    }

    // Ending

    #[inline]
    fn end(&mut self, node: u32, phase: Phase) {
        self.release_slot(node);
        self.set_phase(node, phase);
        if phase != Phase::Succeeded && !self.run.fails_late {
            self.fail_run(node);
        } else {
            self.settle(node);
        }
    }

    /// A failure that ends the run: the scopes around the node fail with it, everything else is stopped.
    fn fail_run(&mut self, node: u32) {
        let mut scope = self.run.graph.scope(node);
        while scope != NONE {
            if self.run.awaited_in_scope.remove(&scope).is_some() {
                self.run.awaited -= 1;
            }
            self.set_phase(scope, Phase::Failed);
            scope = self.run.graph.scope(scope);
        }
        self.set_run_phase(RunPhase::Failing);
        self.stop_everything(AbortReason::RunFailing);
    }

    fn stop_everything(&mut self, reason: AbortReason) {
        self.run.ready.clear();
        self.run.awaited_in_scope.clear();
        self.run.awaited = 0;
        for node in 0..self.run.graph.node_count() {
            let phase = self.run.phase_of(node);
            let open_scope =
                self.run.graph.kind(node) == Kind::Subworkflow && phase != Phase::Queued;
            if open_scope || !(phase.is_active() || phase.is_waiting()) {
                continue;
            }
            if phase.is_waiting() {
                if phase != Phase::Aborting {
                    self.set_phase(node, Phase::Aborting);
                }
            } else {
                self.set_phase(node, Phase::Aborting);
                self.abort_effect(node, reason);
            }
            self.run.awaited += 1;
        }
        self.finish_if_stopped();
    }

    fn finish_if_stopped(&mut self) {
        let stopping = matches!(self.run.phase, RunPhase::Aborting | RunPhase::Failing);
        if !stopping || self.run.awaited > 0 {
            return;
        }
        for node in 0..self.run.graph.node_count() {
            let phase = self.run.phase_of(node);
            if phase == Phase::Running || phase.is_waiting() {
                self.set_phase(node, Phase::Aborted);
            }
        }
        let aborted = self.run.phase == RunPhase::Aborting;
        self.finish_run(if aborted {
            RunPhase::Aborted
        } else {
            RunPhase::Failed
        });
    }

    /// Tells the nodes behind a node that it has ended, and what follows from that.
    #[inline]
    fn settle(&mut self, node: u32) {
        let graph = self.run.graph.clone();
        let succeeded = matches!(self.run.phase_of(node), Phase::Succeeded | Phase::Recovered);
        for &next in graph.downstream(node) {
            if self.run.upstream_settled(next, succeeded) {
                if self.run.is_spoiled(next) {
                    self.skip(next)
                } else {
                    self.on_ready(next)
                }
            }
        }
        self.settled_in_scope(node);
    }

    fn skip(&mut self, first: u32) {
        let graph = self.run.graph.clone();
        let mut skipped = vec![first];
        while let Some(node) = skipped.pop() {
            self.set_phase(node, Phase::Skipped);
            for &next in graph.downstream(node).iter().rev() {
                if self.run.upstream_settled(next, false) {
                    skipped.push(next);
                }
            }
            self.settled_in_scope(node);
        }
    }

    #[inline]
    fn settled_in_scope(&mut self, node: u32) {
        let scope = self.run.graph.scope(node);
        let slot = self.run.graph.scope_slot(scope);
        self.run.unsettled[slot] -= 1;
        if matches!(self.run.phase_of(node), Phase::Failed | Phase::TimedOut) {
            self.run.failed[slot] = true;
        }
        if self.run.unsettled[slot] == 0 {
            self.finish_if_settled(scope);
        }
    }

    fn finish_if_settled(&mut self, scope: u32) {
        let slot = self.run.graph.scope_slot(scope);
        if self.run.unsettled[slot] > 0 {
            return;
        }
        let failed = self.run.failed[slot];
        if scope == NONE {
            if !self.run.phase.is_terminal() {
                self.finish_run(if failed {
                    RunPhase::Failed
                } else {
                    RunPhase::Succeeded
                });
            }
        } else if self.run.phase_of(scope) == Phase::Running {
            self.end(
                scope,
                if failed {
                    Phase::Failed
                } else {
                    Phase::Succeeded
                },
            );
        }
    }

    fn finish_run(&mut self, phase: RunPhase) {
        self.set_run_phase(phase);
        self.turn
            .effect(EffectKind::FinishRun, self.index, NONE, 0, phase as i64);
    }

    // Small things

    #[inline]
    fn release_slot(&mut self, node: u32) {
        if self.run.graph.kind(node) == Kind::Task {
            self.run.slots_used -= 1;
        }
    }

    #[inline]
    fn set_phase(&mut self, node: u32, phase: Phase) {
        self.run.set_phase(node, phase);
        self.turn
            .transition(self.index, node, phase as u8, self.run.attempt(node));
    }

    fn set_run_phase(&mut self, phase: RunPhase) {
        self.run.phase = phase;
        self.turn.transition(self.index, NONE, phase as u8, 0);
    }

    #[inline]
    fn arm(&mut self, node: u32, limit: Limit) {
        let timeout = match limit {
            Limit::Active => self.run.graph.active_timeout(node),
            Limit::Execution => self.run.graph.execution_timeout(node),
        };
        if timeout > 0 {
            let deadline = self.now.saturating_add(timeout);
            self.run.deadlines.insert((node, limit), deadline);
            self.timers.arm(Timer {
                deadline,
                limit,
                run: self.index,
                node,
                attempt: self.run.attempt(node),
            });
        }
    }
}
