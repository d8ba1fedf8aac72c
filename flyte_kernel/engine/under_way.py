"""What was asked of the outside and may not have been answered when the last server ended: phases tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from flyte_kernel.compile.program import Program
from flyte_kernel.engine.elements import ElementColumns
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.steps import Effect
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EffectKind, NodeKind, NodePhase

__all__ = ["under_way"]

_STOPPING = frozenset({NodePhase.RETRYING, NodePhase.TIMING_OUT, NodePhase.ABORTING, NodePhase.FAILING})
_UNDER_WAY = [int(phase) for phase in (NodePhase.QUEUED, NodePhase.RUNNING, *sorted(_STOPPING))]
_OPENED_BY = {
    NodeKind.SUBWORKFLOW: EffectKind.OPEN_SCOPE,
    NodeKind.BRANCH: EffectKind.DECIDE_BRANCH,
    NodeKind.MAP: EffectKind.OPEN_MAP,
    NodeKind.GATE: EffectKind.LAUNCH_ATTEMPTS,
}


def under_way(
    record: ExecutionRecord,
    program: Program,
    waiting: Callable[[ExecutionRecord], NDArray[np.bool_]],
    elements_of: Callable[[ExecutionRecord, int], ElementColumns],
) -> list[Effect]:
    """Return the effects of an execution that are to be obeyed again.

    `waiting` says which nodes only wait, for as long as the core knows, and `elements_of` where a map's elements stand.
    """
    phases = record.nodes.phase
    is_under_way = np.isin(phases, _UNDER_WAY)
    if is_under_way.any():
        is_under_way &= ~((phases == NodePhase.RUNNING) & waiting(record))
    effects = []
    for node in np.flatnonzero(is_under_way).tolist():
        kind, phase = int(program.kind[node]), int(phases[node])
        asked = _asked_for(kind, phase)
        if asked is not None and kind == NodeKind.MAP and phase != NodePhase.QUEUED:
            effects += _of_map(record, node, elements_of(record, node))
        elif asked is not None:
            effects.append(Effect(int(asked), record.run, node, int(record.nodes.attempt[node]), NO_ELEMENT, 0))
    return effects


def _of_map(record: ExecutionRecord, node: int, columns: ElementColumns) -> list[Effect]:
    """Return what was asked for a map that is open: for its elements, or for its outputs."""
    effects = []
    for element in np.flatnonzero(np.isin(columns.phase, _UNDER_WAY)).tolist():
        is_stopping = int(columns.phase[element]) in _STOPPING
        kind = EffectKind.ABORT_ATTEMPTS if is_stopping else EffectKind.LAUNCH_ATTEMPTS
        effects.append(Effect(int(kind), record.run, node, int(columns.attempt[element]), element, 0))
    if not effects:
        is_stopping = int(record.nodes.phase[node]) in _STOPPING
        kind = EffectKind.ABORT_ATTEMPTS if is_stopping else EffectKind.RESOLVE_OUTPUTS
        effects.append(Effect(int(kind), record.run, node, int(record.nodes.attempt[node]), NO_ELEMENT, 0))
    return effects


def _asked_for(kind: int, phase: int) -> EffectKind | None:
    """Return what was asked for a node in this phase and may not have been answered."""
    if phase in _STOPPING:
        return EffectKind.ABORT_ATTEMPTS
    if phase not in (NodePhase.QUEUED, NodePhase.RUNNING):
        return None
    if kind == NodeKind.END:
        return EffectKind.RESOLVE_OUTPUTS
    if kind in _OPENED_BY:
        is_open = phase != NodePhase.QUEUED and kind != NodeKind.MAP
        return None if is_open else _OPENED_BY[NodeKind(kind)]
    return EffectKind.LAUNCH_ATTEMPTS
