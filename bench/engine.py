"""The whole engine on nodes that end at once: registry, core, journal, records and views, without gRPC or a process.

The limit is the core alone on the same graph, step by step from Python; the rival is what flytekit needs to run a
workflow of empty tasks in its own process.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from flytekit import task, workflow

from bench.core_drive import drive
from bench.records import Record
from flyte_kernel import Graph, Journal
from flyte_kernel.engine import registration
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.submission import create_execution
from flyte_kernel.ids import ExecutionId
from flyte_kernel.phases import NodePhase, RunPhase
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.store.duckdb_views import DuckDBViews
from flyte_kernel.testing import FakeEnd, FakeExecutor, MemoryBlobs
from tests.support import flows

__all__ = ["main", "measure"]

REAL_SIZE = 10_000
LOCAL_SIZE = 200
REPEATS = 3
_TRANSITIONS = 3  # queued, running, succeeded


def requests(
    shape: str, size: int
) -> tuple[task_pb2.TaskCreateRequest, workflow_pb2.WorkflowCreateRequest, launch_plan_pb2.LaunchPlanCreateRequest]:
    """Return what registers `size` nodes of a task that does nothing, one after the other or side by side."""
    task_request = task_pb2.TaskCreateRequest(id=flows.identifier(flows.TASK, "bench.nothing"))
    task_request.spec.template.id.CopyFrom(task_request.id)
    task_request.spec.template.type = "echo"
    task_request.spec.template.metadata.retries.SetInParent()
    task_request.spec.template.metadata.runtime.version = "1"
    task_request.spec.template.interface.inputs.SetInParent()
    task_request.spec.template.interface.outputs.SetInParent()
    workflow_request = workflow_pb2.WorkflowCreateRequest(id=flows.identifier(flows.WORKFLOW, f"bench.{shape}"))
    template = workflow_request.spec.template
    template.id.CopyFrom(workflow_request.id)
    for index in range(size):
        node = core_workflow_pb2.Node(id=f"n{index}")
        node.task_node.reference_id.CopyFrom(task_request.id)
        if shape == "chain" and index:
            node.upstream_node_ids.append(f"n{index - 1}")
        template.nodes.append(node)
    plan_request = flows.plan_request(f"bench.{shape}", f"bench.{shape}")
    return task_request, workflow_request, plan_request


def measure(shape: str, size: int, repeats: int = REPEATS) -> list[float]:
    """Run the workflow again and again in one engine; return the seconds of each run, the first with its compile."""
    with tempfile.TemporaryDirectory() as folder:
        blobs = MemoryBlobs("s3://flyte")
        engine = Engine(
            journal=Journal.open(f"{folder}/journal"),
            blobs=blobs,
            views=DuckDBViews(Path(folder) / "views"),
            executor=FakeExecutor(blobs, lambda _: FakeEnd()),
            plugin_of=PluginRegistry([]).plugin_of,
            settings=Settings(),
        )
        engine.start()
        with closing(engine):
            task_request, workflow_request, plan_request = requests(shape, size)
            registration.register_task(engine, task_request)
            registration.register_workflow(engine, workflow_request)
            registration.register_launch_plan(engine, plan_request)
            return [_run(engine, shape, size, index) for index in range(repeats)]


def _run(engine: Engine, shape: str, size: int, index: int) -> float:
    name = f"r{index}"
    began = time.perf_counter()
    create_execution(engine, flows.execution_request(name, f"bench.{shape}"))
    record = _wait(engine, ExecutionId(flows.PROJECT, flows.DOMAIN, name))
    seconds = time.perf_counter() - began
    succeeded = int((record.nodes.phase == NodePhase.SUCCEEDED).sum())
    if record.phase != RunPhase.SUCCEEDED or succeeded < size or len(record.attempts.node) != size:
        raise RuntimeError(f"{succeeded} of {size} nodes succeeded, the run is {RunPhase(record.phase).name}")
    return seconds


def _wait(engine: Engine, id_: ExecutionId) -> ExecutionRecord:
    while True:
        record = engine.find_execution(id_)
        if engine.failure is not None:
            raise engine.failure
        if record is not None and record.is_terminal:
            return record
        time.sleep(0.0005)


def core_alone(shape: str, size: int) -> float:
    """Return the seconds that the core needs for the same graph."""
    nodes = np.arange(size - 1, dtype=np.uint32) if shape == "chain" else np.empty(0, np.uint32)
    return min(drive(Graph.from_edges(size, nodes, nodes + 1)).seconds for _ in range(3))


@task
def nothing() -> None:
    """Do nothing."""


def flytekit_local(shape: str, size: int) -> float:
    """Return the seconds that flytekit needs to run a workflow of tasks that do nothing."""

    @workflow
    def empty() -> None:
        calls = [nothing() for _ in range(size)]
        if shape == "chain":
            for before, after in pairwise(calls):
                before >> after

    empty()
    began = time.perf_counter()
    empty()
    return time.perf_counter() - began


def records(
    shape: str, size: int, local_size: int, of: Callable[[float, int], float], unit: str, goal: str
) -> list[Record]:
    """Return the rows of one shape; `of` turns seconds and nodes into the unit."""
    what = "fan-out" if shape == "fan" else "chain"
    workload = f"{what} of {size:,} instant nodes"
    first, *others = measure(shape, size)
    return [
        Record(workload, "engine, journal and views", "ours", of(min(others), size), unit, goal),
        Record(workload, "first run, with the compile", "ours", of(first, size), unit, goal),
        Record(
            workload,
            f"flytekit local, {local_size:,} nodes",
            "rival",
            of(flytekit_local(shape, local_size), local_size),
            unit,
        ),
        Record(workload, "the core alone", "limit", of(core_alone(shape, size), size), unit),
    ]


def main(sizes: Sequence[int] = (REAL_SIZE, LOCAL_SIZE)) -> None:
    """Print the records as JSON lines."""
    size, local_size = sizes
    rate = "transitions/s"
    rows = records("fan", size, local_size, lambda seconds, count: _TRANSITIONS * count / seconds, rate, ">= 200,000/s")
    rows += records("chain", size, local_size, lambda seconds, count: seconds / count * 1e6, "us a link", "<= 60 us")
    for row in rows:
        print(json.dumps(asdict(row)))


if __name__ == "__main__":
    main()
