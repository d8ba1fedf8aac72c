//! All runs at once: the one call that changes anything, and what can be asked.

use std::sync::Arc;

use crate::error::CoreError;
use crate::graph::{Graph, NONE};
use crate::phase::{EventKind, Kind, Refusal};
use crate::run::{Failures, Run, RunState};
use crate::step::{Scratch, Stepper, Taken};
use crate::story::Story;
use crate::timer::Timers;
use crate::turn::{Event, Events, Refused, Turn};

/// More refusals than this in one turn come without stories; a guess that keeps a hostile turn fast.
const STORIES_PER_TURN_MAX: usize = 64;

/// Graphs, runs and their timers; a deterministic function of the events it was given.
#[derive(Debug, Clone)]
pub struct Kernel {
    pub(crate) graphs: Vec<Option<Arc<Graph>>>,
    /// By run index; `None` once released.
    pub(crate) runs: Vec<Option<Box<Run>>>,
    pub(crate) timers: Timers,
    pub(crate) story: Story,
    pub(crate) scratch: Scratch,
    pub(crate) system_attempts_extra: u32,
    pub(crate) record_transitions: bool,
    pub(crate) story_capacity: usize,
}

impl Kernel {
    /// A kernel without runs. `system_attempts_extra` failures of the platform are forgiven beside the user's budget.
    pub fn new(
        system_attempts_extra: u32,
        record_transitions: bool,
        story_capacity: usize,
    ) -> Self {
        Kernel {
            graphs: Vec::new(),
            runs: Vec::new(),
            timers: Timers::default(),
            story: Story::new(story_capacity),
            scratch: Scratch::default(),
            system_attempts_extra,
            record_transitions,
            story_capacity,
        }
    }

    /// Adds a graph that runs may name; returns its index.
    pub fn add_graph(&mut self, graph: Arc<Graph>) -> u32 {
        self.graphs.push(Some(graph));
        self.graphs.len() as u32 - 1
    }

    /// Forgets a graph; runs of it go on.
    pub fn release_graph(&mut self, index: u32) -> Result<(), CoreError> {
        let slot = self
            .graphs
            .get_mut(index as usize)
            .ok_or(CoreError::UnknownGraph(index))?;
        slot.take()
            .map(|_| ())
            .ok_or(CoreError::UnknownGraph(index))
    }

    /// Applies timers that are due, then events in their order.
    pub fn step(&mut self, now: i64, events: &Events<'_>) -> Result<Turn, CoreError> {
        let mut turn = Turn::new(self.record_transitions, events.len());
        self.step_into(now, events, &mut turn)?;
        Ok(turn)
    }

    /// The same into a turn that was used before, so that its memory is used again.
    pub fn step_into(
        &mut self,
        now: i64,
        events: &Events<'_>,
        turn: &mut Turn,
    ) -> Result<(), CoreError> {
        check_lengths(events)?;
        turn.clear(self.record_transitions);
        while let Some(timer) = self.timers.due(now) {
            match self.stepper(now, timer.run, turn) {
                Some(mut stepper) => stepper.on_timer(timer),
                None => self.timers.disarm(timer),
            }
            self.shed(timer.run);
            self.story.remember_deadline(now, timer);
        }
        let mut index = 0;
        while index < events.len() {
            let plain = self.on_plain(now, events, index, turn);
            if plain == 0 {
                self.on_row(now, events, index, turn);
            }
            index += plain.max(1);
        }
        Ok(())
    }

    /// Applies as many events from `first` on as are plain starts or successes of one run; returns how many were.
    #[inline]
    fn on_plain(&mut self, now: i64, events: &Events<'_>, first: usize, turn: &mut Turn) -> usize {
        let is_start = events.kind[first] == EventKind::AttemptStarted as u8;
        if !is_start && events.kind[first] != EventKind::AttemptSucceeded as u8 {
            return 0;
        }
        let Some(mut stepper) = self.stepper(now, events.run[first], turn) else {
            return 0;
        };
        let count = if is_start {
            stepper.on_starts(events, first)
        } else if events.element[first] == NONE {
            stepper.on_successes(events, first)
        } else {
            stepper.on_element_successes(events, first)
        };
        self.story.remember_all(now, events, first, count);
        count
    }

