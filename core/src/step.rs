//! Events to effects: what each event does to its node, and what follows from a node that has ended.
//!
//! `Stepper` borrows one run for the length of one event and is the only thing that changes it. An event first changes
//! its own node, then whatever settles by itself is worked off in a list (nothing recurses, however long a chain of skipped
//! nodes or however deep scopes are nested), and `follow_up` ends it: what became ready is queued in ascending order, free
//! slots are filled, and the run is finished if nothing is left. `stop.rs` has what ends things early, `retry.rs` the
//! budgets, `frontier.rs` the queue, `bulk.rs` a short way for many successes.

use crate::bulk::Launches;
use crate::graph::{Graph, NONE};
use crate::phase::{
    AbortReason, EffectKind, EventKind, FailureClass, Kind, Phase, Refusal, RunPhase,
};
use crate::run::RunState;
use crate::timer::{Limit, Timer, Timers};
use crate::turn::{Event, Turn};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    Applied,
    Absorbed,
    Refused(Refusal),
}

/// Lists that are empty between events; kept to spare their allocation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    /// Nodes that have settled and whose downstreams were not told yet.
    pub(crate) settled: Vec<u32>,
    /// Nodes that became ready during this event.
    pub(crate) fresh: Vec<u32>,
    /// Launches of the current stretch of successes.
    pub(crate) launches: Launches,
}

pub(crate) struct Stepper<'a> {
    pub(crate) now: i64,
    pub(crate) index: u32,
    pub(crate) graph: &'a Graph,
    pub(crate) run: &'a mut RunState,
    pub(crate) turn: &'a mut Turn,
    pub(crate) timers: &'a mut Timers,
    pub(crate) scratch: &'a mut Scratch,
    pub(crate) system_attempts_extra: u32,
}

/// Whether nodes of a kind take events of a kind at all.
#[inline]
fn takes(node: Kind, event: EventKind) -> bool {
    match event {
        EventKind::AttemptStarted => node == Kind::Task,
        EventKind::AttemptSucceeded => matches!(node, Kind::Task | Kind::End),
        EventKind::AttemptFailed | EventKind::AttemptAborted => node != Kind::Start,
        EventKind::ScopeOpened => node == Kind::Subworkflow,
        EventKind::RunCreated | EventKind::RunAborted => false,
    }
}

