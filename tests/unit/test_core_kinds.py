"""Rules of branches, gates, child runs, what takes care of itself and what is taken over."""

from __future__ import annotations

import pytest

from flyte_kernel.phases import AbortReason, EffectKind, EventKind, FailureClass, NodePhase, RefusalReason, RunPhase
from tests.support.core_world import NONE, CoreWorld, shape
from tests.support.oracle import Event

P = NodePhase
LAUNCH, ABORT, FINISH, OPEN, DECIDE = (
    EffectKind.LAUNCH_ATTEMPTS,
    EffectKind.ABORT_ATTEMPTS,
    EffectKind.FINISH_RUN,
    EffectKind.OPEN_SCOPE,
    EffectKind.DECIDE_BRANCH,
)
USER, SYSTEM, PERMANENT = FailureClass.USER_RECOVERABLE, FailureClass.SYSTEM_RECOVERABLE, FailureClass.PERMANENT


def finished(phase: RunPhase) -> tuple[int, int, int, int]:
    return (FINISH, NONE, 0, phase)


# Branches


def test_a_branch_runs_the_member_that_was_chosen() -> None:
    world = CoreWorld(shape("btwtt", [(0, 4)], scope={1: 0, 2: 0, 3: 2}))
    assert world.effects() == [(DECIDE, 0, 0, 0)]
    assert world.phases() == "QUEUED UNDEFINED UNDEFINED UNDEFINED UNDEFINED"
    world.decided(0, 1)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]
    assert world.phases() == "RUNNING QUEUED SKIPPED UNDEFINED UNDEFINED"
    world.succeeded(1)
    assert world.effects() == [(LAUNCH, 4, 0, 0)]
    assert world.phases() == "SUCCEEDED SUCCEEDED SKIPPED UNDEFINED QUEUED"


def test_a_branch_may_choose_a_scope() -> None:
    world = CoreWorld(shape("btwt", scope={1: 0, 2: 0, 3: 2}))
    world.decided(0, 2)
    assert world.effects() == [(OPEN, 2, 0, 0)]
    world.opened(2)
    world.succeeded(3)
    assert world.phases() == "SUCCEEDED SKIPPED SUCCEEDED SUCCEEDED"
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


@pytest.mark.parametrize("fails_late", [False, True])
def test_a_branch_fails_as_its_member_does(fails_late: bool) -> None:
    world = CoreWorld(shape("btt", scope={1: 0, 2: 0}), fails_late=fails_late)
    world.decided(0, 2)
    world.failed(2, PERMANENT)
    assert world.phases() == "FAILED SKIPPED FAILED"
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_choice_must_be_a_member() -> None:
    world = CoreWorld(shape("btwtt", scope={1: 0, 2: 0, 3: 2}))
    for member in (0, 3, 4, 5, -1, 2**32 + 1):
        assert world.decided(0, member).refused_reason.tolist() == [RefusalReason.BAD_ARGUMENT]
    assert world.decided(4, 1).refused_reason.tolist() == [RefusalReason.WRONG_NODE_KIND]
    world.decided(0, 1)
    assert world.decided(0, 2).absorbed == 1
    assert world.phases() == "RUNNING QUEUED SKIPPED UNDEFINED QUEUED"


def test_a_decision_may_fail_and_be_asked_for_again() -> None:
    world = CoreWorld(shape("bt", scope={1: 0}))
    world.failed(0, SYSTEM)
    assert (world.effects(), world.phase(0)) == ([(DECIDE, 0, 1, 0)], P.QUEUED)
    world.failed(0, PERMANENT, attempt=1)
    assert world.phases() == "FAILED UNDEFINED"


def test_a_branch_that_takes_too_long_is_decided_anew() -> None:
    world = CoreWorld(shape("btt", scope={1: 0, 2: 0}, attempts_max={0: 2}, execution_timeout={0: 5}))
    world.decided(0, 1)
    world.passes(5)
    assert world.effects() == [(ABORT, 1, 0, AbortReason.EXECUTION_TIMEOUT)]
    world.gone(1, now=6)
    assert world.effects() == [(DECIDE, 0, 1, 0)]
    assert world.phases() == "QUEUED UNDEFINED UNDEFINED"
    world.decided(0, 2, attempt=1, now=7)
    assert world.effects() == [(LAUNCH, 2, 1, 0)]
    assert world.phases() == "RUNNING SKIPPED QUEUED"


