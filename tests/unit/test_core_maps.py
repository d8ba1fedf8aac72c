"""Rules of maps and their elements."""

from __future__ import annotations

import pytest

from flyte_kernel.phases import AbortReason, EffectKind, EventKind, FailureClass, NodePhase, RefusalReason, RunPhase
from tests.support.core_world import NONE, CoreWorld, shape
from tests.support.oracle import Event

P = NodePhase
LAUNCH, ABORT, FINISH, OPEN, RESOLVE = (
    EffectKind.LAUNCH_ATTEMPTS,
    EffectKind.ABORT_ATTEMPTS,
    EffectKind.FINISH_RUN,
    EffectKind.OPEN_MAP,
    EffectKind.RESOLVE_OUTPUTS,
)
USER, SYSTEM, PERMANENT = FailureClass.USER_RECOVERABLE, FailureClass.SYSTEM_RECOVERABLE, FailureClass.PERMANENT
FAILING = AbortReason.RUN_FAILING
RESOLVED = (RESOLVE, NONE, 0, 0)


def launched(*elements: int, attempt: int = 0) -> list[tuple[int, int, int, int]]:
    return [(LAUNCH, element, attempt, 0) for element in elements]


def finished(phase: RunPhase) -> tuple[int, int, int, int]:
    return (FINISH, NONE, 0, phase)


def test_a_map_opens_launches_its_elements_and_resolves() -> None:
    world = CoreWorld(shape("mt", [(0, 1)]))
    assert world.element_effects() == [(OPEN, NONE, 0, 0)]
    world.map_opened(0, 3)
    assert world.element_effects() == launched(0, 1, 2)
    assert (world.phase(0), world.elements(0)) == (P.RUNNING, "QUEUED QUEUED QUEUED")
    world.started(0, element=1)
    world.succeeded(0, element=2)
    assert (world.effects(), world.elements(0)) == ([], "QUEUED RUNNING SUCCEEDED")
    assert world.kernel.map_counts(0, 0) == (3, 3, 1, 0, 2)
    world.succeeded(0, element=0)
    world.succeeded(0, element=1, recovered=1)
    assert world.element_effects() == [RESOLVED]
    assert (world.phase(0), world.elements(0)) == (P.RUNNING, "SUCCEEDED RECOVERED SUCCEEDED")
    world.succeeded(0)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]
    assert world.phases() == "SUCCEEDED QUEUED"


def test_elements_are_launched_in_order_as_there_is_room() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 4, at_once=2)
    assert world.element_effects() == launched(0, 1)
    assert world.kernel.map_counts(0, 0) == (4, 2, 0, 0, 2)
    world.succeeded(0, element=1)
    assert world.element_effects() == launched(2)
    assert world.elements(0) == "QUEUED SUCCEEDED QUEUED UNDEFINED"


def test_an_element_that_is_tried_again_keeps_its_place() -> None:
    world = CoreWorld(shape("m", attempts_max={0: 2}))
    world.map_opened(0, 3, at_once=1)
    world.failed(0, USER, element=0)
    assert world.element_effects() == launched(0, attempt=1)
    assert world.kernel.element_attempts(0, 0).tolist() == [1, 0, 0]
    world.succeeded(0, element=0, attempt=1)
    assert world.element_effects() == launched(1)


def test_each_element_has_budgets_of_its_own() -> None:
    world = CoreWorld(shape("m", attempts_max={0: 2}), system_attempts_extra=1)
    world.map_opened(0, 2, min_successes=0)
    for element in range(2):
        world.failed(0, USER, element=element)
        world.failed(0, SYSTEM, attempt=1, element=element)
        assert world.element_effects() == launched(element, attempt=2)
    world.failed(0, SYSTEM, attempt=2, element=0)
    world.failed(0, USER, attempt=2, element=1)
    assert world.element_effects() == [RESOLVED]
    assert world.elements(0) == "FAILED FAILED"
    assert world.kernel.element_attempts(0, 0).tolist() == [2, 2]
    assert world.kernel.map_counts(0, 0) == (2, 2, 0, 2, 0)
    assert world.kernel.counters(0, 0) == (0, 0, 0)