impl Stepper<'_> {
    pub(crate) fn on_created(&mut self) {
        self.turn
            .transition(self.index, NONE, RunPhase::Running as u8, 0);
        self.open(NONE);
        self.follow_up();
    }

    pub(crate) fn on_run_aborted(&mut self) -> Taken {
        match self.run.phase {
            RunPhase::Running => self.stop_run(RunPhase::Aborting, AbortReason::RunAborted),
            RunPhase::Failing => self.set_run_phase(RunPhase::Aborting),
            _ => return Taken::Absorbed,
        }
        self.follow_up();
        Taken::Applied
    }

    #[inline]
    pub(crate) fn on_attempt(&mut self, event: Event, kind: EventKind) -> Taken {
        let node = event.node;
        if !takes(self.graph.kind(node), kind) {
            return Taken::Refused(Refusal::WrongNodeKind);
        }
        if kind == EventKind::AttemptFailed && FailureClass::from_argument(event.argument).is_none()
        {
            return Taken::Refused(Refusal::BadArgument);
        }
        let phase = self.run.phase_of(node);
        let attempt = self.run.attempt(node);
        if event.attempt < attempt {
            return Taken::Absorbed;
        }
        if matches!(phase, Phase::Undefined | Phase::Skipped) {
            return Taken::Refused(Refusal::NeverLaunched);
        }
        if event.attempt > attempt {
            return Taken::Refused(Refusal::FutureAttempt);
        }
        if phase.is_terminal() {
            return Taken::Absorbed;
        }
        let taken = match kind {
            EventKind::AttemptStarted => self.on_started(node, phase),
            EventKind::ScopeOpened => self.on_scope_opened(node, phase),
            _ => self.on_ended(node, phase, kind, event.argument),
        };
        if taken == Taken::Applied {
            self.follow_up();
        }
        taken
    }

    fn on_started(&mut self, node: u32, phase: Phase) -> Taken {
        if !phase.is_active() || self.run.is_started(node) {
            return Taken::Absorbed;
        }
        self.start(node, phase);
        Taken::Applied
    }

    fn on_scope_opened(&mut self, node: u32, phase: Phase) -> Taken {
        if phase != Phase::Queued {
            return Taken::Absorbed;
        }
        self.start(node, phase);
        self.open(node);
        Taken::Applied
    }

    fn start(&mut self, node: u32, phase: Phase) {
        self.run.set_started(node);
        if phase != Phase::Running {
            self.set_phase(node, Phase::Running);
        }
        self.arm(node, Limit::Execution, self.graph.execution_timeout(node));
    }

    #[inline]
    fn on_ended(&mut self, node: u32, phase: Phase, kind: EventKind, argument: i64) -> Taken {
        if self.run.is_open_scope(self.graph, node) {
            // It ends with what is inside, never by word from outside; while it is stopped, such word comes late.
            return if phase.is_active() {
                Taken::Refused(Refusal::NotAwaited)
            } else {
                Taken::Absorbed
            };
        }
        if phase.is_waiting() {
            self.on_gone(node, phase);
            return Taken::Applied;
        }
        match (kind, FailureClass::from_argument(argument)) {
            (EventKind::AttemptSucceeded, _) => self.end(node, Phase::Succeeded),
            (EventKind::AttemptFailed, Some(class)) => self.on_failed(node, class),
            _ => return Taken::Refused(Refusal::NotAwaited),
        }
        Taken::Applied
    }

    /// Starts what has no upstreams in a scope; a scope without nodes succeeds.
    fn open(&mut self, scope: u32) {
        match self.graph.members(scope) {
            Some(members) => members.iter().for_each(|node| self.start_root(*node)),
            None => (0..self.graph.node_count()).for_each(|node| self.start_root(node)),
        }
        if scope != NONE && self.graph.member_count(scope) == 0 {
            self.end(scope, Phase::Succeeded);
        } else {
            self.work_off();
        }
    }

    #[inline]
    fn start_root(&mut self, node: u32) {
        if self.graph.indegree(node) == 0 {
            self.on_ready(node);
        }
    }

    #[inline]
    fn on_ready(&mut self, node: u32) {
        if self.graph.kind(node) == Kind::Start {
            self.set_phase(node, Phase::Succeeded);
            self.scratch.settled.push(node);
        } else {
            self.scratch.fresh.push(node);
        }
    }

    /// Ends a node; a failure ends the run, or what depends on it is told.
    #[inline]
    pub(crate) fn end(&mut self, node: u32, phase: Phase) {
        self.release_slot(node);
        self.set_phase(node, phase);
        if phase.is_broken() && !self.run.fails_late {
            self.fail_run(node);
        } else {
            self.scratch.settled.push(node);
            self.work_off();
        }
    }

    /// Ends a task whose downstreams know already that it succeeded; `ready` are those that waited only for it.
    pub(crate) fn succeed_with(&mut self, node: u32, ready: Vec<u32>) {
        self.release_slot(node);
        self.set_phase(node, Phase::Succeeded);
        ready.into_iter().for_each(|node| self.on_ready(node));
        self.settle_in_scope(node);
        self.work_off();
        self.follow_up();
    }

    /// Works off what follows from the nodes that have settled.
    #[inline]
    fn work_off(&mut self) {
        while let Some(node) = self.scratch.settled.pop() {
            let graph = self.graph;
            let good = self.run.phase_of(node).is_good();
            for &next in graph.downstream(node) {
                if !self.run.upstream_settled(next, good) {
                    continue;
                }
                if self.run.is_spoiled(next) {
                    self.set_phase(next, Phase::Skipped);
                    self.scratch.settled.push(next);
                } else {
                    self.on_ready(next);
                }
            }
            self.settle_in_scope(node);
        }
    }

    #[inline]
    fn settle_in_scope(&mut self, node: u32) {
        let scope = self.graph.scope(node);
        let broken = self.run.phase_of(node).is_broken();
        let state = &mut self.run.scopes[self.graph.scope_slot(scope)];
        state.unsettled -= 1;
        state.broken |= broken;
        if state.unsettled == 0 && scope != NONE {
            let phase = if state.broken {
                Phase::Failed
            } else {
                Phase::Succeeded
            };
            self.set_phase(scope, phase);
            self.scratch.settled.push(scope);
        }
    }

    /// What every event ends with.
    #[inline]
    pub(crate) fn follow_up(&mut self) {
        self.queue_fresh();
        self.admit();
        if self.run.phase != RunPhase::Running {
            self.finish_if_stopped();
        } else if self.run.scopes[0].unsettled == 0 {
            let broken = self.run.scopes[0].broken;
            self.finish_run(if broken {
                RunPhase::Failed
            } else {
                RunPhase::Succeeded
            });
        }
    }

    pub(crate) fn finish_run(&mut self, phase: RunPhase) {
        self.set_run_phase(phase);
        self.turn
            .effect(EffectKind::FinishRun, self.index, NONE, 0, phase as i64);
    }

    #[inline]
    pub(crate) fn set_phase(&mut self, node: u32, phase: Phase) {
        self.run.set_phase(node, phase);
        self.turn
            .transition(self.index, node, phase as u8, self.run.attempt(node));
        if !self.run.deadlines.is_empty() {
            if !(phase.is_active() || phase == Phase::Retrying) {
                self.disarm(node, Limit::Active);
            }
            if phase != Phase::Running {
                self.disarm(node, Limit::Execution);
            }
        }
    }

    pub(crate) fn set_run_phase(&mut self, phase: RunPhase) {
        self.run.phase = phase;
        self.turn.transition(self.index, NONE, phase as u8, 0);
    }

    #[inline]
    pub(crate) fn arm(&mut self, node: u32, limit: Limit, timeout: i64) {
        if timeout > 0 {
            let deadline = self.now.saturating_add(timeout);
            self.run.deadlines.insert((node, limit), deadline);
            self.timers.arm(Timer {
                deadline,
                limit,
                run: self.index,
                node,
            });
        }
    }

    pub(crate) fn disarm(&mut self, node: u32, limit: Limit) {
        if let Some(deadline) = self.run.deadlines.remove(&(node, limit)) {
            self.timers.disarm(Timer {
                deadline,
                limit,
                run: self.index,
                node,
            });
        }
    }
}
