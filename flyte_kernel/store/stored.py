"""Finished executions as they come back from DuckDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyte_kernel.engine.details import decode_details
from flyte_kernel.engine.records import AttemptColumns, ExecutionRecord, NodeColumns
from flyte_kernel.ids import EntityId, ExecutionId
from flyte_kernel.phases import RunPhase

__all__ = ["ATTEMPT_COLUMNS", "HEADER_COLUMNS", "NODE_COLUMNS", "attempts_of", "header_of", "nodes_of"]

_ENTITY_FIELDS = ("type", "project", "domain", "name", "version")

HEADER_COLUMNS = (
    *("run", "project", "domain", "name", "phase", "created_at", "started_at", "updated_at"),
    *(f"launch_{field}" for field in _ENTITY_FIELDS),
    *(f"workflow_{field}" for field in _ENTITY_FIELDS),
    *(
        "state",
        "state_changed_at",
        "abort_cause",
        "abort_principal",
        "error",
        "spec",
        "node_count",
        "version",
        "details",
    ),
)
NODE_COLUMNS = ("phase", "attempt", "created_at", "started_at", "updated_at")
ATTEMPT_COLUMNS = ("node", "attempt", "phase", "created_at", "started_at", "updated_at", "error", "log_uri")


def header_of(values: Sequence[Any]) -> ExecutionRecord:
    """Return the record of a row of HEADER_COLUMNS: without inputs and attempts, its nodes as if never started."""
    row = dict(zip(HEADER_COLUMNS, values, strict=True))
    return ExecutionRecord(
        run=row["run"],
        id=ExecutionId(row["project"], row["domain"], row["name"]),
        launch_entity=EntityId(*(row[f"launch_{field}"] for field in _ENTITY_FIELDS)),
        workflow=EntityId(*(row[f"workflow_{field}"] for field in _ENTITY_FIELDS)),
        spec=row["spec"] or b"",
        inputs=b"",
        user_inputs=b"",
        nodes=NodeColumns.empty(row["node_count"]),
        phase=int(RunPhase[row["phase"]]),
        created_at=row["created_at"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        error=row["error"] or b"",
        abort_cause=row["abort_cause"],
        abort_principal=row["abort_principal"],
        archived=bool(row["state"]),
        state_changed_at=row["state_changed_at"],
        version=row["version"],
        details=decode_details(row["details"]),
    )


def nodes_of(columns: Mapping[str, NDArray[Any]], errors: Sequence[tuple[int, bytes]]) -> NodeColumns:
    """Return the nodes of one execution from NODE_COLUMNS and (node, error) rows."""
    return NodeColumns(
        phase=np.array(columns["phase"], np.uint8),
        attempt=np.array(columns["attempt"], np.uint32),
        created_at=np.array(columns["created_at"], np.int64),
        started_at=np.array(columns["started_at"], np.int64),
        updated_at=np.array(columns["updated_at"], np.int64),
        error=dict(errors),
    )


def attempts_of(rows: Sequence[Sequence[Any]]) -> AttemptColumns:
    """Return the attempts of one execution from rows of ATTEMPT_COLUMNS in the order of launch."""
    if not rows:
        return AttemptColumns()
    node, attempt, phase, created_at, started_at, updated_at, error, log_uri = map(list, zip(*rows, strict=True))
    return AttemptColumns(
        node=node,
        attempt=attempt,
        phase=phase,
        created_at=created_at,
        started_at=started_at,
        updated_at=updated_at,
        error=[value or b"" for value in error],
        log_uri=[value or "" for value in log_uri],
        row_of={key: row for row, key in enumerate(zip(node, attempt, strict=True))},
    )
