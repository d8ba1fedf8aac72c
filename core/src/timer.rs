//! Deadlines of all runs, earliest first. Each run remembers its own (`RunState::deadlines`), so that one that no longer
//! counts is taken out at once and the earliest is always a real one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::graph::NONE;

/// Which of the limits of a node, or of one element of a map, a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Limit {
    /// On all attempts together; fires first of two at the same time.
    Active = 0,
    /// On one attempt.
    Execution = 1,
    /// Not a limit but an end: the attempt succeeds by itself.
    Sleep = 2,
}

impl Limit {
    pub(crate) const ALL: [Limit; 3] = [Limit::Active, Limit::Execution, Limit::Sleep];
}

/// A point in time, in nanoseconds, at which a limit is reached. Timers fire in the order of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) deadline: i64,
    pub(crate) limit: Limit,
    pub(crate) run: u32,
    pub(crate) node: u32,
    pub(crate) element: u32,
}

/// Whose limit it is within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Clock {
    pub(crate) node: u32,
    /// Which element of a map, `NONE` for the node itself.
    pub(crate) element: u32,
    pub(crate) limit: Limit,
}

impl Clock {
    /// The limit of a node itself.
    pub(crate) fn of_node(node: u32, limit: Limit) -> Self {
        Clock {
            node,
            element: NONE,
            limit,
        }
    }

    pub(crate) fn timer(self, run: u32, deadline: i64) -> Timer {
        Timer {
            deadline,
            limit: self.limit,
            run,
            node: self.node,
            element: self.element,
        }
    }
}

impl Timer {
    pub(crate) fn clock(&self) -> Clock {
        Clock {
            node: self.node,
            element: self.element,
            limit: self.limit,
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    set: BTreeSet<Timer>,
}

impl Timers {
    pub(crate) fn arm(&mut self, timer: Timer) {
        self.set.insert(timer);
    }

    pub(crate) fn disarm(&mut self, timer: Timer) {
        self.set.remove(&timer);
    }

    /// The earliest deadline there is.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.set.first().map(|timer| timer.deadline)
    }

    /// The earliest timer, if it is due.
    pub(crate) fn due(&self, now: i64) -> Option<Timer> {
        self.set
            .first()
            .copied()
            .filter(|timer| timer.deadline <= now)
    }

    pub(crate) fn len(&self) -> usize {
        self.set.len()
    }

    pub(crate) fn contains(&self, timer: &Timer) -> bool {
        self.set.contains(timer)
    }
}
