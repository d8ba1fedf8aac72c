"""Rules of nodes that handle the failure of their scope."""

from __future__ import annotations

import pytest

from flyte_kernel.phases import AbortReason, EffectKind, FailureClass, NodePhase, RunPhase
from tests.support.core_world import NONE, CoreWorld, shape

P = NodePhase
LAUNCH, ABORT, FINISH, OPEN = (
    EffectKind.LAUNCH_ATTEMPTS,
    EffectKind.ABORT_ATTEMPTS,
    EffectKind.FINISH_RUN,
    EffectKind.OPEN_SCOPE,
)
USER, PERMANENT = FailureClass.USER_RECOVERABLE, FailureClass.PERMANENT
FAILING = AbortReason.RUN_FAILING


def finished(phase: RunPhase) -> tuple[int, int, int, int]:
    return (FINISH, NONE, 0, phase)


def test_a_handler_does_not_start_without_a_failure() -> None:
    world = CoreWorld(shape("tt", handlers=[1]))
    assert world.effects() == [(LAUNCH, 0, 0, 0)]
    world.succeeded(0)
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]
    assert world.phases() == "SUCCEEDED UNDEFINED"


@pytest.mark.parametrize("well", [False, True])
def test_the_runs_handler_starts_when_all_else_is_gone(well: bool) -> None:
    world = CoreWorld(shape("ttt", handlers=[2]))
    world.failed(0, PERMANENT)
    assert world.effects() == [(ABORT, 1, 0, FAILING)]
    assert (world.phases(), world.run_phase) == ("FAILED ABORTING UNDEFINED", RunPhase.FAILING)
    world.gone(1)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    assert (world.phases(), world.run_phase) == ("FAILED ABORTED QUEUED", RunPhase.FAILING)
    world.succeeded(2) if well else world.failed(2, PERMANENT)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_handler_may_be_tried_again() -> None:
    world = CoreWorld(shape("tt", handlers=[1], attempts_max={1: 2}))
    world.failed(0, PERMANENT)
    world.failed(1, USER)
    assert world.effects() == [(LAUNCH, 1, 1, 0)]
    world.succeeded(1, attempt=1)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_the_failure_of_a_scope_goes_outwards_after_its_handler() -> None:
    # a scope (0) with a task (1) in a scope without handler (3), its handler (2), and a task beside it (4)
    world = CoreWorld(shape("wtwwt", scope={3: 0, 1: 3, 2: 0}, handlers=[2]))
    world.opened(0)
    world.opened(3)
    world.failed(1, PERMANENT)
    assert world.effects() == [(OPEN, 2, 0, 0)]
    assert (world.phases(), world.run_phase) == ("FAILING FAILED QUEUED FAILED QUEUED", RunPhase.RUNNING)
    world.opened(2)
    assert world.effects() == [(ABORT, 4, 0, FAILING)]
    assert (world.phases(), world.run_phase) == ("FAILED FAILED SUCCEEDED FAILED ABORTING", RunPhase.FAILING)
    world.gone(4)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_the_rest_of_the_run_goes_on_meanwhile() -> None:
    world = CoreWorld(shape("wtttt", [(3, 4)], scope={1: 0, 2: 0}, handlers=[2]))
    world.opened(0)
    world.failed(1, PERMANENT)
    world.succeeded(3)
    assert world.effects() == [(LAUNCH, 4, 0, 0)]
    assert world.phases() == "FAILING FAILED QUEUED SUCCEEDED QUEUED"


def test_what_is_under_way_in_a_failing_scope_is_called_off_first() -> None:
    world = CoreWorld(shape("wttwt", scope={1: 0, 2: 0, 3: 0, 4: 3}, handlers=[2]))
    world.opened(0)
    world.opened(3)
    world.failed(1, PERMANENT)
    assert world.effects() == [(ABORT, 4, 0, FAILING)]
    assert world.phases() == "FAILING FAILED UNDEFINED RUNNING ABORTING"
    world.gone(4)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    assert world.phases() == "FAILING FAILED QUEUED ABORTED ABORTED"


