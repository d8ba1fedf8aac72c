"""Rows of many turns as columns: what is written to DuckDB in one transaction. `stored` reads it back.

Everything crosses as NumPy arrays. Appending row by row is slower by two orders of magnitude, and neither Arrow nor
pandas has a place in the server's process.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from google.protobuf.message import DecodeError, Message
from numpy.typing import NDArray

from flyte_kernel.engine.details import encode_details
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import Entity, LaunchPlanEntity
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.ids import EntityId, ExecutionId
from flyte_kernel.phases import RunPhase

__all__ = [
    "Batch",
    "Columns",
    "RowIdOf",
    "SpecColumns",
    "entity_columns",
    "execution_columns",
    "execution_key",
    "finished_columns",
    "tag_columns",
]

logger = logging.getLogger(__name__)

Columns = dict[str, NDArray[np.generic]]
RowIdOf = Callable[[EntityId], int]

MessageT = TypeVar("MessageT", bound=Message)

_TASK = 1


@dataclass(slots=True)
class Batch:
    """The latest state of everything that several turns added or changed, in the order of first appearance."""

    sequence: int = 0
    row_count: int = 0
    tasks: dict[EntityId, Entity] = field(default_factory=dict)
    workflows: dict[EntityId, Entity] = field(default_factory=dict)
    launch_plans: dict[EntityId, LaunchPlanEntity] = field(default_factory=dict)
    executions: dict[ExecutionId, ExecutionRecord] = field(default_factory=dict)

    def add(self, sequence: int, rows: TurnRows) -> None:
        """Take the rows of a later turn."""
        self.sequence = sequence
        self.tasks.update((entity.id, entity) for entity in rows.tasks)
        self.workflows.update((entity.id, entity) for entity in rows.workflows)
        self.launch_plans.update((entity.id, entity) for entity in rows.launch_plans)
        self.executions.update((record.id, record) for record in rows.executions)
        self.row_count += len(rows.tasks) + len(rows.workflows) + len(rows.launch_plans)
        self.row_count += sum(1 + len(record.nodes.phase) + len(record.attempts.node) for record in rows.executions)

    def absorb(self, later: Batch) -> None:
        """Take a later batch."""
        self.sequence = later.sequence
        self.row_count += later.row_count
        self.tasks.update(later.tasks)
        self.workflows.update(later.workflows)
        self.launch_plans.update(later.launch_plans)
        self.executions.update(later.executions)


def execution_key(id: ExecutionId) -> int:
    """Return 64 bits that stand for an id: comparing integers scans a table faster than comparing texts."""
    digest = hashlib.blake2b("\0".join(id).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


# Entities


def entity_columns(batch: Batch, row_id: RowIdOf) -> Iterable[tuple[str, Columns]]:
    """Yield (table, columns) for the entities of a batch."""
    if batch.tasks:
        tasks = list(batch.tasks.values())
        columns = _versioned(tasks, row_id)
        columns["type"] = _objects(_task_type(entity) for entity in tasks)
        columns["short_description"] = _objects(entity.short_description for entity in tasks)
        yield "task", columns
    if batch.workflows:
        workflows = list(batch.workflows.values())
        columns = _versioned(workflows, row_id)
        columns["short_description"] = _objects(entity.short_description for entity in workflows)
        yield "workflow", columns
    if batch.launch_plans:
        yield "launch_plan", _launch_plan_columns(list(batch.launch_plans.values()), row_id)


def _versioned(entities: Sequence[Entity] | Sequence[LaunchPlanEntity], row_id: RowIdOf) -> Columns:
    columns: Columns = {
        "id": _integers(row_id(entity.id) for entity in entities),
        "created_at": _integers(entity.created_at for entity in entities),
    }
    for name in ("project", "domain", "name", "version"):
        columns[name] = _objects(getattr(entity.id, name) for entity in entities)
    return columns


def _launch_plan_columns(plans: Sequence[LaunchPlanEntity], row_id: RowIdOf) -> Columns:
    specs = [_parsed(launch_plan_pb2.LaunchPlanSpec(), plan.spec) for plan in plans]
    return _versioned(plans, row_id) | {
        "workflow_id": _integers(row_id(_workflow_of(spec)) for spec in specs),
        "state": _integers(int(plan.active) for plan in plans),
        "schedule_type": _objects(_schedule_type(spec) for spec in specs),
        "launch_condition_type": _objects(
            "SCHED" if spec.entity_metadata.HasField("launch_conditions") else None for spec in specs
        ),
        "updated_at": _integers(plan.updated_at for plan in plans),
    }


def _workflow_of(spec: launch_plan_pb2.LaunchPlanSpec) -> EntityId:
    id = spec.workflow_id
    return EntityId(2, id.project, id.domain, id.name, id.version)


def _schedule_type(spec: launch_plan_pb2.LaunchPlanSpec) -> str:
    """The reference's word for it: models.LaunchPlanScheduleType."""
    schedule = spec.entity_metadata.schedule
    if schedule.cron_expression or schedule.HasField("cron_schedule"):
        return "CRON"
    return "RATE" if schedule.HasField("rate") else "NONE"


