//! Many tasks of one run that start or succeed one after the other: what most turns consist of, without the ceremony of single
//! events.
//!
//! The outcome is the same as event by event. Successes are counted down at their downstreams as they come, but columns
//! are written for a whole stretch at once. A stretch ends early (`flush`) when an event needs what the stretch was about to
//! launch, and whatever is not plain is left to `step.rs`: other events, nodes that are no tasks, scopes that settle,
//! deadlines, limited parallelism, runs with failures in them.

use crate::graph::NONE;
use crate::phase::{EffectKind, EventKind, Kind, Phase, RunPhase};
use crate::step::Stepper;
use crate::turn::Events;

/// Launches of the current stretch, the first `count` of each column.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launches {
    node: Vec<u32>,
    cause: Vec<u32>,
    count: usize,
}

impl Launches {
    /// Makes room for `more` launches, so that they can be written before it is known whether they are any.
    #[inline]
    fn reserve(&mut self, more: usize) {
        let needed = self.count + more;
        if self.node.len() < needed {
            self.node.resize(needed.next_power_of_two(), 0);
            self.cause.resize(needed.next_power_of_two(), 0);
        }
    }
}

impl Stepper<'_> {
    /// Applies events from `first` on for as long as they are plain successes of this run; returns how many were.
    pub(crate) fn on_successes(&mut self, events: &Events<'_>, first: usize) -> usize {
        if !self.is_plain_run() {
            return 0;
        }
        let mut begin = first;
        let mut index = first;
        while index < events.len() && self.is_success(events, index) {
            let node = events.node[index];
            if !self.is_plain_task(node, events.attempt[index]) {
                if self.scratch.launches.count == 0 {
                    break;
                }
                self.flush(events, begin, index);
                begin = index;
                continue;
            }
            let before = self.scratch.launches.count;
            self.count_down_at_downstreams(node, index as u32);
            if !self.settles_plainly(node, before) {
                let ready = self.take_launches(before);
                self.flush(events, begin, index);
                self.turn.cause = index as u32;
                self.succeed_with(node, ready);
                return index + 1 - first;
            }
            self.run.set_phase(node, Phase::Succeeded);
            index += 1;
        }
        self.flush(events, begin, index);
        if index > first && self.run.scopes[0].unsettled == 0 {
            self.turn.cause = index as u32 - 1;
            self.follow_up();
        }
        index - first
    }

    /// Applies events from `first` on for as long as they are plain starts of this run; returns how many were.
    pub(crate) fn on_starts(&mut self, events: &Events<'_>, first: usize) -> usize {
        if !self.is_plain_run() {
            return 0;
        }
        let mut index = first;
        while index < events.len() && self.is_start(events, index) {
            let node = events.node[index];
            if !self.is_plain_task(node, events.attempt[index])
                || self.run.phase_of(node) != Phase::Queued
                || self.run.is_started(node)
            {
                break;
            }
            self.run.set_started(node);
            self.run.set_phase(node, Phase::Running);
            index += 1;
        }
        let run = &*self.run;
        let attempt = |node| run.attempt(node);
        let started = &events.node[first..index];
        self.turn
            .transitions_of(self.index, started, Phase::Running, attempt);
        index - first
    }

    #[inline]
    fn is_start(&self, events: &Events<'_>, index: usize) -> bool {
        events.kind[index] == EventKind::AttemptStarted as u8
            && events.run[index] == self.index
            && events.element[index] == NONE
            && events.argument[index] == 0
    }

    /// Whether launches in this run are nothing but launches.
    fn is_plain_run(&self) -> bool {
        self.run.phase == RunPhase::Running
            && self.run.max_parallelism == 0
            && !self.graph.has_timeouts()
            && self.run.deadlines.is_empty()
            && !self.run.has_spoiled
            && !self.run.scopes.iter().any(|scope| scope.broken)
    }

    #[inline]
    fn is_success(&self, events: &Events<'_>, index: usize) -> bool {
        events.kind[index] == EventKind::AttemptSucceeded as u8
            && events.run[index] == self.index
            && events.element[index] == NONE
            && events.argument[index] == 0
    }

    #[inline]
    fn is_plain_task(&self, node: u32, attempt: u32) -> bool {
        node < self.graph.node_count()
            && self.run.phase_of(node).is_active()
            && self.graph.kind(node) == Kind::Task
            && self.run.attempt(node) == attempt
    }

    /// Tells the downstreams of a node; those that waited only for it become launches. Whether one did is as good as
    /// random, so it is written either way and counted without a branch.
    #[inline]
    fn count_down_at_downstreams(&mut self, node: u32, cause: u32) {
        let graph = self.graph;
        let downstream = graph.downstream(node);
        let launches = &mut self.scratch.launches;
        launches.reserve(downstream.len());
        let (nodes, causes) = (&mut launches.node[..], &mut launches.cause[..]);
        let before = launches.count;
        let mut count = before;
        for &next in downstream {
            nodes[count] = next;
            causes[count] = cause;
            count += usize::from(self.run.good_upstream_settled(next));
        }
        if count > before + 1 {
            nodes[before..count].sort_unstable();
        }
        launches.count = count;
    }

    /// Counts a node as settled, unless more than launches of tasks follows from that.
    #[inline]
    fn settles_plainly(&mut self, node: u32, before: usize) -> bool {
        let scope = self.graph.scope(node);
        let slot = self.graph.scope_slot(scope);
        let ready = &self.scratch.launches.node[before..self.scratch.launches.count];
        let plain = (slot == 0 || self.run.scopes[slot].unsettled > 1)
            && (self.graph.has_only_tasks()
                || ready
                    .iter()
                    .all(|node| self.graph.kind(*node) == Kind::Task));
        self.run.scopes[slot].unsettled -= u32::from(plain);
        plain
    }

    fn take_launches(&mut self, before: usize) -> Vec<u32> {
        let launches = &mut self.scratch.launches;
        let taken = launches.node[before..launches.count].to_vec();
        launches.count = before;
        taken
    }

    /// A stretch of one success that lets one node begin at most, as in a chain: rows are pushed, not copied.
    #[inline(never)]
    fn flush_one(&mut self, succeeded: u32) {
        let index = self.index;
        self.run.slots_used -= 1;
        let attempt = self.run.attempt(succeeded);
        self.turn
            .transition(index, succeeded, Phase::Succeeded as u8, attempt);
        let launches = &mut self.scratch.launches;
        if launches.count == 1 {
            launches.count = 0;
            let (node, cause) = (launches.node[0], launches.cause[0]);
            self.run.slots_used += 1;
            self.run.set_phase(node, Phase::Queued);
            let attempt = self.run.attempt(node);
            self.turn
                .transition(index, node, Phase::Queued as u8, attempt);
            self.turn.cause = cause;
            self.turn
                .effect(EffectKind::LaunchAttempts, index, node, attempt, NONE, 0);
        }
    }

    /// Writes the columns of a stretch of successes and of the launches that follow from it.
    fn flush(&mut self, events: &Events<'_>, begin: usize, end: usize) {
        if end == begin + 1 && self.scratch.launches.count <= 1 {
            self.flush_one(events.node[begin]);
            return;
        }
        let run = &mut *self.run;
        let launches = &mut self.scratch.launches;
        let succeeded = &events.node[begin..end];
        let (nodes, causes) = (
            &launches.node[..launches.count],
            &launches.cause[..launches.count],
        );
        launches.count = 0;
        run.slots_used -= succeeded.len() as u32;
        run.slots_used += nodes.len() as u32;
        nodes
            .iter()
            .for_each(|node| run.set_phase(*node, Phase::Queued));
        let attempt = |node| run.attempt(node);
        self.turn
            .transitions_of(self.index, succeeded, Phase::Succeeded, attempt);
        self.turn
            .transitions_of(self.index, nodes, Phase::Queued, attempt);
        self.turn.launches_of(self.index, nodes, attempt);
        self.turn.effects.cause.extend_from_slice(causes);
    }
}
