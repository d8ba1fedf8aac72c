"""The library as people who embed it use it: runs, execute, map, durable kernels, builders, pickles."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import networkx
import numpy as np
import pytest
import rustworkx

import flyte_kernel
from flyte_kernel import DurableKernel, EventKind, Graph, Kernel, NodeKind, NodePhase, Run, RunPhase
from flyte_kernel.errors import (
    CycleError,
    FolderLockedError,
    GraphError,
    InvalidArgumentError,
    StateError,
    UnknownNodeError,
)

NONE = 0xFFFF_FFFF


def u32(*numbers: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.array(numbers, np.uint32)


DIAMOND = Graph.from_edges(4, u32(0, 0, 1, 2), u32(1, 2, 3, 3))


# Graphs


def test_order_of_a_graph() -> None:
    graph = Graph.from_edges(6, u32(5, 0, 1, 2), u32(0, 1, 3, 3))
    assert graph.topological_order().tolist() == [2, 4, 5, 0, 1, 3]
    assert graph.levels().tolist() == [1, 2, 0, 3, 0, 0]
    assert graph.ancestors(3).tolist() == [0, 1, 2, 5]
    assert graph.descendants(0).tolist() == [1, 3]
    assert [column.tolist() for column in graph.edges()] == [[0, 1, 2, 5], [1, 3, 3, 0]]
    assert (len(graph), graph.critical_path()[0].tolist()) == (6, [5, 0, 1, 3])
    with pytest.raises(UnknownNodeError, match="no node 6"):
        graph.ancestors(6)


def test_the_critical_path_follows_the_weights() -> None:
    path, weight = DIAMOND.critical_path(np.array([1.0, 5.0, 2.0, 1.0]))
    assert (path.tolist(), weight) == ([0, 1, 3], 7.0)
    with pytest.raises(GraphError, match="weights has 1 rows"):
        DIAMOND.critical_path(np.ones(1))
    with pytest.raises(GraphError, match="node 2 has no weight"):
        DIAMOND.critical_path(np.array([1.0, 1.0, np.nan, 1.0]))


def test_a_subgraph_keeps_columns_and_edges_between_its_nodes() -> None:
    attempts = np.array([1, 2, 3, 4], np.uint16)
    graph = Graph.from_edges(4, u32(0, 0, 1, 2), u32(1, 2, 3, 3), attempts_max=attempts)
    part = graph.subgraph(u32(3, 1))
    assert (part.downstream(1).tolist(), part.attempts_max.tolist()) == ([0], [4, 2])
    with pytest.raises(GraphError, match="node 9 cannot be part"):
        graph.subgraph(u32(9))
    with pytest.raises(GraphError, match="node 1 cannot be part"):
        graph.subgraph(u32(1, 1))


def test_builders() -> None:
    graph, labels = flyte_kernel.from_adjacency({"bake": ["mix", "heat"], "mix": ["buy"]})
    assert labels == ["bake", "mix", "heat", "buy"]
    assert [labels[node] for node in graph.topological_order()] == ["heat", "buy", "mix", "bake"]
    with pytest.raises(CycleError, match=r"0 -> 1 -> 0|1 -> 0 -> 1"):
        flyte_kernel.from_adjacency({"a": ["b"], "b": ["a"]})
    digraph = networkx.DiGraph([("a", "b"), ("b", "c")])
    assert flyte_kernel.from_networkx(digraph).graph.levels().tolist() == [0, 1, 2]
    with pytest.raises(GraphError, match="not directed"):
        flyte_kernel.from_networkx(networkx.Graph())
    rust = rustworkx.PyDiGraph()
    first, second = rust.add_node("first"), rust.add_node("second")
    rust.remove_node(rust.add_node("gone"))
    rust.add_edge(second, first, None)
    graph, labels = flyte_kernel.from_rustworkx(rust)
    assert [labels[node] for node in graph.topological_order()] == ["second", "first"]


def test_pickles() -> None:
    graph = Graph.from_edges(3, u32(0), u32(1), kind=np.array([0, 0, 3], np.uint8), scope=u32(2, 2, NONE))
    assert pickle.loads(pickle.dumps(graph)) == graph
    assert graph != DIAMOND
    run = Run(DIAMOND, max_parallelism=1, priority=np.array([0, 1, 2, 3]))
    run.succeed(0)
    again = pickle.loads(pickle.dumps(run))
    assert again.ready().tolist() == run.ready().tolist() == [2]
    kernel = Kernel()
    kernel.add_graph(DIAMOND)
    assert pickle.loads(pickle.dumps(kernel)).snapshot() == kernel.snapshot()
    assert [repr(one) for one in (graph, run, kernel)] == [
        "Graph(node_count=3, edge_count=1)",
        "Run(node_count=4, phase=Running, ready=1, max_parallelism=1)",
        "Kernel(run_count=0)",
    ]


# Runs


def test_a_run_in_bulk_and_one_by_one() -> None:
    run = Run(DIAMOND)
    assert (run.ready().tolist(), run.ready_count) == ([0], 1)
    run.succeed(0)
    assert run.take().tolist() == [1, 2]
    assert run.ready().tolist() == []
    run.succeed(u32(1, 2))
    run.succeed(np.uint32(3))
    assert run.is_done
    assert run.phase == RunPhase.SUCCEEDED
    assert run.counts()[NodePhase.SUCCEEDED] == 4


def test_one_worker_goes_from_node_to_node() -> None:
    run = Run(DIAMOND)
    assert run.take_one() == 0
    assert run.phases().tolist() == [2, 0, 0, 0]
    assert [run.succeed_and_take(node) for node in (0, 1, 2, 3)] == [1, 2, 3, None]
    assert run.phase == RunPhase.SUCCEEDED
    with pytest.raises(UnknownNodeError, match="node 4"):
        run.succeed_and_take(4)


def test_ready_is_a_view_of_a_moment() -> None:
    run = Run(DIAMOND)
    before = run.ready()
    run.succeed(0)
    assert before.tolist() == [0]
    assert not before.flags.writeable


def test_priorities_and_parallelism() -> None:
    graph = Graph.from_edges(4, u32(), u32())
    run = Run(graph, max_parallelism=2, priority=np.array([0, 5, 5, 9]))
    assert run.take().tolist() == [3, 1]
    assert (run.take().tolist(), run.ready_count) == ([], 0)
    run.succeed(3)
    assert (run.take_one(), run.take_one()) == (2, None)
    with pytest.raises(GraphError, match="priority has 1 rows, expected 4"):
        Run(graph, priority=np.array([1]))


def test_failures_retries_and_skips() -> None:
    graph = Graph.from_edges(3, u32(0), u32(1), attempts_max=np.array([2, 1, 1], np.uint16))
    run = Run(graph, fails_late=True)
    run.fail(0)
    assert (run.ready().tolist(), run.attempts().tolist()) == ([2, 0], [1, 0, 0])
    run.fail(0)
    assert NodePhase(run.phases()[1]) == NodePhase.SKIPPED
    run.succeed(2)
    assert run.phase == RunPhase.FAILED
    run = Run(graph)
    run.skip(0)
    run.succeed(2)
    assert (run.phase, run.phases().tolist()) == (RunPhase.SUCCEEDED, [7, 7, 3])


def test_an_abort_waits_for_what_was_taken() -> None:
    run = Run(Graph.from_edges(3, u32(), u32()))
    run.take(1)
    run.abort()
    assert (run.cancelled().tolist(), run.phase) == ([0], RunPhase.ABORTING)
    run.gone(0)
    assert (run.phase, run.phases().tolist()) == (RunPhase.ABORTED, [6, 6, 6])


def test_timeouts_tick() -> None:
    run = Run(Graph.from_edges(1, u32(), u32(), active_timeout=np.array([5])))
    run.take()
    assert run.next_deadline() == 5
    run.tick(5)
    assert run.cancelled().tolist() == [0]
    run.gone(0)
    assert NodePhase(run.phases()[0]) == NodePhase.TIMED_OUT


def test_what_cannot_be_told_to_a_run() -> None:
    run = Run(DIAMOND)
    before = run.snapshot()
    with pytest.raises(StateError, match="node 3 was never ready"):
        run.succeed(u32(0, 3))
    with pytest.raises(UnknownNodeError, match="no node 9"):
        run.succeed(9)
    with pytest.raises(UnknownNodeError, match="no node -1"):
        run.succeed(-1)
    with pytest.raises(GraphError, match="1-d array of uint32"):
        run.succeed(np.array([0], np.int64))
    with pytest.raises(GraphError, match="contiguous"):
        run.succeed(u32(0, 0, 0)[::2])
    assert run.snapshot() == before
    with pytest.raises(StateError, match="nobody has called off node 0"):
        run.gone(0)
    run.succeed(0)
    run.start(0)  # too late to matter
    assert run.ready().tolist() == [1, 2]
    with pytest.raises(GraphError, match="node 0 is a branch or a map"):
        Run(Graph.from_edges(1, u32(), u32(), kind=np.array([NodeKind.MAP], np.uint8)))


def test_scopes_open_and_ends_resolve_by_themselves() -> None:
    kind = np.array([NodeKind.START, NodeKind.SUBWORKFLOW, NodeKind.END, NodeKind.TASK], np.uint8)
    run = Run(Graph.from_edges(4, u32(0, 1), u32(1, 2), kind=kind, scope=u32(NONE, NONE, NONE, 1)))
    assert run.ready().tolist() == [3]
    with pytest.raises(StateError, match="node 1 is a scope"):
        run.succeed(1)
    run.succeed(3)
    assert run.is_done


def test_two_threads_on_one_run() -> None:
    run = Run(Graph.from_edges(4000, u32(), u32()))

    def work() -> None:
        while len(nodes := run.take(7)):
            run.succeed(np.array(nodes))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.phase == RunPhase.SUCCEEDED
    run.check_invariants()


# execute


@pytest.mark.parametrize("executor", ["inline", "threads"])
def test_execute_passes_results_on(executor: str) -> None:
    def add(node: int, needed: dict[int, int]) -> int:
        return node + sum(needed.values())

    execution = flyte_kernel.execute(DIAMOND, add, executor=executor, pass_results=True)
    assert execution.results == {0: 0, 1: 1, 2: 2, 3: 6}
    assert execution.succeeded
    assert execution.attempts.tolist() == [1, 1, 1, 1]


def square(number: int) -> int:
    return number * number


def test_execute_in_processes_and_loops_and_pools() -> None:
    expected = {0: 0, 1: 1, 2: 4, 3: 9}
    assert flyte_kernel.execute(DIAMOND, square, executor="processes", workers=2).results == expected

    async def later(node: int) -> int:
        await asyncio.sleep(0)
        return node * node

    assert flyte_kernel.execute(DIAMOND, later, executor="asyncio").results == expected
    with ThreadPoolExecutor(2) as pool:
        assert flyte_kernel.execute(DIAMOND, square, executor=pool).results == expected
    with pytest.raises(InvalidArgumentError, match="not 'fibres'"):
        flyte_kernel.execute(DIAMOND, square, executor="fibres")


class WaitingPool(Executor):
    """Begins nothing; the first call fails once there are three."""

    def __init__(self) -> None:
        self.futures: list[Future[object]] = []

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # noqa: ARG002
        self.futures.append(Future())
        if len(self.futures) == 3:
            self.futures[0].set_running_or_notify_cancel()
            self.futures[0].set_exception(ValueError("no"))
        return self.futures[-1]


def test_what_has_not_begun_is_called_off_after_a_failure() -> None:
    graph = Graph.from_edges(10, np.empty(0, np.uint32), np.empty(0, np.uint32))
    pool = WaitingPool()
    execution = flyte_kernel.execute(graph, str, executor=pool, workers=3)
    assert execution.phase == RunPhase.FAILED
    assert [future.cancelled() for future in pool.futures] == [False, True, True]
    assert execution.phases[:3].tolist() == [NodePhase.FAILED, NodePhase.ABORTED, NodePhase.ABORTED]


def test_execute_tries_again_and_tells_what_failed() -> None:
    calls: list[int] = []

    def fragile(node: int) -> int:
        calls.append(node)
        if node == 1 and calls.count(1) < 3:
            raise ValueError("not yet")
        if node == 2:
            raise KeyError("never")
        return node

    graph = Graph.from_edges(4, u32(0, 0, 1), u32(1, 2, 3), attempts_max=np.full(4, 3, np.uint16))
    execution = flyte_kernel.execute(graph, fragile, fails_late=True, retry_on=ValueError, executor="inline")
    assert (execution.phase, execution.attempts.tolist()) == (RunPhase.FAILED, [1, 3, 1, 1])
    with pytest.raises(KeyError, match="never"):
        execution.raise_for_failure()


def test_execute_continues_where_it_was(tmp_path: Path) -> None:
    calls: list[int] = []

    def once(node: int) -> int:
        calls.append(node)
        if node == 3 and calls.count(3) == 1:
            raise KeyboardInterrupt
        return node

    with pytest.raises(KeyboardInterrupt):
        flyte_kernel.execute(DIAMOND, once, executor="inline", folder=tmp_path)
    execution = flyte_kernel.execute(DIAMOND, once, executor="inline", folder=tmp_path)
    assert sorted(calls) == [0, 1, 2, 3, 3]
    assert execution.results == {0: 0, 1: 1, 2: 2, 3: 3}
    with pytest.raises(StateError, match="another graph"):
        flyte_kernel.execute(Graph.from_edges(1, u32(), u32()), once, folder=tmp_path)


# map


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_map_has_an_outcome_for_each_item(executor: str) -> None:
    seen: list[tuple[int, int]] = []
    mapped = flyte_kernel.map(reciprocal, range(-50, 50), executor=executor, progress=lambda *how: seen.append(how))
    assert np.flatnonzero(mapped.phases == NodePhase.FAILED).tolist() == [50]
    assert (mapped.results[51], mapped.results[50], mapped.succeeded) == (1.0, None, False)
    assert seen[-1] == (100, 100)
    with pytest.raises(ZeroDivisionError):
        mapped.raise_for_failure()


def reciprocal(number: int) -> float:
    return 1 / number


class HeldError(Exception):
    """Holds what cannot be pickled."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.lock = threading.Lock()


