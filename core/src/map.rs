//! Maps: how elements are launched, tried again, stopped, and what becomes of their node.
//!
//! A map launches its elements in order while there is room in its window, fails as soon as too few can succeed, and asks
//! for its outputs when every element has ended. Elements have budgets and limits of their own and no transitions.

use crate::elements::Elements;
use crate::graph::NONE;
use crate::phase::{
    AbortReason, EffectKind, EventKind, FailureClass, Kind, Phase, Refusal, RunPhase,
};
use crate::step::{Stepper, Taken};
use crate::timer::{Clock, Limit, Timer};
use crate::turn::{Event, Events};

/// Size and least number of successes out of the argument of MapOpened.
pub(crate) fn map_shape(argument: i64) -> Option<(u32, u32)> {
    let (size, min_successes) = (argument as u32, (argument >> 32) as u32);
    (argument >= 0 && min_successes <= size).then_some((size, min_successes))
}

/// How many elements after the first a success is about, and how their attempts ended, out of its argument.
fn stretch(argument: i64) -> Option<(u32, i64)> {
    let (more, outcome) = ((argument >> 32) as u32, argument & i64::from(u32::MAX));
    (argument >= 0 && matches!(outcome, 0 | 1)).then_some((more, outcome))
}

impl Stepper<'_> {
    pub(crate) fn on_map_opened(&mut self, node: u32, phase: Phase, event: Event) -> Taken {
        let Some((size, min_successes)) = map_shape(event.argument) else {
            return Taken::Refused(Refusal::BadArgument);
        };
        if phase != Phase::Queued {
            return Taken::Absorbed;
        }
        let base = self.run.map_bases.get(&node).copied().unwrap_or(0);
        let elements = Elements::new(size, event.element, min_successes, base);
        self.run.maps.insert(node, elements);
        self.set_phase(node, Phase::Running);
        self.go_on_with_map(node);
        Taken::Applied
    }

    /// Whether a map waits for its elements, so that only they can end it.
    #[inline]
    pub(crate) fn has_elements_under_way(&self, node: u32) -> bool {
        self.run
            .maps
            .get(&node)
            .is_some_and(|elements| !elements.resolves)
    }

    pub(crate) fn on_element(&mut self, event: Event, kind: EventKind) -> Taken {
        let (node, element) = (event.node, event.element);
        if let Err(taken) = self.find_element(event) {
            return taken;
        }
        let phase = self.phase_of_element(node, element);
        match (kind, FailureClass::from_argument(event.argument)) {
            (EventKind::AttemptStarted, _) => {
                return self.on_element_started(node, element, event.argument);
            }
            _ if phase.is_waiting() => self.on_element_gone(node, element, phase),
            (EventKind::AttemptSucceeded, _) => {
                let good = Phase::of_success(event.argument).unwrap_or(Phase::Succeeded);
                self.end_element(node, element, good);
            }
            (EventKind::AttemptFailed, Some(class)) => self.on_element_failed(node, element, class),
            _ => return Taken::Refused(Refusal::NotAwaited),
        }
        self.follow_up();
        Taken::Applied
    }

    /// Elements in a row have succeeded: the same as one after the other, or nothing if one of them cannot have.
    pub(crate) fn on_elements_succeeded(&mut self, event: Event) -> Taken {
        let Some((more, argument)) = stretch(event.argument) else {
            return Taken::Refused(Refusal::BadArgument);
        };
        let first = Event { argument, ..event };
        if more == 0 {
            return self.on_element(first, EventKind::AttemptSucceeded);
        }
        let size = match self.find_map(event) {
            Ok(elements) => elements.size,
            Err(taken) => return taken,
        };
        let Some(last) = event.element.checked_add(more).filter(|last| *last < size) else {
            return Taken::Refused(Refusal::UnknownNode);
        };
        if argument == 0 && self.succeed_in_bulk(event, last) {
            return Taken::Applied;
        }
        let elements = event.element..=last;
        let single = |element| Event { element, ..first };
        for element in elements.clone().rev() {
            if let Err(Taken::Refused(reason)) = self.find_element(single(element)) {
                return Taken::Refused(reason);
            }
        }
        let mut taken = Taken::Absorbed;
        for element in elements {
            if self.on_element(single(element), EventKind::AttemptSucceeded) == Taken::Applied {
                taken = Taken::Applied;
            }
        }
        taken
    }

    /// Does the same for elements that are all under way in a map that nothing else happens to; false if they are not.
    fn succeed_in_bulk(&mut self, event: Event, last: u32) -> bool {
        let node = event.node;
        let is_plain = self.is_plain_map(node);
        let Some(elements) = self.run.maps.get_mut(&node).filter(|_| is_plain) else {
            return false;
        };
        if !elements.succeed_all(event.element, last, event.attempt) {
            return false;
        }
        self.go_on_with_map(node);
        self.follow_up();
        true
    }

    /// Whether a map goes on and no clock runs for it.
    fn is_plain_map(&self, node: u32) -> bool {
        self.run.phase == RunPhase::Running
            && node < self.graph.node_count()
            && self.graph.kind(node) == Kind::Map
            && self.run.phase_of(node) == Phase::Running
            && self.run.deadlines.is_empty()
            && self.graph.active_timeout(node) == 0
    }

    /// The elements of the map that an event is about; what becomes of the event if there are none.
    fn find_map(&self, event: Event) -> Result<&Elements, Taken> {
        let base = self.run.map_bases.get(&event.node).copied().unwrap_or(0);
        let Some(elements) = self.run.maps.get(&event.node) else {
            let phase = self.run.phase_of(event.node);
            let is_late = phase.is_terminal() && phase != Phase::Skipped;
            return Err(if is_late || event.attempt < base {
                Taken::Absorbed
            } else {
                Taken::Refused(Refusal::NeverLaunched)
            });
        };
        if event.attempt < base {
            return Err(Taken::Absorbed);
        }
        Ok(elements)
    }

    /// Whether an event is about the current attempt of an element that is under way; what becomes of it if not.
    fn find_element(&self, event: Event) -> Result<(), Taken> {
        let elements = self.find_map(event)?;
        if event.element >= elements.size {
            return Err(Taken::Refused(Refusal::UnknownNode));
        }
        let attempt = elements.attempt(event.element);
        if event.attempt < attempt {
            return Err(Taken::Absorbed);
        }
        let phase = elements.phase(event.element);
        if phase == Phase::Undefined {
            return Err(Taken::Refused(Refusal::NeverLaunched));
        }
        if event.attempt > attempt {
            return Err(Taken::Refused(Refusal::FutureAttempt));
        }
        if phase.is_terminal() {
            return Err(Taken::Absorbed);
        }
        Ok(())
    }

    fn phase_of_element(&self, node: u32, element: u32) -> Phase {
        let elements = self.run.maps.get(&node);
        elements.map_or(Phase::Undefined, |elements| elements.phase(element))
    }

    fn on_element_started(&mut self, node: u32, element: u32, sleep: i64) -> Taken {
        let Some(elements) = self.run.maps.get_mut(&node) else {
            return Taken::Absorbed;
        };
        if !elements.phase(element).is_active() || elements.is_started(element) {
            return Taken::Absorbed;
        }
        elements.set_started(element);
        elements.set_phase(element, Phase::Running);
        let timeout = self.graph.execution_timeout(node);
        self.arm(clock(node, element, Limit::Execution), timeout);
        self.arm(clock(node, element, Limit::Sleep), sleep);
        Taken::Applied
    }

    fn on_element_failed(&mut self, node: u32, element: u32, class: FailureClass) {
        let again = match class {
            FailureClass::UserRecoverable => self.has_user_retry(node, element),
            FailureClass::SystemRecoverable => {
                let elements = self.run.maps.get(&node);
                elements.is_some_and(|elements| {
                    elements.retries(element).system < self.system_attempts_extra
                })
            }
            FailureClass::Permanent => false,
        };
        if again {
            self.try_element_again(node, element, class == FailureClass::UserRecoverable);
        } else {
            self.end_element(node, element, Phase::Failed);
        }
    }

    fn has_user_retry(&self, node: u32, element: u32) -> bool {
        let attempts_max = u32::from(self.graph.attempts_max(node));
        let elements = self.run.maps.get(&node);
        elements.is_some_and(|elements| elements.retries(element).user + 1 < attempts_max)
    }

    fn try_element_again(&mut self, node: u32, element: u32, is_users: bool) {
        self.disarm_clock(clock(node, element, Limit::Execution));
        self.disarm_clock(clock(node, element, Limit::Sleep));
        if let Some(elements) = self.run.maps.get_mut(&node) {
            elements.try_again(element, is_users);
            elements.set_phase(element, Phase::Running);
            let attempt = elements.attempt(element);
            self.element_effect(EffectKind::LaunchAttempts, node, element, attempt, 0);
        }
    }

    /// An attempt whose end was awaited is gone. Only one that took too long is tried again, at the user's expense.
    fn on_element_gone(&mut self, node: u32, element: u32, phase: Phase) {
        match phase {
            Phase::Retrying => self.try_element_again(node, element, true),
            Phase::Failing => self.end_element(node, element, Phase::Failed),
            Phase::TimingOut => self.end_element(node, element, Phase::TimedOut),
            _ => self.end_element(node, element, Phase::Aborted),
        }
    }

    fn end_element(&mut self, node: u32, element: u32, phase: Phase) {
        self.disarm_element(node, element);
        if let Some(elements) = self.run.maps.get_mut(&node) {
            elements.set_phase(element, phase);
        }
        self.go_on_with_map(node);
    }

    fn disarm_element(&mut self, node: u32, element: u32) {
        for limit in Limit::ALL {
            self.disarm_clock(clock(node, element, limit));
        }
    }

    /// What follows from where the elements of a map stand.
    fn go_on_with_map(&mut self, node: u32) {
        let phase = self.run.phase_of(node);
        let Some(elements) = self.run.maps.get_mut(&node) else {
            return;
        };
        if phase != Phase::Running {
            if elements.active == 0 {
                self.on_gone(node, phase);
            }
        } else if !elements.can_succeed() {
            let is_gone = elements.active == 0;
            self.set_phase(node, Phase::Failing);
            self.stop_elements(node, AbortReason::RunFailing);
            if is_gone {
                self.on_gone(node, Phase::Failing);
            }
        } else if elements.ended() == elements.size {
            elements.resolves = true;
            let attempt = self.run.attempt(node);
            self.effect(EffectKind::ResolveOutputs, node, attempt, 0);
        } else {
            self.launch_elements(node);
        }
    }

    fn launch_elements(&mut self, node: u32) {
        let timeout = self.graph.active_timeout(node);
        while let Some(elements) = self.run.maps.get_mut(&node).filter(|map| map.has_room()) {
            let element = elements.launch();
            let attempt = elements.base();
            self.element_effect(EffectKind::LaunchAttempts, node, element, attempt, 0);
            self.arm(clock(node, element, Limit::Active), timeout);
        }
    }

    /// Calls off the elements under way; those that were called off before are not told again.
    pub(crate) fn stop_elements(&mut self, node: u32, reason: AbortReason) {
        let launched = self.run.maps.get(&node).map_or(0, Elements::launched);
        for element in 0..launched {
            let phase = self.phase_of_element(node, element);
            if phase.is_terminal() {
                continue;
            }
            self.disarm_element(node, element);
            let Some(elements) = self.run.maps.get_mut(&node) else {
                return;
            };
            elements.set_phase(element, Phase::Aborting);
            if phase.is_active() {
                let attempt = elements.attempt(element);
                let argument = reason as i64;
                self.element_effect(EffectKind::AbortAttempts, node, element, attempt, argument);
            }
        }
    }

    pub(crate) fn on_element_timer(&mut self, timer: Timer) {
        let (node, element) = (timer.node, timer.element);
        let before = self.phase_of_element(node, element);
        self.disarm_clock(timer.clock());
        let (phase, reason) = match timer.limit {
            Limit::Sleep => {
                self.end_element(node, element, Phase::Succeeded);
                return self.follow_up();
            }
            Limit::Active => (Phase::TimingOut, AbortReason::ActiveTimeout),
            Limit::Execution if self.has_user_retry(node, element) => {
                (Phase::Retrying, AbortReason::ExecutionTimeout)
            }
            Limit::Execution => (Phase::Failing, AbortReason::ExecutionTimeout),
        };
        if phase != Phase::Retrying {
            self.disarm_clock(clock(node, element, Limit::Active));
        }
        self.disarm_clock(clock(node, element, Limit::Execution));
        self.disarm_clock(clock(node, element, Limit::Sleep));
        if let Some(elements) = self.run.maps.get_mut(&node) {
            elements.set_phase(element, phase);
            let attempt = elements.attempt(element);
            if before != Phase::Retrying {
                let argument = reason as i64;
                self.element_effect(EffectKind::AbortAttempts, node, element, attempt, argument);
            }
        }
    }

    #[inline]
    fn element_effect(
        &mut self,
        kind: EffectKind,
        node: u32,
        element: u32,
        attempt: u32,
        argument: i64,
    ) {
        self.turn
            .effect(kind, self.index, node, attempt, element, argument);
    }

    /// Applies events from `first` on for as long as they are plain successes of elements of one map that goes on after
    /// them; returns how many were.
    pub(crate) fn on_element_successes(&mut self, events: &Events<'_>, first: usize) -> usize {
        let node = events.node[first];
        let is_plain = self.is_plain_map(node);
        let Some(elements) = self.run.maps.get_mut(&node).filter(|_| is_plain) else {
            return 0;
        };
        let mut index = first;
        while index < events.len()
            && events.kind[index] == EventKind::AttemptSucceeded as u8
            && events.run[index] == self.index
            && events.node[index] == node
            && events.argument[index] == 0
            && elements.ended() + 1 < elements.size
        {
            let element = events.element[index];
            if !elements.phase(element).is_active()
                || elements.attempt(element) != events.attempt[index]
            {
                break;
            }
            elements.set_phase(element, Phase::Succeeded);
            while elements.has_room() {
                let (launch, attempt) = (elements.launch(), elements.base());
                self.turn.cause = index as u32;
                let kind = EffectKind::LaunchAttempts;
                self.turn.effect(kind, self.index, node, attempt, launch, 0);
            }
            index += 1;
        }
        index - first
    }
}

fn clock(node: u32, element: u32, limit: Limit) -> Clock {
    Clock {
        node,
        element,
        limit,
    }
}

/// Whether an event names an element; in MapOpened that column says how many may be under way.
#[inline]
pub(crate) fn is_about_element(kind: EventKind, element: u32) -> bool {
    element != NONE && kind != EventKind::MapOpened
}
