"""Many runs at once, and maps whose elements move in bulk: columns of events over everything that lives."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from bench.records import Record
from bench.workloads import layered_graph
from flyte_kernel import EventKind, Graph, Kernel, NodeKind, Turn
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EffectKind, NodePhase, RunPhase

RUNS, SMOKE_RUNS = 100_000, 200
ELEMENTS, SMOKE_ELEMENTS = 10_000_000, 10_000
_DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)
_CACHES_BYTES = 256 * 1024 * 1024  # more than any cache holds; the columns of a large map's launches are, too
_BATCH = 10_000  # runs that are created, or move, in one step


def say(record: Record) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(record)), flush=True)


def step(kernel: Kernel, *columns: object) -> Turn:
    """Step with columns that may be single numbers."""
    rows = max(np.size(column) for column in columns)  # type: ignore[arg-type]
    wide = [
        np.ascontiguousarray(np.broadcast_to(column, rows), dtype)  # type: ignore[call-overload]
        for column, dtype in zip(columns, _DTYPES, strict=True)
    ]
    return kernel.step(0, *wide)


def drive_runs(graph: Graph, count: int) -> tuple[float, int]:
    """Let many runs go through their graph together, a batch at a time; return seconds and transitions."""
    kernel, transitions = Kernel(), 0
    index = kernel.add_graph(graph)
    began = time.perf_counter()
    for first in range(0, count, _BATCH):
        runs = np.arange(first, min(first + _BATCH, count))
        turn = step(kernel, EventKind.RUN_CREATED, runs, index, 0, NO_ELEMENT, 0)
        transitions += len(turn.transition_run)
        while len(launched := np.flatnonzero(turn.effect_kind == EffectKind.LAUNCH_ATTEMPTS)):
            run, node, attempt = turn.effect_run[launched], turn.effect_node[launched], turn.effect_attempt[launched]
            turn = step(kernel, EventKind.ATTEMPT_SUCCEEDED, run, node, attempt, NO_ELEMENT, 0)
            transitions += len(turn.transition_run)
    seconds = time.perf_counter() - began
    ended = {kernel.run_phase(run) for run in range(0, count, max(1, count // 100))}
    if ended != {RunPhase.SUCCEEDED}:
        raise RuntimeError(f"runs ended in phases {sorted(ended)}")
    return seconds, transitions


def drive_counters(source: NDArray[np.uint32], target: NDArray[np.uint32], nodes: int, count: int) -> float:
    """Return the seconds NumPy takes to count upstreams down for a batch of runs at once, level by level."""
    pending = np.zeros((nodes, _BATCH), np.uint8)
    began = time.perf_counter()
    for _ in range(0, count, _BATCH):
        np.add.at(pending, target, 1)
        for node in range(nodes):
            pending[target[source == node]] -= 1
    return time.perf_counter() - began


def many_runs(count: int) -> None:
    """Runs of 100 nodes."""
    edges = layered_graph(100, 250, 10, 1)
    graph = Graph.from_edges(*edges)
    workload = f"{count:,} runs of 100 nodes at once"
    seconds, transitions = drive_runs(graph, count)
    rate, goal = transitions / seconds / 1e6, ">= 5 million/s"
    say(Record(workload, "flyte_kernel", "ours", rate, "million transitions/s", goal=goal, check=str(transitions)))
    counters = drive_counters(edges.source, edges.target, edges.node_count, count)
    name = "NumPy, counters only, level by level"
    say(Record(workload, name, "limit", transitions / counters / 1e6, "million transitions/s"))


def opened_map(count: int) -> tuple[Kernel, Turn]:
    """Return a kernel with a map, all of whose elements are under way, and the turn that launched them."""
    kernel = Kernel(record_transitions=False)
    nothing = np.empty(0, np.uint32)
    index = kernel.add_graph(Graph.from_edges(1, nothing, nothing, kind=np.array([NodeKind.MAP], np.uint8)))
    step(kernel, EventKind.RUN_CREATED, 0, index, 0, NO_ELEMENT, 0)
    return kernel, step(kernel, EventKind.MAP_OPENED, 0, 0, 0, 0, count)


def succeeded(kernel: Kernel) -> int:
    """Return how many elements have succeeded."""
    return int((kernel.element_phases(0, 0) == NodePhase.SUCCEEDED).sum())


def succeed_elements(count: int) -> tuple[float, int]:
    """Return the seconds in which all elements of a map succeed in one step, and how many did."""
    kernel, turn = opened_map(count)
    kind = np.full(count, EventKind.ATTEMPT_SUCCEEDED, np.uint8)
    columns = (kind, turn.effect_run, turn.effect_node, turn.effect_attempt, turn.effect_element, turn.effect_argument)
    began = time.perf_counter()
    kernel.step(0, *columns)
    return time.perf_counter() - began, succeeded(kernel)


def succeed_stretch(count: int) -> tuple[float, int]:
    """Return the same for one event about all of them."""
    kernel, _ = opened_map(count)
    began = time.perf_counter()
    step(kernel, EventKind.ATTEMPT_SUCCEEDED, 0, 0, 0, 0, (count - 1) << 32)
    return time.perf_counter() - began, succeeded(kernel)


def fill(phases: NDArray[np.uint8], phase: NodePhase) -> float:
    """Return the seconds in which all bytes are set, none of which the processor has at hand."""
    np.ones(_CACHES_BYTES, np.uint8).sum()
    began = time.perf_counter()
    phases.fill(int(phase))
    return time.perf_counter() - began


def elements(count: int) -> None:
    """One step about every element of a map."""
    workload = f"{count:,} elements of a map succeed"
    for name, work, goal in (
        ("flyte_kernel, an event each", succeed_elements, ""),
        ("flyte_kernel, one event for all", succeed_stretch, "<= 4x a byte flip"),
    ):
        seconds, count_succeeded = min(work(count) for _ in range(5))
        say(Record(workload, name, "ours", seconds / count * 1e9, "ns an element", goal, str(count_succeeded)))
    phases = np.zeros(count, np.uint8)
    flip = min(fill(phases, phase) for phase in (NodePhase.QUEUED, NodePhase.SUCCEEDED) * 3)
    say(
        Record(workload, "byte flip", "limit", flip / count * 1e9, "ns an element", check=str(int((phases == 3).sum())))
    )
    element, table = np.arange(count, dtype=np.uint32), np.zeros(count, np.uint8)
    began = time.perf_counter()
    table[element] = int(NodePhase.SUCCEEDED)
    scatter = time.perf_counter() - began
    say(Record(workload, "NumPy scatter of an index column", "rival", scatter / count * 1e9, "ns an element"))


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for sizes that a test can afford."""
    smoke = "--smoke" in arguments
    many_runs(SMOKE_RUNS if smoke else RUNS)
    elements(SMOKE_ELEMENTS if smoke else ELEMENTS)


if __name__ == "__main__":
    main(sys.argv[1:])
