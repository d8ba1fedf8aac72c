//! The last events, so that a refusal can tell what happened to its node before. Columns, so that a stretch of events is
//! remembered by copying it.

use crate::phase::EventKind;
use crate::timer::{Limit, Timer};
use crate::turn::{Event, Events};

/// A story tells no more than this many of the newest events; a guess at what fits an error message.
const LINES_MAX: usize = 20;

/// The kind of a row that is a deadline: `attempt` is its limit, `argument` the deadline.
const DEADLINE: u8 = u8::MAX;

/// A ring of the newest events of all runs; capacity 0 keeps none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    now: Vec<i64>,
    kind: Vec<u8>,
    run: Vec<u32>,
    node: Vec<u32>,
    attempt: Vec<u32>,
    element: Vec<u32>,
    argument: Vec<i64>,
    /// Where the oldest row is, once the ring is full.
    next: usize,
    capacity: usize,
}

impl Story {
    pub(crate) fn new(capacity: usize) -> Self {
        Story {
            capacity,
            ..Story::default()
        }
    }

    #[inline]
    pub(crate) fn remember(&mut self, now: i64, event: Event) {
        let row = Events {
            kind: &[event.kind],
            run: &[event.run],
            node: &[event.node],
            attempt: &[event.attempt],
            element: &[event.element],
            argument: &[event.argument],
        };
        self.remember_all(now, &row, 0, 1);
    }

    pub(crate) fn remember_deadline(&mut self, now: i64, timer: Timer) {
        let event = Event {
            kind: DEADLINE,
            run: timer.run,
            node: timer.node,
            attempt: timer.limit as u32,
            element: timer.element,
            argument: timer.deadline,
        };
        self.remember(now, event);
    }

    /// What most steps of a run that is driven node by node come to: copying stretches of one row would take longer.
    #[inline]
    fn replace_oldest(&mut self, now: i64, event: Event) {
        let place = self.next;
        self.now[place] = now;
        self.kind[place] = event.kind;
        self.run[place] = event.run;
        self.node[place] = event.node;
        self.attempt[place] = event.attempt;
        self.element[place] = event.element;
        self.argument[place] = event.argument;
        self.next = if place + 1 == self.capacity {
            0
        } else {
            place + 1
        };
    }

    /// Remembers `count` events from `first` on, or as many of the last as there is room for.
    #[inline]
    pub(crate) fn remember_all(
        &mut self,
        now: i64,
        events: &Events<'_>,
        first: usize,
        count: usize,
    ) {
        if count == 1 && self.now.len() == self.capacity && self.capacity > 0 {
            self.replace_oldest(now, events.row(first));
            return;
        }
        let mut from = first + count.saturating_sub(self.capacity);
        let last = first + count;
        while from < last && self.capacity > 0 {
            let kept = self.now.len();
            let is_full = kept == self.capacity;
            let place = if is_full { self.next } else { kept };
            let rows = (last - from).min(self.capacity - place);
            let taken = from..from + rows;
            if is_full {
                let places = place..place + rows;
                self.now[places.clone()].fill(now);
                self.kind[places.clone()].copy_from_slice(&events.kind[taken.clone()]);
                self.run[places.clone()].copy_from_slice(&events.run[taken.clone()]);
                self.node[places.clone()].copy_from_slice(&events.node[taken.clone()]);
                self.attempt[places.clone()].copy_from_slice(&events.attempt[taken.clone()]);
                self.element[places.clone()].copy_from_slice(&events.element[taken.clone()]);
                self.argument[places].copy_from_slice(&events.argument[taken]);
                self.next = (place + rows) % self.capacity;
            } else {
                if kept == 0 {
                    self.reserve();
                }
                self.now.resize(kept + rows, now);
                self.kind.extend_from_slice(&events.kind[taken.clone()]);
                self.run.extend_from_slice(&events.run[taken.clone()]);
                self.node.extend_from_slice(&events.node[taken.clone()]);
                self.attempt
                    .extend_from_slice(&events.attempt[taken.clone()]);
                self.element
                    .extend_from_slice(&events.element[taken.clone()]);
                self.argument.extend_from_slice(&events.argument[taken]);
            }
            from += rows;
        }
    }

    /// Takes all the memory at once: growing by and by would move the columns again and again.
    fn reserve(&mut self) {
        self.now.reserve_exact(self.capacity);
        self.kind.reserve_exact(self.capacity);
        self.run.reserve_exact(self.capacity);
        self.node.reserve_exact(self.capacity);
        self.attempt.reserve_exact(self.capacity);
        self.element.reserve_exact(self.capacity);
        self.argument.reserve_exact(self.capacity);
    }

    /// What is remembered of a node, oldest first.
    pub(crate) fn tell(&self, run: u32, node: u32) -> String {
        let rows = (self.next..self.now.len()).chain(0..self.next);
        let found: Vec<usize> = rows.filter(|row| self.concerns(*row, run, node)).collect();
        let left_out = found.len().saturating_sub(LINES_MAX);
        let mut lines: Vec<String> = found[left_out..]
            .iter()
            .map(|row| self.line(*row))
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

    fn concerns(&self, row: usize, run: u32, node: u32) -> bool {
        let kind = self.kind[row];
        let is_about_run =
            kind == EventKind::RunCreated as u8 || kind == EventKind::RunAborted as u8;
        self.run[row] == run && (self.node[row] == node || is_about_run)
    }

    fn line(&self, row: usize) -> String {
        let (now, argument) = (self.now[row], self.argument[row]);
        if self.kind[row] == DEADLINE {
            let limit = Limit::ALL[self.attempt[row] as usize];
            return format!("at {now} the {limit:?} deadline {argument} passed");
        }
        let event = Event {
            kind: self.kind[row],
            run: self.run[row],
            node: self.node[row],
            attempt: self.attempt[row],
            element: self.element[row],
            argument,
        };
        format!("at {now} {event}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn successes(nodes: &[u32], story: &mut Story) {
        let rows = nodes.len();
        let (zeros, none) = (vec![0u32; rows], vec![u32::MAX; rows]);
        let events = Events {
            kind: &vec![EventKind::AttemptSucceeded as u8; rows],
            run: &zeros,
            node: nodes,
            attempt: &zeros,
            element: &none,
            argument: &vec![0i64; rows],
        };
        story.remember_all(7, &events, 0, rows);
    }

    #[test]
    fn the_ring_keeps_the_newest_however_they_come() {
        for stretches in [vec![5], vec![1; 12], vec![3, 3, 3], vec![4, 9], vec![25]] {
            let mut story = Story::new(4);
            let mut nodes = 0..;
            let mut last = 0;
            for count in stretches {
                let stretch: Vec<u32> = nodes.by_ref().take(count).collect();
                last = stretch[count - 1];
                successes(&stretch, &mut story);
            }
            let known = |node| !story.tell(0, node).starts_with("nothing");
            assert!(
                (0..=last).all(|node| known(node) == (node + 4 > last)),
                "{last}"
            );
        }
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let mut story = Story::new(0);
        successes(&[1, 2], &mut story);
        assert_eq!(story.tell(0, 1), "nothing is remembered of it");
    }
}
