"""The library beside what people use instead: a map of items, one completion at a time."""

from __future__ import annotations

import gc
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from graphlib import TopologicalSorter
from typing import Any

import networkx
import numpy as np
import rustworkx

import flyte_kernel
from bench.records import Record
from flyte_kernel import Graph, Run

ITEMS, SMOKE_ITEMS = 1_000_000, 2_000
NODES, SMOKE_NODES = 100_000, 500
ROUNDS = 5


def say(record: Record) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(record)), flush=True)


def best_s(work: Callable[[], Any], rounds: int = ROUNDS) -> tuple[float, Any]:
    """Return the least time of some rounds, and what the last one returned."""
    times, result = [], None
    for _ in range(rounds):
        result = None
        gc.collect()
        began = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - began)
    return min(times), result


def no_op(item: int) -> int:
    """Return the item."""
    return item


def digest(results: Sequence[int]) -> str:
    """Hash results, so that nobody optimises them away."""
    return hashlib.sha256(np.asarray(results, np.int64).tobytes()).hexdigest()[:16]


def map_items(count: int) -> None:
    """A map over a function that does nothing."""
    workload = f"map of {count:,} no-op items"
    items = range(count)

    def durable() -> list[int]:
        with tempfile.TemporaryDirectory() as folder:
            return flyte_kernel.map(no_op, items, folder=folder).results

    def threads() -> list[int]:
        with ThreadPoolExecutor() as pool:
            return list(pool.map(no_op, items))

    rows: list[tuple[str, str, Callable[[], list[int]], str, int]] = [
        ("bare loop of calls", "limit", lambda: [no_op(item) for item in items], "", ROUNDS),
        ("flyte_kernel.map", "ours", lambda: flyte_kernel.map(no_op, items).results, "<= 3x the loop", ROUNDS),
        ("flyte_kernel.map, durable", "ours", durable, "<= 6x the loop", ROUNDS),
        ("ThreadPoolExecutor.map", "rival", threads, "", 1),
    ]
    for name, role, work, goal, rounds in rows:
        seconds, results = best_s(work, rounds)
        say(Record(workload, name, role, seconds * 1e3, "ms", goal=goal, check=digest(results)))


def one_at_a_time(count: int) -> None:
    """A chain, one completion a Python call."""
    workload = f"chain of {count:,}, one call a completion"
    source, target = np.arange(count - 1, dtype=np.uint32), np.arange(1, count, dtype=np.uint32)
    graph = Graph.from_edges(count, source, target)

    def ours() -> int:
        run = Run(graph)
        succeed = run.succeed
        for node in range(count):
            succeed(node)
        return int(run.is_done)

    def looked_at() -> int:
        run, seen = Run(graph), 0
        while len(ready := run.ready()):
            run.succeed(int(ready[0]))
            seen += 1
        return seen

    def taken() -> int:
        run, seen = Run(graph), 0
        while (node := run.take_one()) is not None:
            run.succeed(node)
            seen += 1
        return seen

    def followed() -> int:
        run, seen = Run(graph), 0
        node = run.take_one()
        while node is not None:
            node = run.succeed_and_take(node)
            seen += 1
        return seen

    def standard() -> int:
        sorter, seen = TopologicalSorter({node: [node - 1] for node in range(1, count)}), 0
        sorter.prepare()
        while sorter.is_active():
            for node in sorter.get_ready():
                sorter.done(node)
                seen += 1
        return seen

    digraph = rustworkx.PyDiGraph()
    digraph.add_nodes_from(range(count))
    digraph.add_edges_from_no_data(list(zip(source.tolist(), target.tolist(), strict=True)))

    def rust() -> int:
        seen, sorter = 0, rustworkx.TopologicalSorter(digraph)
        while sorter.is_active():
            for node in sorter.get_ready():
                sorter.done(node)
                seen += 1
        return seen

    def plain() -> int:
        return len(
            list(networkx.topological_sort(networkx.DiGraph(zip(source.tolist(), target.tolist(), strict=True))))
        )

    def call() -> int:
        for node in range(count):
            no_op(node)
        return count

    for name, role, work, goal in (
        ("bare Python call", "limit", call, ""),
        ("Run.succeed", "ours", ours, "<= 0.2 us a call"),
        ("Run.ready and succeed", "ours", looked_at, ""),
        ("Run.take_one and succeed", "ours", taken, ""),
        ("Run.succeed_and_take", "ours", followed, ">= 3x faster than rustworkx"),
        ("rustworkx", "rival", rust, ""),
        ("graphlib, build included", "rival", standard, ""),
        ("networkx order, build included", "rival", plain, ""),
    ):
        seconds, seen = best_s(work, 3)
        say(Record(workload, name, role, seconds / count * 1e6, "us a node", goal=goal, check=str(seen)))


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for sizes that a test can afford."""
    smoke = "--smoke" in arguments
    map_items(SMOKE_ITEMS if smoke else ITEMS)
    one_at_a_time(SMOKE_NODES if smoke else NODES)


if __name__ == "__main__":
    main(sys.argv[1:])