    fn on_row(&mut self, now: i64, events: &Events<'_>, index: usize, turn: &mut Turn) {
        let event = events.row(index);
        turn.cause = index as u32;
        match self.on_event(now, event, turn) {
            Taken::Applied => self.story.remember(now, event),
            Taken::Absorbed => {
                turn.absorbed += 1;
                self.story.remember(now, event);
            }
            Taken::Refused(reason) => {
                let message = self.refusal_message(event, reason, turn.refused.len());
                turn.refused.push(Refused {
                    index: index as u32,
                    reason,
                    message,
                });
            }
        }
    }

    #[inline]
    fn on_event(&mut self, now: i64, event: Event, turn: &mut Turn) -> Taken {
        let Some(kind) = EventKind::from_u8(event.kind) else {
            return Taken::Refused(Refusal::UnknownKind);
        };
        if kind == EventKind::RunCreated {
            return self.on_run_created(now, event, turn);
        }
        if event.run as usize >= self.runs.len() {
            return Taken::Refused(Refusal::UnknownRun);
        }
        let Some(mut stepper) = self.stepper(now, event.run, turn) else {
            return Taken::Absorbed;
        };
        if kind == EventKind::RunAborted {
            return stepper.on_run_aborted();
        }
        if event.node >= stepper.graph.node_count() {
            return Taken::Refused(Refusal::UnknownNode);
        }
        if kind == EventKind::GraphGrown {
            return self.on_graph_grown(now, event, turn);
        }
        let taken = stepper.on_attempt(event, kind);
        self.shed(event.run);
        taken
    }

    fn on_graph_grown(&mut self, now: i64, event: Event, turn: &mut Turn) -> Taken {
        let named = usize::try_from(event.argument).ok();
        let inner = named.and_then(|index| self.graphs.get(index).cloned().flatten());
        let Some(mut stepper) = self.stepper(now, event.run, turn) else {
            return Taken::Absorbed;
        };
        let is_known = inner.is_some();
        let has_room = inner
            .as_ref()
            .is_none_or(|inner| stepper.graph.can_grow_by(inner));
        let taken = stepper.on_growth(event, is_known, has_room);
        self.shed(event.run);
        let (Some(inner), Some(node)) = (inner, self.scratch.growing.take()) else {
            return taken;
        };
        if let Some(run) = self.runs[event.run as usize].as_deref_mut() {
            Arc::make_mut(&mut run.graph).grow(node, &inner);
            run.has_grown = true;
            run.state.grow(&run.graph);
        }
        if let Some(mut stepper) = self.stepper(now, event.run, turn) {
            stepper.on_grown(node);
        }
        taken
    }

    /// Takes what tasks of a run had inside in earlier attempts out of its graph.
    #[inline]
    fn shed(&mut self, run: u32) {
        if self.scratch.shed.is_empty() {
            return;
        }
        let nodes = std::mem::take(&mut self.scratch.shed);
        if let Some(run) = self.runs[run as usize].as_deref_mut() {
            let graph = Arc::make_mut(&mut run.graph);
            nodes.into_iter().for_each(|node| graph.shed(node));
        }
    }

