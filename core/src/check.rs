//! Recomputes everything that is derived from the phases and compares it with what is kept.

use crate::error::CoreError;
use crate::graph::{Graph, NONE};
use crate::kernel::Kernel;
use crate::phase::{Kind, Phase, RunPhase};
use crate::run::{Run, RunState};
use crate::timer::{Limit, Timer};

impl Kernel {
    /// Fails with the first invariant that does not hold in any run.
    pub fn check_invariants(&self) -> Result<(), CoreError> {
        let mut deadlines = 0;
        for (index, run) in (0u32..).zip(&self.runs) {
            if let Some(run) = run {
                let failed = |what| CoreError::Invariant(format!("run {index}: {what}"));
                check_run(run).map_err(failed)?;
                self.check_timers(index, &run.state).map_err(failed)?;
                deadlines += run.state.deadlines.len();
            }
        }
        if deadlines != self.timers.len() {
            let what = format!(
                "runs have {deadlines} deadlines, there are {} timers",
                self.timers.len()
            );
            return Err(CoreError::Invariant(what));
        }
        Ok(())
    }

    fn check_timers(&self, index: u32, state: &RunState) -> Result<(), String> {
        for (&(node, limit), &deadline) in &state.deadlines {
            if !self.timers.contains(&Timer {
                deadline,
                limit,
                run: index,
                node,
            }) {
                return Err(format!("node {node} has a deadline without a timer"));
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

fn check_run(run: &Run) -> Result<(), String> {
    let (graph, state) = (&*run.graph, &run.state);
    ensure(state.fits(graph), || {
        "its arrays do not fit its graph".to_owned()
    })?;
    check_slots(graph, state)?;
    check_stops(graph, state)?;
    check_settled(graph, state)?;
    check_queue(graph, state)?;
    (0..graph.node_count()).try_for_each(|node| check_node(graph, state, node))?;
    state
        .deadlines
        .keys()
        .try_for_each(|(node, limit)| check_deadline(state, *node, *limit))
}

/// Whether something of a node's own is under way outside.
fn is_busy(graph: &Graph, state: &RunState, node: u32) -> bool {
    let phase = state.phase_of(node);
    (phase.is_active() || phase.is_waiting()) && !state.is_open_scope(graph, node)
}

fn check_slots(graph: &Graph, state: &RunState) -> Result<(), String> {
    let is_busy_task = |node: &u32| graph.kind(*node) == Kind::Task && is_busy(graph, state, *node);
    let slots = (0..graph.node_count()).filter(is_busy_task).count() as u32;
    ensure(slots == state.slots_used, || {
        format!(
            "{slots} tasks hold a slot, {} are counted",
            state.slots_used
        )
    })?;
    let max = state.max_parallelism;
    ensure(max == 0 || slots <= max, || {
        format!("{slots} tasks run, {max} may")
    })
}

/// What is stopped counts the ends it awaits; what has ended has nothing under way.
fn check_stops(graph: &Graph, state: &RunState) -> Result<(), String> {
    let busy = (0..graph.node_count())
        .filter(|node| is_busy(graph, state, *node))
        .count() as u32;
    if state.phase.is_terminal() {
        return ensure(busy == 0 && state.deadlines.is_empty(), || {
            format!("it has ended with {busy} nodes under way")
        });
    }
    if state.phase != RunPhase::Running {
        let counted = state.scopes[0].awaited;
        return ensure(busy == counted && busy > 0, || {
            format!("{busy} ends are awaited, {counted} are counted")
        });
    }
    for scope in graph
        .subworkflows()
        .filter(|scope| state.is_open_scope(graph, *scope))
    {
        let is_inside_stop = graph
            .ancestors(scope)
            .any(|outer| state.phase_of(outer).is_stopping());
        if !state.phase_of(scope).is_stopping() || is_inside_stop {
            continue;
        }
        let inside = graph.descendants(scope);
        let busy = inside
            .iter()
            .filter(|node| is_busy(graph, state, **node))
            .count() as u32;
        let counted = state.scopes[graph.scope_slot(scope)].awaited;
        ensure(busy == counted && busy > 0, || {
            format!("scope {scope} awaits {busy} ends, {counted} are counted")
        })?;
    }
    Ok(())
}

/// Upstreams and scopes count the nodes that have settled. A failure that ends a run is told to nobody.
fn check_settled(graph: &Graph, state: &RunState) -> Result<(), String> {
    let nodes = 0..graph.node_count();
    if !state.fails_late && nodes.clone().any(|node| state.phase_of(node).is_broken()) {
        return ensure(
            state.phase != RunPhase::Running && state.phase != RunPhase::Succeeded,
            || "it goes on after a failure".to_owned(),
        );
    }
    let mut pending = graph.indegree.clone();
    let mut spoiled = vec![false; pending.len()];
    let mut unsettled = vec![0u32; graph.scope_count()];
    let mut broken = vec![false; graph.scope_count()];
    for node in nodes.clone() {
        let (phase, slot) = (state.phase_of(node), graph.scope_slot(graph.scope(node)));
        unsettled[slot] += u32::from(!phase.is_settled());
        broken[slot] |= phase.is_broken();
        if phase.is_settled() {
            for &next in graph.downstream(node) {
                pending[next as usize] -= 1;
                spoiled[next as usize] |= !phase.is_good();
            }
        }
    }
    for node in nodes {
        let (expected, found) = (pending[node as usize], state.pending(node));
        ensure(expected == found, || {
            format!("node {node} has {expected} pending upstreams, {found} are counted")
        })?;
        ensure(spoiled[node as usize] == state.is_spoiled(node), || {
            format!("node {node} is spoiled or is not")
        })?;
    }
    for scope in graph.subworkflows().chain([NONE]) {
        let slot = graph.scope_slot(scope);
        let found = state.scopes[slot];
        ensure(
            unsettled[slot] == found.unsettled && broken[slot] == found.broken,
            || {
                format!(
                    "scope {scope} has {} unsettled nodes, {found:?} is counted",
                    unsettled[slot]
                )
            },
        )?;
    }
    Ok(())
}

/// The line holds the tasks that may start and did not, each once, and only while there is no slot.
fn check_queue(graph: &Graph, state: &RunState) -> Result<(), String> {
    let mut waiting: Vec<u32> = state.ready.iter().copied().collect();
    waiting.sort_unstable();
    let may_start = |node: &u32| {
        state.phase == RunPhase::Running
            && state.phase_of(*node) == Phase::Undefined
            && state.pending(*node) == 0
            && graph
                .ancestors(*node)
                .all(|scope| state.phase_of(scope) == Phase::Running)
    };
    let expected: Vec<u32> = (0..graph.node_count()).filter(may_start).collect();
    ensure(waiting == expected, || {
        format!("nodes {expected:?} may start, {waiting:?} wait for a slot")
    })?;
    ensure(waiting.is_empty() || !state.has_slot(), || {
        "tasks wait although there is a slot".to_owned()
    })
}

fn check_node(graph: &Graph, state: &RunState, node: u32) -> Result<(), String> {
    let phase = state.phase_of(node);
    let scope = graph.scope(node);
    ensure(
        phase == Phase::Undefined || scope == NONE || state.is_started(scope),
        || format!("node {node} is {phase:?} although its scope never opened"),
    )?;
    ensure(
        matches!(phase, Phase::Undefined) || state.pending(node) == 0,
        || format!("node {node} is {phase:?} before its upstreams have settled"),
    )?;
    let is_stopped = state.phase != RunPhase::Running
        || graph
            .ancestors(node)
            .any(|scope| state.phase_of(scope).is_stopping());
    ensure(phase != Phase::Aborting || is_stopped, || {
        format!("node {node} is aborted for nothing")
    })?;
    ensure(
        !is_stopped || !phase.is_active() || state.is_open_scope(graph, node),
        || format!("node {node} is {phase:?} in something that is stopped"),
    )
}

fn check_deadline(state: &RunState, node: u32, limit: Limit) -> Result<(), String> {
    let phase = state.phase_of(node);
    let counts = match limit {
        Limit::Active => phase.is_active() || phase == Phase::Retrying,
        Limit::Execution => phase == Phase::Running && state.is_started(node),
    };
    ensure(counts, || {
        format!("node {node} has a deadline as {phase:?}")
    })
}
