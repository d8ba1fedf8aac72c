//! Events to effects: what each event does to its node, and what follows from a node that has ended.
//!
//! `Stepper` borrows one run for the length of one event and is the only thing that changes it. An event first changes
//! its own node, then whatever settles by itself is worked off in a list (nothing recurses, however long a chain of skipped
//! nodes or however deep scopes are nested), and `follow_up` ends it: what became ready is queued in ascending order, free
//! slots are filled, and the run is finished if nothing is left. `stop.rs` has what ends things early, `retry.rs` the
//! budgets, `frontier.rs` the queue, `bulk.rs` a short way for many successes.

use crate::bulk::Launches;
use crate::graph::{Graph, NONE};
use crate::map::{is_about_element, map_shape};
use crate::phase::{
    AbortReason, EffectKind, EventKind, FailureClass, Kind, Phase, Refusal, RunPhase,
};
use crate::run::RunState;
use crate::timer::{Clock, Limit, Timers};
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
    /// The task that is to have something inside, once its event is over.
    pub(crate) growing: Option<u32>,
    /// Tasks that are to lose what they had inside, once the event is over.
    pub(crate) shed: Vec<u32>,
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

/// What may happen to an element of a map.
const ELEMENT_EVENTS: [EventKind; 4] = [
    EventKind::AttemptStarted,
    EventKind::AttemptSucceeded,
    EventKind::AttemptFailed,
    EventKind::AttemptAborted,
];

