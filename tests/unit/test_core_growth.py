"""Rules of tasks whose attempts make a graph."""

from __future__ import annotations

import pytest

from flyte_kernel import Kernel
from flyte_kernel.phases import (
    AbortReason,
    EffectKind,
    EventKind,
    FailureClass,
    NodeKind,
    NodePhase,
    RefusalReason,
    RunPhase,
)
from tests.support.core_world import NONE, CoreWorld, shape
from tests.support.oracle import GONE, Event

P = NodePhase
LAUNCH, ABORT, FINISH, RESOLVE = (
    EffectKind.LAUNCH_ATTEMPTS,
    EffectKind.ABORT_ATTEMPTS,
    EffectKind.FINISH_RUN,
    EffectKind.RESOLVE_OUTPUTS,
)
PERMANENT = FailureClass.PERMANENT
GROWTH = shape("ste", [(0, 1), (1, 2)])


def finished(phase: RunPhase) -> tuple[int, int, int, int]:
    return (FINISH, NONE, 0, phase)


def test_a_task_becomes_the_graph_that_its_attempt_made() -> None:
    world = CoreWorld(shape("tt", [(0, 1)]))
    world.started(0)
    world.grown(0, GROWTH)
    assert world.effects() == [(LAUNCH, 3, 0, 0)]
    assert world.phases() == "DYNAMIC_RUNNING UNDEFINED SUCCEEDED QUEUED UNDEFINED"
    assert world.kernel.run_kinds(0).tolist() == [8, 0, 1, 0, 2]
    assert world.kernel.run_scopes(0).tolist() == [NONE, NONE, 0, 0, 0]
    world.succeeded(3)
    assert world.effects() == [(RESOLVE, 4, 0, 0)]
    world.succeeded(4)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]
    assert world.phases() == "SUCCEEDED QUEUED SUCCEEDED SUCCEEDED SUCCEEDED"


def test_other_runs_of_the_graph_see_nothing() -> None:
    world = CoreWorld(shape("t"))
    world.step(Event(EventKind.RUN_CREATED, 1, 0))
    world.grown(0, GROWTH)
    world.step(Event(EventKind.RUN_CREATED, 2, 0))
    assert [len(world.kernel.phases(run)) for run in range(3)] == [4, 1, 1]
    assert world.step(Event(EventKind.ATTEMPT_SUCCEEDED, 1, 2)).refused_reason.tolist() == [RefusalReason.UNKNOWN_NODE]


def test_a_grown_task_gives_its_slot_to_what_grew() -> None:
    world = CoreWorld(shape("tt"), parallelism=1)
    world.grown(0, shape("tt"))
    assert world.effects() == [(LAUNCH, 1, 0, 0)]  # it waited before them
    world.succeeded(1)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]


def test_growth_grows() -> None:
    world = CoreWorld(shape("t"))
    world.grown(0, shape("wt", scope={1: 0}))
    world.opened(1)
    world.grown(2, shape("t"))
    assert world.kernel.run_scopes(0).tolist() == [NONE, 0, 1, 2]
    world.succeeded(3)
    assert world.phases() == "SUCCEEDED SUCCEEDED SUCCEEDED SUCCEEDED"
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


def test_an_empty_growth_succeeds_at_once() -> None:
    world = CoreWorld(shape("t"))
    world.grown(0, shape(""))
    assert world.moves(0) == [P.DYNAMIC_RUNNING, P.SUCCEEDED]


def test_a_failure_inside_is_for_good() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 9}))
    world.grown(0, shape("tt"))
    world.failed(1, PERMANENT)
    assert world.phases() == "FAILED FAILED ABORTING"
    world.gone(2)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_grown_attempt_that_takes_too_long_becomes_a_task_again() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 2}, execution_timeout={0: 10}))
    world.started(0, now=100)
    world.grown(0, shape("ttt", [(0, 2)]), now=105)
    world.succeeded(1, now=106)
    world.passes(110)
    assert world.effects() == [(ABORT, node, 0, AbortReason.EXECUTION_TIMEOUT) for node in (2, 3)]
    world.gone(2, now=111)
    world.gone(3, now=111)
    assert world.effects() == [(LAUNCH, 0, 1, 0)]
    assert world.phases() == "RUNNING SUCCEEDED ABORTED ABORTED"
    assert world.kernel.run_kinds(0).tolist() == [NodeKind.TASK] * 4
    assert world.kernel.run_scopes(0).tolist() == [NONE, GONE, GONE, GONE]
    world.grown(0, shape("t"), attempt=1, now=112)
    assert world.effects() == [(LAUNCH, 4, 0, 0)]
    assert world.succeeded(2, now=113).absorbed == 1
    world.succeeded(4, now=113)
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


def test_a_scope_that_starts_over_forgets_what_grew_inside() -> None:
    world = CoreWorld(shape("wt", scope={1: 0}, attempts_max={0: 2}, execution_timeout={0: 10}))
    world.opened(0)
    world.grown(1, shape("t"))
    world.passes(10)
    world.gone(2, now=11)
    assert world.phases() == "QUEUED UNDEFINED ABORTED"
    assert world.kernel.run_scopes(0).tolist() == [NONE, 0, GONE]
    world.opened(0, attempt=1, now=12)
    assert world.effects() == [(LAUNCH, 1, 1, 0)]


@pytest.mark.parametrize("limit", ["execution_timeout", "active_timeout"])
def test_limits_reach_what_grew(limit: str) -> None:
    world = CoreWorld(shape("t", **{limit: {0: 10}}))  # type: ignore[arg-type]
    world.started(0)
    world.grown(0, shape("t"))
    world.passes(10)
    assert [effect[:3] for effect in world.effects()] == [(ABORT, 1, 0)]
    world.gone(1, now=11)
    assert world.phases() == ("FAILED ABORTED" if limit == "execution_timeout" else "TIMED_OUT ABORTED")


def test_sleep_ends_with_growth() -> None:
    world = CoreWorld(shape("t"))
    world.started(0, sleep=5)
    world.grown(0, shape("t"))
    assert world.kernel.next_deadline() is None


def test_growth_confirms_the_end_of_an_attempt_that_is_called_off() -> None:
    world = CoreWorld(shape("t"))
    world.aborted()
    world.grown(0, GROWTH)
    assert (world.phases(), world.run_phase) == ("ABORTED", RunPhase.ABORTED)


def test_only_running_tasks_grow() -> None:
    world = CoreWorld(shape("ttg", [(0, 1)]))
    assert world.grown(1, GROWTH).refused_reason.tolist() == [RefusalReason.NEVER_LAUNCHED]
    assert world.grown(2, GROWTH).refused_reason.tolist() == [RefusalReason.WRONG_NODE_KIND]
    unknown = Event(EventKind.GRAPH_GROWN, 0, 0, 0, argument=99)
    assert world.step(unknown).refused_reason.tolist() == [RefusalReason.UNKNOWN_GRAPH]
    world.grown(0, GROWTH)
    assert world.grown(0, GROWTH).absorbed == 1
    assert len(world.kernel.phases(0)) == 6


def test_growth_survives_a_snapshot_without_its_graph() -> None:
    world = CoreWorld(shape("t"))
    world.grown(0, GROWTH)
    world.kernel.release_graph(1)
    world.kernel = Kernel.restore(world.kernel.snapshot())
    world.succeeded(2, 3)
    assert world.effects() == [(RESOLVE, 3, 0, 0), finished(RunPhase.SUCCEEDED)]