def _task_type(entity: Entity) -> str:
    return str(_parsed(task_pb2.TaskClosure(), entity.closure).compiled_task.template.type)


# Executions


@dataclass(frozen=True, slots=True)
class SpecColumns:
    """What is listed of an execution's spec; it never changes."""

    mode: int
    principal: str
    tags: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, record: ExecutionRecord) -> SpecColumns:
        """Parse the record's spec; the reference makes tags of labels too."""
        spec = _parsed(execution_pb2.ExecutionSpec(), record.spec)
        labels = sorted(spec.labels.values.items())
        return cls(
            mode=int(spec.metadata.mode),
            principal=str(spec.metadata.principal),
            tags=(*((str(key), str(value)) for key, value in labels), *((str(tag), "") for tag in spec.tags)),
        )


def execution_columns(records: Sequence[ExecutionRecord], specs: Sequence[SpecColumns], row_id: RowIdOf) -> Columns:
    """Return the columns of `kernel.execution` that listings look at."""
    errors = [_error_texts(record.error) for record in records]
    columns: Columns = {
        "run": _integers(record.run for record in records),
        "phase": _objects(RunPhase(record.phase).name for record in records),
        "duration": _integers(
            max(0, record.updated_at - record.started_at) if record.is_terminal and record.started_at else 0
            for record in records
        ),
        "launch_type": _integers(record.launch_entity.resource_type for record in records),
        "workflow_id": _integers(row_id(record.workflow) for record in records),
        "mode": _integers(spec.mode for spec in specs),
        "principal": _objects(spec.principal for spec in specs),
        "state": _integers(int(record.archived) for record in records),
        "abort_cause": _objects(record.abort_cause for record in records),
        "error_kind": _objects(kind for kind, _, _ in errors),
        "error_code": _objects(code for _, code, _ in errors),
        "error_message": _objects(message for _, _, message in errors),
    }
    # The reference keeps one of the two and leaves the other 0.
    launched = [(record.launch_entity.resource_type == _TASK, row_id(record.launch_entity)) for record in records]
    columns["task_id"] = _integers(id if is_task else 0 for is_task, id in launched)
    columns["launch_plan_id"] = _integers(0 if is_task else id for is_task, id in launched)
    for name in ("project", "domain", "name"):
        columns[name] = _objects(getattr(record.id, name) for record in records)
    for name in ("created_at", "started_at", "updated_at"):
        columns[name] = _integers(getattr(record, name) for record in records)
    return columns


def tag_columns(records: Sequence[ExecutionRecord], specs: Sequence[SpecColumns]) -> Columns:
    """Return the columns of `kernel.execution_tag`."""
    tags = [(record.run, key, value) for record, spec in zip(records, specs, strict=True) for key, value in spec.tags]
    return {
        "run": _integers(run for run, _, _ in tags),
        "key": _objects(key for _, key, _ in tags),
        "value": _objects(value for _, _, value in tags),
    }


def finished_columns(records: Sequence[ExecutionRecord], row_id: RowIdOf) -> Iterable[tuple[str, Columns]]:
    """Yield (table, columns) for finished executions: all that `stored` needs to bring them back."""
    specs = [SpecColumns.of(record) for record in records]
    yield "execution", execution_columns(records, specs, row_id) | _stored_only(records)
    yield "execution_tag", tag_columns(records, specs)
    yield "node", _node_columns(records)
    yield "node_error", _node_error_columns(records)
    yield "attempt", _attempt_columns(records)


