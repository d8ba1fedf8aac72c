"""Every phase with every event, against a table; every step from phase to phase that is legal, taken once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flyte_kernel.phases import EventKind, FailureClass, NodePhase, RefusalReason, RunPhase
from tests.support.core_world import CoreWorld, shape
from tests.support.oracle import Event
from tests.support.oracle_driver import step

P = NodePhase
NODE = 0
EVENTS = {
    "started": (EventKind.ATTEMPT_STARTED, 0),
    "succeeded": (EventKind.ATTEMPT_SUCCEEDED, 0),
    "failed, retriable": (EventKind.ATTEMPT_FAILED, FailureClass.USER_RECOVERABLE),
    "failed, system": (EventKind.ATTEMPT_FAILED, FailureClass.SYSTEM_RECOVERABLE),
    "failed": (EventKind.ATTEMPT_FAILED, FailureClass.PERMANENT),
    "aborted": (EventKind.ATTEMPT_ABORTED, 0),
    "opened": (EventKind.SCOPE_OPENED, 0),
}
ABSORBED = "absorbed"
NEVER, MISFIT, UNASKED = RefusalReason.NEVER_LAUNCHED, RefusalReason.WRONG_NODE_KIND, RefusalReason.NOT_AWAITED

# One node (0) in the phase that the key says, and a task (1) that keeps the run alive.


def task(phase: NodePhase) -> CoreWorld:
    waits = phase in (P.UNDEFINED, P.SKIPPED)
    limits = {P.FAILING: (1, 5, 0), P.RETRYING: (9, 5, 0), P.TIMING_OUT: (9, 0, 5), P.TIMED_OUT: (9, 0, 5)}
    attempts_max, execution, active = limits.get(phase, (9, 0, 0))
    world = CoreWorld(
        shape(
            "ttt",
            [(2, 0)] if waits else [],
            attempts_max={0: attempts_max},
            execution_timeout={0: execution},
            active_timeout={0: active},
        ),
        fails_late=True,
    )
    if phase in (P.RUNNING, P.FAILING, P.RETRYING):
        world.started(NODE)
    if phase in limits:
        world.passes(5)
    if phase in (P.SUCCEEDED, P.FAILED, P.SKIPPED, P.TIMED_OUT):
        world.step(
            {
                P.SUCCEEDED: Event(EventKind.ATTEMPT_SUCCEEDED, 0, NODE),
                P.FAILED: Event(EventKind.ATTEMPT_FAILED, 0, NODE, 0, argument=FailureClass.PERMANENT),
                P.SKIPPED: Event(EventKind.ATTEMPT_FAILED, 0, 2, 0, argument=FailureClass.PERMANENT),
                P.TIMED_OUT: Event(EventKind.ATTEMPT_ABORTED, 0, NODE),
            }[phase],
            now=5,
        )
    if phase in (P.ABORTING, P.ABORTED):
        world.aborted()
    if phase == P.ABORTED:
        world.gone(NODE)
    return world


def scope(phase: NodePhase, *, opened: bool = True) -> CoreWorld:
    waits = phase in (P.UNDEFINED, P.SKIPPED)
    limits = {P.FAILING: (1, 5, 0), P.RETRYING: (9, 5, 0), P.TIMING_OUT: (9, 0, 5), P.TIMED_OUT: (9, 0, 5)}
    attempts_max, execution, active = limits.get(phase, (9, 0, 0))
    world = CoreWorld(
        shape(
            "wttt",
            [(2, 0)] if waits else [],
            scope={3: 0},
            attempts_max={0: attempts_max},
            execution_timeout={0: execution},
            active_timeout={0: active},
        ),
        fails_late=True,
    )
    if phase == P.SKIPPED:
        world.failed(2, FailureClass.PERMANENT)
    if not waits and phase != P.QUEUED and opened:
        world.opened(NODE)
    if phase in limits:
        world.passes(5)
    if phase in (P.SUCCEEDED, P.FAILED):
        world.succeeded(3) if phase == P.SUCCEEDED else world.failed(3, FailureClass.PERMANENT)
    if phase in (P.ABORTING, P.ABORTED):
        world.aborted()
    if phase in (P.ABORTED, P.TIMED_OUT):
        world.gone(3 if opened else NODE, now=5)
    if phase == P.ABORTED and opened:
        world.gone(1)
        world.gone(2)
    return world


def row(*outcomes: object) -> dict[str, object]:
    return dict(zip(EVENTS, outcomes, strict=True))


LATE = (ABSORBED, ABSORBED, ABSORBED, ABSORBED, ABSORBED, ABSORBED)
TASKS: dict[NodePhase, dict[str, object]] = {
    P.UNDEFINED: row(NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, MISFIT),
    P.QUEUED: row(P.RUNNING, P.SUCCEEDED, P.RUNNING, P.RUNNING, P.FAILED, UNASKED, MISFIT),
    P.RUNNING: row(ABSORBED, P.SUCCEEDED, P.RUNNING, P.RUNNING, P.FAILED, UNASKED, MISFIT),
    P.SUCCEEDED: row(*LATE, MISFIT),
    P.FAILING: row(ABSORBED, P.FAILED, P.FAILED, P.FAILED, P.FAILED, P.FAILED, MISFIT),
    P.FAILED: row(*LATE, MISFIT),
    P.ABORTED: row(*LATE, MISFIT),
    P.SKIPPED: row(NEVER, NEVER, NEVER, NEVER, NEVER, NEVER, MISFIT),
    P.TIMED_OUT: row(*LATE, MISFIT),
    P.RETRYING: row(ABSORBED, P.RUNNING, P.RUNNING, P.RUNNING, P.RUNNING, P.RUNNING, MISFIT),
    P.TIMING_OUT: row(ABSORBED, P.TIMED_OUT, P.TIMED_OUT, P.TIMED_OUT, P.TIMED_OUT, P.TIMED_OUT, MISFIT),
    P.ABORTING: row(ABSORBED, P.ABORTED, P.ABORTED, P.ABORTED, P.ABORTED, P.ABORTED, MISFIT),
}
OPEN_SCOPES: dict[NodePhase, dict[str, object]] = {
    P.UNDEFINED: row(MISFIT, MISFIT, NEVER, NEVER, NEVER, NEVER, NEVER),
    P.QUEUED: row(MISFIT, MISFIT, P.QUEUED, P.QUEUED, P.FAILED, UNASKED, P.RUNNING),
    P.RUNNING: row(MISFIT, MISFIT, UNASKED, UNASKED, UNASKED, UNASKED, ABSORBED),
    P.SUCCEEDED: row(MISFIT, MISFIT, *LATE[:5]),
    P.FAILING: row(MISFIT, MISFIT, *LATE[:5]),
    P.FAILED: row(MISFIT, MISFIT, *LATE[:5]),
    P.ABORTED: row(MISFIT, MISFIT, *LATE[:5]),
    P.SKIPPED: row(MISFIT, MISFIT, NEVER, NEVER, NEVER, NEVER, NEVER),
    P.TIMED_OUT: row(MISFIT, MISFIT, *LATE[:5]),
    P.RETRYING: row(MISFIT, MISFIT, *LATE[:5]),
    P.TIMING_OUT: row(MISFIT, MISFIT, *LATE[:5]),
}
OPENING_SCOPES: dict[NodePhase, dict[str, object]] = {
    P.ABORTED: row(MISFIT, MISFIT, *LATE[:5]),
    P.TIMED_OUT: row(MISFIT, MISFIT, *LATE[:5]),
    P.TIMING_OUT: row(MISFIT, MISFIT, P.TIMED_OUT, P.TIMED_OUT, P.TIMED_OUT, P.TIMED_OUT, ABSORBED),
    P.ABORTING: row(MISFIT, MISFIT, P.ABORTED, P.ABORTED, P.ABORTED, P.ABORTED, ABSORBED),
}
CASES = [
    pytest.param(build, phase, event, outcome, id=f"{name} {phase.name} {event}")
    for name, build, table in (
        ("task", task, TASKS),
        ("scope", scope, OPEN_SCOPES),
        ("opening scope", lambda phase: scope(phase, opened=False), OPENING_SCOPES),
    )
    for phase, outcomes in table.items()
    for event, outcome in outcomes.items()
]


@pytest.mark.parametrize(("build", "phase", "event", "outcome"), CASES)
def test_phase_and_event(
    build: Callable[[NodePhase], CoreWorld], phase: NodePhase, event: str, outcome: object
) -> None:
    world = build(phase)
    assert world.phase(NODE) == phase
    before = world.kernel.snapshot()
    kind, argument = EVENTS[event]
    turn = world.step(Event(kind, 0, NODE, 0, argument=argument), now=5)
    if isinstance(outcome, NodePhase):
        assert (turn.absorbed, len(turn.refused_event)) == (0, 0)
        assert world.phase(NODE) == outcome
        return
    assert world.kernel.snapshot() == before
    assert (len(turn.effect_kind), len(turn.transition_phase)) == (0, 0)
    assert turn.absorbed == (outcome == ABSORBED)
    assert turn.refused_reason.tolist() == ([] if outcome == ABSORBED else [outcome])


def test_start_nodes_take_no_events() -> None:
    for kind, argument in EVENTS.values():
        world = CoreWorld(shape("st", [(0, 1)]))
        assert world.step(Event(kind, 0, 0, 0, argument=argument)).refused_reason.tolist() == [MISFIT]


def test_end_nodes_neither_start_nor_open() -> None:
    for kind in (EventKind.ATTEMPT_STARTED, EventKind.SCOPE_OPENED):
        assert CoreWorld(shape("e")).step(Event(kind, 0, 0)).refused_reason.tolist() == [MISFIT]


def aborting() -> CoreWorld:
    world = CoreWorld(shape("t"))
    world.aborted()
    return world


def failing() -> CoreWorld:
    world = CoreWorld(shape("tt"))
    world.failed(0, FailureClass.PERMANENT)
    return world


def ended(phase: RunPhase) -> CoreWorld:
    world = CoreWorld(shape("t"))
    if phase == RunPhase.SUCCEEDED:
        world.succeeded(0)
    elif phase == RunPhase.FAILED:
        world.failed(0, FailureClass.PERMANENT)
    else:
        world.aborted()
        world.gone(0)
    return world


@pytest.mark.parametrize(
    ("build", "phase", "after"),
    [
        (lambda: CoreWorld(shape("t")), RunPhase.RUNNING, RunPhase.ABORTING),
        (failing, RunPhase.FAILING, RunPhase.ABORTING),
        (aborting, RunPhase.ABORTING, None),
        (lambda: ended(RunPhase.SUCCEEDED), RunPhase.SUCCEEDED, None),
        (lambda: ended(RunPhase.FAILED), RunPhase.FAILED, None),
        (lambda: ended(RunPhase.ABORTED), RunPhase.ABORTED, None),
    ],
)
def test_abort_of_a_run_in_every_phase(build: Callable[[], CoreWorld], phase: RunPhase, after: RunPhase | None) -> None:
    world = build()
    assert world.run_phase == phase
    before = world.kernel.snapshot()
    turn = world.aborted()
    if after is None:
        assert (turn.absorbed, world.kernel.snapshot()) == (1, before)
    else:
        assert (turn.absorbed, world.run_phase) == (0, after)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (Event(0, 0), RefusalReason.UNKNOWN_KIND),
        (Event(11, 0), RefusalReason.UNKNOWN_KIND),
        (Event(255, 0), RefusalReason.UNKNOWN_KIND),
        (Event(EventKind.RUN_CREATED, 2, 0), RefusalReason.UNKNOWN_RUN),
        (Event(EventKind.RUN_CREATED, 1, 1), RefusalReason.UNKNOWN_GRAPH),
        (Event(EventKind.RUN_CREATED, 1, 0, 0, argument=2), RefusalReason.BAD_ARGUMENT),
        (Event(EventKind.RUN_CREATED, 1, 0, 0, argument=-1), RefusalReason.BAD_ARGUMENT),
        (Event(EventKind.RUN_ABORTED, 1), RefusalReason.UNKNOWN_RUN),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 1, 0), RefusalReason.UNKNOWN_RUN),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 2**32 - 1, 0), RefusalReason.UNKNOWN_RUN),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 0, 1), RefusalReason.UNKNOWN_NODE),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 0, 2**32 - 1), RefusalReason.UNKNOWN_NODE),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 1), RefusalReason.FUTURE_ATTEMPT),
        (Event(EventKind.ATTEMPT_FAILED, 0, 0, 0, argument=3), RefusalReason.BAD_ARGUMENT),
        (Event(EventKind.ATTEMPT_FAILED, 0, 0, 0, argument=-1), RefusalReason.BAD_ARGUMENT),
        (Event(EventKind.ATTEMPT_FAILED, 0, 0, 0, argument=256), RefusalReason.BAD_ARGUMENT),
    ],
)
def test_impossible_events_change_nothing(event: Event, reason: RefusalReason) -> None:
    world = CoreWorld(shape("t"))
    before = world.kernel.snapshot()
    turn = world.step(event, now=9)
    assert turn.refused_reason.tolist() == [reason]
    assert world.kernel.snapshot() == before


def test_a_run_is_created_once() -> None:
    world = CoreWorld(shape("t"))
    assert world.step(Event(EventKind.RUN_CREATED, 0, 0)).absorbed == 1
    assert world.kernel.run_count == 1


def test_the_other_events_of_a_batch_still_apply() -> None:
    world = CoreWorld(shape("ttt"))
    world.step(
        Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0),
        Event(EventKind.ATTEMPT_SUCCEEDED, 0, 7),
        Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0),
        Event(EventKind.ATTEMPT_SUCCEEDED, 0, 1),
    )
    assert world.phases() == "SUCCEEDED SUCCEEDED QUEUED"
    assert world.last.refused_event.tolist() == [1]
    assert world.last.absorbed == 1


def test_a_refusal_tells_the_story_of_its_node() -> None:
    world = CoreWorld(shape("tt", attempts_max={0: 3}))
    world.started(0, now=17)
    world.failed(0, FailureClass.USER_RECOVERABLE, now=23)
    world.succeeded(1, now=29)
    turn = world.succeeded(0, attempt=5, now=31)
    text = str(turn.refusal(0))
    assert "AttemptSucceeded of run 0, node 0, attempt 5, argument 0 was refused" in text
    assert "that attempt was not launched yet" in text
    assert "at 0 RunCreated" in text
    assert "at 17 AttemptStarted of run 0, node 0, attempt 0" in text
    assert "at 23 AttemptFailed of run 0, node 0, attempt 0, argument 0" in text
    assert "it is Running at attempt 1" in text
    assert "node 1" not in text


def test_many_refusals_in_one_turn_are_cheap() -> None:
    world = CoreWorld(shape("t"))
    turn = step(world.kernel, 0, [Event(EventKind.ATTEMPT_SUCCEEDED, 0, 7)] * 100)
    assert "nothing is remembered" in str(turn.refusal(0)) or "RunCreated" in str(turn.refusal(0))
    assert "left out" in str(turn.refusal(99))
