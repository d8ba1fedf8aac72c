//! Deadlines of all runs, earliest first. Timers are never removed: one that no longer means anything is dropped when its
//! time comes, by asking the node.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// Which of a node's two limits a timer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Limit {
    /// On the node over all its attempts; fires first of two at the same time.
    Active = 0,
    /// On one attempt.
    Execution = 1,
}

/// A point in time at which a node is to be looked at, in nanoseconds. It means something only as long as it is the
/// deadline that the run remembers for that node and limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Timer {
    pub(crate) deadline: i64,
    pub(crate) limit: Limit,
    pub(crate) run: u32,
    pub(crate) node: u32,
    pub(crate) attempt: u32,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<Timer>>,
}

impl Timers {
    pub(crate) fn arm(&mut self, timer: Timer) {
        self.heap.push(Reverse(timer));
    }

    /// The earliest deadline there is.
    pub(crate) fn next_deadline(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(timer)| timer.deadline)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn due(&mut self, now: i64) -> Option<Timer> {
        if self.next_deadline()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| timer)
    }

    /// All timers in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Timer> {
        self.heap.iter().map(|Reverse(timer)| timer)
    }
}