/// Whether nodes of a kind take events of a kind at all. What has nodes inside succeeds only with them or by being
/// recovered as a whole.
#[inline]
fn takes(node: Kind, event: EventKind, element: u32, argument: i64) -> bool {
    if is_about_element(event, element) {
        return node == Kind::Map && ELEMENT_EVENTS.contains(&event);
    }
    match (event, node) {
        (_, Kind::Start) => false,
        (EventKind::AttemptStarted, Kind::End | Kind::Subworkflow | Kind::Branch | Kind::Map) => {
            false
        }
        (EventKind::MapOpened, _) => node == Kind::Map,
        (EventKind::AttemptSucceeded, Kind::Subworkflow | Kind::Branch) => argument != 0,
        (EventKind::ScopeOpened, _) => node == Kind::Subworkflow,
        (EventKind::BranchDecided, _) => node == Kind::Branch,
        (EventKind::GraphGrown, _) => matches!(node, Kind::Task | Kind::Dynamic),
        (EventKind::RunCreated | EventKind::RunAborted, _) => false,
        _ => true,
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
            RunPhase::Running | RunPhase::Failing => {
                self.stop_run(RunPhase::Aborting, AbortReason::RunAborted);
            }
            _ => return Taken::Absorbed,
        }
        self.follow_up();
        Taken::Applied
    }

    #[inline]
    pub(crate) fn on_attempt(&mut self, event: Event, kind: EventKind) -> Taken {
        let node = event.node;
        if !takes(self.graph.kind(node), kind, event.element, event.argument) {
            return Taken::Refused(Refusal::WrongNodeKind);
        }
        if is_about_element(kind, event.element) && kind == EventKind::AttemptSucceeded {
            return self.on_elements_succeeded(event);
        }
        if !self.has_meaning(kind, node, event.argument) {
            return Taken::Refused(Refusal::BadArgument);
        }
        if is_about_element(kind, event.element) {
            return self.on_element(event, kind);
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
            EventKind::AttemptStarted => self.on_started(node, phase, event.argument),
            EventKind::ScopeOpened => self.on_scope_opened(node, phase),
            EventKind::BranchDecided => self.on_branch_decided(node, phase, event.argument),
            EventKind::MapOpened => self.on_map_opened(node, phase, event),
            EventKind::GraphGrown => self.on_graph_grown(node, phase),
            _ => self.on_ended(node, phase, kind, event.argument),
        };
        if taken == Taken::Applied && self.scratch.growing.is_none() {
            self.follow_up();
        }
        taken
    }

    /// A graph was put out by an attempt; whether its index names one, and whether the run has room for it, is known.
    pub(crate) fn on_growth(&mut self, event: Event, is_known: bool, has_room: bool) -> Taken {
        let kind = EventKind::GraphGrown;
        if !takes(self.graph.kind(event.node), kind, event.element, 0) {
            return Taken::Refused(Refusal::WrongNodeKind);
        }
        if !is_known {
            return Taken::Refused(Refusal::UnknownGraph);
        }
        if !has_room {
            return Taken::Refused(Refusal::BadArgument);
        }
        self.on_attempt(event, kind)
    }

    /// Whether an event's argument is one that its kind knows.
    #[inline]
    fn has_meaning(&self, kind: EventKind, node: u32, argument: i64) -> bool {
        match kind {
            EventKind::AttemptStarted => argument >= 0,
            // Outputs of the run are always resolved anew, never taken over.
            EventKind::AttemptSucceeded => match Phase::of_success(argument) {
                Some(Phase::Recovered | Phase::Skipped) => self.graph.kind(node) != Kind::End,
                found => found.is_some(),
            },
            EventKind::MapOpened => map_shape(argument).is_some(),
            EventKind::AttemptFailed => FailureClass::from_argument(argument).is_some(),
            EventKind::BranchDecided => {
                let is_inside = |arm: &u32| self.graph.scope(*arm) == node;
                u32::try_from(argument)
                    .ok()
                    .filter(|arm| *arm < self.graph.node_count())
                    .is_some_and(|arm| is_inside(&arm))
            }
            _ => true,
        }
    }

    fn on_started(&mut self, node: u32, phase: Phase, sleep: i64) -> Taken {
        if !phase.is_active() || self.run.is_started(node) {
            return Taken::Absorbed;
        }
        self.start(node, phase);
        self.arm(Clock::of_node(node, Limit::Sleep), sleep);
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

    /// Lets the chosen arm of a branch start; the others are skipped.
    fn on_branch_decided(&mut self, node: u32, phase: Phase, argument: i64) -> Taken {
        if phase != Phase::Queued {
            return Taken::Absorbed;
        }
        self.start(node, phase);
        let graph = self.graph;
        for &arm in graph.members(node).unwrap_or_default() {
            if i64::from(arm) == argument {
                self.on_ready(arm);
            } else {
                self.set_phase(arm, Phase::Skipped);
                self.scratch.settled.push(arm);
            }
        }
        self.work_off();
        Taken::Applied
    }

    /// Ends the attempt of a task that put out a graph; the graph opens once it is part of the run's.
    fn on_graph_grown(&mut self, node: u32, phase: Phase) -> Taken {
        if self.run.is_open_scope(self.graph, node) {
            return Taken::Absorbed;
        }
        if phase.is_waiting() {
            self.on_gone(node, phase);
            return Taken::Applied;
        }
        self.release_slot(node);
        if !self.run.is_started(node) {
            self.run.set_started(node);
            let timeout = self.graph.execution_timeout(node);
            self.arm(Clock::of_node(node, Limit::Execution), timeout);
        }
        self.set_phase(node, Phase::DynamicRunning);
        self.scratch.growing = Some(node);
        Taken::Applied
    }

    /// Opens what a task has grown.
    pub(crate) fn on_grown(&mut self, node: u32) {
        self.open(node);
        self.follow_up();
    }

    fn start(&mut self, node: u32, phase: Phase) {
        self.run.set_started(node);
        if phase != Phase::Running {
            self.set_phase(node, Phase::Running);
        }
        let timeout = self.graph.execution_timeout(node);
        self.arm(Clock::of_node(node, Limit::Execution), timeout);
    }

    #[inline]
    fn on_ended(&mut self, node: u32, phase: Phase, kind: EventKind, argument: i64) -> Taken {
        if self.run.is_open_scope(self.graph, node) || self.has_elements_under_way(node) {
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
        let success = Phase::of_success(argument);
        match (kind, success, FailureClass::from_argument(argument)) {
            (EventKind::AttemptSucceeded, Some(Phase::Recovered | Phase::Skipped), _)
                if self.run.maps.contains_key(&node) =>
            {
                return Taken::Refused(Refusal::BadArgument);
            }
            (EventKind::AttemptSucceeded, Some(phase), _) => self.end(node, phase),
            (EventKind::AttemptFailed, _, Some(class)) => self.on_failed(node, class),
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
        if self.graph.indegree(node) == 0 && !self.graph.is_failure_handler(node) {
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
            self.fail_outwards(node);
        } else {
            self.scratch.settled.push(node);
        }
        self.work_off();
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
            if graph.is_failure_handler(node) {
                self.on_handled(graph.scope(node));
                continue;
            }
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
        if state.unsettled > 0 || scope == NONE {
            return;
        }
        if !state.broken {
            self.set_phase(scope, Phase::Succeeded);
            self.scratch.settled.push(scope);
        } else if self.graph.failure_handler(scope).is_some() {
            self.set_phase(scope, Phase::Failing);
            self.begin_handling(scope);
        } else {
            self.set_phase(scope, Phase::Failed);
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
            if !self.run.scopes[0].broken {
                self.finish_run(RunPhase::Succeeded);
            } else if self.graph.failure_handler(NONE).is_some() {
                self.set_run_phase(RunPhase::Failing);
                self.finish_if_stopped();
            } else {
                self.finish_run(RunPhase::Failed);
            }
        }
    }

    pub(crate) fn finish_run(&mut self, phase: RunPhase) {
        self.set_run_phase(phase);
        self.effect(EffectKind::FinishRun, NONE, 0, phase as i64);
    }

    /// An effect on a node itself, or on the run.
    #[inline]
    pub(crate) fn effect(&mut self, kind: EffectKind, node: u32, attempt: u32, argument: i64) {
        self.turn
            .effect(kind, self.index, node, attempt, NONE, argument);
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
            if !matches!(phase, Phase::Running | Phase::DynamicRunning) {
                self.disarm(node, Limit::Execution);
            }
            if phase != Phase::Running {
                self.disarm(node, Limit::Sleep);
            }
        }
    }

    pub(crate) fn set_run_phase(&mut self, phase: RunPhase) {
        self.run.phase = phase;
        self.turn.transition(self.index, NONE, phase as u8, 0);
    }

    #[inline]
    pub(crate) fn arm(&mut self, clock: Clock, timeout: i64) {
        if timeout > 0 {
            let deadline = self.now.saturating_add(timeout);
            self.run.deadlines.insert(clock, deadline);
            self.timers.arm(clock.timer(self.index, deadline));
        }
    }

    #[inline]
    pub(crate) fn disarm(&mut self, node: u32, limit: Limit) {
        self.disarm_clock(Clock::of_node(node, limit));
    }

    #[inline]
    pub(crate) fn disarm_clock(&mut self, clock: Clock) {
        if self.run.deadlines.is_empty() {
            return;
        }
        if let Some(deadline) = self.run.deadlines.remove(&clock) {
            self.timers.disarm(clock.timer(self.index, deadline));
        }
    }

    pub(crate) fn disarm_all(&mut self, node: u32) {
        for limit in Limit::ALL {
            self.disarm(node, limit);
        }
    }
}
