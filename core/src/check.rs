//! Recomputes everything that is derived from the phases and compares it with what is kept.

use crate::error::CoreError;
use crate::graph::{Graph, NONE, ORPHANED};
use crate::kernel::Kernel;
use crate::phase::{Kind, Phase, RunPhase};
use crate::run::{Handling, Run, RunState};
use crate::timer::{Clock, Limit};

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
        for (clock, &deadline) in &state.deadlines {
            if !self.timers.contains(&clock.timer(index, deadline)) {
                return Err(format!(
                    "node {} has a deadline without a timer",
                    clock.node
                ));
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
    check_slots(run)?;
    check_stops(graph, state)?;
    check_settled(graph, state)?;
    check_queue(graph, state)?;
    check_maps(graph, state)?;
    (0..graph.node_count()).try_for_each(|node| check_node(graph, state, node))?;
    state
        .deadlines
        .keys()
        .try_for_each(|clock| check_deadline(state, *clock))
}

/// Whether a node may start as far as what is around it says: all scopes are open, or failing and it handles that.
fn goes_on(graph: &Graph, state: &RunState, node: u32) -> bool {
    let mut inner = node;
    loop {
        let scope = graph.scope(inner);
        let is_open = if graph.is_failure_handler(inner) {
            state.scopes[graph.scope_slot(scope)].handling == Handling::Begun
        } else if scope == NONE {
            state.phase == RunPhase::Running
        } else {
            scope != ORPHANED
                && matches!(
                    state.phase_of(scope),
                    Phase::Running | Phase::DynamicRunning
                )
        };
        if !is_open || scope == NONE {
            return is_open;
        }
        inner = scope;
    }
}

/// Whether a task had a node inside in an attempt that is over.
fn is_orphaned(graph: &Graph, node: u32) -> bool {
    let outermost = graph.ancestors(node).last().unwrap_or(node);
    graph.scope(outermost) == ORPHANED
}

/// Whether the ends inside a scope, or inside the run, are awaited.
fn awaits_ends(graph: &Graph, state: &RunState, scope: u32) -> bool {
    let is_stopped = if scope == NONE {
        state.phase != RunPhase::Running
    } else {
        state.phase_of(scope).is_stopping()
    };
    is_stopped && state.scopes[graph.scope_slot(scope)].handling != Handling::Begun
}

/// Whether something of a node's own is under way outside.
fn is_busy(graph: &Graph, state: &RunState, node: u32) -> bool {
    let phase = state.phase_of(node);
    (phase.is_active() || phase.is_waiting()) && !state.is_open_scope(graph, node)
}

fn check_slots(run: &Run) -> Result<(), String> {
    let (graph, state) = (&*run.graph, &run.state);
    let holds_slot = |node: &u32| graph.kind(*node).takes_slot() && is_busy(graph, state, *node);
    let slots = (0..graph.node_count()).filter(holds_slot).count() as u32;
    ensure(slots == state.slots_used, || {
        format!(
            "{slots} nodes hold a slot, {} are counted",
            state.slots_used
        )
    })?;
    let max = state.max_parallelism;
    // What a task has grown gives its slot back; when the task is tried again it takes one at once.
    ensure(max == 0 || slots <= max || run.has_grown, || {
        format!("{slots} nodes run, {max} may")
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
    if awaits_ends(graph, state, NONE) {
        let counted = state.scopes[0].awaited;
        return ensure(busy == counted && busy > 0, || {
            format!("{busy} ends are awaited, {counted} are counted")
        });
    }
    for scope in graph
        .scope_nodes()
        .filter(|scope| state.is_open_scope(graph, *scope))
    {
        let is_inside_stop = graph
            .ancestors(scope)
            .any(|outer| awaits_ends(graph, state, outer));
        if !awaits_ends(graph, state, scope) || is_inside_stop {
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

/// A failure that is not to wait for others has ended everything around it, up to what handles it.
fn check_failure(graph: &Graph, state: &RunState, node: u32) -> Result<(), String> {
    let mut failed = node;
    while !graph.is_failure_handler(failed) {
        let scope = graph.scope(failed);
        let has_handler = graph.failure_handler(scope).is_some();
        let is_over = match scope {
            NONE => state.phase != RunPhase::Running && state.phase != RunPhase::Succeeded,
            ORPHANED => true,
            _ if has_handler => !matches!(state.phase_of(scope), Phase::Running | Phase::Succeeded),
            _ => state.phase_of(scope).is_terminal(),
        };
        ensure(is_over, || {
            format!("scope {scope} goes on after the failure of node {failed}")
        })?;
        if has_handler || scope >= ORPHANED {
            break;
        }
        failed = scope;
    }
    Ok(())
}

/// Upstreams and scopes count the nodes that have settled. A failure that ends what is around it is told to nobody.
fn check_settled(graph: &Graph, state: &RunState) -> Result<(), String> {
    let nodes = 0..graph.node_count();
    let mut pending = graph.indegree.clone();
    let mut spoiled = vec![false; pending.len()];
    let mut unsettled = vec![0u32; graph.scope_count()];
    let mut broken = vec![false; graph.scope_count()];
    for node in nodes.clone() {
        let phase = state.phase_of(node);
        let is_told = phase.is_settled() && (state.fails_late || !phase.is_broken());
        if phase.is_broken() && !state.fails_late {
            check_failure(graph, state, node)?;
        }
        if graph.scope(node) != ORPHANED && !graph.is_failure_handler(node) {
            let slot = graph.scope_slot(graph.scope(node));
            unsettled[slot] += u32::from(!is_told);
            broken[slot] |= phase.is_broken();
        }
        if is_told {
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
    for scope in graph.scope_nodes().chain([NONE]) {
        let slot = graph.scope_slot(scope);
        let found = state.scopes[slot];
        ensure(
            unsettled[slot] == found.unsettled
                && (broken[slot] == found.broken || !state.fails_late),
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
        state.phase_of(*node) == Phase::Undefined
            && state.pending(*node) == 0
            && goes_on(graph, state, *node)
    };
    let expected: Vec<u32> = (0..graph.node_count()).filter(may_start).collect();
    ensure(waiting == expected, || {
        format!("nodes {expected:?} may start, {waiting:?} wait for a slot")
    })?;
    ensure(waiting.is_empty() || !state.has_slot(), || {
        "tasks wait although there is a slot".to_owned()
    })
}

/// A map that goes on has something to wait for and launches as much as it may; one that has ended has not.
fn check_maps(graph: &Graph, state: &RunState) -> Result<(), String> {
    for (&node, elements) in &state.maps {
        let failed = |what| format!("map {node}: {what}");
        elements.check().map_err(failed)?;
        let phase = state.phase_of(node);
        let is_fit = match phase {
            _ if graph.kind(node) != Kind::Map => false,
            Phase::Running if elements.resolves => elements.ended() == elements.size,
            Phase::Running => elements.can_succeed() && elements.active > 0 && !elements.has_room(),
            Phase::Failing | Phase::Aborting => elements.resolves || elements.active > 0,
            _ => phase.is_terminal() && elements.active == 0,
        };
        ensure(is_fit, || {
            format!("map {node} is {phase:?} with {:?}", elements.counts())
        })?;
    }
    Ok(())
}

fn check_node(graph: &Graph, state: &RunState, node: u32) -> Result<(), String> {
    let phase = state.phase_of(node);
    let scope = graph.scope(node);
    ensure(
        phase == Phase::Undefined || scope >= ORPHANED || state.is_started(scope),
        || format!("node {node} is {phase:?} although its scope never opened"),
    )?;
    ensure(
        matches!(phase, Phase::Undefined) || state.pending(node) == 0,
        || format!("node {node} is {phase:?} before its upstreams have settled"),
    )?;
    let is_stopped = !goes_on(graph, state, node);
    ensure(
        !is_orphaned(graph, node) || !is_busy(graph, state, node),
        || format!("node {node} is {phase:?} in an attempt that is over"),
    )?;
    ensure(phase != Phase::Aborting || is_stopped, || {
        format!("node {node} is aborted for nothing")
    })?;
    ensure(
        !is_stopped || !phase.is_active() || state.is_open_scope(graph, node),
        || format!("node {node} is {phase:?} in something that is stopped"),
    )
}

fn check_deadline(state: &RunState, clock: Clock) -> Result<(), String> {
    let node = clock.node;
    let elements = state.maps.get(&node).filter(|_| clock.element != NONE);
    let (phase, is_started) = match elements {
        Some(elements) => (
            elements.phase(clock.element),
            elements.is_started(clock.element),
        ),
        None => (state.phase_of(node), state.is_started(node)),
    };
    let counts = match clock.limit {
        Limit::Active => phase.is_active() || phase == Phase::Retrying,
        Limit::Execution => matches!(phase, Phase::Running | Phase::DynamicRunning) && is_started,
        Limit::Sleep => phase == Phase::Running && is_started,
    };
    ensure(counts, || {
        format!("node {node} has a deadline as {phase:?}")
    })
}
