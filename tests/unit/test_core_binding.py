"""What crosses between Python and the core: arrays, errors, threads, names."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

import flyte_kernel
from flyte_kernel import Kernel, Turn, phases
from flyte_kernel.errors import GraphError, InvalidArgumentError, StateError, UnknownNodeError
from flyte_kernel.phases import EffectKind, EventKind, RunPhase
from tests.support.core_world import CoreWorld, shape
from tests.support.oracle import Event
from tests.support.oracle_driver import graph_of, step

COLUMNS = ("kind", "run", "node", "attempt", "element", "argument")
DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)


def columns(length: int = 1, **instead: np.ndarray) -> list[np.ndarray]:
    given = {name: np.zeros(length, dtype) for name, dtype in zip(COLUMNS, DTYPES, strict=True)}
    return list((given | instead).values())


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_another_dtype_are_refused(name: str) -> None:
    with pytest.raises(GraphError, match=rf"{name} must be a 1-d array of u?int\d+, not an array of float32"):
        Kernel().step(0, *columns(**{name: np.zeros(1, np.float32)}))


@pytest.mark.parametrize("name", COLUMNS[1:])
def test_columns_of_another_length_are_refused_and_nothing_is_done(name: str) -> None:
    kernel = Kernel()
    kernel.add_graph(graph_of(shape("t")))
    longer = {name: np.zeros(2, dict(zip(COLUMNS, DTYPES, strict=True))[name])}
    with pytest.raises(GraphError, match=f"{name} has 2 rows, expected 1"):
        kernel.step(0, *columns(kind=np.ones(1, np.uint8), **longer))
    assert kernel.run_count == 0


def test_read_only_columns_are_taken() -> None:
    given = columns(3)
    for column in given:
        column.setflags(write=False)
    assert Kernel().step(0, *given).refused_event.tolist() == [0, 1, 2]


@pytest.mark.parametrize("now", [2**63, -(2**63) - 1])
def test_a_time_that_does_not_fit_is_refused(now: int) -> None:
    with pytest.raises(InvalidArgumentError):
        Kernel().step(now, *columns(0))


def test_a_turns_columns_are_views_that_outlive_it() -> None:
    world = CoreWorld(shape("ttt"))
    node = world.last.effect_node
    kind = world.last.effect_kind
    del world
    gc.collect()
    assert node.tolist() == [0, 1, 2]
    assert kind.tolist() == [EffectKind.LAUNCH_ATTEMPTS] * 3
    assert not node.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        node[0] = 1
    with pytest.raises(ValueError, match="cannot set WRITEABLE"):
        node.setflags(write=True)


def test_columns_have_the_dtypes_of_the_stub() -> None:
    turn = CoreWorld(shape("t")).last
    dtypes = {name: str(getattr(turn, name).dtype) for name in dir(Turn) if name.partition("_")[0] in PREFIXES}
    assert dtypes == {
        "effect_argument": "int64",
        "effect_attempt": "uint32",
        "effect_cause": "uint32",
        "effect_element": "uint32",
        "effect_kind": "uint8",
        "effect_node": "uint32",
        "effect_run": "uint32",
        "refused_event": "uint32",
        "refused_reason": "uint8",
        "transition_attempt": "uint32",
        "transition_node": "uint32",
        "transition_phase": "uint8",
        "transition_run": "uint32",
    }


PREFIXES = ("effect", "transition", "refused")


def test_phases_are_a_copy() -> None:
    world = CoreWorld(shape("t"))
    before = world.kernel.phases(0)
    world.succeeded(0)
    assert (before.tolist(), world.kernel.phases(0).tolist()) == ([1], [3])


@pytest.mark.parametrize(
    "ask",
    [
        lambda kernel: kernel.run_phase(7),
        lambda kernel: kernel.phases(7),
        lambda kernel: kernel.attempts(7),
        lambda kernel: kernel.counters(7, 0),
        lambda kernel: kernel.release(7),
    ],
)
def test_unknown_runs_are_named(ask: Callable[[Kernel], object]) -> None:
    with pytest.raises(UnknownNodeError, match="no run 7"):
        ask(Kernel())


def test_other_unknown_things_are_named() -> None:
    world = CoreWorld(shape("t"))
    with pytest.raises(UnknownNodeError, match="no node 1 in run 0"):
        world.kernel.counters(0, 1)
    with pytest.raises(UnknownNodeError, match="no graph 3"):
        world.kernel.release_graph(3)
    with pytest.raises(UnknownNodeError, match="no refusal 0, only 0"):
        world.last.refusal(0)
    assert not world.kernel.is_live(1)


def test_a_run_that_goes_on_is_not_released() -> None:
    world = CoreWorld(shape("t"))
    assert world.kernel.is_live(0)
    with pytest.raises(StateError, match="run 0 is still going on"):
        world.kernel.release(0)
    world.succeeded(0)
    assert not world.kernel.is_live(0)
    world.kernel.release(0)


def test_transitions_can_be_left_out() -> None:
    kernel = Kernel(record_transitions=False)
    kernel.add_graph(graph_of(shape("t")))
    turn = step(kernel, 0, [Event(EventKind.RUN_CREATED, 0, 0)])
    assert (len(turn.transition_phase), len(turn.effect_kind)) == (0, 1)


def test_stories_remember_no_more_than_was_asked() -> None:
    kernel = Kernel(story_capacity=2)
    kernel.add_graph(graph_of(shape("tt")))
    created = Event(EventKind.RUN_CREATED, 0, 0)
    ended = [Event(EventKind.ATTEMPT_STARTED, 0, 1), Event(EventKind.ATTEMPT_SUCCEEDED, 0, 1)]
    step(kernel, 5, [created, Event(EventKind.ATTEMPT_STARTED, 0, 0), *ended])
    assert "AttemptStarted" not in kernel.story(0, 0)
    assert kernel.story(0, 1).count("run 0, node 1") == 2
    silent = Kernel(story_capacity=0)
    assert silent.story(0, 0) == "nothing is remembered of it"


def test_a_long_story_tells_its_end() -> None:
    world = CoreWorld(shape("t"))
    world.step(*(Event(EventKind.ATTEMPT_STARTED, 0, 0) for _ in range(5000)))
    story = world.kernel.story(0, 0)
    assert story.startswith("4981 earlier ones; ")
    assert len(story) < 3000


def test_threads_share_a_kernel() -> None:
    kernel = Kernel()
    graph = graph_of(shape("t" * 50, [(node, node + 1) for node in range(49)]))
    index = kernel.add_graph(graph)
    step(kernel, 0, [Event(EventKind.RUN_CREATED, run, index) for run in range(8)])

    def finish(run: int) -> None:
        for node in range(50):
            step(kernel, 0, [Event(EventKind.ATTEMPT_SUCCEEDED, run, node)])

    threads = [threading.Thread(target=finish, args=(run,)) for run in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kernel.check_invariants()
    assert [kernel.run_phase(run) for run in range(8)] == [RunPhase.SUCCEEDED] * 8


def test_the_public_names_are_what_is_there() -> None:
    assert flyte_kernel.__all__ == sorted(flyte_kernel.__all__)
    there = {name for name in flyte_kernel.__all__ if getattr(flyte_kernel, name) is not None}
    assert there == set(flyte_kernel.__all__) == set(dir(flyte_kernel))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = flyte_kernel.nothing  # type: ignore[attr-defined]
    assert phases.__all__ == sorted(phases.__all__, key=lambda name: (not name.isupper(), name))


def test_importing_the_kernel_imports_nothing_big() -> None:
    code = "import sys, flyte_kernel; print(*{name.partition('.')[0] for name in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "flyte_kernel" in found
    assert not {"grpc", "duckdb", "msgspec", "google", "flyteidl", "asyncio", "rich", "click"} & set(found)
