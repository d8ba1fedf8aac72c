//! One run for callers who want ready nodes instead of events and effects: a kernel, and the line of what may begin.
//!
//! Scopes open and end nodes resolve by themselves. Nodes wait in the line until the caller takes them; of those, at most
//! `max_parallelism` are out at once, the ones of highest priority first. What was called off before it was taken is
//! confirmed at once, what was taken is listed in `cancelled` until the caller says that it is gone.
//!
//! That a node was taken, and so started, is left in `columns` for the next step: most often that is the one of its end,
//! and one step of two events costs little more than one of one. Whoever asks for what starts change calls `catch_up`; so
//! does whoever takes many, so that no later call has much to do for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::CoreError;
use crate::graph::{Graph, NONE};
use crate::kernel::Kernel;
use crate::line::Line;
use crate::phase::{EffectKind, EventKind, Kind, Phase, RunPhase};
use crate::turn::{Events, Turn};

/// Starts that wait for the next step at most; a guess: as many as are told with hardly more effort than one.
const STARTS_MAX: usize = 64;

/// The columns of one step; kept to spare their allocation.
#[derive(Debug, Default)]
struct Columns {
    kind: Vec<u8>,
    run: Vec<u32>,
    node: Vec<u32>,
    attempt: Vec<u32>,
    element: Vec<u32>,
    argument: Vec<i64>,
}

impl Columns {
    fn push(&mut self, kind: EventKind, node: u32, attempt: u32, argument: i64) {
        self.kind.push(kind as u8);
        self.run.push(0);
        self.node.push(node);
        self.attempt.push(attempt);
        self.element.push(NONE);
        self.argument.push(argument);
    }

    fn clear(&mut self) {
        self.kind.clear();
        self.run.clear();
        self.node.clear();
        self.attempt.clear();
        self.element.clear();
        self.argument.clear();
    }
}

/// A run and its line.
#[derive(Debug)]
pub struct Driver {
    kernel: Kernel,
    now: i64,
    max_parallelism: u32,
    priority: Vec<i64>,
    line: Line,
    /// Nodes that the caller has taken and that have not ended.
    taken: Vec<bool>,
    taken_count: u32,
    cancelled: BTreeSet<u32>,
    columns: Columns,
    turn: Turn,
}

impl Driver {
    /// Starts a run; `priority` is empty or has a number for every node.
    pub fn new(
        graph: Arc<Graph>,
        max_parallelism: u32,
        fails_late: bool,
        system_attempts_extra: u32,
        priority: Vec<i64>,
        now: i64,
    ) -> Result<Self, CoreError> {
        let nodes = graph.node_count() as usize;
        if !priority.is_empty() && priority.len() != nodes {
            return Err(CoreError::ColumnLength {
                column: "priority",
                found: priority.len(),
                expected: nodes,
            });
        }
        let is_hard = |node: &u32| matches!(graph.kind(*node), Kind::Branch | Kind::Map);
        if let Some(node) = (0..graph.node_count()).find(is_hard) {
            return Err(CoreError::NeedsKernel { node });
        }
        let mut kernel = Kernel::new(system_attempts_extra, false, 256);
        kernel.add_graph(graph);
        let mut driver = Driver {
            kernel,
            now,
            max_parallelism,
            line: Line::new(nodes, !priority.is_empty()),
            priority,
            taken: vec![false; nodes],
            taken_count: 0,
            cancelled: BTreeSet::new(),
            columns: Columns::default(),
            turn: Turn::default(),
        };
        driver
            .columns
            .push(EventKind::RunCreated, 0, 0, i64::from(fails_late));
        driver.step()?;
        Ok(driver)
    }

