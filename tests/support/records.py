"""Executions and entities as the engine would hand them to the views."""

from __future__ import annotations

import random

import numpy as np
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from google.protobuf.message import Message

from flyte_kernel.engine.records import AttemptColumns, ExecutionRecord, NodeColumns
from flyte_kernel.engine.state import Entity, LaunchPlanEntity
from flyte_kernel.ids import EntityId, ExecutionId
from flyte_kernel.phases import AttemptPhase, NodePhase, RunPhase

SECOND = 1_000_000_000
EPOCH = 1_700_000_000 * SECOND
PROJECT, DOMAIN = "flytesnacks", "development"


def entity_id(resource_type: int, name: str, version: str = "v1", *, project: str = PROJECT) -> EntityId:
    return EntityId(resource_type, project, DOMAIN, name, version)


def task(name: str, *, type_: str = "python-task", version: str = "v1", created_at: int = EPOCH) -> Entity:
    closure = task_pb2.TaskClosure()
    closure.compiled_task.template.type = type_
    return Entity(entity_id(1, name, version), closure.SerializeToString(), b"digest", created_at, f"does {name}")


def workflow(name: str, *, version: str = "v1", created_at: int = EPOCH) -> Entity:
    return Entity(entity_id(2, name, version), b"", b"digest", created_at)


def launch_plan(
    name: str,
    *,
    workflow_name: str = "wf",
    version: str = "v1",
    active: bool = False,
    cron: str = "",
    created_at: int = EPOCH,
    updated_at: int = EPOCH,
) -> LaunchPlanEntity:
    spec = launch_plan_pb2.LaunchPlanSpec()
    spec.workflow_id.project, spec.workflow_id.domain = PROJECT, DOMAIN
    spec.workflow_id.name, spec.workflow_id.version = workflow_name, version
    if cron:
        spec.entity_metadata.schedule.cron_schedule.schedule = cron
    data = spec.SerializeToString()
    return LaunchPlanEntity(entity_id(3, name, version), data, b"", b"digest", created_at, updated_at, active)


def error(code: str, message: str = "it broke", kind: int = core_execution_pb2.ExecutionError.USER) -> bytes:
    return bytes(core_execution_pb2.ExecutionError(code=code, message=message, kind=kind).SerializeToString())  # type: ignore[arg-type]


def spec(
    *, mode: int = 0, principal: str = "", tags: tuple[str, ...] = (), labels: dict[str, str] | None = None
) -> bytes:
    message: Message = execution_pb2.ExecutionSpec(tags=tags)
    message.metadata.mode = mode  # type: ignore[attr-defined]
    message.metadata.principal = principal  # type: ignore[attr-defined]
    message.labels.values.update(labels or {})  # type: ignore[attr-defined]
    return bytes(message.SerializeToString())


def execution(
    run: int,
    *,
    name: str = "",
    phase: RunPhase = RunPhase.SUCCEEDED,
    launched: EntityId | None = None,
    node_count: int = 3,
    seed: int = 0,
    **fields: object,
) -> ExecutionRecord:
    """Return a record with random nodes and attempts; `fields` overrides what the rest makes of it."""
    randomness = random.Random(f"{seed}/{run}")
    record = ExecutionRecord(
        run=run,
        id=ExecutionId(PROJECT, DOMAIN, name or f"ex{run}"),
        launch_entity=launched or entity_id(3, "wf"),
        workflow=entity_id(2, "wf"),
        spec=spec(),
        inputs=b"\x00inputs\xff",
        user_inputs=b"user\xfe",
        nodes=_nodes(randomness, node_count),
        attempts=_attempts(randomness, node_count),
        phase=int(phase),
        created_at=EPOCH + run * SECOND,
        started_at=EPOCH + run * SECOND + 1,
        updated_at=EPOCH + run * SECOND + 5 * SECOND,
        state_changed_at=EPOCH + run,
        version=run + 7,
    )
    for field, value in fields.items():
        setattr(record, field, value)
    return record


def _nodes(randomness: random.Random, count: int) -> NodeColumns:
    nodes = NodeColumns.empty(count)
    nodes.phase[:] = [
        randomness.choice([NodePhase.SUCCEEDED, NodePhase.FAILED, NodePhase.UNDEFINED]) for _ in range(count)
    ]
    nodes.attempt[:] = [randomness.randrange(3) for _ in range(count)]
    for column in (nodes.created_at, nodes.started_at, nodes.updated_at):
        column[:] = [randomness.choice([0, EPOCH + randomness.randrange(10 * SECOND)]) for _ in range(count)]
    nodes.error = {
        int(node): error("NodeFailed", f"node {node}") for node in np.flatnonzero(nodes.phase == NodePhase.FAILED)
    }
    return nodes


def _attempts(randomness: random.Random, node_count: int) -> AttemptColumns:
    attempts = AttemptColumns()
    for node in reversed(range(node_count)):
        for attempt in range(randomness.randrange(1, 3)):
            attempts.launch(node, attempt, EPOCH + node)
            attempts.phase[-1] = int(randomness.choice([AttemptPhase.SUCCEEDED, AttemptPhase.FAILED]))
            attempts.started_at[-1] = EPOCH + 10
            if attempts.phase[-1] == AttemptPhase.FAILED:
                attempts.error[-1] = error("AttemptFailed")
                attempts.log_uri[-1] = f"file:///logs/{node}-{attempt}"
    return attempts


def same_execution(one: ExecutionRecord, other: ExecutionRecord) -> bool:
    """Whether two records agree in every field."""
    columns = ("phase", "attempt", "created_at", "started_at", "updated_at")
    fields = [field for field in ExecutionRecord.__slots__ if field != "nodes"]
    return (
        all(getattr(one, field) == getattr(other, field) for field in fields)
        and all(
            getattr(one.nodes, c).dtype == getattr(other.nodes, c).dtype
            and np.array_equal(getattr(one.nodes, c), getattr(other.nodes, c))
            for c in columns
        )
        and one.nodes.error == other.nodes.error
    )
