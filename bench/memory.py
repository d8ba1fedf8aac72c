"""What graphs and runs weigh, by the resident memory of a process that does nothing else."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil

from bench.records import Record
from bench.workloads import layered_graph
from flyte_kernel import EventKind, Graph, Kernel, map
from flyte_kernel.ids import NO_ELEMENT

NODES, SMOKE_NODES = 1_000_000, 20_000
RUNS, SMOKE_RUNS = 100_000, 500
IDLE_RUNS, SMOKE_IDLE_RUNS = 1_000_000, 10_000
ITEMS, SMOKE_ITEMS = 1_000_000, 10_000
ELEMENTS, SMOKE_ELEMENTS = 100_000_000, 100_000
SEED = 20_260_101
_WINDOW = 16_384
_DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)

T = TypeVar("T")


def grown(work: Callable[[], T]) -> tuple[int, T]:
    """Return by how many bytes the process has grown, and what made it grow."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed before must not be filled unseen
    before = psutil.Process().memory_info().rss
    kept = work()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss - before, kept


def peak(work: Callable[[], T]) -> tuple[int, T]:
    """Return by how many bytes the process has grown at most while it worked, and what came of it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high water mark begins anew (proc(5))
    before = psutil.Process().memory_info().rss
    result = work()
    status = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024 - before, result


def no_op(item: int) -> int:
    """Return the item."""
    return item


def say(name: str, value: float, unit: str, goal: str, check: object) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(Record("memory", name, "ours", value, unit, goal=goal, check=str(check)))), flush=True)


def step(kernel: Kernel, *columns: object) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Step with columns that may be single numbers; return the elements or nodes that are to be launched."""
    rows = max(np.size(column) for column in columns)  # type: ignore[arg-type]
    wide = [
        np.ascontiguousarray(np.broadcast_to(column, rows), dtype)
        for column, dtype in zip(columns, _DTYPES, strict=True)
    ]  # type: ignore[call-overload]
    return np.array(kernel.step(0, *wide).effect_element)


def many_runs(graph: Graph, count: int) -> Kernel:
    """Runs that have begun."""
    kernel = Kernel(record_transitions=False)
    index = kernel.add_graph(graph)
    for first in range(0, count, 10_000):
        step(kernel, EventKind.RUN_CREATED, np.arange(first, min(first + 10_000, count)), index, 0, NO_ELEMENT, 0)
    return kernel


def large_map(count: int) -> Kernel:
    """A map all of whose elements but the last have succeeded."""
    kernel = Kernel(record_transitions=False)
    graph = Graph.from_edges(1, np.zeros(0, np.uint32), np.zeros(0, np.uint32), kind=np.array([5], np.uint8))
    step(kernel, EventKind.RUN_CREATED, 0, kernel.add_graph(graph), 0, NO_ELEMENT, 0)
    launched = step(kernel, EventKind.MAP_OPENED, 0, 0, 0, min(_WINDOW, count), count)
    done = 0
    while done + len(launched) < count:
        done += len(launched)
        launched = step(kernel, EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, launched, 0)
    return kernel


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for sizes that a test can afford."""
    smoke = "--smoke" in arguments
    nodes, runs, elements = (SMOKE_NODES, SMOKE_RUNS, SMOKE_ELEMENTS) if smoke else (NODES, RUNS, ELEMENTS)
    edges = layered_graph(nodes, 3 * nodes, nodes // 100, SEED)
    size, graph = grown(lambda: Graph.from_edges(edges.node_count, edges.source, edges.target))
    say("a node with 3 edges", size / nodes, "B", "<= 26 B", graph.edge_count)
    small = layered_graph(100, 250, 10, SEED)
    shape = Graph.from_edges(small.node_count, small.source, small.target)
    size, kernel = grown(lambda: many_runs(shape, runs))
    say(f"{runs:,} runs of 100 nodes", size / 1e6, "MB", "<= 600 MB for 100,000", kernel.run_count)
    del kernel
    idle = SMOKE_IDLE_RUNS if smoke else IDLE_RUNS
    nothing = np.empty(0, np.uint32)
    single = Graph.from_edges(1, nothing, nothing)
    size, kernel = grown(lambda: many_runs(single, idle))
    say(f"{idle:,} idle runs of a node", size / 1e6, "MB", "<= 600 MB for a million", kernel.run_count)
    del kernel
    items = SMOKE_ITEMS if smoke else ITEMS
    size, mapped = peak(lambda: map(no_op, range(items)))
    say(
        f"map over {items:,} items, at most above idle",
        size / 1e6,
        "MB",
        "<= 100 MB for a million",
        len(mapped.results),
    )
    del mapped
    size, kernel = grown(lambda: large_map(elements))
    say(f"a map of {elements:,} elements", size / 1e6, "MB", "<= 1 GB for 100 million", kernel.map_counts(0, 0)[2])
    say("an element", size / elements, "B", "<= 2 B", "")


if __name__ == "__main__":
    main(sys.argv[1:])
