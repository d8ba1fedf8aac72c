"""The core alone: a layered graph, frontier by frontier from Python, beside what people use for it today."""

from __future__ import annotations

import gc
import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rustworkx
from numpy.typing import NDArray

from bench.records import Record
from bench.workloads import EdgeList, layered_graph
from flyte_kernel import EffectKind, EventKind, Graph, Kernel, Run, RunPhase
from flyte_kernel.ids import NO_ELEMENT

__all__ = ["Driven", "drive", "drive_graphlib", "drive_numpy", "drive_run", "drive_rustworkx", "main"]

REAL_SIZE = (100_000, 300_000, 1_000)
WIDE = 100_000
BUILT = (1_000_000, 3_000_000, 1_000)
SEED = 20_260_101


class Driven(NamedTuple):
    """How a drive ended: nodes that succeeded, turns, a hash over the order of launches, and the frontiers."""

    succeeded: int
    turns: int
    order: str
    seconds: float
    frontiers: Sequence[NDArray[np.generic]] = ()


def drive(graph: Graph) -> Driven:
    """Create a run of `graph` and answer every launch with success, a frontier at a time."""
    kernel = Kernel()
    index = kernel.add_graph(graph)
    succeeded_kind = np.full(graph.node_count, EventKind.ATTEMPT_SUCCEEDED, np.uint8)
    no_element = np.full(graph.node_count, NO_ELEMENT, np.uint32)
    no_argument = np.zeros(graph.node_count, np.int64)
    created = (np.array([value], dtype) for value, dtype in zip((1, 0, index, 0, NO_ELEMENT, 0), _DTYPES, strict=True))
    launches = []
    began = time.perf_counter()
    turn = kernel.step(0, *created)
    while True:
        node = turn.effect_node
        if turn.effect_kind[-1] == EffectKind.FINISH_RUN:
            break
        launches.append(node.copy())  # a view would keep the whole turn
        count = len(node)
        kinds, elements, arguments = succeeded_kind[:count], no_element[:count], no_argument[:count]
        turn = kernel.step(0, kinds, turn.effect_run, node, turn.effect_attempt, elements, arguments)
    seconds = time.perf_counter() - began
    if kernel.run_phase(0) != RunPhase.SUCCEEDED:
        raise RuntimeError(f"the run ended in phase {kernel.run_phase(0)}")
    order = np.concatenate(launches)
    return Driven(len(order), len(launches) + 1, _hash(order), seconds, launches)


def drive_run(graph: Graph) -> Driven:
    """Do the same with a Run: take what is ready, say that it has succeeded."""
    began, launches, run = time.perf_counter(), [], Run(graph)
    while len(nodes := run.take()):
        launches.append(nodes)
        run.succeed(nodes)
    seconds = time.perf_counter() - began
    if run.phase != RunPhase.SUCCEEDED:
        raise RuntimeError(f"the run ended in phase {run.phase}")
    order = np.concatenate(launches)
    return Driven(len(order), len(launches) + 1, _hash(order), seconds, launches)


_DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)


def drive_rustworkx(edges: EdgeList) -> Driven:
    """Do the same with rustworkx's sorter."""
    graph = rustworkx.PyDiGraph()
    graph.add_nodes_from(range(edges.node_count))
    graph.add_edges_from_no_data(list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)))
    began = time.perf_counter()
    sorter = rustworkx.TopologicalSorter(graph, check_cycle=False)
    order: list[int] = []
    turns = 0
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(ready)
        order.extend(ready)
        turns += 1
    return Driven(len(order), turns, _hash(np.array(order)), time.perf_counter() - began)


def drive_graphlib(edges: EdgeList) -> Driven:
    """Do the same with the standard library's sorter."""
    sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(edges.node_count), ()))
    for source, target in zip(edges.source.tolist(), edges.target.tolist(), strict=True):
        sorter.add(target, source)
    sorter.prepare()
    began = time.perf_counter()
    order: list[int] = []
    turns = 0
    while sorter.is_active():
        ready = sorter.get_ready()
        sorter.done(*ready)
        order.extend(ready)
        turns += 1
    return Driven(len(order), turns, _hash(np.array(order)), time.perf_counter() - began)


