//! What goes into a step and what comes out of it: columns.

use std::fmt;

use crate::graph::NONE;
use crate::phase::{EffectKind, EventKind, Phase, Refusal};

/// Events in columns of one length.
#[derive(Debug, Clone, Copy)]
pub struct Events<'a> {
    pub kind: &'a [u8],
    pub run: &'a [u32],
    pub node: &'a [u32],
    pub attempt: &'a [u32],
    /// Which element of a map, `NONE` for everything else.
    pub element: &'a [u32],
    pub argument: &'a [i64],
}

/// One row of `Events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub kind: u8,
    pub run: u32,
    pub node: u32,
    pub attempt: u32,
    pub element: u32,
    pub argument: i64,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event {
            kind,
            run,
            node,
            attempt,
            element,
            argument,
        } = self;
        match EventKind::from_u8(*kind) {
            Some(EventKind::RunCreated) => {
                return write!(
                    formatter,
                    "RunCreated of run {run}, graph {node}, parallelism {attempt}, argument {argument}"
                );
            }
            Some(EventKind::RunAborted) => return write!(formatter, "RunAborted of run {run}"),
            Some(kind) => write!(formatter, "{kind:?} of run {run}, node {node}, ")?,
            None => write!(formatter, "event {kind} of run {run}, node {node}, ")?,
        }
        if *element != NONE {
            write!(formatter, "element {element}, ")?;
        }
        write!(formatter, "attempt {attempt}, argument {argument}")
    }
}

impl Events<'_> {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.kind.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    /// One event; columns must be of one length.
    #[inline]
    pub fn row(&self, index: usize) -> Event {
        Event {
            kind: self.kind[index],
            run: self.run[index],
            node: self.node[index],
            attempt: self.attempt[index],
            element: self.element[index],
            argument: self.argument[index],
        }
    }
}

/// Effects in columns; `cause` is the index of the event behind each, `NONE` for a timer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    pub kind: Vec<u8>,
    pub run: Vec<u32>,
    pub node: Vec<u32>,
    pub attempt: Vec<u32>,
    pub element: Vec<u32>,
    pub argument: Vec<i64>,
    pub cause: Vec<u32>,
}

/// Phases that changed, in order; node `NONE` is the run itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transitions {
    pub run: Vec<u32>,
    pub node: Vec<u32>,
    pub phase: Vec<u8>,
    pub attempt: Vec<u32>,
}

/// An event that was refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub index: u32,
    pub reason: Refusal,
    pub message: String,
}

/// What one step came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn {
    pub effects: Effects,
    pub transitions: Transitions,
    pub refused: Vec<Refused>,
    pub absorbed: u64,
    pub(crate) cause: u32,
    pub(crate) record_transitions: bool,
}

impl Turn {
    pub(crate) fn new(record_transitions: bool, events: usize) -> Self {
        let mut turn = Turn {
            record_transitions,
            cause: NONE,
            ..Turn::default()
        };
        turn.effects.reserve(events);
        if record_transitions {
            turn.transitions.reserve(2 * events);
        }
        turn
    }

    /// Makes it as new, memory aside.
    pub(crate) fn clear(&mut self, record_transitions: bool) {
        self.effects.clear();
        self.transitions.clear();
        self.refused.clear();
        self.absorbed = 0;
        self.cause = NONE;
        self.record_transitions = record_transitions;
    }

    #[inline]
    pub(crate) fn effect(
        &mut self,
        kind: EffectKind,
        run: u32,
        node: u32,
        attempt: u32,
        element: u32,
        argument: i64,
    ) {
        let effects = &mut self.effects;
        effects.kind.push(kind as u8);
        effects.run.push(run);
        effects.node.push(node);
        effects.attempt.push(attempt);
        effects.element.push(element);
        effects.argument.push(argument);
        effects.cause.push(self.cause);
    }

    #[inline]
    pub(crate) fn transition(&mut self, run: u32, node: u32, phase: u8, attempt: u32) {
        if self.record_transitions {
            self.transitions.run.push(run);
            self.transitions.node.push(node);
            self.transitions.phase.push(phase);
            self.transitions.attempt.push(attempt);
        }
    }
}

impl Turn {
    /// Appends transitions of some nodes of a run to one phase.
    pub(crate) fn transitions_of(
        &mut self,
        run: u32,
        nodes: &[u32],
        phase: Phase,
        attempt: impl Fn(u32) -> u32,
    ) {
        if self.record_transitions {
            let transitions = &mut self.transitions;
            let rows = transitions.run.len() + nodes.len();
            transitions.run.resize(rows, run);
            transitions.node.extend_from_slice(nodes);
            transitions.phase.resize(rows, phase as u8);
            transitions
                .attempt
                .extend(nodes.iter().map(|node| attempt(*node)));
        }
    }

    /// Appends launches of some nodes of a run, but for their causes.
    pub(crate) fn launches_of(&mut self, run: u32, nodes: &[u32], attempt: impl Fn(u32) -> u32) {
        let effects = &mut self.effects;
        let rows = effects.run.len() + nodes.len();
        effects.kind.resize(rows, EffectKind::LaunchAttempts as u8);
        effects.run.resize(rows, run);
        effects.node.extend_from_slice(nodes);
        effects
            .attempt
            .extend(nodes.iter().map(|node| attempt(*node)));
        effects.element.resize(rows, NONE);
        effects.argument.resize(rows, 0);
    }
}

impl Effects {
    fn clear(&mut self) {
        self.kind.clear();
        self.run.clear();
        self.node.clear();
        self.attempt.clear();
        self.element.clear();
        self.argument.clear();
        self.cause.clear();
    }

    fn reserve(&mut self, rows: usize) {
        self.kind.reserve(rows);
        self.run.reserve(rows);
        self.node.reserve(rows);
        self.attempt.reserve(rows);
        self.element.reserve(rows);
        self.argument.reserve(rows);
        self.cause.reserve(rows);
    }
}

impl Transitions {
    fn clear(&mut self) {
        self.run.clear();
        self.node.clear();
        self.phase.clear();
        self.attempt.clear();
    }

    fn reserve(&mut self, rows: usize) {
        self.run.reserve(rows);
        self.node.reserve(rows);
        self.phase.reserve(rows);
        self.attempt.reserve(rows);
    }
}
