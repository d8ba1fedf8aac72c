"""The in-process workloads under pytest-benchmark, one group a workload: `pytest bench --benchmark-enable`.

`make test` runs each once at its smoke size; FLYTE_KERNEL_BENCH=real makes them real. Every contestant of a group must
come to the same result, whose hash is kept beside the times.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

import flyte_kernel
from bench.core_drive import Driven, drive, drive_graphlib, drive_numpy, drive_run, drive_rustworkx
from bench.library import digest, no_op
from bench.many_runs import drive_runs
from bench.workloads import EdgeList, layered_graph
from flyte_kernel import Graph, Run

IS_REAL = os.environ.get("FLYTE_KERNEL_BENCH") == "real"
NODES = 100_000 if IS_REAL else 400
ITEMS = 1_000_000 if IS_REAL else 500
RUNS = 10_000 if IS_REAL else 20
SEED = 20_260_101


@cache
def edges(shape: str) -> EdgeList:
    """Return the edges of a shape."""
    line, nothing = np.arange(NODES - 1, dtype=np.uint32), np.empty(0, np.uint32)
    match shape:
        case "layers":
            return layered_graph(NODES, 3 * NODES, NODES // 100, SEED)
        case "chain":
            return EdgeList(NODES, line, line + np.uint32(1))
        case _:
            return EdgeList(NODES, nothing, nothing)


@cache
def graph(shape: str) -> Graph:
    """Return the built graph of a shape."""
    return Graph.from_edges(*edges(shape))


DRIVES: dict[str, Callable[[str], Driven]] = {
    "Kernel": lambda shape: drive(graph(shape)),
    "Run": lambda shape: drive_run(graph(shape)),
    "rustworkx": lambda shape: drive_rustworkx(edges(shape)),
    "graphlib": lambda shape: drive_graphlib(edges(shape)),
    "numpy": lambda shape: drive_numpy(edges(shape)),
}


@pytest.mark.parametrize("contestant", DRIVES)
@pytest.mark.parametrize("shape", ["layers", "chain", "wide"])
def test_drive(benchmark: BenchmarkFixture, shape: str, contestant: str) -> None:
    benchmark.group = f"drive, frontier by frontier: {shape}"
    driven = benchmark.pedantic(DRIVES[contestant], (shape,), rounds=3, warmup_rounds=1)
    benchmark.extra_info["order"] = driven.order
    assert driven.succeeded == NODES
    if shape != "layers":  # the nodes of a frontier may come in any order
        assert driven.order == drive(graph(shape)).order


def test_build(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "build from NumPy, cycle check included"
    built = benchmark.pedantic(lambda: Graph.from_edges(*edges("layers")), rounds=5, warmup_rounds=1)
    assert (len(built), built.edge_count) == (NODES, len(edges("layers").source))


def succeed_each(count: int) -> bool:
    """Complete a chain, a node a call."""
    run = Run(graph("chain"))
    for node in range(count):
        run.succeed(node)
    return run.is_done


def test_one_completion_a_call(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "chain, a completion a call"
    assert benchmark.pedantic(succeed_each, (NODES,), rounds=3, warmup_rounds=1)


def threaded() -> list[int]:
    """Map with a pool of threads."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(no_op, range(ITEMS)))


MAPS: dict[str, Callable[[], list[int]]] = {
    "bare loop": lambda: [no_op(item) for item in range(ITEMS)],
    "flyte_kernel.map": lambda: flyte_kernel.map(no_op, range(ITEMS)).results,
    "ThreadPoolExecutor.map": threaded,
}


@pytest.mark.parametrize("contestant", MAPS)
def test_map(benchmark: BenchmarkFixture, contestant: str) -> None:
    benchmark.group = "map of no-op items"
    results = benchmark.pedantic(MAPS[contestant], rounds=1 if "Thread" in contestant else 3)
    benchmark.extra_info["results"] = digest(results)
    assert results == list(range(ITEMS))


def test_many_runs(benchmark: BenchmarkFixture) -> None:
    benchmark.group = "many runs of 100 nodes at once"
    small = Graph.from_edges(*layered_graph(100, 250, 10, 1))
    _, transitions = benchmark.pedantic(partial(drive_runs, small, RUNS), rounds=3)
    benchmark.extra_info["transitions"] = transitions
    assert transitions == RUNS * (2 * 100 + 2)  # every node queued and succeeded, the run running and succeeded
