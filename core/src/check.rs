//! Recomputes everything that is derived and compares it with what is kept.

use crate::error::CoreError;
use crate::graph::NONE;
use crate::kernel::Kernel;
use crate::phase::{Kind, Phase, RunPhase};
use crate::run::Run;

impl Kernel {
    /// Fails with the first invariant that does not hold in any run.
    pub fn check_invariants(&self) -> Result<(), CoreError> {
        for (index, run) in self.runs.iter().enumerate() {
            if let Some(run) = run {
                check_run(run)
                    .map_err(|what| CoreError::Invariant(format!("run {index}: {what}")))?;
            }
        }
        Ok(())
    }
}

fn check_run(run: &Run) -> Result<(), String> {
    let stopped = run.phase != RunPhase::Running;
    let graph = run.graph();
    let mut pending = graph.indegree.clone();
    let mut spoiled = vec![false; pending.len()];
    let mut unsettled: Vec<u32> = vec![0; graph.scope_count()];
    let (mut awaited, mut slots) = (0, 0);
    for node in 0..graph.node_count() {
        let phase = run.phase_of(node);
        let settled = phase.is_terminal() && phase != Phase::Aborted;
        unsettled[graph.scope_slot(graph.scope(node))] += u32::from(!settled);
        if settled {
            for &next in graph.downstream(node) {
                pending[next as usize] -= 1;
                spoiled[next as usize] |= !matches!(phase, Phase::Succeeded | Phase::Recovered);
            }
        }
        awaited += u32::from(phase.is_waiting());
        slots +=
            u32::from(graph.kind(node) == Kind::Task && (phase.is_active() || phase.is_waiting()));
    }
    if slots != run.slots_used {
        return Err(format!(
            "{slots} tasks hold a slot, {} are counted",
            run.slots_used
        ));
    }
    if run.max_parallelism > 0 && slots > run.max_parallelism {
        return Err(format!("{slots} tasks run, {} may", run.max_parallelism));
    }
    if awaited != run.awaited && !run.phase.is_terminal() {
        return Err(format!(
            "the end of {awaited} nodes is awaited, {} are counted",
            run.awaited
        ));
    }
    if run.phase.is_terminal() && (awaited > 0 || slots > 0) {
        return Err(format!(
            "it has ended with {awaited} nodes awaited and {slots} tasks running"
        ));
    }
    if !stopped {
        check_going(run, &pending, &spoiled, &unsettled)?;
    }
    Ok(())
}

/// What holds while nothing was stopped.
fn check_going(
    run: &Run,
    pending: &[u32],
    spoiled: &[bool],
    unsettled: &[u32],
) -> Result<(), String> {
    let graph = run.graph();
    for node in 0..graph.node_count() {
        let index = node as usize;
        let phase = run.phase_of(node);
        if pending[index] != run.pending(node) || spoiled[index] != run.is_spoiled(node) {
            return Err(format!(
                "node {node} has {} pending upstreams, {} are counted",
                pending[index],
                run.pending(node)
            ));
        }
        let scope = graph.scope(node);
        let scope_is_open =
            scope == NONE || matches!(run.phase_of(scope), Phase::Running) || phase.is_terminal();
        let waits_for_slot = run.ready.contains(&node);
        if pending[index] == 0 && phase == Phase::Undefined && scope_is_open && !waits_for_slot {
            return Err(format!("node {node} is ready and forgotten"));
        }
        if waits_for_slot && (phase != Phase::Undefined || run.has_slot()) {
            return Err(format!("node {node} waits for a slot as {phase:?}"));
        }
        if pending[index] > 0 && phase != Phase::Undefined {
            return Err(format!(
                "node {node} is {phase:?} before its upstreams have settled"
            ));
        }
    }
    for node in (0..graph.node_count())
        .filter(|node| graph.kind(*node) == Kind::Subworkflow)
        .chain([NONE])
    {
        let slot = graph.scope_slot(node);
        if run.unsettled[slot] != unsettled[slot]
            && (node == NONE || run.phase_of(node) == Phase::Running)
        {
            return Err(format!(
                "scope {node} has {} unsettled nodes, {} are counted",
                unsettled[slot], run.unsettled[slot]
            ));
        }
    }
    Ok(())
}
