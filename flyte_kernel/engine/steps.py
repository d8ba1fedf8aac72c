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

__all__ = ["COLUMNAR_MIN", "PLAIN_EFFECTS", "PLAIN_PHASES", "Effect", "Step", "among"]

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


class Step:
    """A step of the core and the events it took.

    `has_beginnings_only` says whether the effects do no more than begin nodes; `is_plain` whether attempts start or
    succeed and nodes go on, and nothing else: nothing ends, fails or is refused.
    """

    __slots__ = ("_effects", "events", "has_beginnings_only", "is_plain", "turn")

    def __init__(self, events: EventColumns, turn: Turn) -> None:
        self.events = events
        self.turn = turn
        self.has_beginnings_only = _all_in(turn.effect_kind, PLAIN_EFFECTS) and _are_all(
            turn.effect_element, NO_ELEMENT
        )
        self.is_plain = (
            self.has_beginnings_only
            and _all_in(events.kind, PLAIN_EVENTS)
            and _are_all(events.element, NO_ELEMENT)
            and _all_in(turn.transition_phase, PLAIN_PHASES)
            and NO_NODE not in turn.transition_node.tolist()
            and not len(turn.refused_event)
            and not turn.absorbed
        )
        self._effects: list[Effect] | None = None

    @property
    def effects(self) -> list[Effect]:
        """The turn's effects as rows; a replay never asks."""
        if self._effects is None:
            self._effects = _effects_of(self.turn)
        return self._effects


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


def among(column: NDArray[np.uint8], values: Sequence[int]) -> NDArray[np.bool_]:
    """Return for each row whether it is one of some small numbers; np.isin sorts, this looks up."""
    table = np.zeros(256, np.bool_)
    table[list(values)] = True
    return table[column]


def _all_in(column: NDArray[np.uint8], values: Sequence[int]) -> bool:
    return bool(among(column, values).all()) if len(column) >= COLUMNAR_MIN else set(column.tolist()) <= {*values}


def _are_all(column: NDArray[np.uint32], value: int) -> bool:
    return bool((column == value).all()) if len(column) >= COLUMNAR_MIN else set(column.tolist()) <= {value}
