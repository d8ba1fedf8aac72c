//! The last events, so that a refusal can tell what happened to its node before.

use crate::phase::EventKind;
use crate::turn::Event;

#[derive(Debug, Clone, Copy)]
struct Entry {
    now: i64,
    event: Event,
}

/// A ring of the newest events of all runs; capacity 0 keeps none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    ring: Vec<Entry>,
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
    pub(crate) fn remember(&mut self, now: i64, event: Event) {
        if self.ring.len() < self.capacity {
            self.ring.push(Entry { now, event });
        } else if self.capacity > 0 {
            self.ring[self.next] = Entry { now, event };
            self.next = (self.next + 1) % self.capacity;
        }
    }

    /// What is remembered of a node, oldest first, one line an event.
    pub(crate) fn tell(&self, run: u32, node: u32) -> String {
        let (newer, older) = self.ring.split_at(self.next.min(self.ring.len()));
        let lines: Vec<String> = older
            .iter()
            .chain(newer)
            .filter(|entry| entry.event.run == run && concerns(&entry.event, node))
            .map(|entry| {
                let kind = EventKind::from_u8(entry.event.kind);
                let name = kind.map_or_else(
                    || format!("event {}", entry.event.kind),
                    |kind| format!("{kind:?}"),
                );
                format!(
                    "{} {name} attempt {} argument {}",
                    entry.now, entry.event.attempt, entry.event.argument
                )
            })
            .collect();
        if lines.is_empty() {
            "nothing is remembered of it".to_owned()
        } else {
            lines.join("; ")
        }
    }
}

fn concerns(event: &Event, node: u32) -> bool {
    event.node == node || event.kind == EventKind::RunAborted as u8
}