def hold(number: int) -> int:
    if number == 2:
        raise HeldError(number)
    return number


def test_errors_that_cannot_travel_send_their_words(tmp_path: Path) -> None:
    for mapped in (
        flyte_kernel.map(hold, range(4), executor="processes"),
        flyte_kernel.map(hold, range(4), folder=tmp_path) and flyte_kernel.map(hold, range(4), folder=tmp_path),
    ):
        assert mapped.results == [0, 1, None, 3]
        assert "HeldError(2)" in str(mapped.errors[2])


def test_map_tries_again() -> None:
    calls: list[int] = []

    def fragile(number: int) -> int:
        calls.append(number)
        if calls.count(number) < 3:
            raise OSError(number)
        return number

    assert flyte_kernel.map(fragile, [4, 5], attempts_max=3).results == [4, 5]
    assert len(calls) == 6
    calls.clear()
    mapped = flyte_kernel.map(fragile, [4], attempts_max=3, retry_on=ValueError)
    assert (len(calls), mapped.phases.tolist()) == (1, [NodePhase.FAILED])


def test_map_stops_once_too_few_can_succeed() -> None:
    mapped = flyte_kernel.map(reciprocal, [0] * 1000 + [1], min_success_ratio=0.9)
    assert NodePhase(mapped.phases[-1]) == NodePhase.UNDEFINED
    assert not mapped.succeeded
    assert flyte_kernel.map(reciprocal, [0] + [1] * 9, min_success_ratio=0.9).succeeded


