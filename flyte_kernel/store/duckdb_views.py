"""The views of the engine in one DuckDB file: `Views` for listings and finished executions.

Live executions are not here; listings are given them and look at both as one table. See `schema` for what people can
query, `writer` for when rows reach the file, `filters` and `sql` for what clients can ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.errors import FolderLockedError, InvalidArgumentError, StorageError, StorageFullError
from flyte_kernel.ids import EntityId, ExecutionId, NamedEntityId
from flyte_kernel.store.batches import (
    Batch,
    SpecColumns,
    entity_columns,
    execution_columns,
    execution_key,
    finished_columns,
    tag_columns,
)
from flyte_kernel.store.columns import ColumnType
from flyte_kernel.store.database import Cursor, Database
from flyte_kernel.store.filters import Filter, Order, page_of, parse_filters, parse_order
from flyte_kernel.store.known_keys import KnownKeys
from flyte_kernel.store.schema import LISTED
from flyte_kernel.store.sql import Statement, listing
from flyte_kernel.store.stored import ATTEMPT_COLUMNS, HEADER_COLUMNS, NODE_COLUMNS, attempts_of, header_of, nodes_of
from flyte_kernel.store.writer import Writer

__all__ = ["DuckDBViews"]

_ENTITY_TABLES = {1: "task", 2: "workflow", 3: "launch_plan"}
_TABLES_BY_RUN = ("execution", "execution_tag", "node", "node_error", "attempt")
_NAME_COLUMNS = ("project", "domain", "name")

_LIVE_SPECS_MAX = 100_000  # a guess: what is known of specs is small, the executions themselves are not


class DuckDBViews:
    """Views in `folder`/views.duckdb, made if absent; one that cannot be used is moved aside and starts at sequence 0.

    `memory_limit` is DuckDB's for its buffers, such as "512MB". FolderLockedError if another process has the file.
    """

    def __init__(self, folder: Path, *, memory_limit: str = "512MB", threads: int = 2) -> None:
        self._database = Database(folder / "views.duckdb", memory_limit=memory_limit, threads=threads)
        self._must_reopen = False
        self._specs: dict[int, SpecColumns] = {}
        try:
            sequence, stored = self._load()
        except (StorageFullError, FolderLockedError):
            raise
        except StorageError as error:  # damage that lies deeper than what opening the file looks at
            self._database.start_over(str(error))
            sequence, stored = self._load()
        runs = stored["run"]
        self._known = KnownKeys(stored["key"].tolist())
        self._last_id = dict.fromkeys(_ENTITY_TABLES, 0)
        for id, row in self._row_ids.items():
            self._last_id[id.resource_type] = max(self._last_id[id.resource_type], row)
        self._stored_runs = bytearray(int(runs.max()) + 1 if len(runs) else 0)
        for run in runs.tolist():
            self._stored_runs[run] = 1
        self._writer = Writer(self._write, sequence=sequence)

    def _load(self) -> tuple[int, Mapping[str, NDArray[Any]]]:
        """Read what is kept in memory; return the sequence, and run and key of every execution."""
        with self._database.cursor() as cursor:
            sequence = int(cursor.rows("SELECT sequence FROM kernel.progress")[0][0])
            self._row_ids = {id: row for type_ in _ENTITY_TABLES for id, row in _stored_ids(cursor, type_)}
            self._stored_entities = set(self._row_ids)
            return sequence, cursor.columns("SELECT run, key FROM kernel.execution")

    @property
    def sequence(self) -> int:
        """The journal sequence whose rows are durable; 0 if there are none."""
        return self._writer.sequence

    @property
    def last_error(self) -> StorageError | None:
        """Why the latest attempt to write failed, None if it did not."""
        return self._writer.failure

    def append(self, sequence: int, rows: TurnRows) -> None:
        """Queue the rows of one turn; never waits for the disk."""
        for entities in (rows.tasks, rows.workflows, rows.launch_plans):
            for entity in entities:
                self._give_row_id(entity.id)
        for record in rows.executions:
            self._known.add(execution_key(record.id))
        self._writer.append(sequence, rows)

    def flush(self) -> None:
        """Wait until everything appended is durable and visible; StorageFullError while the disk is full."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is left if that is possible, and release the file."""
        self._writer.close()
        self._database.close()

    # Reading

    def load_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return a finished execution with its nodes and attempts, None if there is none."""
        waiting = self._writer.waiting(id)
        if waiting is not None:
            return waiting
        if execution_key(id) not in self._known:
            return None  # every new execution with a name of its own asks this
        with self._database.cursor() as cursor:
            columns = ", ".join((*HEADER_COLUMNS, "inputs", "user_inputs"))
            rows = cursor.rows(
                f"SELECT {columns} FROM kernel.execution WHERE key = ? AND project = ? AND domain = ? AND name = ?",
                (execution_key(id), *id),
            )
            if not rows:
                return None
            record = header_of(rows[0][:-2])
            record.inputs, record.user_inputs = (value or b"" for value in rows[0][-2:])
            _load_parts(cursor, record)
        return record

    def list_tasks(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List task versions; an empty name stands for all."""
        return self._list_entities(1, project, domain, name, query)

    def list_workflows(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List workflow versions; an empty name stands for all."""
        return self._list_entities(2, project, domain, name, query)

    def list_launch_plans(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List launch plan versions; an empty name stands for all."""
        return self._list_entities(3, project, domain, name, query)

    def list_named_ids(self, resource_type: int, project: str, domain: str, query: ListQuery) -> Page[NamedEntityId]:
        """List the names of tasks, workflows or launch plans by first registration; filters are not looked at."""
        order = None
        if query.sort_key:
            if query.sort_key not in _NAME_COLUMNS:
                raise InvalidArgumentError(f"invalid sort key '{query.sort_key}'")
            order = Order(query.sort_key, ColumnType.TEXT, query.descending)
        table = _ENTITY_TABLES[resource_type]
        names = f"SELECT min(id) AS id, project, domain, name FROM kernel.{table} GROUP BY project, domain, name"
        statement = listing(
            table,
            selected="project, domain, name",
            sources={table: names},
            fixed=_given(project=project, domain=domain),
            filters=(),
            order=order,
            query=query,
        )
        return page_of([NamedEntityId(*row) for row in self._rows(statement)], query)

    def list_executions(
        self, project: str, domain: str, name: str, query: ListQuery, live: Sequence[ExecutionRecord]
    ) -> Page[ExecutionRecord]:
        """List finished executions and the `live` ones, which win over finished ones of the same run.

        Finished ones come back without inputs, nodes and attempts. Archived ones are left out unless a filter names a
        state: the reference's rule.
        """
        filters = parse_filters(query.filters, "execution")
        if not any(filter_.column == "state" for filter_ in filters):
            filters = (*filters, Filter("execution", "state", "eq", (0,), ColumnType.INTEGER))
        order = parse_order(query, "execution")
        fixed = _given(execution_project=project, execution_domain=domain, execution_name=name)
        self.flush()
        with self._database.cursor() as cursor, self._with_live(cursor, live) as sources:
            statement = listing(
                "execution",
                selected="e.run",
                sources=sources,
                fixed=fixed,
                filters=filters,
                order=order,
                query=query,
            )
            runs = [int(run) for (run,) in cursor.rows(statement.text, statement.parameters)]
            found = {record.run: record for record in live}
            found |= _headers(cursor, [run for run in runs if run not in found])
        return page_of([found[run] for run in runs if run in found], query)

    def _list_entities(
        self, resource_type: int, project: str, domain: str, name: str, query: ListQuery
    ) -> Page[EntityId]:
        table = _ENTITY_TABLES[resource_type]
        statement = listing(
            table,
            selected="project, domain, name, version",
            sources=LISTED,
            fixed=_given(project=project, domain=domain, name=name),
            filters=parse_filters(query.filters, table),
            order=parse_order(query, table),
            query=query,
        )
        return page_of([EntityId(resource_type, *row) for row in self._rows(statement)], query)

    def _rows(self, statement: Statement) -> list[tuple[str, ...]]:
        self.flush()
        with self._database.cursor() as cursor:
            return cursor.rows(statement.text, statement.parameters)

    @contextmanager
    def _with_live(self, cursor: Cursor, live: Sequence[ExecutionRecord]) -> Iterator[Mapping[str, str]]:
        """Give the sources of a listing of finished and live executions."""
        tags = "SELECT run, key, value FROM kernel.execution_tag"
        finished = LISTED["execution"].format(source="kernel.execution")
        if not live:
            yield {**LISTED, "execution": finished, "execution_tag": tags}
            return
        specs = [self._spec_of(record) for record in live]
        other = "WHERE run NOT IN (SELECT run FROM live)"
        with ExitStack() as tables:
            tables.enter_context(cursor.table("live", execution_columns(live, specs, self._row_id)))
            tables.enter_context(cursor.table("live_tag", tag_columns(live, specs)))
            yield {
                **LISTED,
                "execution": f"{finished} {other} UNION ALL BY NAME {LISTED['execution'].format(source='live')}",
                "execution_tag": f"{tags} {other} UNION ALL SELECT run, key, value FROM live_tag",
            }

    def _spec_of(self, record: ExecutionRecord) -> SpecColumns:
        spec = self._specs.get(record.run)
        if spec is None:
            if len(self._specs) >= _LIVE_SPECS_MAX:
                self._specs.clear()
            spec = self._specs[record.run] = SpecColumns.of(record)
        return spec

    # Row ids, which filters on joined tables go by

    def _give_row_id(self, id: EntityId) -> None:
        if id not in self._row_ids:
            self._last_id[id.resource_type] += 1
            self._row_ids[id] = self._last_id[id.resource_type]

    def _row_id(self, id: EntityId) -> int:
        return self._row_ids.get(id, 0)

    # Writing, on the writer's thread

    def _write(self, batch: Batch) -> None:
        if self._must_reopen:
            self._database.reopen()
        self._must_reopen = True
        with self._database.cursor() as cursor, ExitStack() as tables:
            columns = dict(entity_columns(batch, self._row_id))
            if batch.executions:
                columns.update(finished_columns(list(batch.executions.values()), self._row_id))
            columns = {table: values for table, values in columns.items() if len(next(iter(values.values())))}
            for table, values in columns.items():
                tables.enter_context(cursor.table(f"new_{table}", values))
            with cursor.transaction():
                self._delete_replaced(cursor, batch)
                for table in columns:
                    cursor.rows(f"INSERT INTO kernel.{table} BY NAME SELECT * FROM new_{table}")
                cursor.rows("UPDATE kernel.progress SET sequence = ?", (batch.sequence,))
        self._must_reopen = False
        self._note_stored(batch)

    def _delete_replaced(self, cursor: Cursor, batch: Batch) -> None:
        runs = [record.run for record in batch.executions.values() if self._is_stored(record.run)]
        if runs:
            for table in _TABLES_BY_RUN:
                cursor.rows(f"DELETE FROM kernel.{table} WHERE run IN ({', '.join(map(str, runs))})")
        for table, entities in (
            ("task", batch.tasks),
            ("workflow", batch.workflows),
            ("launch_plan", batch.launch_plans),
        ):
            ids = [str(self._row_ids[id]) for id in entities if id in self._stored_entities]
            if ids:
                cursor.rows(f"DELETE FROM kernel.{table} WHERE id IN ({', '.join(ids)})")

    def _is_stored(self, run: int) -> bool:
        return run < len(self._stored_runs) and bool(self._stored_runs[run])

    def _note_stored(self, batch: Batch) -> None:
        self._stored_entities.update(batch.tasks, batch.workflows, batch.launch_plans)
        for record in batch.executions.values():
            missing = record.run + 1 - len(self._stored_runs)
            if missing > 0:
                self._stored_runs.extend(bytes(max(missing, len(self._stored_runs))))
            self._stored_runs[record.run] = 1
            self._specs.pop(record.run, None)


def _stored_ids(cursor: Cursor, resource_type: int) -> Iterator[tuple[EntityId, int]]:
    table = _ENTITY_TABLES[resource_type]
    for *parts, row in cursor.rows(f"SELECT project, domain, name, version, id FROM kernel.{table}"):
        yield EntityId(resource_type, *parts), int(row)


def _given(**values: str) -> dict[str, str]:
    return {column: value for column, value in values.items() if value}


def _load_parts(cursor: Cursor, record: ExecutionRecord) -> None:
    run = (record.run,)
    nodes = cursor.columns(f"SELECT {', '.join(NODE_COLUMNS)} FROM kernel.node WHERE run = ? ORDER BY node", run)
    errors = cursor.rows("SELECT node, error FROM kernel.node_error WHERE run = ? ORDER BY node", run)
    record.nodes = nodes_of(nodes, [(int(node), bytes(error)) for node, error in errors])
    record.attempts = attempts_of(
        cursor.rows(f"SELECT {', '.join(ATTEMPT_COLUMNS)} FROM kernel.attempt WHERE run = ? ORDER BY row", run)
    )


def _headers(cursor: Cursor, runs: Sequence[int]) -> dict[int, ExecutionRecord]:
    if not runs:
        return {}
    with cursor.table("page", {"run": np.array(runs, np.int64)}):
        rows = cursor.rows(f"SELECT {', '.join(HEADER_COLUMNS)} FROM kernel.execution SEMI JOIN page USING (run)")
    records = [header_of(row) for row in rows]
    return {record.run: record for record in records}
