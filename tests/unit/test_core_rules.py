"""The rules of a run, one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flyte_kernel.phases import AbortReason, EffectKind, EventKind, FailureClass, NodePhase, RefusalReason, RunPhase
from tests.support.core_world import NONE, CoreWorld, shape
from tests.support.oracle import Event

P = NodePhase
LAUNCH, ABORT, FINISH, OPEN, RESOLVE = (
    EffectKind.LAUNCH_ATTEMPTS,
    EffectKind.ABORT_ATTEMPTS,
    EffectKind.FINISH_RUN,
    EffectKind.OPEN_SCOPE,
    EffectKind.RESOLVE_OUTPUTS,
)
USER, SYSTEM, PERMANENT = FailureClass.USER_RECOVERABLE, FailureClass.SYSTEM_RECOVERABLE, FailureClass.PERMANENT


def finished(phase: RunPhase) -> tuple[int, int, int, int]:
    return (FINISH, NONE, 0, phase)


# Starting and ending


def test_start_passes_and_end_resolves_outputs() -> None:
    world = CoreWorld(shape("ste", [(0, 1), (1, 2)]))
    assert world.effects() == [(LAUNCH, 1, 0, 0)]
    assert world.phases() == "SUCCEEDED QUEUED UNDEFINED"
    world.started(1)
    assert (world.effects(), world.phase(1)) == ([], P.RUNNING)
    world.succeeded(1)
    assert world.effects() == [(RESOLVE, 2, 0, 0)]
    world.succeeded(2)
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]
    assert world.run_phase == RunPhase.SUCCEEDED


def test_a_run_without_nodes_succeeds_at_once() -> None:
    world = CoreWorld(shape(""))
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


def test_a_node_waits_for_every_edge_even_a_doubled_one() -> None:
    world = CoreWorld(shape("ttt", [(0, 2), (0, 2), (1, 2)]))
    world.succeeded(0)
    assert world.effects() == []
    world.succeeded(1)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]


def test_what_becomes_ready_in_one_event_goes_out_in_ascending_order_tasks_last() -> None:
    world = CoreWorld(shape("tttwe", [(0, 2), (0, 1), (0, 4), (0, 3)]))
    world.succeeded(0)
    assert world.effects() == [(OPEN, 3, 0, 0), (RESOLVE, 4, 0, 0), (LAUNCH, 1, 0, 0), (LAUNCH, 2, 0, 0)]


def test_effects_name_the_event_that_caused_them() -> None:
    world = CoreWorld(shape("tttt", [(0, 2), (1, 3)]))
    world.succeeded(1, 1, 0)
    assert world.effects() == [(LAUNCH, 3, 0, 0), (LAUNCH, 2, 0, 0)]
    assert world.causes() == [0, 2]


def test_a_batch_may_answer_what_it_launched_itself() -> None:
    world = CoreWorld(shape("ttt", [(0, 1), (1, 2)]))
    world.succeeded(0, 1, 2)
    assert world.effects() == [(LAUNCH, 1, 0, 0), (LAUNCH, 2, 0, 0), finished(RunPhase.SUCCEEDED)]
    assert world.causes() == [0, 1, 2]
    assert world.moves(1) == [P.QUEUED, P.SUCCEEDED]


# Parallelism


def test_tasks_wait_in_line_for_a_slot() -> None:
    world = CoreWorld(shape("tttt", [(3, 0)]), parallelism=2)
    assert world.effects() == [(LAUNCH, 1, 0, 0), (LAUNCH, 2, 0, 0)]
    world.succeeded(2)
    assert world.effects() == [(LAUNCH, 3, 0, 0)]
    world.succeeded(1, 3)
    assert world.effects() == [(LAUNCH, 0, 0, 0)]
    assert world.causes() == [1]


def test_the_line_is_in_order_of_readiness_not_of_index() -> None:
    world = CoreWorld(shape("ttttt", [(1, 4), (2, 3)]), parallelism=1)
    world.succeeded(0)
    world.succeeded(1)  # 4 is ready after 2, which waited before it
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    world.succeeded(2)
    assert world.effects() == [(LAUNCH, 4, 0, 0)]
    world.succeeded(4)
    assert world.effects() == [(LAUNCH, 3, 0, 0)]


def test_a_retry_keeps_its_slot() -> None:
    world = CoreWorld(shape("tt", attempts_max={0: 2}), parallelism=1)
    world.failed(0, USER)
    assert world.effects() == [(LAUNCH, 0, 1, 0)]
    world.succeeded(0, attempt=1)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]


def test_a_task_that_is_being_stopped_keeps_its_slot() -> None:
    world = CoreWorld(shape("tt", active_timeout={0: 5}), parallelism=1, fails_late=True)
    world.passes(5)
    assert world.effects() == [(ABORT, 0, 0, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(0, now=6)
    assert world.effects() == [(LAUNCH, 1, 0, 0)]


def test_scopes_and_end_nodes_need_no_slot() -> None:
    world = CoreWorld(shape("tewt", scope={3: 2}), parallelism=1)
    assert world.effects() == [(RESOLVE, 1, 0, 0), (OPEN, 2, 0, 0), (LAUNCH, 0, 0, 0)]
    world.opened(2)
    assert world.effects() == []
    world.succeeded(0)
    assert world.effects() == [(LAUNCH, 3, 0, 0)]


# Budgets


def test_the_user_budget_counts_attempts() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 3}))
    for attempt in range(2):
        world.failed(0, USER, attempt)
        assert world.effects() == [(LAUNCH, 0, attempt + 1, 0)]
        assert world.phase(0) == P.RUNNING
    assert world.kernel.counters(0, 0) == (2, 2, 0)
    world.failed(0, USER, 2)
    assert world.effects() == [finished(RunPhase.FAILED)]
    assert world.kernel.counters(0, 0) == (2, 3, 0)


def test_the_platform_budget_is_apart_from_the_users() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 2}), system_attempts_extra=2)
    world.failed(0, SYSTEM, 0)
    world.failed(0, USER, 1)
    world.failed(0, SYSTEM, 2)
    assert world.effects() == [(LAUNCH, 0, 3, 0)]
    assert world.kernel.counters(0, 0) == (3, 1, 2)
    world.failed(0, SYSTEM, 3)
    assert world.phase(0) == P.FAILED
    assert world.kernel.counters(0, 0) == (3, 1, 2)


def test_a_permanent_failure_spends_no_budget() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 9}))
    world.failed(0, PERMANENT)
    assert (world.phase(0), world.kernel.counters(0, 0)) == (P.FAILED, (0, 0, 0))


def test_word_of_an_older_attempt_is_absorbed() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 3}))
    world.failed(0, USER)
    assert world.failed(0, USER).absorbed == 1
    assert world.succeeded(0).absorbed == 1
    assert world.phase(0) == P.RUNNING


def test_end_nodes_are_tried_again_too() -> None:
    world = CoreWorld(shape("e"))
    world.failed(0, SYSTEM)
    assert world.effects() == [(RESOLVE, 0, 1, 0)]


# Deadlines


def test_an_attempts_time_counts_from_its_start() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 2}, execution_timeout={0: 10}))
    assert world.kernel.next_deadline() is None
    world.started(0, now=100)
    assert world.kernel.next_deadline() == 110
    world.passes(109)
    assert world.phase(0) == P.RUNNING
    world.passes(110)
    assert world.effects() == [(ABORT, 0, 0, AbortReason.EXECUTION_TIMEOUT)]
    assert world.causes() == [NONE]
    assert (world.phase(0), world.kernel.next_deadline()) == (P.RETRYING, None)
    world.gone(0, now=120)
    assert world.effects() == [(LAUNCH, 0, 1, 0)]
    assert (world.phase(0), world.kernel.next_deadline()) == (P.RUNNING, None)
    world.started(0, attempt=1, now=200)
    assert world.kernel.next_deadline() == 210
    assert world.started(0, attempt=1, now=205).absorbed == 1
    assert world.kernel.next_deadline() == 210
    world.passes(210)
    assert world.phase(0) == P.FAILING
    world.succeeded(0, attempt=1, now=211)
    assert (world.phase(0), world.run_phase) == (P.FAILED, RunPhase.FAILED)


def test_a_nodes_time_counts_over_its_attempts() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 9}, active_timeout={0: 10}))
    assert world.kernel.next_deadline() == 10
    world.failed(0, USER, now=9)
    assert world.kernel.next_deadline() == 10
    world.passes(11)
    assert world.effects() == [(ABORT, 0, 1, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(0, attempt=1, now=12)
    assert (world.phase(0), world.run_phase) == (P.TIMED_OUT, RunPhase.FAILED)


def test_of_two_limits_at_one_time_the_nodes_own_comes_first() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 9}, execution_timeout={0: 5}, active_timeout={0: 5}))
    world.started(0)
    world.passes(5)
    assert world.effects() == [(ABORT, 0, 0, AbortReason.ACTIVE_TIMEOUT)]
    assert world.kernel.counters(0, 0) == (0, 0, 0)


def test_a_node_that_waits_for_its_next_attempt_can_still_run_out_of_time() -> None:
    world = CoreWorld(shape("t", attempts_max={0: 9}, execution_timeout={0: 5}, active_timeout={0: 7}))
    world.started(0)
    world.passes(5)
    assert (world.phase(0), world.kernel.next_deadline()) == (P.RETRYING, 7)
    world.passes(7)
    assert (world.phase(0), world.effects()) == (P.TIMING_OUT, [])
    world.gone(0, now=8)
    assert world.phase(0) == P.TIMED_OUT


def test_timers_fire_before_the_events_of_their_step() -> None:
    world = CoreWorld(shape("t", active_timeout={0: 5}))
    world.succeeded(0, now=5)
    assert world.moves(0) == [P.TIMING_OUT, P.TIMED_OUT]


def test_timers_fire_in_order_of_their_deadlines() -> None:
    world = CoreWorld(shape("ttt", active_timeout={0: 9, 1: 3, 2: 9}), fails_late=True)
    world.passes(20)
    assert [node for _, node, _, _ in world.effects()] == [1, 0, 2]


def test_a_deadline_ends_with_its_node() -> None:
    world = CoreWorld(shape("tt", active_timeout={0: 9}))
    world.succeeded(0)
    assert world.kernel.next_deadline() is None


def test_a_deadline_beyond_the_end_of_time_is_the_end_of_time() -> None:
    world = CoreWorld(shape("tt", [(0, 1)], active_timeout={1: 2**63 - 1}))
    world.succeeded(0, now=5)
    assert world.kernel.next_deadline() == 2**63 - 1


# Failure policies


def test_a_failure_ends_the_run_at_once() -> None:
    world = CoreWorld(shape("tttt", [(0, 3)]))
    world.started(1)
    world.failed(0, PERMANENT)
    assert world.effects() == [(ABORT, node, 0, AbortReason.RUN_FAILING) for node in (1, 2)]
    assert (world.phases(), world.run_phase) == ("FAILED ABORTING ABORTING UNDEFINED", RunPhase.FAILING)
    world.gone(1)
    assert world.effects() == []
    world.succeeded(2)
    assert world.effects() == [finished(RunPhase.FAILED)]
    assert world.phases() == "FAILED ABORTED ABORTED UNDEFINED"


def test_a_failure_of_the_last_node_ends_the_run_in_one_step() -> None:
    world = CoreWorld(shape("t"))
    world.failed(0, PERMANENT)
    assert world.effects() == [finished(RunPhase.FAILED)]
    assert world.run_phase == RunPhase.FAILED


def test_the_rest_runs_on_if_the_policy_says_so() -> None:
    world = CoreWorld(shape("ttttt", [(0, 2), (2, 3), (1, 4)]), fails_late=True)
    world.failed(0, PERMANENT)
    assert (world.effects(), world.phases()) == ([], "FAILED QUEUED SKIPPED SKIPPED UNDEFINED")
    world.succeeded(1)
    assert world.effects() == [(LAUNCH, 4, 0, 0)]
    world.succeeded(4)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_node_is_skipped_only_when_all_before_it_have_settled() -> None:
    world = CoreWorld(shape("ttt", [(0, 2), (1, 2)]), fails_late=True)
    world.failed(0, PERMANENT)
    assert world.phase(2) == P.UNDEFINED
    world.succeeded(1)
    assert (world.phase(2), world.run_phase) == (P.SKIPPED, RunPhase.FAILED)


def test_a_long_chain_is_skipped_without_recursion() -> None:
    count = 100_000
    world = CoreWorld(shape("t" * count, [(node, node + 1) for node in range(count - 1)]), fails_late=True)
    world.failed(0, PERMANENT)
    assert world.kernel.phases(0)[1:].tolist() == [P.SKIPPED] * (count - 1)
    assert world.run_phase == RunPhase.FAILED


# Scopes


def test_a_scope_opens_runs_and_succeeds() -> None:
    world = CoreWorld(shape("wstet", [(1, 2), (2, 3), (0, 4)], scope={1: 0, 2: 0, 3: 0}))
    assert world.effects() == [(OPEN, 0, 0, 0)]
    world.opened(0)
    assert world.effects() == [(LAUNCH, 2, 0, 0)]
    assert world.phases() == "RUNNING SUCCEEDED QUEUED UNDEFINED UNDEFINED"
    world.succeeded(2, 3)
    assert world.effects() == [(RESOLVE, 3, 0, 0), (LAUNCH, 4, 0, 0)]
    assert world.phase(0) == P.SUCCEEDED


def test_an_empty_scope_succeeds_when_it_opens() -> None:
    world = CoreWorld(shape("w"))
    world.opened(0)
    assert world.effects() == [finished(RunPhase.SUCCEEDED)]


def test_scopes_nested_deep_end_without_recursion() -> None:
    depth = 5_000
    world = CoreWorld(shape("w" * depth, scope={node: node - 1 for node in range(1, depth)}))
    world.step(*(Event(EventKind.SCOPE_OPENED, 0, node) for node in range(depth)))
    assert world.run_phase == RunPhase.SUCCEEDED


def test_inputs_of_a_scope_that_cannot_be_resolved_are_tried_again() -> None:
    world = CoreWorld(shape("wt", scope={1: 0}))
    world.failed(0, SYSTEM)
    assert (world.effects(), world.phase(0)) == ([(OPEN, 0, 1, 0)], P.QUEUED)
    world.failed(0, PERMANENT, attempt=1)
    assert world.phases() == "FAILED UNDEFINED"


def test_a_failure_inside_fails_the_scopes_around_it_at_once() -> None:
    world = CoreWorld(shape("wwtwt", scope={1: 0, 2: 1, 4: 3}))
    world.opened(0)
    world.opened(1)
    world.opened(3)
    world.failed(2, PERMANENT)
    assert world.phases() == "FAILED FAILED FAILED RUNNING ABORTING"
    world.gone(4)
    assert world.phases() == "FAILED FAILED FAILED ABORTED ABORTED"
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_scope_fails_late_with_the_run() -> None:
    world = CoreWorld(shape("wttt", [(0, 3)], scope={1: 0, 2: 0}), fails_late=True)
    world.opened(0)
    world.failed(1, PERMANENT)
    assert world.phases() == "RUNNING FAILED QUEUED UNDEFINED"
    world.succeeded(2)
    assert world.phases() == "FAILED FAILED SUCCEEDED SKIPPED"
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_a_scope_that_takes_too_long_starts_over() -> None:
    world = CoreWorld(
        shape("wtt", scope={1: 0, 2: 0}, attempts_max={0: 2, 1: 5}, execution_timeout={0: 10}), fails_late=True
    )
    world.opened(0, now=100)
    world.failed(1, USER, now=101)
    world.succeeded(2, now=102)
    world.passes(110)
    assert world.effects() == [(ABORT, 1, 1, AbortReason.EXECUTION_TIMEOUT)]
    assert world.phases() == "RETRYING ABORTING SUCCEEDED"
    world.gone(1, attempt=1, now=120)
    assert world.effects() == [(OPEN, 0, 1, 0)]
    assert world.phases() == "QUEUED UNDEFINED UNDEFINED"
    assert world.kernel.attempts(0).tolist() == [1, 2, 1]
    assert world.kernel.counters(0, 1) == (2, 0, 0)
    world.opened(0, attempt=1, now=130)
    assert world.effects() == [(LAUNCH, 1, 2, 0), (LAUNCH, 2, 1, 0)]
    assert world.kernel.next_deadline() == 140


def test_no_attempt_number_is_used_twice_in_a_scope_that_starts_over() -> None:
    world = CoreWorld(shape("wt", scope={1: 0}, attempts_max={0: 9}, execution_timeout={0: 10}))
    world.opened(0)
    world.passes(10)
    world.gone(1, now=10)
    assert world.succeeded(1, now=11).absorbed == 1
    world.opened(0, attempt=1, now=12)
    assert world.effects() == [(LAUNCH, 1, 1, 0)]
    assert world.succeeded(1, now=13).absorbed == 1
    assert world.phase(1) == P.QUEUED


def test_a_scope_without_attempts_left_fails_once_its_nodes_are_gone() -> None:
    world = CoreWorld(shape("wtt", scope={1: 0, 2: 0}, execution_timeout={0: 10}), fails_late=True)
    world.opened(0)
    world.passes(10)
    world.gone(1, now=11)
    assert world.phases() == "FAILING ABORTED ABORTING"
    world.gone(2, now=12)
    assert (world.phases(), world.run_phase) == ("FAILED ABORTED ABORTED", RunPhase.FAILED)


def test_a_scope_with_nothing_under_way_times_out_at_once() -> None:
    world = CoreWorld(shape("wwt", scope={1: 0, 2: 1}, active_timeout={0: 10}), parallelism=1, fails_late=True)
    world.opened(0)
    world.passes(10)  # the inner scope's opening is called off
    assert world.effects() == [(ABORT, 1, 0, AbortReason.ACTIVE_TIMEOUT)]
    world.gone(1, now=11)
    assert world.phases() == "TIMED_OUT ABORTED UNDEFINED"


def test_tasks_in_line_leave_it_with_their_scope() -> None:
    world = CoreWorld(shape("twt", scope={2: 1}, active_timeout={1: 10}), parallelism=1, fails_late=True)
    world.opened(1)
    world.passes(10)
    assert (world.effects(), world.phases()) == ([], "QUEUED TIMED_OUT UNDEFINED")
    world.succeeded(0, now=11)
    assert world.effects() == [finished(RunPhase.FAILED)]


def test_an_opening_that_takes_too_long_is_called_off() -> None:
    world = CoreWorld(shape("wt", scope={1: 0}, active_timeout={0: 10}), fails_late=True)
    world.passes(10)
    assert world.effects() == [(ABORT, 0, 0, AbortReason.ACTIVE_TIMEOUT)]
    assert world.opened(0, now=11).absorbed == 1
    world.gone(0, now=12)
    assert world.phases() == "TIMED_OUT UNDEFINED"


def test_the_outermost_stop_decides() -> None:
    world = CoreWorld(
        shape("wwt", scope={1: 0, 2: 1}, attempts_max={1: 9}, execution_timeout={1: 5}, active_timeout={0: 7}),
        fails_late=True,
    )
    world.opened(0)
    world.opened(1)
    world.passes(5)
    assert world.phases() == "RUNNING RETRYING ABORTING"
    world.passes(7)
    assert (world.phases(), world.effects()) == ("TIMING_OUT RETRYING ABORTING", [])
    world.gone(2, now=8)
    assert world.phases() == "TIMED_OUT ABORTED ABORTED"


def test_nodes_in_a_stopped_scope_have_no_deadlines() -> None:
    world = CoreWorld(
        shape("wwt", scope={1: 0, 2: 1}, active_timeout={0: 5, 1: 7}, execution_timeout={2: 4}), fails_late=True
    )
    world.opened(0)
    world.opened(1)
    world.started(2, now=2)
    assert world.kernel.next_deadline() == 5
    world.passes(5)
    assert world.kernel.next_deadline() is None


# Aborts


def test_an_aborted_run_ends_when_everything_is_gone() -> None:
    world = CoreWorld(shape("twtt", [(0, 3)], scope={2: 1}))
    world.opened(1)
    world.aborted()
    assert world.effects() == [(ABORT, node, 0, AbortReason.RUN_ABORTED) for node in (0, 2)]
    assert (world.phases(), world.run_phase) == ("ABORTING RUNNING ABORTING UNDEFINED", RunPhase.ABORTING)
    world.succeeded(0)
    world.failed(2, PERMANENT)
    assert world.effects() == [finished(RunPhase.ABORTED)]
    assert (world.phases(), world.run_phase) == ("ABORTED ABORTED ABORTED UNDEFINED", RunPhase.ABORTED)


def test_an_abort_wins_over_a_failure_under_way() -> None:
    world = CoreWorld(shape("tt"))
    world.failed(0, PERMANENT)
    world.aborted()
    assert (world.effects(), world.run_phase) == ([], RunPhase.ABORTING)
    world.gone(1)
    assert world.effects() == [finished(RunPhase.ABORTED)]


def test_what_was_called_off_before_is_not_told_again() -> None:
    world = CoreWorld(shape("tt", active_timeout={0: 5}))
    world.passes(5)
    world.aborted(now=6)
    assert world.effects() == [(ABORT, 1, 0, AbortReason.RUN_ABORTED)]
    assert world.phases() == "ABORTING ABORTING"


def test_released_runs_absorb_everything_and_keep_their_number() -> None:
    world = CoreWorld(shape("t"))
    world.succeeded(0)
    world.kernel.release(0)
    assert world.succeeded(0, 5).absorbed == 2
    assert world.aborted().absorbed == 1
    assert world.step(Event(EventKind.RUN_CREATED, 0, 0)).absorbed == 1
    assert world.step(Event(EventKind.RUN_CREATED, 1, 0)).absorbed == 0
    assert world.kernel.run_count == 2


def test_a_released_graph_starts_no_runs_but_its_runs_go_on() -> None:
    world = CoreWorld(shape("t"))
    world.kernel.release_graph(0)
    refused = world.step(Event(EventKind.RUN_CREATED, 1, 0)).refused_reason.tolist()
    assert refused == [RefusalReason.UNKNOWN_GRAPH]
    world.succeeded(0)
    assert world.run_phase == RunPhase.SUCCEEDED


# Every legal step, taken once


def _restart_after(end: Callable[[CoreWorld], object], node: int = 1) -> tuple[CoreWorld, int]:
    """A scope of three nodes starts over after `end` brought node 1 somewhere; node 3 keeps it busy until then."""
    world = CoreWorld(
        shape(
            "wttt",
            [(1, 2)],
            scope={1: 0, 2: 0, 3: 0},
            attempts_max={0: 2},
            execution_timeout={0: 100},
            active_timeout={1: 5},
        ),
        fails_late=True,
    )
    world.opened(0)
    end(world)
    world.passes(100)
    for inner in (1, 2, 3):
        if world.phase(inner) == P.ABORTING:
            world.gone(inner, now=100)
    return world, node


def _moved(
    node: int,
    kinds: str,
    then: Callable[[CoreWorld], object],
    edges: list[tuple[int, int]] | None = None,
    *,
    late: bool = False,
    **columns: dict[int, int],
) -> Callable[[], tuple[CoreWorld, int]]:
    def build() -> tuple[CoreWorld, int]:
        world = CoreWorld(shape(kinds, edges, **columns), fails_late=late)
        then(world)
        return world, node

    return build


def _all(*steps: Callable[[CoreWorld], object]) -> Callable[[CoreWorld], object]:
    def run(world: CoreWorld) -> None:
        for step in steps:
            step(world)

    return run


def _start(world: CoreWorld) -> object:
    return world.started(0)


def _late(now: int) -> Callable[[CoreWorld], object]:
    return lambda world: world.passes(now)


def _gone(node: int = 0) -> Callable[[CoreWorld], object]:
    return lambda world: world.gone(node, now=9)


def _open(world: CoreWorld) -> object:
    return world.opened(0)


def _abort(world: CoreWorld) -> object:
    return world.aborted(now=9)


STEPS: list[tuple[NodePhase, NodePhase, Callable[[], tuple[CoreWorld, int]]]] = [
    (P.UNDEFINED, P.QUEUED, _moved(0, "t", _all())),
    (P.UNDEFINED, P.SUCCEEDED, _moved(0, "s", _all())),
    (P.UNDEFINED, P.SKIPPED, _moved(1, "tt", lambda w: w.failed(0, PERMANENT), [(0, 1)], late=True)),
    (P.QUEUED, P.RUNNING, _moved(0, "t", _start)),
    (P.QUEUED, P.SUCCEEDED, _moved(0, "t", lambda w: w.succeeded(0))),
    (P.QUEUED, P.FAILED, _moved(0, "t", lambda w: w.failed(0, PERMANENT))),
    (P.QUEUED, P.TIMING_OUT, _moved(0, "t", _late(5), active_timeout={0: 5})),
    (P.QUEUED, P.ABORTING, _moved(0, "t", _abort)),
    (P.RUNNING, P.SUCCEEDED, _moved(0, "t", _all(_start, lambda w: w.succeeded(0)))),
    (P.RUNNING, P.FAILED, _moved(0, "t", _all(_start, lambda w: w.failed(0, PERMANENT)))),
    (P.RUNNING, P.FAILING, _moved(0, "t", _all(_start, _late(5)), execution_timeout={0: 5})),
    (P.RUNNING, P.RETRYING, _moved(0, "t", _all(_start, _late(5)), execution_timeout={0: 5}, attempts_max={0: 2})),
    (P.RUNNING, P.TIMING_OUT, _moved(0, "t", _all(_start, _late(5)), active_timeout={0: 5})),
    (P.RUNNING, P.ABORTING, _moved(0, "t", _all(_start, _abort))),
    (P.RUNNING, P.ABORTED, _moved(0, "wt", _all(_open, _abort, _gone(1)), scope={1: 0})),
    (P.SUCCEEDED, P.UNDEFINED, lambda: _restart_after(lambda w: w.succeeded(1, 2))),
    (P.FAILED, P.UNDEFINED, lambda: _restart_after(lambda w: w.failed(1, PERMANENT))),
    (P.ABORTED, P.UNDEFINED, lambda: _restart_after(_all())),
    (P.SKIPPED, P.UNDEFINED, lambda: _restart_after(lambda w: w.failed(1, PERMANENT), 2)),
    (P.TIMED_OUT, P.UNDEFINED, lambda: _restart_after(_all(_late(5), _gone(1)))),
    (P.FAILING, P.FAILED, _moved(0, "t", _all(_start, _late(5), _gone()), execution_timeout={0: 5})),
    (P.FAILING, P.ABORTING, _moved(0, "t", _all(_start, _late(5), _abort), execution_timeout={0: 5})),
    (
        P.FAILING,
        P.ABORTED,
        _moved(0, "wt", _all(_open, _late(5), _abort, _gone(1)), scope={1: 0}, execution_timeout={0: 5}),
    ),
    (
        P.RETRYING,
        P.QUEUED,
        _moved(0, "wt", _all(_open, _late(5), _gone(1)), scope={1: 0}, execution_timeout={0: 5}, attempts_max={0: 2}),
    ),
    (
        P.RETRYING,
        P.RUNNING,
        _moved(0, "t", _all(_start, _late(5), _gone()), execution_timeout={0: 5}, attempts_max={0: 2}),
    ),
    (
        P.RETRYING,
        P.TIMING_OUT,
        _moved(
            0,
            "t",
            _all(_start, _late(5), _late(7)),
            execution_timeout={0: 5},
            active_timeout={0: 7},
            attempts_max={0: 2},
        ),
    ),
    (
        P.RETRYING,
        P.ABORTING,
        _moved(0, "t", _all(_start, _late(5), _abort), execution_timeout={0: 5}, attempts_max={0: 2}),
    ),
    (
        P.RETRYING,
        P.ABORTED,
        _moved(
            0,
            "wt",
            _all(_open, _late(5), _abort, _gone(1)),
            scope={1: 0},
            execution_timeout={0: 5},
            attempts_max={0: 2},
        ),
    ),
    (P.TIMING_OUT, P.TIMED_OUT, _moved(0, "t", _all(_late(5), _gone()), active_timeout={0: 5})),
    (P.TIMING_OUT, P.ABORTING, _moved(0, "t", _all(_late(5), _abort), active_timeout={0: 5})),
    (
        P.TIMING_OUT,
        P.ABORTED,
        _moved(0, "wt", _all(_open, _late(5), _abort, _gone(1)), scope={1: 0}, active_timeout={0: 5}),
    ),
    (P.ABORTING, P.ABORTED, _moved(0, "t", _all(_abort, _gone()))),
]


@pytest.mark.parametrize(("before", "after", "build"), STEPS, ids=lambda value: getattr(value, "name", ""))
def test_every_legal_step_is_taken(
    before: NodePhase, after: NodePhase, build: Callable[[], tuple[CoreWorld, int]]
) -> None:
    world, node = build()
    assert (node, before, after) in world.taken


def test_the_list_of_steps_is_complete() -> None:
    # As many as phase.rs allows; a test there names each.
    assert len({(before, after) for before, after, _ in STEPS}) == 32