    fn on_run_created(&mut self, now: i64, event: Event, turn: &mut Turn) -> Taken {
        if (event.run as usize) < self.runs.len() {
            return Taken::Absorbed;
        }
        if event.run as usize > self.runs.len() {
            return Taken::Refused(Refusal::UnknownRun);
        }
        let Some(graph) = self.graphs.get(event.node as usize).cloned().flatten() else {
            return Taken::Refused(Refusal::UnknownGraph);
        };
        if !(0..=1).contains(&event.argument) {
            return Taken::Refused(Refusal::BadArgument);
        }
        let state = RunState::new(&graph, event.attempt, event.argument == 1);
        self.runs.push(Some(Box::new(Run {
            graph,
            graph_index: event.node,
            has_grown: false,
            state,
        })));
        if let Some(mut stepper) = self.stepper(now, event.run, turn) {
            stepper.on_created();
        }
        Taken::Applied
    }

    #[inline]
    fn stepper<'a>(&'a mut self, now: i64, index: u32, turn: &'a mut Turn) -> Option<Stepper<'a>> {
        let run = self.runs.get_mut(index as usize)?.as_deref_mut()?;
        Some(Stepper {
            now,
            index,
            graph: &run.graph,
            run: &mut run.state,
            turn,
            timers: &mut self.timers,
            scratch: &mut self.scratch,
            system_attempts_extra: self.system_attempts_extra,
        })
    }

    /// Stories are looked up only for the first refusals of a turn: each look-up reads the whole ring.
    fn refusal_message(&self, event: Event, reason: Refusal, refused_before: usize) -> String {
        let story = if refused_before < STORIES_PER_TURN_MAX {
            self.story(event.run, event.node)
        } else {
            "left out, many events of this turn were refused".to_owned()
        };
        format!("{event} was refused: {}; story: {story}", reason.text())
    }

    /// The earliest time at which a step without events would do something.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next_deadline()
    }

    /// A run that was created and not released.
    pub fn run(&self, index: u32) -> Result<&Run, CoreError> {
        self.runs
            .get(index as usize)
            .and_then(Option::as_deref)
            .ok_or(CoreError::UnknownRun(index))
    }

    /// A run in which a node is a map.
    pub fn map_run(&self, run: u32, node: u32) -> Result<&Run, CoreError> {
        let found = self.run(run)?;
        if node >= found.graph().node_count() {
            return Err(CoreError::UnknownNode { run, node });
        }
        if found.graph().kind(node) != Kind::Map {
            return Err(CoreError::NoMap { run, node });
        }
        Ok(found)
    }

    /// How many runs were ever created.
    pub fn run_count(&self) -> u32 {
        self.runs.len() as u32
    }

    /// The attempt, and the failures so far, of a node.
    pub fn counters(&self, run: u32, node: u32) -> Result<(u32, Failures), CoreError> {
        let found = self.run(run)?;
        if node >= found.graph().node_count() {
            return Err(CoreError::UnknownNode { run, node });
        }
        Ok((found.attempt(node), found.failures_of(node)))
    }

    /// Forgets a run that has ended; events for it are absorbed from now on.
    pub fn release(&mut self, run: u32) -> Result<(), CoreError> {
        if !self.run(run)?.run_phase().is_terminal() {
            return Err(CoreError::RunNotEnded(run));
        }
        self.runs[run as usize] = None;
        Ok(())
    }

    /// What is remembered of a node, and where it stands.
    pub fn story(&self, run: u32, node: u32) -> String {
        let told = self.story.tell(run, node);
        match self.run(run) {
            Ok(found) if node < found.graph().node_count() => {
                format!(
                    "{told}; it is {:?} at attempt {}",
                    found.phase_of(node),
                    found.attempt(node)
                )
            }
            _ => told,
        }
    }
}

fn check_lengths(events: &Events<'_>) -> Result<(), CoreError> {
    let expected = events.kind.len();
    let lengths = [
        ("run", events.run.len()),
        ("node", events.node.len()),
        ("attempt", events.attempt.len()),
        ("element", events.element.len()),
        ("argument", events.argument.len()),
    ];
    match lengths.into_iter().find(|(_, found)| *found != expected) {
        Some((column, found)) => Err(CoreError::ColumnLength {
            column,
            found,
            expected,
        }),
        None => Ok(()),
    }
}