# Slots


def test_gates_need_no_slot_and_child_runs_do() -> None:
    world = CoreWorld(shape("ctg"), parallelism=1)
    assert world.effects() == [(LAUNCH, 2, 0, 0), (LAUNCH, 0, 0, 0)]
    world.succeeded(0)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]


@pytest.mark.parametrize("kind", ["g", "c"])
def test_gates_and_child_runs_live_as_tasks_do(kind: str) -> None:
    world = CoreWorld(shape(kind, attempts_max={0: 2}, execution_timeout={0: 5}))
    world.started(0)
    world.passes(5)
    assert world.effects() == [(ABORT, 0, 0, AbortReason.EXECUTION_TIMEOUT)]
    world.gone(0, now=6)
    assert world.effects() == [(LAUNCH, 0, 1, 0)]
    world.failed(0, USER, attempt=1, now=7)
    assert world.effects() == [finished(RunPhase.FAILED)]


# Sleeping


@pytest.mark.parametrize("kind", ["t", "g", "c"])
def test_an_attempt_may_succeed_by_itself(kind: str) -> None:
    world = CoreWorld(shape(kind))
    world.started(0, now=100, sleep=10)
    assert world.kernel.next_deadline() == 110
    world.passes(109)
    assert world.phase(0) == P.RUNNING
    world.passes(110)
    assert (world.phase(0), world.effects()) == (P.SUCCEEDED, [finished(RunPhase.SUCCEEDED)])
    assert world.causes() == [NONE]


def test_limits_come_before_sleep() -> None:
    world = CoreWorld(shape("ttt", execution_timeout={0: 5}, active_timeout={1: 5}), fails_late=True)
    for node in range(3):
        world.started(node, sleep=5)
    world.passes(5)
    assert world.phases() == "FAILING TIMING_OUT SUCCEEDED"


def test_sleep_ends_with_its_attempt() -> None:
    world = CoreWorld(shape("tt", attempts_max={0: 2}))
    world.started(0, sleep=5)
    world.failed(0, USER, now=1)
    assert world.kernel.next_deadline() is None
    world.started(0, attempt=1, now=2, sleep=9)
    assert world.kernel.next_deadline() == 11
    world.aborted(now=3)
    assert world.kernel.next_deadline() is None


def test_nobody_sleeps_backwards() -> None:
    world = CoreWorld(shape("t"))
    assert world.started(0, sleep=-1).refused_reason.tolist() == [RefusalReason.BAD_ARGUMENT]


# Taken over


def test_what_was_taken_over_is_as_good_as_new() -> None:
    world = CoreWorld(shape("twbttt", [(0, 5), (1, 5), (2, 5)], scope={3: 1, 4: 2}))
    world.succeeded(0, 1, 2, recovered=1)
    assert world.effects() == [(LAUNCH, 5, 0, 0)]
    assert world.phases() == "RECOVERED RECOVERED RECOVERED UNDEFINED UNDEFINED QUEUED"
    world.succeeded(5)
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


def test_a_member_that_was_taken_over_ends_its_branch_well() -> None:
    world = CoreWorld(shape("btt", scope={1: 0, 2: 0}))
    world.decided(0, 1)
    world.succeeded(1, recovered=1)
    assert world.phases() == "SUCCEEDED RECOVERED SKIPPED"


def test_an_open_scope_is_not_taken_over() -> None:
    world = CoreWorld(shape("wt", scope={1: 0}))
    world.opened(0)
    assert world.succeeded(0, recovered=1).refused_reason.tolist() == [RefusalReason.NOT_AWAITED]


def test_outputs_of_end_nodes_are_not_taken_over() -> None:
    world = CoreWorld(shape("e"))
    assert world.succeeded(0, recovered=1).refused_reason.tolist() == [RefusalReason.BAD_ARGUMENT]
    assert world.succeeded(0, recovered=2).refused_reason.tolist() == [RefusalReason.BAD_ARGUMENT]


def test_elements_are_a_maps() -> None:
    world = CoreWorld(shape("t"))
    event = Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, 0)
    assert world.step(event).refused_reason.tolist() == [RefusalReason.WRONG_NODE_KIND]