@pytest.mark.parametrize("executor", ["inline", "processes"])
def test_a_killed_map_continues_where_it_was(tmp_path: Path, executor: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, time, flyte_kernel\n"
        "def slow(n):\n"
        "    time.sleep(0.001)\n"
        "    with open(sys.argv[2], 'a') as log: log.write(f'{n}\\n')\n"
        "    return n * n\n"
        "mapped = flyte_kernel.map(slow, range(3000), executor=sys.argv[3], workers=2, folder=sys.argv[1])\n"
        "assert mapped.results == [n * n for n in range(3000)]\n"
    )
    log = tmp_path / "log"
    command = [sys.executable, str(script), str(tmp_path / "folder"), str(log), executor]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109
    process = subprocess.Popen(command, env=environment)
    while not log.exists() or len(log.read_bytes().split()) < 700:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, env=environment, check=True)
    calls = log.read_bytes().split()
    assert 3000 <= len(calls) < 3000 + 300  # no more than a chunk was called twice
    with pytest.raises(StateError, match="map of 3000 items, not a map of 1"):
        flyte_kernel.map(square, [1], folder=tmp_path / "folder")


def test_what_map_does_not_take() -> None:
    with pytest.raises(InvalidArgumentError, match="attempts_max must be at least 1, not 0"):
        flyte_kernel.map(square, [1], attempts_max=0)
    with pytest.raises(InvalidArgumentError, match="not a generator"):
        flyte_kernel.map(square, (n for n in range(3)))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="not a dict"):
        flyte_kernel.map(square, {1: 2})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"not 1\.5"):
        flyte_kernel.map(square, [1], min_success_ratio=1.5)


