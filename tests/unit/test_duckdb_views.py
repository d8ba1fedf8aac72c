"""The views in DuckDB: what is appended comes back whole, once, in order, and survives bad files and full disks."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.errors import FolderLockedError, InvalidArgumentError, StorageError, StorageFullError
from flyte_kernel.ids import EntityId, ExecutionId
from flyte_kernel.phases import RunPhase
from flyte_kernel.store import batches
from flyte_kernel.store.batches import Batch
from flyte_kernel.store.duckdb_views import DuckDBViews
from flyte_kernel.store.writer import Writer
from tests.support.records import (
    DOMAIN,
    EPOCH,
    PROJECT,
    SECOND,
    entity_id,
    error,
    execution,
    launch_plan,
    same_execution,
    spec,
    task,
    workflow,
)

WAIT_S = 30


@pytest.fixture
def views(tmp_path: Path) -> Iterator[DuckDBViews]:
    views = DuckDBViews(tmp_path)
    yield views
    views.close()


def finished(*records: ExecutionRecord) -> TurnRows:
    return TurnRows(executions=list(records))


def names(page: Page[ExecutionRecord]) -> str:
    return " ".join(record.id.name for record in page.items)


def listed(views: DuckDBViews, filters: str = "", *live: ExecutionRecord, **fields: object) -> str:
    return names(views.list_executions(PROJECT, DOMAIN, "", ListQuery(filters, **fields), live))  # type: ignore[arg-type]


def wait_until(condition: Callable[[], bool]) -> None:
    done = threading.Event()
    for _ in range(WAIT_S * 100):
        if condition():
            return
        done.wait(0.01)
    raise AssertionError("it did not happen")


# Round trips


def test_executions_come_back_whole(views: DuckDBViews, tmp_path: Path) -> None:
    records = [
        execution(0),
        execution(1, phase=RunPhase.FAILED, error=error("E", "über\x00all"), archived=True, node_count=40),
        execution(5, phase=RunPhase.ABORTED, abort_cause="", abort_principal="me", launched=entity_id(1, "t")),
        execution(3, phase=RunPhase.TIMED_OUT, node_count=0, inputs=b"", user_inputs=b"", started_at=0),
    ]
    views.append(1, finished(*records))
    views.flush()
    assert all(same_execution(record, views.load_execution(record.id)) for record in records)
    views.close()
    again = DuckDBViews(tmp_path)
    assert again.sequence == 1
    assert all(same_execution(record, again.load_execution(record.id)) for record in records)
    assert again.load_execution(ExecutionId(PROJECT, DOMAIN, "ex2")) is None
    again.close()


def test_rows_that_wait_are_found(views: DuckDBViews, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    written = views._write

    def hold(batch: Batch) -> None:
        assert release.wait(WAIT_S)
        written(batch)

    monkeypatch.setattr(views._writer, "_write", hold)
    record = execution(0)
    views.append(1, finished(record))
    assert views.load_execution(record.id) is record
    assert views.sequence == 0
    release.set()
    views.flush()
    assert views.sequence == 1
    assert views.load_execution(record.id) is not record


def test_the_latest_row_wins(views: DuckDBViews) -> None:
    views.append(1, finished(execution(0), execution(1)))
    views.flush()
    archived = execution(0, archived=True, version=99, node_count=5)
    views.append(2, finished(execution(0, version=50)))
    views.append(3, finished(archived))
    views.flush()
    loaded = views.load_execution(archived.id)
    assert loaded is not None
    assert same_execution(loaded, archived)
    assert listed(views) == "ex1"
    assert listed(views, "eq(state,1)") == "ex0"
    with views._database.cursor() as cursor:
        assert cursor.rows("SELECT count(*) FROM kernel.node WHERE run = 0") == [(5,)]
        assert cursor.rows("SELECT count(*) FROM kernel.execution") == [(2,)]


def test_entities_keep_their_place_when_they_change(views: DuckDBViews) -> None:
    views.append(1, TurnRows(launch_plans=[launch_plan("a", active=True), launch_plan("b"), launch_plan("c")]))
    views.flush()
    views.append(2, TurnRows(launch_plans=[launch_plan("a", updated_at=EPOCH + SECOND)]))

    def plans(filters: str = "", **fields: object) -> str:
        page = views.list_launch_plans(PROJECT, DOMAIN, "", ListQuery(filters, **fields))  # type: ignore[arg-type]
        return " ".join(id.name for id in page.items)

    assert plans() == "a b c"
    assert plans("eq(state,1)") == ""
    assert plans(sort_key="updated_at") == "a b c"
    assert plans(sort_key="name") == "c b a"


def test_row_ids_survive_a_restart(views: DuckDBViews, tmp_path: Path) -> None:
    views.append(1, TurnRows(workflows=[workflow("w1"), workflow("w2")], launch_plans=[launch_plan("w2")]))
    views.close()
    again = DuckDBViews(tmp_path)
    again.append(2, TurnRows(workflows=[workflow("w3")], launch_plans=[launch_plan("p", workflow_name="w2")]))
    again.append(3, finished(execution(0, workflow=entity_id(2, "w2"), launched=entity_id(3, "p"))))
    page = again.list_launch_plans(PROJECT, DOMAIN, "", ListQuery("eq(workflow.name,w2)"))
    assert [id.name for id in page.items] == ["p"]
    assert [id.name for id in again.list_workflows(PROJECT, DOMAIN, "", ListQuery()).items] == ["w1", "w2", "w3"]
    assert listed(again, "eq(workflow.name,w2)+eq(launch_plan.name,p)") == "ex0"
    assert listed(again, "eq(workflow.name,w1)") == ""
    again.close()


def test_what_cannot_be_parsed_is_kept_all_the_same(views: DuckDBViews, caplog: pytest.LogCaptureFixture) -> None:
    record = execution(0, spec=b"\xff\xff", error=b"\xff\xff", phase=RunPhase.FAILED)
    views.append(1, finished(record))
    views.flush()
    loaded = views.load_execution(record.id)
    assert loaded is not None
    assert same_execution(loaded, record)
    assert "cannot be parsed" in caplog.text


def test_one_error_among_thousands_of_attempts(views: DuckDBViews) -> None:
    record = execution(0, node_count=2500)
    record.attempts.error = [b""] * len(record.attempts.node)
    record.attempts.log_uri = [""] * len(record.attempts.node)
    record.attempts.error[1777], record.attempts.log_uri[1777] = error("Rare"), "s3://log"
    views.append(1, finished(record))
    views.flush()
    loaded = views.load_execution(record.id)
    assert loaded is not None
    assert same_execution(loaded, record)


# Listings


def test_entities_are_listed_by_scope(views: DuckDBViews) -> None:
    other = task("t1")
    other.id = entity_id(1, "t1", project="other")
    views.append(1, TurnRows(tasks=[task("t2"), task("t1"), other, task("t1", version="v2", type_="sql")]))

    def tasks(project: str, name: str, filters: str = "", **fields: object) -> list[EntityId]:
        return views.list_tasks(project, DOMAIN, name, ListQuery(filters, **fields)).items  # type: ignore[arg-type]

    assert tasks(PROJECT, "") == [entity_id(1, "t2"), entity_id(1, "t1"), entity_id(1, "t1", "v2")]
    assert tasks(PROJECT, "t1") == [entity_id(1, "t1"), entity_id(1, "t1", "v2")]
    assert tasks("other", "") == [entity_id(1, "t1", project="other")]
    assert tasks(PROJECT, "", "eq(type,sql)") == [entity_id(1, "t1", "v2")]
    assert tasks(PROJECT, "", "contains(short_description,does t2)") == [entity_id(1, "t2")]
    assert tasks("nowhere", "") == []


def test_names_are_listed_once_by_first_registration(views: DuckDBViews) -> None:
    rows = TurnRows(tasks=[task("b"), task("a"), task("b", version="v2"), task("c")])
    views.append(1, rows)

    def ids(project: str = PROJECT, **fields: object) -> str:
        page = views.list_named_ids(1, project, DOMAIN, ListQuery(**fields))  # type: ignore[arg-type]
        return " ".join([*(id.name for id in page.items), page.token])

    assert ids() == "b a c "
    assert ids("") == "b a c "
    assert ids(sort_key="name", descending=False, limit=2) == "a b 2"
    assert ids(sort_key="name", limit=2, offset=2) == "a "
    assert ids(filters="nonsense") == "b a c "
    with pytest.raises(InvalidArgumentError, match=r"^invalid sort key 'created_at'$"):
        ids(sort_key="created_at")


def test_plans_by_schedule(views: DuckDBViews) -> None:
    views.append(1, TurnRows(launch_plans=[launch_plan("a"), launch_plan("b", cron="* * * * *")]))
    for schedule, expected in (("CRON", ["b"]), ("NONE", ["a"]), ("RATE", [])):
        page = views.list_launch_plans(PROJECT, DOMAIN, "", ListQuery(f"eq(schedule_type,{schedule})"))
        assert [id.name for id in page.items] == expected


def test_live_and_finished_executions_are_one_table(views: DuckDBViews) -> None:
    views.append(1, finished(execution(4), execution(0, phase=RunPhase.FAILED, error=error("E")), execution(2)))
    live = [execution(3, phase=RunPhase.RUNNING, started_at=0), execution(1, phase=RunPhase.RUNNING)]
    assert listed(views, "", *live) == "ex0 ex1 ex2 ex3 ex4"
    assert listed(views, "eq(phase,RUNNING)", *live) == "ex1 ex3"
    assert listed(views, "ne(error_code,x)", *live) == "ex0"
    assert listed(views, "eq(duration,0)", *live) == "ex1 ex3"
    assert listed(views, "gt(started_at,1999-01-01)", *live) == "ex0 ex1 ex2 ex4"
    assert listed(views, "", *live, sort_key="created_at", limit=3, offset=1) == "ex3 ex2 ex1"
    assert listed(views, "", *live, sort_key="started_at") == "ex3 ex4 ex2 ex1 ex0"
    assert listed(views, "eq(id,2)", *live) == "ex1"


def test_a_live_execution_wins_over_its_row(views: DuckDBViews) -> None:
    views.append(1, finished(execution(0), execution(1)))
    views.flush()
    record = execution(1, phase=RunPhase.ABORTING)
    page = views.list_executions(PROJECT, DOMAIN, "", ListQuery(), [record])
    assert names(page) == "ex0 ex1"
    assert page.items[1] is record
    assert listed(views, "eq(phase,SUCCEEDED)", record) == "ex0"


def test_executions_by_name_and_tokens(views: DuckDBViews) -> None:
    views.append(1, finished(*(execution(run) for run in range(4))))
    live = [execution(4, phase=RunPhase.RUNNING)]

    def page(limit: int, offset: int) -> tuple[str, str]:
        found = views.list_executions(PROJECT, DOMAIN, "", ListQuery(limit=limit, offset=offset), live)
        return names(found), found.token

    assert page(2, 0) == ("ex0 ex1", "2")
    assert page(2, 4) == ("ex4", "")
    assert page(5, 0) == ("ex0 ex1 ex2 ex3 ex4", "5")
    assert page(5, 5) == ("", "")
    assert page(9, 1) == ("ex1 ex2 ex3 ex4", "")
    assert names(views.list_executions(PROJECT, DOMAIN, "ex4", ListQuery(), live)) == "ex4"
    assert names(views.list_executions(PROJECT, DOMAIN, "ex1", ListQuery(), live)) == "ex1"
    assert names(views.list_executions(PROJECT, "production", "", ListQuery(), live)) == ""


def test_archived_executions_are_left_out_unless_a_state_is_named(views: DuckDBViews) -> None:
    plan = launch_plan("wf", active=True)
    views.append(1, TurnRows(launch_plans=[plan], executions=[execution(0), execution(1, archived=True)]))
    live = execution(2, phase=RunPhase.RUNNING, archived=True)
    assert listed(views, "", live) == "ex0"
    assert listed(views, "eq(state,1)", live) == "ex1 ex2"
    assert listed(views, "value_in(state,0;1)", live) == "ex0 ex1 ex2"
    assert listed(views, "eq(launch_plan.state,1)", live) == "ex0 ex1 ex2"


def test_executions_by_what_was_launched(views: DuckDBViews) -> None:
    generated = entity_id(2, ".flytegen.t")
    views.append(
        1,
        TurnRows(
            tasks=[task("t", type_="sql")],
            workflows=[workflow("wf"), workflow(".flytegen.t")],
            launch_plans=[launch_plan("wf")],
            executions=[execution(0), execution(1, launched=entity_id(1, "t"), workflow=generated)],
        ),
    )
    assert listed(views, "eq(task.type,sql)") == "ex1"
    assert listed(views, "eq(workflow.name,wf)") == "ex0"
    assert listed(views, "contains(workflow.name,.flytegen)") == "ex1"
    assert listed(views, "ne(launch_plan.name,x)") == "ex0"
    assert listed(views, "eq(launch_entity,task)") == "ex1"
    assert listed(views, "eq(launch_entity,launch_plan)") == "ex0"


def test_executions_by_spec(views: DuckDBViews) -> None:
    views.append(
        1,
        finished(
            execution(0, spec=spec(mode=1, principal="ann", tags=("nightly", "big"))),
            execution(1, spec=spec(labels={"team": "red"})),
        ),
    )
    live = execution(2, phase=RunPhase.RUNNING, spec=spec(tags=("big",)))
    assert listed(views, "value_in(admin_tag.name,big;nightly)", live) == "ex0 ex2"
    assert listed(views, "eq(execution_tag.key,team)+eq(execution_tag.value,red)", live) == "ex1"
    assert listed(views, "eq(mode,1)", live) == "ex0"
    assert listed(views, "eq(user,ann)", live) == "ex0"


def test_refusals_come_before_the_database(views: DuckDBViews) -> None:
    for filters in ("eq(created_at,zzz)", "eq(state,zzz)", "eq(execution_name,a;b)", "gt(duration,zzz)"):
        with pytest.raises(InvalidArgumentError):
            listed(views, filters)
    with pytest.raises(InvalidArgumentError, match=r"^'e.name' is invalid filter$"):
        listed(views, "eq(name,x)")
    with pytest.raises(InvalidArgumentError, match=r"^invalid sort key 'nope'$"):
        listed(views, sort_key="nope")


def test_values_never_become_sql(views: DuckDBViews) -> None:
    views.append(1, finished(execution(0, name="it's \"%_\\")))
    assert listed(views, "eq(execution_name,it's \"%_\\)") == "it's \"%_\\"
    assert listed(views, "eq(execution_name,' OR true --)") == ""
    assert listed(views, r"contains(execution_name,\%\_\\)") == "it's \"%_\\"
    assert listed(views, r"contains(execution_name,\_\_)") == ""


def test_people_can_read_it(views: DuckDBViews) -> None:
    record = execution(
        0, phase=RunPhase.FAILED, error=error("Bad", "it broke"), started_at=EPOCH, updated_at=EPOCH + SECOND
    )
    views.append(1, TurnRows([task("t")], [workflow("wf")], [launch_plan("wf", active=True)], [record]))
    views.flush()
    with views._database.cursor() as cursor:
        shown = "execution_name, phase, duration_seconds, workflow_name, error_kind, error_code, error_message"
        assert cursor.rows(f"SELECT {shown} FROM executions") == [
            ("ex0", "FAILED", 1.0, "wf", "USER", "Bad", "it broke"),
        ]
        assert cursor.rows("SELECT strftime(created_at, '%Y-%m-%d %H:%M:%S') FROM tasks") == [("2023-11-14 22:13:20",)]
        assert cursor.rows("SELECT name, active, workflow_name FROM launch_plans") == [("wf", True, "wf")]
        nodes = cursor.rows("SELECT execution_name, node, phase FROM node_executions ORDER BY node")
        shown_nodes = [node for node in range(3) if record.nodes.created_at[node]]
        assert [node for _, node, _ in nodes] == shown_nodes
        attempts = cursor.rows("SELECT node, attempt, phase FROM task_executions WHERE phase = 'FAILED'")
        assert len(attempts) == record.attempts.phase.count(5)


# The writer


def test_rows_reach_the_file_by_themselves(views: DuckDBViews) -> None:
    views.append(7, finished(execution(0)))
    wait_until(lambda: views.sequence == 7)


def test_a_turn_without_rows_moves_the_sequence_when_asked(views: DuckDBViews, tmp_path: Path) -> None:
    views.append(3, TurnRows())
    views.flush()
    assert views.sequence == 3
    views.append(4, TurnRows())
    views.close()
    again = DuckDBViews(tmp_path)
    assert again.sequence == 4
    again.close()


def test_turns_that_were_seen_are_ignored(views: DuckDBViews) -> None:
    views.append(2, finished(execution(0)))
    views.append(2, finished(execution(1)))
    views.append(1, finished(execution(2)))
    assert listed(views) == "ex0"


def test_a_full_batch_does_not_wait() -> None:
    written: list[Batch] = []
    writer = Writer(written.append, sequence=0, interval_s=1e6, batch_rows=10)
    writer.append(1, finished(execution(0, node_count=2)))
    writer.append(2, finished(execution(1, node_count=9)))
    wait_until(lambda: writer.sequence == 2)
    assert [len(batch.executions) for batch in written] == [2]
    writer.close()


class FullDisk:
    """Makes every write fail while `full`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        self.refused = 0
        real = batches.entity_columns

        def entity_columns(*arguments: object) -> object:
            if self.full:
                self.refused += 1
                raise duckdb.IOException("IO Error: Could not write file: No space left on device")
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr("flyte_kernel.store.duckdb_views.entity_columns", entity_columns)
        monkeypatch.setattr("flyte_kernel.store.writer._RETRY_S", 0.001)


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(monkeypatch)
    views = DuckDBViews(tmp_path)
    views.append(1, finished(execution(0)))
    with pytest.raises(StorageFullError, match="No space left"):
        views.flush()
    views.append(2, finished(execution(1)))
    with pytest.raises(StorageFullError):
        listed(views)
    assert isinstance(views.last_error, StorageFullError)
    assert views.sequence == 0
    assert views.load_execution(execution(0).id) is not None
    wait_until(lambda: disk.refused > 3)
    disk.full = False
    wait_until(lambda: views.sequence == 2)
    assert views.last_error is None
    assert listed(views) == "ex0 ex1"
    views.close()


