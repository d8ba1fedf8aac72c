//! The line of nodes that may begin: first come, first served, or by priority.
//!
//! A node that leaves from anywhere but the head leaves its entry behind, to be passed over later: a ticket tells whether
//! an entry is the one its node waits with.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// The ticket of nodes that do not wait.
const NOWHERE: u32 = 0;

/// Entries that nobody waits with are swept once they are more than those that somebody does, and more than this.
const SWEEP_MIN: usize = 64;

#[derive(Debug)]
enum Entries {
    Fifo(VecDeque<(u32, u32)>),
    /// Priority, when it came (the less, the earlier), ticket, node.
    Heap(BinaryHeap<(i64, Reverse<u64>, u32, u32)>),
}

#[derive(Debug)]
pub(crate) struct Line {
    entries: Entries,
    /// By node, the ticket it waits with.
    ticket: Vec<u32>,
    last_ticket: u32,
    came: u64,
    count: usize,
}

impl Line {
    /// A line for nodes 0 to `nodes`; by priority if there are any priorities.
    pub(crate) fn new(nodes: usize, has_priority: bool) -> Self {
        Line {
            entries: if has_priority {
                Entries::Heap(BinaryHeap::new())
            } else {
                Entries::Fifo(VecDeque::new())
            },
            ticket: vec![NOWHERE; nodes],
            last_ticket: NOWHERE,
            came: 0,
            count: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Lets a node wait behind those of its priority; one that waits already goes there too.
    pub(crate) fn push(&mut self, node: u32, priority: i64) {
        self.remove(node);
        self.last_ticket = match self.last_ticket.wrapping_add(1) {
            NOWHERE => 1,
            next => next,
        };
        self.ticket[node as usize] = self.last_ticket;
        self.count += 1;
        self.came += 1;
        match &mut self.entries {
            Entries::Fifo(entries) => entries.push_back((self.last_ticket, node)),
            Entries::Heap(entries) => {
                entries.push((priority, Reverse(self.came), self.last_ticket, node));
            }
        }
    }

    /// Takes the first node out.
    pub(crate) fn pop(&mut self) -> Option<u32> {
        loop {
            let (ticket, node) = match &mut self.entries {
                Entries::Fifo(entries) => entries.pop_front()?,
                Entries::Heap(entries) => {
                    let (_, _, ticket, node) = entries.pop()?;
                    (ticket, node)
                }
            };
            let waits_with = &mut self.ticket[node as usize];
            if *waits_with == ticket {
                *waits_with = NOWHERE;
                self.count -= 1;
                return Some(node);
            }
        }
    }

    /// Takes a node out, wherever it stands; nothing happens if it does not wait.
    pub(crate) fn remove(&mut self, node: u32) {
        if self.ticket[node as usize] == NOWHERE {
            return;
        }
        self.ticket[node as usize] = NOWHERE;
        self.count -= 1;
        if let Entries::Fifo(entries) = &mut self.entries
            && entries.front().is_some_and(|(_, head)| *head == node)
        {
            entries.pop_front();
            return;
        }
        let ticket = &self.ticket;
        let waits = |entry_ticket: u32, node: u32| ticket[node as usize] == entry_ticket;
        let limit = (2 * self.count).max(SWEEP_MIN);
        match &mut self.entries {
            Entries::Fifo(entries) if entries.len() > limit => {
                entries.retain(|(ticket, node)| waits(*ticket, *node));
            }
            Entries::Heap(entries) if entries.len() > limit => {
                entries.retain(|(_, _, ticket, node)| waits(*ticket, *node));
            }
            _ => {}
        }
    }

    /// The first `limit` nodes, in order.
    pub(crate) fn first(&self, limit: usize) -> Vec<u32> {
        match &self.entries {
            Entries::Fifo(entries) => entries
                .iter()
                .filter(|(ticket, node)| self.ticket[*node as usize] == *ticket)
                .take(limit)
                .map(|(_, node)| *node)
                .collect(),
            Entries::Heap(entries) => {
                let mut line: Vec<_> = entries
                    .iter()
                    .filter(|(_, _, ticket, node)| self.ticket[*node as usize] == *ticket)
                    .collect();
                if limit < line.len() {
                    line.select_nth_unstable_by(limit, |a, b| b.cmp(a));
                    line.truncate(limit);
                }
                line.sort_unstable_by(|a, b| b.cmp(a));
                line.into_iter().map(|(_, _, _, node)| *node).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(nodes: u32, has_priority: bool) -> Line {
        let mut line = Line::new(nodes as usize, has_priority);
        for node in 0..nodes {
            line.push(node, i64::from(node % 3));
        }
        line
    }

    fn drained(mut line: Line) -> Vec<u32> {
        std::iter::from_fn(|| line.pop()).collect()
    }

    #[test]
    fn who_comes_first_leaves_first() {
        assert_eq!(drained(line(5, false)), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn higher_priority_leaves_first() {
        assert_eq!(drained(line(7, true)), [2, 5, 1, 4, 0, 3, 6]);
    }

    #[test]
    fn who_left_and_came_back_stands_at_the_end() {
        for has_priority in [false, true] {
            let mut line = Line::new(3, has_priority);
            for node in [0, 1, 2] {
                line.push(node, 0);
            }
            line.remove(0);
            line.push(0, 0);
            line.push(1, 0);
            assert_eq!((line.len(), line.first(2)), (3, vec![2, 0]));
            assert_eq!(drained(line), [2, 0, 1]);
        }
    }

    #[test]
    fn entries_nobody_waits_with_do_not_pile_up() {
        for has_priority in [false, true] {
            let mut line = line(1000, has_priority);
            for round in 0..20_000_u32 {
                let node = round % 1000;
                line.remove(node);
                line.push(node, 0);
            }
            let entries = match &line.entries {
                Entries::Fifo(entries) => entries.len(),
                Entries::Heap(entries) => entries.len(),
            };
            assert!(entries <= 2001, "{entries}");
            assert_eq!(drained(line), (0..1000).collect::<Vec<_>>());
        }
    }
}