# Durable kernels


def columns(*rows: tuple[int, ...]) -> tuple[np.ndarray[tuple[int], np.dtype[np.generic]], ...]:
    dtypes = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)
    return tuple(np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), dtypes, strict=True))


def test_a_durable_kernel_goes_on_after_it_was_opened_again(tmp_path: Path) -> None:
    notes: list[bytes] = []
    with DurableKernel(tmp_path) as kernel:
        graph = kernel.add_graph(DIAMOND)
        kernel.step(1, *columns((EventKind.RUN_CREATED, 0, graph, 0, NONE, 0)), note=b"first")  # type: ignore[arg-type]
        with pytest.raises(FolderLockedError):
            DurableKernel(tmp_path)
        phases = kernel.kernel.phases(0).tolist()
    with pytest.raises(StateError, match="closed"):
        kernel.add_graph(DIAMOND)
    with DurableKernel(tmp_path, on_note=notes.append) as kernel:
        assert (kernel.kernel.phases(0).tolist(), notes) == (phases, [b"first"])
        kernel.write_snapshot()
        turn = kernel.step(2, *columns((EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, NONE, 0)))  # type: ignore[arg-type]
        assert turn.effect_node.tolist() == [1, 2]
    with DurableKernel(tmp_path) as kernel:
        assert kernel.kernel.phases(0).tolist() == [3, 1, 1, 0]