def test_closing_with_a_full_disk_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = DuckDBViews(tmp_path)
    disk = FullDisk(monkeypatch)
    views.append(1, finished(execution(0)))
    views.close()
    disk.full = False
    again = DuckDBViews(tmp_path)
    assert again.sequence == 0
    again.append(1, finished(execution(0)))
    assert listed(again) == "ex0"
    again.close()


def test_rows_that_come_during_a_failing_write_are_not_lost() -> None:
    writing, go_on = threading.Event(), threading.Event()
    written: list[tuple[int, list[int]]] = []

    def write(batch: Batch) -> None:
        if not writing.is_set():
            writing.set()
            assert go_on.wait(WAIT_S)
            raise StorageFullError("full")
        written.append((batch.sequence, [record.version for record in batch.executions.values()]))

    writer = Writer(write, sequence=0, interval_s=0.0)
    writer.append(1, finished(execution(0, version=1), execution(1, version=1)))
    assert writing.wait(WAIT_S)
    writer.append(2, finished(execution(0, version=2), execution(2, version=2)))
    go_on.set()
    wait_until(lambda: writer.sequence == 2)
    assert written == [(2, [2, 1, 2])]
    writer.close()


def test_the_writer_outlives_our_bugs(caplog: pytest.LogCaptureFixture) -> None:
    outcomes = iter([ValueError("a bug")])
    written: list[int] = []

    def write(batch: Batch) -> None:
        for outcome in outcomes:
            raise outcome
        written.append(batch.sequence)

    writer = Writer(write, sequence=0, interval_s=0.0)
    writer.append(1, finished(execution(0)))
    wait_until(lambda: writer.sequence == 1)
    assert written == [1]
    assert "a bug" in caplog.text
    writer.close()