def test_a_map_without_elements_resolves_at_once() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 0)
    assert world.element_effects() == [RESOLVED]


def test_a_map_bears_as_many_failures_as_it_may() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 4, min_successes=2)
    world.failed(0, PERMANENT, element=3)
    world.failed(0, PERMANENT, element=0)
    assert (world.effects(), world.phase(0)) == ([], P.RUNNING)
    world.succeeded(0, element=1)
    world.succeeded(0, element=2)
    assert world.element_effects() == [RESOLVED]


@pytest.mark.parametrize("fails_late", [False, True])
def test_a_map_fails_once_too_few_can_succeed(fails_late: bool) -> None:
    world = CoreWorld(shape("m", attempts_max={0: 2}), fails_late=fails_late)
    world.map_opened(0, 5, at_once=3, min_successes=5)
    world.succeeded(0, element=1)
    world.failed(0, PERMANENT, element=2)
    assert world.element_effects() == [(ABORT, 0, 0, FAILING), (ABORT, 3, 0, FAILING)]
    assert (world.phase(0), world.elements(0)) == (P.FAILING, "ABORTING SUCCEEDED FAILED ABORTING UNDEFINED")
    world.gone(0, element=0)
    world.succeeded(0, element=3)
    assert world.effects() == [finished(RunPhase.FAILED)]
    assert (world.phase(0), world.elements(0)) == (P.FAILED, "ABORTED SUCCEEDED FAILED ABORTED UNDEFINED")
    assert world.kernel.map_counts(0, 0) == (5, 4, 1, 1, 0)


def test_a_map_is_one_slot() -> None:
    world = CoreWorld(shape("mt"), parallelism=1)
    world.map_opened(0, 3)
    assert world.element_effects() == launched(0, 1, 2)
    for element in range(3):
        world.succeeded(0, element=element)
    assert world.element_effects() == [RESOLVED]
    world.succeeded(0)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]