def test_importing_needs_numpy_only() -> None:
    code = (
        "import sys; before = set(sys.modules); import numpy; numpys = set(sys.modules); import flyte_kernel;"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - numpys} - set(sys.stdlib_module_names)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "['flyte_kernel']"


def test_coroutines_that_are_called_off_clean_up_behind_themselves() -> None:
    cleaned: list[int] = []
    apart = Graph.from_edges(3, np.empty(0, np.uint32), np.empty(0, np.uint32))

    async def wait(node: int) -> None:
        try:
            await asyncio.sleep(1000 if node else 0)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            cleaned.append(node)
            raise

    def progress(done: int, _: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flyte_kernel.execute(apart, wait, executor="asyncio", progress=progress)
    assert sorted(cleaned) == [1, 2]


@pytest.mark.parametrize("executor", ["threads", "asyncio"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=lambda error: error.__name__)
def test_what_ends_interpreters_ends_only_the_call_that_raised_it(executor: str, error: type[BaseException]) -> None:
    """Graph 0 before 1 and 2, both before 3: node 1 raises, node 2 must still come to its end."""

    def plain(node: int) -> int:
        if node == 1:
            raise error
        return node

    async def later(node: int) -> int:
        await asyncio.sleep(0)
        return plain(node)

    function = later if executor == "asyncio" else plain
    done = flyte_kernel.execute(DIAMOND, function, executor=executor, fails_late=True)
    assert done.results == {0: 0, 2: 2}
    assert [(node, type(raised)) for node, raised in done.errors.items()] == [(1, error)]


@pytest.mark.parametrize("executor", ["inline", "threads", "processes", "asyncio"])
def test_what_is_no_function_is_the_callers_mistake(executor: str) -> None:
    with pytest.raises(InvalidArgumentError, match="function must be callable, not None"):
        flyte_kernel.execute(DIAMOND, None, executor=executor)  # type: ignore[arg-type]


def test_a_map_of_what_is_no_function_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidArgumentError, match="function must be callable, not 'text'"):
        flyte_kernel.map("text", [1])  # type: ignore[arg-type]