# Files


def test_exactly_once_after_a_kill(tmp_path: Path) -> None:
    program = """
        import os, sys
        from pathlib import Path
        from flyte_kernel.engine.views import TurnRows
        from flyte_kernel.store.duckdb_views import DuckDBViews
        from tests.support.records import execution

        views = DuckDBViews(Path(sys.argv[1]))
        for sequence in range(1, 6):
            views.append(sequence, TurnRows(executions=[execution(sequence)]))
        views.flush()
        views._writer._interval_s = 1e6
        views.append(6, TurnRows(executions=[execution(6)]))
        os.kill(os.getpid(), 9)
    """
    paths = os.pathsep.join(path for path in sys.path if path)
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)], env={**os.environ, "PYTHONPATH": paths}
    )
    assert killed.returncode == -9
    views = DuckDBViews(tmp_path)
    assert views.sequence == 5
    for sequence in range(1, 8):
        views.append(sequence, finished(execution(sequence)))
    assert listed(views) == "ex1 ex2 ex3 ex4 ex5 ex6 ex7"
    with views._database.cursor() as cursor:
        assert cursor.rows("SELECT count(*), count(DISTINCT run) FROM kernel.node") == [(21, 7)]
    views.close()


def spoil_file(folder: Path) -> None:
    (folder / "views.duckdb").write_bytes(b"nonsense" * 4096)


