"""The fold's state as one byte string, so that a restart replays the journal's tail only."""

from __future__ import annotations

import msgspec
import numpy as np

from flyte_kernel import Kernel
from flyte_kernel.catalog.state import CatalogImage, CatalogState
from flyte_kernel.engine.details import Details
from flyte_kernel.engine.fold import Fold
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import AttemptColumns, ExecutionRecord, NodeColumns
from flyte_kernel.engine.state import Entity, LaunchPlanEntity, State
from flyte_kernel.errors import CorruptRecordError
from flyte_kernel.ids import EntityId, ExecutionId, NamedEntityId

__all__ = ["image_of", "restore_fold", "snapshot_fold"]

FORMAT_VERSION = 2


class _Scalars(msgspec.Struct, array_like=True):
    """The plain fields of an ExecutionRecord, under their names there."""

    run: int
    id: ExecutionId
    launch_entity: EntityId
    workflow: EntityId
    spec: bytes
    inputs: bytes
    user_inputs: bytes
    phase: int
    created_at: int
    started_at: int
    updated_at: int
    error: bytes
    abort_cause: str | None
    abort_principal: str
    archived: bool
    state_changed_at: int
    version: int


class _Record(msgspec.Struct, array_like=True):
    scalars: _Scalars
    node_columns: list[bytes]
    node_errors: dict[int, bytes]
    attempt_columns: list[list[object]]
    details: Details


class _Snapshot(msgspec.Struct, array_like=True):
    version: int
    now: int
    kernel: bytes
    run_count: int
    tasks: list[Entity]
    workflows: list[Entity]
    launch_plans: list[LaunchPlanEntity]
    graphs: list[tuple[EntityId, int]]
    graph_count: int
    records: list[_Record]
    catalog: CatalogImage


_NODE_COLUMNS = (
    ("phase", np.uint8),
    ("attempt", np.uint32),
    ("created_at", np.int64),
    ("started_at", np.int64),
    ("updated_at", np.int64),
)
_ATTEMPT_COLUMNS = ("node", "attempt", "phase", "created_at", "started_at", "updated_at", "error", "log_uri")


def snapshot_fold(fold: Fold) -> bytes:
    """Return everything `restore_fold` needs, live and not yet forgotten executions included."""
    state = fold.state
    snapshot = _Snapshot(
        version=FORMAT_VERSION,
        now=fold.now,
        kernel=fold.kernel.snapshot(),
        run_count=state.run_count,
        tasks=list(state.registry.tasks.values()),
        workflows=list(state.registry.workflows.values()),
        launch_plans=list(state.registry.launch_plans.values()),
        graphs=list(fold.graph_of.items()),
        graph_count=fold.graph_count,
        records=[_pack(record) for record in state.runs.values() if not record.is_terminal],
        catalog=state.catalog.image(),
    )
    return msgspec.msgpack.encode(snapshot)


def image_of(record: ExecutionRecord) -> bytes:
    """Return everything that is known of one execution; equal ones give equal bytes."""
    return msgspec.msgpack.encode(_pack(record))


def restore_fold(payload: bytes) -> Fold:
    """Rebuild the fold; CorruptRecordError for bytes of another format."""
    try:
        snapshot = msgspec.msgpack.decode(payload, type=_Snapshot)
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptRecordError(f"the snapshot cannot be read: {error}") from error
    if snapshot.version != FORMAT_VERSION:
        raise CorruptRecordError(f"the snapshot has format {snapshot.version}, this version reads {FORMAT_VERSION}")
    try:
        return _rebuild(snapshot)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise CorruptRecordError(f"the snapshot contradicts itself: {error}") from error


def _rebuild(snapshot: _Snapshot) -> Fold:
    state = State(run_count=snapshot.run_count, catalog=CatalogState.of_image(snapshot.catalog))
    registry = state.registry
    registry.tasks = {entity.id: entity for entity in snapshot.tasks}
    registry.workflows = {entity.id: entity for entity in snapshot.workflows}
    registry.launch_plans = {plan.id: plan for plan in snapshot.launch_plans}
    registry.active_launch_plans = {NamedEntityId(*p.id[1:4]): p.id for p in snapshot.launch_plans if p.active}
    for packed in snapshot.records:
        record = _unpack(packed)
        state.executions[record.id] = record
        state.runs[record.run] = record
    fold = Fold(state, Kernel.restore(snapshot.kernel), Programs(registry), dict(snapshot.graphs))
    fold.now, fold.graph_count = snapshot.now, snapshot.graph_count
    return fold


def _pack(record: ExecutionRecord) -> _Record:
    return _Record(
        scalars=_Scalars(**{name: getattr(record, name) for name in _Scalars.__struct_fields__}),
        node_columns=[getattr(record.nodes, name).tobytes() for name, _ in _NODE_COLUMNS],
        node_errors=record.nodes.error,
        attempt_columns=[getattr(record.attempts, name) for name in _ATTEMPT_COLUMNS],
        details=record.details,
    )


def _unpack(packed: _Record) -> ExecutionRecord:
    columns = {
        name: np.frombuffer(data, dtype).copy()
        for (name, dtype), data in zip(_NODE_COLUMNS, packed.node_columns, strict=True)
    }
    nodes = NodeColumns(error=packed.node_errors, **columns)
    attempts = AttemptColumns()
    for name, column in zip(_ATTEMPT_COLUMNS, packed.attempt_columns, strict=True):
        setattr(attempts, name, column)
    attempts.row_of = {key: row for row, key in enumerate(zip(attempts.node, attempts.attempt, strict=True))}
    scalars = msgspec.structs.asdict(packed.scalars)
    return ExecutionRecord(nodes=nodes, attempts=attempts, details=packed.details, **scalars)