def test_elements_have_limits_of_their_own() -> None:
    world = CoreWorld(shape("m", attempts_max={0: 2}, execution_timeout={0: 5}, active_timeout={0: 9}))
    assert world.kernel.next_deadline() is None
    world.map_opened(0, 2, min_successes=0, now=100)
    assert world.kernel.next_deadline() == 109
    world.started(0, now=101, element=0)
    world.started(0, now=101, element=1, sleep=2)
    world.passes(103)
    assert world.elements(0) == "RUNNING SUCCEEDED"
    world.passes(106)
    assert world.element_effects() == [(ABORT, 0, 0, AbortReason.EXECUTION_TIMEOUT)]
    assert world.elements(0) == "RETRYING SUCCEEDED"
    world.gone(0, now=107, element=0)
    assert world.element_effects() == launched(0, attempt=1)
    world.passes(109)
    assert world.element_effects() == [(ABORT, 0, 1, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(0, attempt=1, now=110, element=0)
    assert (world.elements(0), world.element_effects()) == ("TIMED_OUT SUCCEEDED", [RESOLVED])
    assert world.kernel.map_counts(0, 0) == (2, 2, 1, 1, 0)


def test_an_element_waits_for_room_without_its_limit_running() -> None:
    world = CoreWorld(shape("m", active_timeout={0: 9}))
    world.map_opened(0, 2, at_once=1)
    world.succeeded(0, now=5, element=0)
    assert world.kernel.next_deadline() == 14


def test_an_abort_reaches_elements() -> None:
    world = CoreWorld(shape("mt"))
    world.map_opened(0, 4, at_once=2)
    world.aborted()
    assert world.element_effects() == [(ABORT, 0, 0, 1), (ABORT, 1, 0, 1), (ABORT, NONE, 0, 1)]
    assert (world.phases(), world.elements(0)) == ("ABORTING ABORTING", "ABORTING ABORTING UNDEFINED UNDEFINED")
    world.gone(1)
    world.gone(0, element=1)
    assert world.phase(0) == P.ABORTING
    world.gone(0, element=0)
    assert (world.phases(), world.effects()) == ("ABORTED ABORTED", [finished(RunPhase.ABORTED)])


@pytest.mark.parametrize("resolving", [False, True])
def test_an_abort_reaches_what_a_map_itself_waits_for(resolving: bool) -> None:
    world = CoreWorld(shape("m"))
    if resolving:
        world.map_opened(0, 0)
    world.aborted()
    assert world.element_effects() == [(ABORT, NONE, 0, AbortReason.RUN_ABORTED)]
    world.gone(0)
    assert world.effects() == [finished(RunPhase.ABORTED)]


def test_no_attempt_number_of_an_element_is_used_twice() -> None:
    world = CoreWorld(
        shape("wm", scope={1: 0}, attempts_max={0: 3, 1: 3}, execution_timeout={0: 10}), system_attempts_extra=0
    )
    world.opened(0)
    world.map_opened(1, 3, at_once=2)
    world.failed(1, USER, element=0)
    world.passes(10)
    assert world.element_effects() == [(ABORT, 0, 1, 3), (ABORT, 1, 0, 3)]
    world.gone(1, attempt=1, now=11, element=0)
    world.gone(1, now=11, element=1)
    world.opened(0, attempt=1, now=12)
    assert world.element_effects() == [(OPEN, NONE, 1, 0)]
    world.map_opened(1, 2, attempt=1, now=12)
    effects = world.element_effects()
    assert [effect[:2] for effect in effects] == [(LAUNCH, 0), (LAUNCH, 1)]
    base = effects[0][2]
    assert base >= 2
    assert world.succeeded(1, attempt=1, now=13, element=0).absorbed == 1
    world.failed(1, USER, attempt=base, now=13, element=1)
    assert world.element_effects() == [(LAUNCH, 1, base + 1, 0)]  # its budget is new


def test_outputs_that_cannot_be_resolved_are_tried_again() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 1)
    world.succeeded(0, element=0)
    world.failed(0, SYSTEM)
    assert world.element_effects() == [(RESOLVE, NONE, 1, 0)]
    world.failed(0, PERMANENT, attempt=1)
    assert (world.phase(0), world.effects()) == (P.FAILED, [finished(RunPhase.FAILED)])


def test_an_opening_that_fails_is_tried_again() -> None:
    world = CoreWorld(shape("m"))
    world.failed(0, SYSTEM)
    assert (world.phase(0), world.element_effects()) == (P.QUEUED, [(OPEN, NONE, 1, 0)])
    world.map_opened(0, 1, attempt=1)
    assert world.element_effects() == launched(0)


def test_what_maps_do_not_take() -> None:
    world = CoreWorld(shape("mt"))
    early = Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, 0)
    assert world.step(early).refused_reason.tolist() == [RefusalReason.NEVER_LAUNCHED]
    assert world.map_opened(0, 2, min_successes=3).refused_reason.tolist() == [RefusalReason.BAD_ARGUMENT]
    assert world.map_opened(1, 2).refused_reason.tolist() == [RefusalReason.WRONG_NODE_KIND]
    world.map_opened(0, 2, at_once=1)
    assert world.map_opened(0, 2).absorbed == 1
    assert world.succeeded(0, element=2).refused_reason.tolist() == [RefusalReason.UNKNOWN_NODE]
    assert world.succeeded(0, element=1).refused_reason.tolist() == [RefusalReason.NEVER_LAUNCHED]
    assert world.succeeded(0, element=0, attempt=1).refused_reason.tolist() == [RefusalReason.FUTURE_ATTEMPT]
    assert world.gone(0, element=0).refused_reason.tolist() == [RefusalReason.NOT_AWAITED]
    assert world.succeeded(0).refused_reason.tolist() == [RefusalReason.NOT_AWAITED]
    assert world.started(0).refused_reason.tolist() == [RefusalReason.WRONG_NODE_KIND]
    world.succeeded(0, element=0)
    assert world.succeeded(0, element=0).absorbed == 1
    assert world.elements(0) == "SUCCEEDED QUEUED"


