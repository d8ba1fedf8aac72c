"""Pages of what is listed from memory: nodes, attempts, projects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flyteidl.core import execution_pb2

from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.errors import InvalidArgumentError, UnsupportedError

__all__ = ["attempt_page", "node_page", "project_page"]

_Column = Callable[[int], object]


def node_page(engine: Backend, record: ExecutionRecord, nodes: Sequence[int], query: ListQuery) -> Page[int]:
    """Return the nodes that a query asks for, of those given."""
    columns = record.nodes
    return _page(
        nodes,
        {
            "id": lambda node: node,
            "node_id": lambda node: engine.data.unique_id(record, node),
            "phase": lambda node: execution_pb2.NodeExecution.Phase.Name(int(columns.phase[node])),
            "created_at": lambda node: int(columns.created_at[node]),
            "node_execution_created_at": lambda node: int(columns.created_at[node]),
            "started_at": lambda node: int(columns.started_at[node]),
            "updated_at": lambda node: int(columns.updated_at[node]),
            "node_execution_updated_at": lambda node: int(columns.updated_at[node]),
        },
        query,
    )


def attempt_page(record: ExecutionRecord, rows: Sequence[int], query: ListQuery) -> Page[int]:
    """Return the attempts that a query asks for, of those given by their rows."""
    columns = record.attempts
    return _page(
        rows,
        {
            "id": lambda row: row,
            "retry_attempt": lambda row: columns.attempt[row],
            "created_at": lambda row: columns.created_at[row],
            "updated_at": lambda row: columns.updated_at[row],
        },
        query,
    )


def project_page(projects: Sequence[str], query: ListQuery) -> Page[str]:
    """Return the projects that a query asks for, by name if it does not say."""
    ordered = sorted(projects)
    page = _page(
        range(len(ordered)), {"identifier": lambda index: ordered[index], "name": lambda index: ordered[index]}, query
    )
    return Page([ordered[index] for index in page.items], page.token)


def _page(rows: Sequence[int], columns: Mapping[str, _Column], query: ListQuery) -> Page[int]:
    if query.filters:
        raise UnsupportedError("this version of flyte-kernel filters neither nodes nor attempts nor projects")
    ordered = list(rows)
    if query.sort_key:
        if query.sort_key not in columns:
            raise InvalidArgumentError(f"invalid sort key '{query.sort_key}'")
        ordered.sort(key=columns[query.sort_key], reverse=query.descending)  # type: ignore[arg-type]
    end = query.offset + query.limit if query.limit else len(ordered)
    items = ordered[query.offset : end]
    token = str(query.offset + len(items)) if query.limit and len(items) == query.limit else ""
    return Page(items, token)