def spoil_header(folder: Path) -> None:
    with (folder / "views.duckdb").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)


def spoil_wal(folder: Path) -> None:
    """Flip a bit within the records that a killed process left behind."""
    path = folder / "views.duckdb.wal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty_file(folder: Path) -> None:
    (folder / "views.duckdb").write_bytes(b"")


def other_version(folder: Path) -> None:
    connection = duckdb.connect(str(folder / "views.duckdb"))
    connection.execute("UPDATE kernel.progress SET schema_version = 999").fetchall()
    connection.close()


@pytest.mark.parametrize("spoil", [spoil_file, spoil_header, empty_file, other_version])
def test_a_useless_file_is_moved_aside(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        views = DuckDBViews(tmp_path)
        views.append(9, finished(execution(0)))
        views.close()
        spoil(tmp_path)
        caplog.clear()
        views = DuckDBViews(tmp_path)
        assert views.sequence == 0
        assert listed(views) == ""
        views.close()
        assert f"views.duckdb.corrupt-{number}" in caplog.text
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert (tmp_path / f"views.duckdb.corrupt-{number}").exists()


def test_a_spoilt_wal_is_moved_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    views = DuckDBViews(tmp_path / "live")
    views.append(9, finished(*(execution(run) for run in range(20))))
    views.flush()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "live").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    views.close()
    spoil_wal(copy)
    views = DuckDBViews(copy)
    assert views.sequence == 0
    views.close()
    assert (copy / "views.duckdb.corrupt-1.wal").exists()
    assert "views.duckdb.corrupt-1" in caplog.text