def test_a_map_may_be_taken_over_before_it_opens() -> None:
    world = CoreWorld(shape("m"))
    world.succeeded(0, recovered=1)
    assert (world.phases(), world.effects()) == ("RECOVERED", [finished(RunPhase.SUCCEEDED)])


def test_many_elements_in_one_batch() -> None:
    count = 300
    world = CoreWorld(shape("m"))
    world.map_opened(0, count, at_once=100)
    for first in range(0, count, 100):
        batch = [Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, first + place) for place in range(100)]
        world.step(*batch)
        if first < 200:
            assert world.element_effects() == launched(*range(first + 100, first + 200))
            assert world.causes() == list(range(100))
    assert world.element_effects() == [RESOLVED]
    assert world.causes() == [99]


# Successes in a row


def stretch(first: int, last: int, outcome: int = 0, attempt: int = 0) -> Event:
    return Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, attempt, first, (last - first) << 32 | outcome)


def refusals(world: CoreWorld) -> list[int]:
    return world.last.refused_reason.tolist()


def test_elements_in_a_row_succeed_by_one_event() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 6, at_once=4)
    world.started(0, element=2)
    world.effects()
    world.step(stretch(1, 3))
    assert world.elements(0) == "QUEUED SUCCEEDED SUCCEEDED SUCCEEDED QUEUED QUEUED"
    assert world.element_effects() == launched(4, 5)
    world.step(stretch(4, 5, outcome=1))
    assert world.elements(0) == "QUEUED SUCCEEDED SUCCEEDED SUCCEEDED RECOVERED RECOVERED"
    world.step(stretch(0, 5))
    assert world.element_effects() == [RESOLVED]
    assert world.kernel.map_counts(0, 0) == (6, 6, 6, 0, 0)


def test_elements_in_a_row_are_the_same_as_one_by_one_beside_retries_and_clocks() -> None:
    world = CoreWorld(shape("m", attempts_max={0: 3}, execution_timeout={0: 10}))
    world.map_opened(0, 4)
    world.failed(0, USER, element=1)
    world.started(0, element=2)
    world.effects()
    world.step(stretch(0, 3))
    assert refusals(world) == []
    assert world.elements(0) == "SUCCEEDED RUNNING SUCCEEDED SUCCEEDED"
    assert world.kernel.next_deadline() is None
    world.step(stretch(1, 2, attempt=1))
    assert refusals(world) == [RefusalReason.FUTURE_ATTEMPT]
    assert world.elements(0) == "SUCCEEDED RUNNING SUCCEEDED SUCCEEDED"


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (stretch(2, 4), RefusalReason.UNKNOWN_NODE),
        (stretch(0, 3), RefusalReason.NEVER_LAUNCHED),
        (stretch(0, 1, attempt=1), RefusalReason.FUTURE_ATTEMPT),
        (stretch(0, 1, outcome=2), RefusalReason.BAD_ARGUMENT),
        (stretch(1, 2**31), RefusalReason.UNKNOWN_NODE),
        (stretch(2**32 - 3, 2**32 - 1), RefusalReason.UNKNOWN_NODE),
        (Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, 0, -(2**63)), RefusalReason.BAD_ARGUMENT),
        (Event(EventKind.ATTEMPT_STARTED, 0, 0, 0, 0, 1 << 32), None),
        (Event(EventKind.ATTEMPT_FAILED, 0, 0, 0, 0, 1 << 32), RefusalReason.BAD_ARGUMENT),
    ],
)
def test_a_row_that_cannot_have_succeeded_changes_nothing(event: Event, reason: RefusalReason | None) -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 4, at_once=3)
    before = world.elements(0)
    world.step(event)
    assert refusals(world) == ([] if reason is None else [reason])
    assert reason is None or world.elements(0) == before


def test_a_row_that_has_ended_is_absorbed() -> None:
    world = CoreWorld(shape("m"))
    world.map_opened(0, 3)
    world.step(stretch(0, 2))
    world.effects()
    world.step(stretch(0, 2))
    assert (refusals(world), world.effects()) == ([], [])
