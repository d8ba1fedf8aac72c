"""Opening a journal again, and how long one completion takes to become the next launch when it must be durable."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bench.records import Record
from bench.workloads import EdgeList, layered_graph
from flyte_kernel import DurableKernel, EventKind, Graph
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EffectKind, RunPhase

NODES, SMOKE_NODES = 1_000_000, 3_000
LINKS, SMOKE_LINKS = 1_000, 20
_DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)
EVENT_BYTES = sum(np.dtype(dtype).itemsize for dtype in _DTYPES)


def say(record: Record) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(record)), flush=True)


def columns(kind: int, run: object, node: object, attempt: object) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Return event columns; single numbers are repeated."""
    rows = max(np.size(run), np.size(node))  # type: ignore[arg-type]
    values = (kind, run, node, attempt, NO_ELEMENT, 0)
    return [np.ascontiguousarray(np.broadcast_to(v, rows), d) for v, d in zip(values, _DTYPES, strict=True)]  # type: ignore[call-overload]


def written(folder: Path, graph: Graph) -> int:
    """Let a run go through its graph, started and succeeded node by node; return how many events were made durable."""
    with DurableKernel(folder, snapshot_bytes=None) as kernel:
        turn = kernel.step(0, *columns(EventKind.RUN_CREATED, 0, kernel.add_graph(graph), 0))
        events = 1
        while len(launched := np.flatnonzero(turn.effect_kind == EffectKind.LAUNCH_ATTEMPTS)):
            node, attempt = turn.effect_node[launched], turn.effect_attempt[launched]
            kernel.step(0, *columns(EventKind.ATTEMPT_STARTED, 0, node, attempt))
            turn = kernel.step(0, *columns(EventKind.ATTEMPT_SUCCEEDED, 0, node, attempt))
            events += 2 * len(node)
        return events


def reopened(folder: Path) -> float:
    """Return the seconds until the kernel is there again."""
    began = time.perf_counter()
    with DurableKernel(folder, snapshot_bytes=None) as kernel:
        seconds = time.perf_counter() - began
        if kernel.kernel.run_phase(0) != RunPhase.SUCCEEDED:
            raise RuntimeError(f"the run is in phase {kernel.kernel.run_phase(0)} after the replay")
    return seconds


def bare_replay(folder: Path, edges: EdgeList, events: int) -> float:
    """Return the seconds to read the same files, sort the edges into rows and write a phase for every event."""
    phases = np.zeros(edges.node_count, np.uint8)
    node = np.resize(np.arange(edges.node_count, dtype=np.uint32), events)
    began = time.perf_counter()
    size = sum(len(path.read_bytes()) for path in sorted(folder.rglob("*")) if path.is_file())
    offset = np.cumsum(np.bincount(edges.source, minlength=edges.node_count))
    phases[node] = 3
    seconds = time.perf_counter() - began
    if size < events * EVENT_BYTES or offset[-1] != len(edges.source):
        raise RuntimeError(f"{size} bytes cannot hold {events} events")
    return seconds


def recovery(nodes: int) -> None:
    """A journal of a whole run, opened again."""
    edges = layered_graph(nodes, 3 * nodes, nodes // 1000, 1)
    with tempfile.TemporaryDirectory(prefix="bench-recovery-") as name:
        folder = Path(name) / "journal"
        events = written(folder, Graph.from_edges(*edges))
        ours, bare = (
            min(times)
            for times in zip(*[(reopened(folder), bare_replay(folder, edges, events)) for _ in range(3)], strict=True)
        )
    workload = f"replay of {events:,} events of {nodes:,} nodes"
    say(Record(workload, "DurableKernel", "ours", ours * 1e3, "ms", goal="<= 3.5x", check=str(events)))
    say(Record(workload, "read the files, sort the edges, write the phases", "limit", bare * 1e3, "ms"))


def links(count: int) -> tuple[float, float]:
    """Return the median microseconds of a link of a durable chain, and of a bare write of its events with fdatasync."""
    line = np.arange(count - 1, dtype=np.uint32)
    ours, bare = [], []
    with tempfile.TemporaryDirectory(prefix="bench-links-") as name, Path(name, "bare").open("wb", buffering=0) as file:
        file.write(bytes(count * 4096))
        os.fsync(file.fileno())
        with DurableKernel(f"{name}/journal") as kernel:
            turn = kernel.step(
                0, *columns(EventKind.RUN_CREATED, 0, kernel.add_graph(Graph.from_edges(count, line, line + 1)), 0)
            )
            for link in range(count):
                event = columns(EventKind.ATTEMPT_SUCCEEDED, 0, turn.effect_node, turn.effect_attempt)
                began = time.perf_counter()
                turn = kernel.step(0, *event)
                between = time.perf_counter()
                os.pwrite(file.fileno(), b"x" * EVENT_BYTES, link * 4096)
                os.fdatasync(file.fileno())
                ours.append(between - began)
                bare.append(time.perf_counter() - between)
    return statistics.median(ours) * 1e6, statistics.median(bare) * 1e6


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for sizes that a test can afford."""
    smoke = "--smoke" in arguments
    recovery(SMOKE_NODES if smoke else NODES)
    ours, bare = links(SMOKE_LINKS if smoke else LINKS)
    workload = "durable completion to next launch, p50"
    say(Record(workload, "DurableKernel.step", "ours", ours, "us", goal="<= 2x fdatasync"))
    say(Record(workload, "bare write and fdatasync", "limit", bare, "us"))


if __name__ == "__main__":
    main(sys.argv[1:])
