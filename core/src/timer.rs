//! Deadlines of all runs, earliest first. Each run remembers its own (`RunState::deadlines`), so that one that no longer
//! counts is taken out at once and the earliest is always a real one.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Which of a node's two limits a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Limit {
    /// On the node over all its attempts; fires first of two at the same time.
    Active = 0,
    /// On one attempt.
    Execution = 1,
}

/// A point in time, in nanoseconds, at which a limit of a node is reached. Timers fire in the order of these fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) deadline: i64,
    pub(crate) limit: Limit,
    pub(crate) run: u32,
    pub(crate) node: u32,
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