    /// The same run out of what `snapshot` gave; nodes that were taken are in the line again.
    pub fn restore(
        bytes: &[u8],
        max_parallelism: u32,
        priority: Vec<i64>,
    ) -> Result<Self, CoreError> {
        let kernel = Kernel::restore(bytes)?;
        let nodes = kernel.run(0)?.graph().node_count();
        let mut driver = Driver {
            kernel,
            now: 0,
            max_parallelism,
            line: Line::new(nodes as usize, !priority.is_empty()),
            priority,
            taken: vec![false; nodes as usize],
            taken_count: 0,
            cancelled: BTreeSet::new(),
            columns: Columns::default(),
            turn: Turn::default(),
        };
        for node in 0..nodes {
            let phase = driver.phase(node);
            let kind = driver.graph().kind(node);
            if phase.is_active() && !kind.is_scope() && kind != Kind::End {
                driver.on_launch(node);
            } else if phase.is_waiting() && !kind.is_scope() {
                let attempt = driver.attempt(node);
                driver
                    .columns
                    .push(EventKind::AttemptAborted, node, attempt, 0);
            }
        }
        driver.step()?;
        Ok(driver)
    }

    /// Everything as bytes.
    pub fn snapshot(&mut self) -> Result<Vec<u8>, CoreError> {
        self.catch_up()?;
        self.kernel.snapshot()
    }

    /// The graph that runs.
    pub fn graph(&self) -> &Arc<Graph> {
        match self.kernel.run(0) {
            Ok(run) => run.graph(),
            Err(_) => unreachable!("the only run is never released"),
        }
    }

    pub fn run_phase(&self) -> RunPhase {
        self.kernel
            .run(0)
            .map_or(RunPhase::Aborted, |run| run.run_phase())
    }

    /// Where a node stands, but that one which was taken may still be QUEUED.
    fn phase(&self, node: u32) -> Phase {
        self.kernel
            .run(0)
            .map_or(Phase::Undefined, |run| run.phase_of(node))
    }

    pub fn attempt(&self, node: u32) -> u32 {
        self.kernel.run(0).map_or(0, |run| run.attempt(node))
    }

    pub fn phases(&mut self) -> Result<Vec<u8>, CoreError> {
        self.catch_up()?;
        Ok(self.kernel.run(0)?.phases())
    }

    pub fn story(&mut self, node: u32) -> Result<String, CoreError> {
        self.catch_up()?;
        Ok(self.kernel.story(0, node))
    }

    /// What was given for every node, or nothing.
    pub fn priority(&self) -> &[i64] {
        &self.priority
    }

    pub fn next_deadline(&mut self) -> Result<Option<i64>, CoreError> {
        self.catch_up()?;
        Ok(self.kernel.next_deadline())
    }

    pub fn check_invariants(&mut self) -> Result<(), CoreError> {
        self.catch_up()?;
        self.kernel.check_invariants()
    }

