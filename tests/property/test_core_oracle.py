"""For every graph and every order of events the core says what the oracle says, and its invariants hold."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_kernel.phases import TERMINAL_RUN_PHASES, EventKind
from tests.support.oracle import Event, Shape
from tests.support.oracle_driver import SideBySide
from tests.support.worlds import Turn, ending, event_of, nests, shapes, turns

_STEPS_TO_END_MAX = 200


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    graphs=st.lists(shapes(), min_size=1, max_size=2),
    created=st.lists(
        st.tuples(st.integers(0, 1), st.sampled_from([0, 0, 1, 2, 3]), st.integers(0, 1)), min_size=1, max_size=3
    ),
    system_attempts_extra=st.integers(0, 2),
    happenings=turns(),
)
def test_core_and_oracle_agree(
    graphs: list[Shape],
    created: list[tuple[int, int, int]],
    system_attempts_extra: int,
    happenings: list[Turn],
) -> None:
    both = SideBySide(graphs, system_attempts_extra)
    creations = [
        Event(EventKind.RUN_CREATED, index, graph % len(graphs), parallelism, policy)
        for index, (graph, parallelism, policy) in enumerate(created)
    ]
    both.step(0, creations)
    now = 0
    for turn in happenings:
        now += turn.elapsed
        if turn.restores:
            both.restore()
        both.step(now, [event_of(choice, both.oracle) for choice in turn.choices])
    bring_to_an_end(both, now)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(graph=nests(), fails_late=st.booleans(), happenings=turns())
def test_stops_that_meet(graph: Shape, fails_late: bool, happenings: list[Turn]) -> None:
    both = SideBySide([graph])
    both.step(0, [Event(EventKind.RUN_CREATED, 0, 0, 0, int(fails_late))])
    for _ in range(3):  # open what can be opened before time passes
        both.step(0, [event for event in ending(both.oracle) if event.kind == EventKind.SCOPE_OPENED])
    now = 0
    for turn in happenings:
        now += turn.elapsed
        both.step(now, [event_of(choice, both.oracle) for choice in turn.choices[:2]])
    bring_to_an_end(both, now)


def bring_to_an_end(both: SideBySide, now: int) -> None:
    """Whatever happened before, every run ends once everything under way has answered."""
    for _ in range(_STEPS_TO_END_MAX):
        events = ending(both.oracle)
        if not events:
            break
        now += 1
        both.step(now, events)
    for index, run in enumerate(both.oracle.runs):
        assert run is not None
        assert run.phase in TERMINAL_RUN_PHASES
        both.kernel.release(index)
        both.oracle.release(index)
    assert both.kernel.next_deadline() is None
    both.step(now, [Event(EventKind.ATTEMPT_SUCCEEDED, index) for index in range(len(both.oracle.runs))])
