"""Lets a core and an oracle live through the same random events."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from flyte_kernel import Turn
from flyte_kernel.phases import TERMINAL_RUN_PHASES, EventKind
from tests.support.oracle import Event
from tests.support.oracle_driver import SideBySide
from tests.support.oracle_state import OracleTurn
from tests.support.worlds import an_event, ending

Watch = Callable[[Turn, OracleTurn], object]
"""Is told what came of every step."""

_STEPS_TO_END_MAX = 300


def _blind(turn: Turn, expected: OracleTurn) -> None:
    """Look at nothing."""


def go_on(both: SideBySide, random: Random, *, turns_max: int, events_max: int, watch: Watch = _blind) -> int:
    """Take some steps; between some of them the core is replaced by what its snapshot restores to. Return the time."""
    now = 0
    for _ in range(random.randrange(turns_max + 1)):
        now += random.choice([0, 0, 1, 2, 5, 11])
        if random.randrange(6) == 0:
            both.restore()
        events: list[Event] = []
        for _ in range(random.randrange(events_max + 1)):
            again = events and random.randrange(12) == 0
            events.append(random.choice(events) if again else an_event(random, both.oracle))
        watch(*both.step(now, events))
    return now


def bring_to_an_end(both: SideBySide, now: int, *, watch: Watch = _blind) -> None:
    """Whatever happened before, every run ends once everything under way has answered."""
    for _ in range(_STEPS_TO_END_MAX):
        events = ending(both.oracle)
        if not events:
            break
        now += 1
        watch(*both.step(now, events))
    for index, run in enumerate(both.oracle.runs):
        assert run is not None
        assert run.phase in TERMINAL_RUN_PHASES
        both.kernel.release(index)
        both.oracle.release(index)
    assert both.kernel.next_deadline() is None
    both.step(now, [Event(EventKind.ATTEMPT_SUCCEEDED, index) for index in range(len(both.oracle.runs))])