    /// Nodes that were called off after they were taken and are not said to be gone.
    pub fn cancelled(&self) -> impl Iterator<Item = u32> + '_ {
        self.cancelled.iter().copied()
    }

    /// How many nodes may be taken now.
    pub fn ready_count(&self) -> usize {
        let room = match self.max_parallelism {
            0 => usize::MAX,
            max => max.saturating_sub(self.taken_count) as usize,
        };
        self.line.len().min(room)
    }

    /// The nodes that may be taken now, in the order in which `take` would.
    pub fn ready(&self) -> Vec<u32> {
        self.line.first(self.ready_count())
    }

    /// Takes as many ready nodes as there are, `limit` at most; they are RUNNING from now on.
    pub fn take(&mut self, limit: usize) -> Result<Vec<u32>, CoreError> {
        let count = self.ready_count().min(limit);
        let mut nodes = Vec::with_capacity(count);
        for _ in 0..count {
            nodes.extend(self.take_one()?);
        }
        Ok(nodes)
    }

    /// Takes the first ready node, if there is one.
    pub fn take_one(&mut self) -> Result<Option<u32>, CoreError> {
        if self.ready_count() == 0 {
            return Ok(None);
        }
        let Some(node) = self.line.pop() else {
            return Ok(None);
        };
        self.on_taken(node);
        let attempt = self.attempt(node);
        self.columns
            .push(EventKind::AttemptStarted, node, attempt, 0);
        if self.columns.kind.len() >= STARTS_MAX {
            self.step()?;
        }
        Ok(Some(node))
    }

    /// Says that something happened to nodes; nothing has if any of them cannot have it.
    pub fn tell(&mut self, kind: EventKind, nodes: &[u32], argument: i64) -> Result<(), CoreError> {
        let count = self.taken.len() as u32;
        for &node in nodes {
            if node >= count {
                return Err(CoreError::UnknownNode { run: 0, node });
            }
            if self.taken[node as usize] && kind != EventKind::AttemptAborted {
                continue; // it was ready and is none that moves by itself
            }
            let (phase, shape) = (self.phase(node), self.graph().kind(node));
            if shape.is_scope() || matches!(shape, Kind::Start | Kind::End) {
                return Err(CoreError::MovesByItself { node });
            }
            if matches!(phase, Phase::Undefined | Phase::Skipped) {
                let story = self.story(node)?;
                return Err(CoreError::NotReady { node, story });
            }
            if kind == EventKind::AttemptAborted && phase.is_active() {
                return Err(CoreError::NotCalledOff { node });
            }
        }
        for &node in nodes {
            if self.phase(node).is_terminal() {
                continue;
            }
            let attempt = self.attempt(node);
            if kind == EventKind::AttemptStarted {
                self.take_out_of_line(node);
            } else if self.taken[node as usize] {
                self.taken[node as usize] = false;
                self.taken_count -= 1;
                self.cancelled.remove(&node);
            } else {
                self.line.remove(node);
            }
            self.columns.push(kind, node, attempt, argument);
        }
        self.step()
    }

    /// Calls everything off.
    pub fn abort(&mut self) -> Result<(), CoreError> {
        self.columns.push(EventKind::RunAborted, NONE, 0, 0);
        self.step()
    }

    /// Lets time pass: limits that are reached take effect.
    pub fn tick(&mut self, now: i64) -> Result<(), CoreError> {
        self.catch_up()?;
        self.now = now;
        self.step()
    }

    fn on_taken(&mut self, node: u32) {
        if !std::mem::replace(&mut self.taken[node as usize], true) {
            self.taken_count += 1;
        }
    }

    fn take_out_of_line(&mut self, node: u32) {
        if !self.taken[node as usize] {
            self.line.remove(node);
            self.on_taken(node);
        }
    }

    fn on_launch(&mut self, node: u32) {
        let priority = self.priority.get(node as usize).copied().unwrap_or(0);
        self.line.push(node, priority);
    }

    /// Has the kernel know of everything that was taken.
    fn catch_up(&mut self) -> Result<(), CoreError> {
        if self.columns.kind.is_empty() {
            return Ok(());
        }
        self.step()
    }

    /// Steps until nothing follows by itself any more.
    fn step(&mut self) -> Result<(), CoreError> {
        loop {
            let columns = &self.columns;
            let events = Events {
                kind: &columns.kind,
                run: &columns.run,
                node: &columns.node,
                attempt: &columns.attempt,
                element: &columns.element,
                argument: &columns.argument,
            };
            let stepped = self.kernel.step_into(self.now, &events, &mut self.turn);
            self.columns.clear();
            stepped?;
            self.obey();
            if self.columns.kind.is_empty() {
                return Ok(());
            }
        }
    }

    /// Answers what answers itself, puts launches into the line.
    fn obey(&mut self) {
        for place in 0..self.turn.effects.kind.len() {
            let effects = &self.turn.effects;
            let (node, attempt) = (effects.node[place], effects.attempt[place]);
            match EffectKind::from_u8(effects.kind[place]) {
                Some(EffectKind::LaunchAttempts) => self.on_launch(node),
                Some(EffectKind::OpenScope) => {
                    self.columns.push(EventKind::ScopeOpened, node, attempt, 0);
                }
                Some(EffectKind::ResolveOutputs) => {
                    self.columns
                        .push(EventKind::AttemptSucceeded, node, attempt, 0);
                }
                Some(EffectKind::AbortAttempts) if self.taken[node as usize] => {
                    self.cancelled.insert(node);
                }
                Some(EffectKind::AbortAttempts) => {
                    self.line.remove(node);
                    self.columns
                        .push(EventKind::AttemptAborted, node, attempt, 0);
                }
                _ => {}
            }
        }
    }
}