def test_a_file_in_use_is_left_alone(tmp_path: Path) -> None:
    views = DuckDBViews(tmp_path)
    program = (
        "import sys; from pathlib import Path; from flyte_kernel.errors import FolderLockedError; "
        "from flyte_kernel.store.duckdb_views import DuckDBViews\n"
        "try: DuckDBViews(Path(sys.argv[1]))\n"
        "except FolderLockedError: sys.exit(3)"
    )
    paths = os.pathsep.join(path for path in sys.path if path)
    other = subprocess.run([sys.executable, "-c", program, str(tmp_path)], env={**os.environ, "PYTHONPATH": paths})
    assert other.returncode == 3
    views.close()
    assert [path.name for path in tmp_path.iterdir()] == ["views.duckdb"]
    assert issubclass(FolderLockedError, StorageError)


def test_pandas_and_arrow_stay_out() -> None:
    program = """
        import sys, tempfile
        from pathlib import Path
        from flyte_kernel.engine.queries import ListQuery
        from flyte_kernel.engine.views import TurnRows
        from flyte_kernel.store.duckdb_views import DuckDBViews
        from tests.support.records import execution

        views = DuckDBViews(Path(tempfile.mkdtemp()))
        views.append(1, TurnRows(executions=[execution(0)]))
        views.list_executions("flytesnacks", "development", "", ListQuery(), [execution(1)])
        views.load_execution(execution(0).id)
        views.close()
        sys.exit(any(name in sys.modules for name in ("pandas", "pyarrow")))
    """
    if int(duckdb.__version__.split(".")[0]) < 2:
        pytest.skip("DuckDB 1 imports pandas by itself when it is there")
    paths = os.pathsep.join(path for path in sys.path if path)
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env={**os.environ, "PYTHONPATH": paths}, check=True
    )
