"""What FlyteAdmin lets clients filter and sort by: its tables, their aliases in refusals, columns and joins.

The names are those of the reference's database models (flyteadmin, repositories/models); the types say how the text of
a filter is understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

__all__ = ["TABLES", "ColumnType", "Table"]


class ColumnType(Enum):
    """How values are written in filters and held in rows.

    TEXT is str. INTEGER is int. TIMESTAMP is ISO 8601 in filters, nanoseconds since the epoch in rows, 0 for none.
    DURATION is seconds or a Go duration in filters, nanoseconds in rows. OPAQUE columns exist but cannot be asked for.
    """

    TEXT = 0
    INTEGER = 1
    TIMESTAMP = 2
    DURATION = 3
    OPAQUE = 4


@dataclass(frozen=True, slots=True)
class Table:
    """One listing's subject; `joins` are the tables, itself included, whose columns its filters may name.

    `renamed` are columns that pass the check under one name and are looked up under another.
    """

    name: str
    alias: str
    columns: Mapping[str, ColumnType]
    joins: frozenset[str]
    renamed: Mapping[str, str]

    def sort_column(self, key: str) -> ColumnType | None:
        """Return the type of a column that rows can be sorted by, None if there is none of that name."""
        type_ = self.columns.get(key)
        return None if type_ is ColumnType.OPAQUE else type_


_BASE = "id:integer created_at:timestamp updated_at:timestamp deleted_at:timestamp"
_VERSIONED = f"{_BASE} project domain name version digest:opaque closure:opaque"
_OF_EXECUTION = "execution_project execution_domain execution_name"
_RUNNING = f"{_BASE} {_OF_EXECUTION} phase closure:opaque started_at:timestamp duration:duration"
_RENAMED_IDS = {name: f"execution_{name}" for name in ("project", "domain", "name")}


def _table(
    name: str, alias: str, columns: str, *, joins: str = "", renamed: Mapping[str, str] | None = None
) -> tuple[str, Table]:
    types = {}
    for column in columns.split():
        column_name, _, type_name = column.partition(":")
        types[column_name] = ColumnType[type_name.upper() or "TEXT"]
    return name, Table(name, alias, types, frozenset({name, *joins.split()}), renamed or {})


TABLES: Mapping[str, Table] = dict(
    [
        _table("task", "t", f"{_VERSIONED} type short_description"),
        _table(
            "workflow", "w", f"{_VERSIONED} typed_interface:opaque remote_closure_identifier:opaque short_description"
        ),
        _table(
            "launch_plan",
            "l",
            f"{_VERSIONED} spec:opaque workflow_id:integer state:integer schedule_type launch_condition_type",
            joins="workflow",
        ),
        _table(
            "execution",
            "e",
            f"{_RUNNING} launch_plan_id:integer workflow_id:integer task_id:integer spec:opaque "
            "execution_created_at:timestamp execution_updated_at:timestamp abort_cause mode:integer "
            "source_execution_id:opaque parent_node_execution_id:opaque cluster inputs_uri:opaque "
            "user_inputs_uri:opaque error_kind error_code user state:integer launch_entity",
            joins="launch_plan workflow task admin_tag execution_tag",
        ),
        _table(
            "node_execution",
            "ne",
            f"{_RUNNING} node_id input_uri node_execution_created_at:timestamp node_execution_updated_at:timestamp "
            "node_execution_metadata:opaque parent_id:integer parent_task_execution_id:integer error_kind error_code "
            "cache_status dynamic_workflow_remote_closure_reference:opaque internal_data:opaque",
            joins="execution",
        ),
        _table(
            "task_execution",
            "te",
            f"{_RUNNING} project domain name version node_id retry_attempt:integer phase_version:integer input_uri "
            "task_execution_created_at:timestamp task_execution_updated_at:timestamp",
            joins="task execution node_execution",
            renamed=_RENAMED_IDS,
        ),
        _table(
            "entities",
            "nen",
            "resource_type:integer project domain name description state:integer",
            joins="named_entity_metadata",
        ),
        _table(
            "named_entity_metadata",
            "nem",
            f"{_BASE} resource_type:integer project domain name description state:integer",
        ),
        _table("project", "p", f"{_BASE} identifier name description labels:opaque state:integer"),
        _table("signal", "s", f"{_BASE} {_OF_EXECUTION} signal_id type:opaque value:opaque"),
        _table("admin_tag", "at", f"{_BASE} name", renamed={"name": "key"}),
        _table("execution_admin_tag", "eat", f"{_OF_EXECUTION} execution_tag"),
        _table("execution_tag", "et", f"{_BASE} {_OF_EXECUTION} key value"),
    ]
)