def _stored_only(records: Sequence[ExecutionRecord]) -> Columns:
    columns: Columns = {
        "key": _integers(execution_key(record.id) for record in records),
        "workflow_type": _integers(record.workflow.resource_type for record in records),
        "state_changed_at": _integers(record.state_changed_at for record in records),
        "abort_principal": _objects(record.abort_principal for record in records),
        "node_count": _integers(len(record.nodes.phase) for record in records),
        "version": _integers(record.version for record in records),
    }
    for name in ("project", "domain", "name", "version"):
        columns[f"launch_{name}"] = _objects(getattr(record.launch_entity, name) for record in records)
        columns[f"workflow_{name}"] = _objects(getattr(record.workflow, name) for record in records)
    for name in ("error", "spec", "inputs", "user_inputs"):
        columns[name] = _blobs(getattr(record, name) for record in records)
    columns["details"] = _blobs(encode_details(record.details) for record in records)
    return columns


def _node_columns(records: Sequence[ExecutionRecord]) -> Columns:
    counts = [len(record.nodes.phase) for record in records]
    columns: Columns = {
        "run": np.repeat(_integers(record.run for record in records), counts),
        "node": np.concatenate([np.arange(count) for count in counts]),
    }
    for name in ("phase", "attempt", "created_at", "started_at", "updated_at"):
        columns[name] = np.concatenate([getattr(record.nodes, name) for record in records])
    return columns


def _node_error_columns(records: Sequence[ExecutionRecord]) -> Columns:
    rows = [(record.run, node, error) for record in records for node, error in record.nodes.error.items()]
    return {
        "run": _integers(run for run, _, _ in rows),
        "node": _integers(node for _, node, _ in rows),
        **_error_columns([error for _, _, error in rows]),
    }


def _attempt_columns(records: Sequence[ExecutionRecord]) -> Columns:
    counts = [len(record.attempts.node) for record in records]
    columns: Columns = {
        "run": np.repeat(_integers(record.run for record in records), counts),
        "row": np.concatenate([np.arange(count) for count in counts]),
        "log_uri": _objects(uri or None for record in records for uri in record.attempts.log_uri),
        **_error_columns([error for record in records for error in record.attempts.error]),
    }
    for name in ("node", "attempt", "phase", "created_at", "started_at", "updated_at"):
        columns[name] = _integers(value for record in records for value in getattr(record.attempts, name))
    return columns


def _error_columns(errors: Sequence[bytes]) -> Columns:
    texts = [_error_texts(error) for error in errors]
    return {
        "error": _blobs(errors),
        "error_kind": _objects(kind for kind, _, _ in texts),
        "error_code": _objects(code for _, code, _ in texts),
        "error_message": _objects(message for _, _, message in texts),
    }


def _error_texts(error: bytes) -> tuple[str | None, str | None, str | None]:
    """Kind, code and message; nothing if there is no error."""
    if not error:
        return None, None, None
    message = _parsed(core_execution_pb2.ExecutionError(), error)
    kinds: Mapping[int, str] = {number: name for name, number in core_execution_pb2.ExecutionError.ErrorKind.items()}
    return kinds.get(int(message.kind), str(int(message.kind))), str(message.code), str(message.message)


# Columns and messages


def _integers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64)


def _objects(values: Iterable[object]) -> NDArray[np.object_]:
    items = list(values)
    column = np.empty(len(items), object)
    column[:] = items
    return column


def _blobs(values: Iterable[bytes]) -> NDArray[np.object_]:
    """Empty ones as NULL, which is cheaper to hand over."""
    return _objects(value or None for value in values)


def _parsed(message: MessageT, data: bytes) -> MessageT:
    """What cannot be parsed is shown as empty: views must never stand in the way of the journal."""
    try:
        message.ParseFromString(data)
    except DecodeError:
        logger.warning("a %s of %d bytes cannot be parsed", type(message).__name__, len(data))
    return message
