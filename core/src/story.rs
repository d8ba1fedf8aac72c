//! The last events, so that a refusal can tell what happened to its node before.

use crate::phase::EventKind;
use crate::timer::Timer;
use crate::turn::Event;

/// A story tells no more than this many of the newest events; a guess at what fits an error message.
const LINES_MAX: usize = 20;

/// What is remembered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Told {
    Event(Event),
    DeadlinePassed(Timer),
}

/// A ring of the newest events of all runs; capacity 0 keeps none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    ring: Vec<(i64, Told)>,
    next: usize,
    capacity: usize,
}

impl Story {
    pub(crate) fn new(capacity: usize) -> Self {
        Story {
            ring: Vec::new(),
            next: 0,
            capacity,
        }
    }

    #[inline]
    pub(crate) fn remember(&mut self, now: i64, told: Told) {
        if self.ring.len() < self.capacity {
            self.ring.push((now, told));
        } else if self.capacity > 0 {
            self.ring[self.next] = (now, told);
            self.next += 1;
            if self.next == self.capacity {
                self.next = 0;
            }
        }
    }

    /// What is remembered of a node, oldest first.
    pub(crate) fn tell(&self, run: u32, node: u32) -> String {
        let (newer, older) = self.ring.split_at(self.next);
        let found: Vec<&(i64, Told)> = older
            .iter()
            .chain(newer)
            .filter(|(_, told)| told.concerns(run, node))
            .collect();
        let left_out = found.len().saturating_sub(LINES_MAX);
        let mut lines: Vec<String> = found[left_out..]
            .iter()
            .map(|(now, told)| told.line(*now))
            .collect();
        if left_out > 0 {
            lines.insert(0, format!("{left_out} earlier ones"));
        }
        if lines.is_empty() {
            "nothing is remembered of it".to_owned()
        } else {
            lines.join("; ")
        }
    }
}

impl Told {
    fn concerns(&self, run: u32, node: u32) -> bool {
        match self {
            Told::Event(event) => event.run == run && (event.node == node || is_about_run(event)),
            Told::DeadlinePassed(timer) => timer.run == run && timer.node == node,
        }
    }

    fn line(&self, now: i64) -> String {
        match self {
            Told::Event(event) => format!("at {now} {event}"),
            Told::DeadlinePassed(timer) => format!(
                "at {now} the {:?} deadline {} passed",
                timer.limit, timer.deadline
            ),
        }
    }
}

fn is_about_run(event: &Event) -> bool {
    event.kind == EventKind::RunCreated as u8 || event.kind == EventKind::RunAborted as u8
}
