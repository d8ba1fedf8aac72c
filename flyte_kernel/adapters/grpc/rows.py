"""Pages of what is listed from memory: nodes, attempts, projects, as the tables that FlyteAdmin's filters speak of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from flyteidl.core import execution_pb2

from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.messages import shown_phase
from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.phases import TERMINAL_NODE_PHASES, AttemptPhase
from flyte_kernel.store.filters import Row, filter_rows, page_of

__all__ = ["attempt_page", "node_page", "project_page", "signal_page"]

Item = TypeVar("Item")

_ITEM = "item"  # no column has this name
_ENDED_ATTEMPTS = frozenset({AttemptPhase.SUCCEEDED, AttemptPhase.FAILED, AttemptPhase.ABORTED})


def node_page(engine: Backend, record: ExecutionRecord, nodes: Sequence[int], query: ListQuery) -> Page[int]:
    """Return the nodes that a query asks for, of those given."""
    execution = _execution_row(record)
    return _page(
        "node_execution", nodes, lambda node: {**_node_row(engine, record, node), "execution": execution}, query
    )


def attempt_page(engine: Backend, record: ExecutionRecord, rows: Sequence[int], query: ListQuery) -> Page[int]:
    """Return the attempts that a query asks for, of those given by their rows."""
    execution = _execution_row(record)
    return _page(
        "task_execution", rows, lambda row: {**_attempt_row(engine, record, row), "execution": execution}, query
    )


def signal_page(record: ExecutionRecord, query: ListQuery) -> Page[str]:
    """Return the ids of the signals of an execution that a query asks for, in the order in which they were awaited."""
    return _page("signal", list(record.details.signals), lambda signal_id: _signal_row(record, signal_id), query)


def project_page(projects: Sequence[str], query: ListQuery) -> Page[str]:
    """Return the projects that a query asks for, by name if it does not say."""
    return _page("project", sorted(projects), _project_row, query)


def _page(table: str, items: Sequence[Item], columns: Callable[[Item], Row], query: ListQuery) -> Page[Item]:
    if not query.filters and not query.sort_key:
        end = query.offset + query.limit if query.limit else len(items)
        return page_of(list(items[query.offset : end]), query)
    page = filter_rows(table, [{**columns(item), _ITEM: index} for index, item in enumerate(items)], query)
    return Page([items[_index(row)] for row in page.items], page.token)


def _index(row: Row) -> int:
    index = row[_ITEM]
    assert isinstance(index, int)
    return index


def _project_row(name: str) -> Row:
    return {"identifier": name, "name": name, "description": "", "state": 0}


def _execution_row(record: ExecutionRecord) -> Row:
    return {
        **_of_execution(record),
        "id": record.run,
        "phase": execution_pb2.WorkflowExecution.Phase.Name(record.phase),  # type: ignore[arg-type,unused-ignore]  # pyright: ignore[reportArgumentType]
        "created_at": record.created_at,
        "execution_created_at": record.created_at,
        "started_at": record.started_at,
        "updated_at": record.updated_at,
        "execution_updated_at": record.updated_at,
        "state": int(record.archived),
    }


def _of_execution(record: ExecutionRecord) -> Row:
    return {
        "execution_project": record.id.project,
        "execution_domain": record.id.domain,
        "execution_name": record.id.name,
    }


def _node_row(engine: Backend, record: ExecutionRecord, node: int) -> Row:
    nodes = record.nodes
    phase, started_at = shown_phase(int(nodes.phase[node])), int(nodes.started_at[node])
    created_at, updated_at = int(nodes.created_at[node]), int(nodes.updated_at[node])
    return {
        **_of_execution(record),
        **_error_columns(nodes.error.get(node, b"") if phase in TERMINAL_NODE_PHASES else b""),
        "id": node,
        "node_id": engine.data.unique_id(record, node),
        "phase": execution_pb2.NodeExecution.Phase.Name(phase),  # type: ignore[arg-type,unused-ignore]  # pyright: ignore[reportArgumentType]
        "created_at": created_at,
        "node_execution_created_at": created_at,
        "started_at": started_at,
        "updated_at": updated_at,
        "node_execution_updated_at": updated_at,
        "duration": updated_at - started_at if started_at and phase in TERMINAL_NODE_PHASES else None,
    }


def _attempt_row(engine: Backend, record: ExecutionRecord, row: int) -> Row:
    attempts = record.attempts
    node, phase, started_at = attempts.node[row], attempts.phase[row], attempts.started_at[row]
    created_at, updated_at = attempts.created_at[row], attempts.updated_at[row]
    task = engine.program_of(record).task[node]
    names = {} if task is None else {name: getattr(task.id, name) for name in ("project", "domain", "name", "version")}
    return {
        **_of_execution(record),
        "task": names,
        "node_execution": _node_row(engine, record, node),
        "version": names.get("version"),
        "id": row,
        "node_id": engine.data.unique_id(record, node),
        "retry_attempt": attempts.attempt[row],
        "phase": execution_pb2.TaskExecution.Phase.Name(phase),  # type: ignore[arg-type,unused-ignore]  # pyright: ignore[reportArgumentType]
        "phase_version": 0,
        "created_at": created_at,
        "task_execution_created_at": created_at,
        "started_at": started_at,
        "updated_at": updated_at,
        "task_execution_updated_at": updated_at,
        "duration": updated_at - started_at if started_at and phase in _ENDED_ATTEMPTS else None,
    }


def _signal_row(record: ExecutionRecord, signal_id: str) -> Row:
    signal = record.details.signals[signal_id]
    return {
        **_of_execution(record),
        "id": list(record.details.signals).index(signal_id),
        "signal_id": signal_id,
        "created_at": signal.created_at,
        "updated_at": signal.updated_at,
    }


def _error_columns(error: bytes) -> Row:
    if not error:
        return {}
    message = execution_pb2.ExecutionError.FromString(error)
    return {"error_code": message.code, "error_kind": execution_pb2.ExecutionError.ErrorKind.Name(message.kind)}