def drive_numpy(edges: EdgeList) -> Driven:
    """Count upstreams down in bulk with NumPy, no phases and no effects."""
    offset = np.zeros(edges.node_count + 1, np.int64)
    np.cumsum(np.bincount(edges.source, minlength=edges.node_count), out=offset[1:])
    target = edges.target[np.argsort(edges.source, kind="stable")]
    pending = np.bincount(edges.target, minlength=edges.node_count)
    launches = []
    began = time.perf_counter()
    ready = np.flatnonzero(pending == 0)
    while len(ready):
        launches.append(ready)
        counts = offset[ready + 1] - offset[ready]
        rows = np.repeat(offset[ready] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        told, times = np.unique(target[rows], return_counts=True)
        pending[told] -= times
        ready = told[pending[told] == 0]
    seconds = time.perf_counter() - began
    order = np.concatenate(launches)
    return Driven(len(order), len(launches), _hash(order), seconds)


def _hash(order: NDArray[np.generic]) -> str:
    return hashlib.blake2b(order.astype("<u4").tobytes(), digest_size=8).hexdigest()


def best_of(rounds: int, work: Callable[[], Driven]) -> Driven:
    """Return the fastest of some rounds; the first warms up."""
    gc.collect()
    return min((work() for _ in range(rounds)), key=lambda driven: driven.seconds)


def main(size: tuple[int, int, int] = REAL_SIZE, rounds: int = 15) -> list[Record]:
    """Measure, print one record a line, return them."""
    edges = layered_graph(*size, SEED)
    built = []
    for _ in range(rounds):
        began = time.perf_counter()
        graph = Graph.from_edges(*edges)
        built.append(time.perf_counter() - began)
    workload = f"drive {size[0]:,} nodes, {size[1]:,} edges"
    contestants: list[tuple[str, str, Callable[[], Driven], int, str]] = [
        ("flyte_kernel", "ours", lambda: drive(graph), rounds, "<= 1.5x"),
        ("flyte_kernel.Run", "ours", lambda: drive_run(graph), rounds, ""),
        ("numpy, no phases", "rival", lambda: drive_numpy(edges), rounds, ""),
        ("rustworkx", "rival", lambda: drive_rustworkx(edges), 5, ""),
        ("graphlib", "rival", lambda: drive_graphlib(edges), 3, ""),
    ]
    records = []
    for name, role, work, times, goal in contestants:
        driven = best_of(times, work)
        check = f"{driven.succeeded} in {driven.order}"
        records.append(Record(workload, name, role, driven.seconds * 1e3, "ms", goal=goal, check=check))
    records.append(Record(f"build {size[0]:,} nodes", "flyte_kernel", "ours", min(built) * 1e3, "ms"))
    records += shapes() + builds() + limits()
    for record in records:
        print(json.dumps(asdict(record)))
    return records


def shapes(count: int = WIDE) -> list[Record]:
    """Return rows for nodes side by side and for a chain; their limits are among those of Rust."""
    line, nothing = np.arange(count - 1, dtype=np.uint32), np.empty(0, np.uint32)
    records = []
    for workload, edges, goal in (
        (f"wide: {count:,} nodes side by side", EdgeList(count, nothing, nothing), "<= 1.5x"),
        (f"chain of {count:,}", EdgeList(count, line, line + np.uint32(1)), "<= 1.5x from Rust"),
    ):
        graph = Graph.from_edges(*edges)
        rows: list[tuple[str, str, Callable[[], Driven]]] = [
            ("flyte_kernel, a step a frontier", "ours", lambda graph=graph: drive(graph)),  # type: ignore[misc]
            ("flyte_kernel.Run", "ours", lambda graph=graph: drive_run(graph)),  # type: ignore[misc]
            ("numpy, no phases", "rival", lambda edges=edges: drive_numpy(edges)),  # type: ignore[misc]
            ("rustworkx", "rival", lambda edges=edges: drive_rustworkx(edges)),  # type: ignore[misc]
        ]
        for name, role, work in rows:
            driven = best_of(3, work)
            records.append(Record(workload, name, role, driven.seconds * 1e3, "ms", goal=goal, check=driven.order))
    return records


def builds(size: tuple[int, int, int] = BUILT) -> list[Record]:
    """Return rows for building a large graph from NumPy columns, cycle check included."""
    edges = layered_graph(*size, SEED)
    workload = f"build {size[0]:,} nodes, {size[1]:,} edges"

    def ours() -> int:
        return len(Graph.from_edges(*edges))

    def rust() -> int:
        graph = rustworkx.PyDiGraph()
        graph.add_nodes_from(range(edges.node_count))
        graph.add_edges_from_no_data(list(zip(edges.source.tolist(), edges.target.tolist(), strict=True)))
        if not rustworkx.is_directed_acyclic_graph(graph):
            raise RuntimeError("layers have no cycle")
        return len(graph)

    def standard() -> int:
        sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(edges.node_count), ()))
        for source, target in zip(edges.source.tolist(), edges.target.tolist(), strict=True):
            sorter.add(target, source)
        sorter.prepare()
        return edges.node_count

    records = []
    for name, role, work, rounds in (
        ("Graph.from_edges", "ours", ours, 5),
        ("rustworkx", "rival", rust, 1),
        ("graphlib", "rival", standard, 1),
    ):
        times = []
        for _ in range(rounds):
            gc.collect()
            began = time.perf_counter()
            found = work()
            times.append(time.perf_counter() - began)
        records.append(Record(workload, name, role, min(times) * 1e3, "ms", goal="<= 1.5x", check=str(found)))
    return records


def limits() -> list[Record]:
    """Return what Rust alone takes for the real size: a bare loop that only counts, and the core without Python."""
    command = ["cargo", "bench", "--quiet", "--locked", "--package", "flyte-kernel-core", "--bench", "drive"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    return [Record(**json.loads(line)) for line in result.stdout.splitlines() if line.startswith("{")]


if __name__ == "__main__":
    main()
