"""Steps of the core as the fold takes them, and which of them are so plain that many may be folded at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flyte_kernel import Turn
from flyte_kernel.engine.turns import NO_NODE, EventColumns
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EffectKind, EventKind, NodePhase

__all__ = ["COLUMNAR_MIN", "PLAIN_EFFECTS", "PLAIN_PHASES", "Effect", "Step", "are_beginnings"]

COLUMNAR_MIN = 64  # rows from which on arrays pay
PLAIN_EVENTS = [int(kind) for kind in (EventKind.ATTEMPT_STARTED, EventKind.ATTEMPT_SUCCEEDED)]
PLAIN_PHASES = [int(phase) for phase in (NodePhase.QUEUED, NodePhase.RUNNING, NodePhase.SUCCEEDED)]
PLAIN_EFFECTS = [
    int(kind)
    for kind in (
        EffectKind.LAUNCH_ATTEMPTS,
        EffectKind.OPEN_SCOPE,
        EffectKind.DECIDE_BRANCH,
        EffectKind.OPEN_MAP,
        EffectKind.RESOLVE_OUTPUTS,
    )
]


class Effect(NamedTuple):
    """One row of the core's effect columns; `kind` is a phases.EffectKind."""

    kind: int
    run: int
    node: int
    attempt: int
    element: int
    argument: int


class Step(NamedTuple):
    """A step of the core and the events it took.

    It is plain if attempts that began just before start or succeed and nodes go on: nothing ends, fails or is refused.
    """

    events: EventColumns
    turn: Turn
    effects: list[Effect]
    is_plain: bool

    @classmethod
    def of(cls, events: EventColumns, turn: Turn) -> Step:
        """Return the step that took `events` and came to `turn`."""
        effects = _effects_of(turn)
        return cls(events, turn, effects, _is_plain(events, turn, effects))


def _effects_of(turn: Turn) -> list[Effect]:
    rows = zip(
        turn.effect_kind.tolist(),
        turn.effect_run.tolist(),
        turn.effect_node.tolist(),
        turn.effect_attempt.tolist(),
        turn.effect_element.tolist(),
        turn.effect_argument.tolist(),
        strict=True,
    )
    return list(map(Effect._make, rows))


def _is_plain(events: EventColumns, turn: Turn, effects: Sequence[Effect]) -> bool:
    return (
        _all_in(events.kind, PLAIN_EVENTS)
        and _all_in(turn.transition_phase, PLAIN_PHASES)
        and NO_NODE not in turn.transition_node.tolist()
        and are_beginnings(turn, effects)
        and not len(turn.refused_event)
        and not turn.absorbed
    )


def are_beginnings(turn: Turn, effects: Sequence[Effect]) -> bool:
    """Whether effects do no more than begin nodes."""
    if len(effects) < COLUMNAR_MIN:
        return all(effect.kind in PLAIN_EFFECTS and effect.element == NO_ELEMENT for effect in effects)
    return _all_in(turn.effect_kind, PLAIN_EFFECTS) and bool((turn.effect_element == NO_ELEMENT).all())


def _all_in(column: NDArray[np.uint8], values: Sequence[int]) -> bool:
    return bool(np.isin(column, values).all()) if len(column) >= COLUMNAR_MIN else set(column.tolist()) <= {*values}