def test_handlers_of_several_scopes_run_from_the_inside_out() -> None:
    world = CoreWorld(shape("wtttt", scope={1: 0, 2: 0}, handlers=[2, 3]))
    world.opened(0)
    world.failed(1, PERMANENT)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    world.succeeded(2)
    assert world.effects() == [(ABORT, 4, 0, FAILING)]
    world.gone(4)
    assert world.effects() == [(LAUNCH, 3, 0, 0)]
    world.succeeded(3)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_failure_inside_a_handler_ends_it() -> None:
    world = CoreWorld(shape("twtt", scope={2: 1, 3: 1}, handlers=[1]))
    world.failed(0, PERMANENT)
    world.opened(1)
    assert world.effects() == [(LAUNCH, 2, 0, 0), (LAUNCH, 3, 0, 0)]
    world.failed(2, PERMANENT)
    assert world.effects() == [(ABORT, 3, 0, FAILING)]
    assert (world.phases(), world.run_phase) == ("FAILED FAILED FAILED ABORTING", RunPhase.FAILING)
    world.gone(3)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_settled_broken_scope_is_handled_when_the_rest_may_run_on() -> None:
    world = CoreWorld(shape("wtttt", [(0, 4)], scope={1: 0, 2: 0, 3: 0}, handlers=[2]), fails_late=True)
    world.opened(0)
    world.failed(1, PERMANENT)
    assert world.phases() == "RUNNING FAILED UNDEFINED QUEUED UNDEFINED"
    world.succeeded(3)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    assert world.phases() == "FAILING FAILED QUEUED SUCCEEDED UNDEFINED"
    world.succeeded(2)
    assert world.phases() == "FAILED FAILED SUCCEEDED SUCCEEDED SKIPPED"
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_settled_broken_run_is_handled_too() -> None:
    world = CoreWorld(shape("ttt", handlers=[2]), fails_late=True)
    world.failed(0, PERMANENT)
    assert (world.effects(), world.run_phase) == ([], RunPhase.RUNNING)
    world.succeeded(1)
    assert (world.effects(), world.run_phase) == ([(LAUNCH, 2, 0, 0)], RunPhase.FAILING)
    world.succeeded(2)
    assert world.effects() == [finished(RunPhase.FAILED)]


@pytest.mark.parametrize("fails_late", [False, True])
def test_an_abort_calls_off_a_handler(fails_late: bool) -> None:
    world = CoreWorld(shape("tt", handlers=[1]), fails_late=fails_late)
    world.failed(0, PERMANENT)
    world.aborted()
    assert world.effects() == [(ABORT, 1, 0, AbortReason.RUN_ABORTED)]
    world.gone(1)
    assert (world.effects(), world.phases()) == ([finished(RunPhase.ABORTED)], "FAILED ABORTED")


def test_an_aborted_run_is_not_handled() -> None:
    world = CoreWorld(shape("tt", handlers=[1]))
    world.aborted()
    world.gone(0)
    assert (world.effects(), world.phases()) == ([finished(RunPhase.ABORTED)], "ABORTED UNDEFINED")


def test_an_outer_failure_calls_off_an_inner_handler() -> None:
    world = CoreWorld(shape("wttt", scope={1: 0, 2: 0}, handlers=[2]))
    world.opened(0)
    world.failed(1, PERMANENT)
    world.failed(3, PERMANENT)
    assert world.effects() == [(ABORT, 2, 0, FAILING)]
    world.gone(2)
    assert (world.effects(), world.phases()) == ([finished(RunPhase.FAILED)], "ABORTED FAILED ABORTED FAILED")


def test_an_outer_limit_calls_off_an_inner_handler() -> None:
    world = CoreWorld(shape("wwtt", scope={1: 0, 2: 1, 3: 1}, handlers=[3], active_timeout={0: 9}), fails_late=True)
    world.opened(0)
    world.opened(1)
    world.failed(2, PERMANENT)
    assert world.phases() == "RUNNING FAILING FAILED QUEUED"
    world.passes(9)
    assert world.effects() == [(ABORT, 3, 0, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(3, now=10)
    assert world.phases() == "TIMED_OUT ABORTED FAILED ABORTED"


def test_a_handler_waits_for_a_slot() -> None:
    world = CoreWorld(shape("wttt", scope={1: 0, 2: 0}, handlers=[2]), parallelism=1)
    world.opened(0)
    assert world.phases() == "RUNNING UNDEFINED UNDEFINED QUEUED"
    world.succeeded(3)
    world.failed(1, PERMANENT)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]


def test_a_handler_has_limits_of_its_own() -> None:
    world = CoreWorld(shape("tt", handlers=[1], active_timeout={1: 5}))
    world.failed(0, PERMANENT)
    world.passes(5)
    assert world.effects() == [(ABORT, 1, 0, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(1, now=6)
    assert (world.effects(), world.phases()) == ([finished(RunPhase.FAILED)], "FAILED TIMED_OUT")


def test_what_grew_may_handle_its_own_failure() -> None:
    world = CoreWorld(shape("t"))
    world.grown(0, shape("tt", handlers=[1]))
    world.failed(1, PERMANENT)
    assert (world.effects(), world.phases()) == ([(LAUNCH, 2, 0, 0)], "FAILING FAILED QUEUED")
    world.succeeded(2)
    assert (world.effects(), world.phases()) == ([finished(RunPhase.FAILED)], "FAILED FAILED SUCCEEDED")


def test_a_scope_that_starts_over_has_its_handler_again() -> None:
    world = CoreWorld(
        shape("wwtt", scope={1: 0, 2: 1, 3: 1}, handlers=[3], attempts_max={0: 2}, execution_timeout={0: 9}),
        fails_late=True,
    )
    world.opened(0)
    world.opened(1)
    world.failed(2, PERMANENT)
    world.passes(9)
    world.gone(3, now=10)
    assert world.phases() == "QUEUED UNDEFINED UNDEFINED UNDEFINED"
    world.opened(0, attempt=1, now=11)
    world.opened(1, attempt=1, now=11)
    world.failed(2, PERMANENT, attempt=1, now=12)
    assert world.effects() == [(LAUNCH, 3, 1, 0)]
