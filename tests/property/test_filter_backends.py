"""Listings in SQL and over rows in memory find the same, whatever is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import Entity, LaunchPlanEntity
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.ids import EntityId
from flyte_kernel.phases import RunPhase
from flyte_kernel.store.duckdb_views import DuckDBViews
from flyte_kernel.store.filters import Row, filter_rows
from tests.support import records
from tests.support.records import DOMAIN, EPOCH, PROJECT, SECOND

TEXTS = [
    "a",
    "b",
    "A",
    "a%",
    "a_b",
    "aXb",
    "\\",
    "a\\b",
    "é",
    "'",
    "😀",
    "wf",
    "FAILED",
    "RUNNING",
    "SUCCEEDED",
    "USER",
]
NUMBERS = ["0", "1", "2", "-1", "30", "5000000000"]
DURATIONS = ["0", "1s", "1.5", "2s", "-1m", "1ns"]
MOMENTS = ["2023-11-14T22:13:20Z", "2023-11-14T22:13:21.000000001Z", "2023-11-14T22:13:23Z", "1999-01-01"]
ERRORS = ["", "E1", "a_b", "aXb", "é"]


class Everything:
    """The views, and their slow twin: rows as a reader of the reference's models would write them down."""

    def __init__(self, folder: Path) -> None:
        self._random = random.Random(7)
        names = self._random.sample(TEXTS, 8)
        self.tasks = [records.task(name, type_=self._random.choice(TEXTS)) for name in names]
        self.workflows = [records.workflow(name) for name in names[:5]]
        self.plans = [self._plan(index, name) for index, name in enumerate(names)]
        executions = [self._execution(run) for run in range(60)]
        self.live = [record for record in executions if record.phase == RunPhase.RUNNING]
        finished = [record for record in executions if record.phase != RunPhase.RUNNING]
        self._random.shuffle(finished)
        self._random.shuffle(self.live)
        self.views = DuckDBViews(folder)
        self.views.append(1, TurnRows(self.tasks, self.workflows, self.plans, finished[:30]))
        self.views.flush()
        self.views.append(2, TurnRows(launch_plans=self.plans[:3], executions=finished[20:]))
        self.plan_rows = [self._plan_row(plan) for plan in self.plans]
        self.execution_rows = [self._execution_row(record) for record in executions]

    def _plan(self, index: int, name: str) -> LaunchPlanEntity:
        return records.launch_plan(
            name,
            workflow_name=self._random.choice(self.workflows).id.name if index else "not registered",
            active=self._random.random() < 0.5,
            cron=self._random.choice(["", "* * * * *"]),
            created_at=EPOCH + self._random.randrange(4) * SECOND,
            updated_at=EPOCH + self._random.randrange(4) * SECOND,
        )

    def _execution(self, run: int) -> ExecutionRecord:
        code = self._random.choice(ERRORS)
        started_at = EPOCH + self._random.randrange(3) * SECOND
        launched: Entity | LaunchPlanEntity = self._random.choice([*self.plans, *self.tasks])
        return records.execution(
            run,
            name=f"{self._random.choice(TEXTS)}{run}",
            phase=self._random.choice([RunPhase.RUNNING, RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.ABORTED]),
            launched=launched.id,
            node_count=1,
            workflow=self._random.choice(self.workflows).id,
            spec=records.spec(
                mode=self._random.randrange(3),
                principal=self._random.choice(TEXTS),
                tags=tuple(self._random.sample(TEXTS, self._random.randrange(3))),
                labels={"a": "b"} if self._random.random() < 0.3 else {},
            ),
            created_at=EPOCH + self._random.randrange(4) * SECOND,
            started_at=self._random.choice([0, started_at]),
            updated_at=started_at + self._random.choice([0, 1, SECOND, 3 * SECOND]),
            error=records.error(code) if code else b"",
            abort_cause=self._random.choice([None, "", "a", "a_b"]),
            archived=self._random.random() < 0.3,
        )

    def _plan_row(self, plan: LaunchPlanEntity) -> dict[str, object]:
        spec = records.launch_plan_pb2.LaunchPlanSpec.FromString(plan.spec)
        workflows = [entity for entity in self.workflows if entity.id.name == spec.workflow_id.name]
        return {
            **plan.id._asdict(),
            "id": self.plans.index(plan) + 1,
            "created_at": plan.created_at,
            "updated_at": plan.updated_at,
            "state": int(plan.active),
            "schedule_type": "CRON" if spec.entity_metadata.schedule.cron_schedule.schedule else "NONE",
            "workflow_id": self.workflows.index(workflows[0]) + 1 if workflows else 0,
            "workflow": self._workflow_row(workflows[0].id) if workflows else None,
        }

    def _workflow_row(self, id: EntityId) -> dict[str, object]:
        number = next(index for index, entity in enumerate(self.workflows) if entity.id == id)
        return {**id._asdict(), "id": number + 1, "created_at": EPOCH, "updated_at": EPOCH, "short_description": ""}

    def _execution_row(self, record: ExecutionRecord) -> dict[str, object]:
        spec = records.execution_pb2.ExecutionSpec.FromString(record.spec)
        is_task = record.launch_entity.resource_type == 1
        tasks = [entity for entity in self.tasks if is_task and entity.id == record.launch_entity]
        plans = [row for row, plan in zip(self.plan_rows, self.plans, strict=True) if plan.id == record.launch_entity]
        ended = record.phase != RunPhase.RUNNING and record.started_at
        error = records.core_execution_pb2.ExecutionError.FromString(record.error)
        return {
            "id": record.run + 1,
            "execution_project": PROJECT,
            "execution_domain": DOMAIN,
            "execution_name": record.id.name,
            "phase": RunPhase(record.phase).name,
            "created_at": record.created_at,
            "execution_created_at": record.created_at,
            "updated_at": record.updated_at,
            "execution_updated_at": record.updated_at,
            "started_at": record.started_at or None,
            "duration": max(0, record.updated_at - record.started_at) if ended else 0,
            "mode": spec.metadata.mode,
            "user": spec.metadata.principal,
            "cluster": "",
            "state": int(record.archived),
            "abort_cause": record.abort_cause or "",
            "error_kind": "USER" if record.error else None,
            "error_code": error.code if record.error else None,
            "launch_entity": "task" if is_task else "launch_plan",
            "task_id": self.tasks.index(tasks[0]) + 1 if tasks else 0,
            "workflow_id": self._workflow_row(record.workflow)["id"],
            "launch_plan_id": plans[0]["id"] if plans else 0,
            "task": [self._task_row(entity) for entity in tasks],
            "workflow": self._workflow_row(record.workflow),
            "launch_plan": plans,
            "execution_tag": [
                *({"key": key, "value": value} for key, value in spec.labels.values.items()),
                *({"key": tag, "value": ""} for tag in spec.tags),
            ],
        }

    def _task_row(self, entity: Entity) -> dict[str, object]:
        template = records.task_pb2.TaskClosure.FromString(entity.closure).compiled_task.template
        return {**entity.id._asdict(), "type": template.type, "short_description": entity.short_description}


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everything]:
    everything = Everything(tmp_path_factory.mktemp("views"))
    yield everything
    everything.views.close()


TEXT_COLUMNS = {
    "execution": "execution_name phase abort_cause cluster error_kind error_code user launch_entity "
    "task.name task.type workflow.name launch_plan.name launch_plan.schedule_type admin_tag.name execution_tag.key "
    "execution_tag.value workflow.short_description",
    "launch_plan": "name schedule_type launch_condition_type workflow.name workflow.version",
}
NUMBER_COLUMNS = {
    "execution": "id state mode task_id workflow_id launch_plan_id launch_plan.state",
    "launch_plan": "id state workflow_id workflow.id",
}
MOMENT_COLUMNS = {
    "execution": "created_at started_at execution_updated_at deleted_at launch_plan.updated_at",
    "launch_plan": "created_at updated_at deleted_at workflow.created_at",
}
DURATION_COLUMNS = {"execution": "duration", "launch_plan": ""}


def conditions(table: str) -> st.SearchStrategy[str]:
    comparing = st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"])
    alternatives = []
    for columns, values in (
        (TEXT_COLUMNS, TEXTS),
        (NUMBER_COLUMNS, NUMBERS),
        (MOMENT_COLUMNS, MOMENTS),
        (DURATION_COLUMNS, DURATIONS),
    ):
        if not columns[table]:
            continue
        column, value = st.sampled_from(columns[table].split()), st.sampled_from(values)
        alternatives.append(st.builds("{}({},{})".format, comparing, column, value))
        lists = st.lists(value, min_size=1, max_size=3).map(";".join)
        alternatives.append(st.builds("{}({},{})".format, st.sampled_from(["value_in", "value_not_in"]), column, lists))
    patterns = st.lists(st.sampled_from(["a", "b", "%", "_", "\\_", "\\%", "\\\\", "\\a", "é"]), min_size=1, max_size=4)
    like = st.sampled_from(["contains", "not_like"])
    column = st.sampled_from(TEXT_COLUMNS[table].split())
    alternatives.append(st.builds("{}({},{})".format, like, column, patterns.map("".join)))
    return st.one_of(alternatives)


def queries(table: str) -> st.SearchStrategy[ListQuery]:
    columns = " ".join(by_table[table] for by_table in (TEXT_COLUMNS, NUMBER_COLUMNS, MOMENT_COLUMNS, DURATION_COLUMNS))
    return st.builds(
        ListQuery,
        filters=st.lists(conditions(table), max_size=3).map("+".join),
        sort_key=st.sampled_from(["", *(column for column in columns.split() if "." not in column)]),
        descending=st.booleans(),
        limit=st.sampled_from([0, 1, 3, 100]),
        offset=st.sampled_from([0, 1, 5]),
    )


many = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(query=queries("execution"))
def test_executions(everything: Everything, query: ListQuery) -> None:
    found = everything.views.list_executions(PROJECT, DOMAIN, "", query, everything.live)
    rows: list[dict[str, object]] = everything.execution_rows
    if "state," not in query.filters.replace("launch_plan.state,", "state,"):
        rows = [row for row in rows if row["state"] == 0]
    expected = filter_rows("execution", rows, query)
    assert [record.id.name for record in found.items] == names(expected, "execution_name")
    assert found.token == expected.token


@many
@given(query=queries("launch_plan"))
def test_launch_plans(everything: Everything, query: ListQuery) -> None:
    found = everything.views.list_launch_plans(PROJECT, DOMAIN, "", query)
    expected = filter_rows("launch_plan", everything.plan_rows, query)
    assert [id.name for id in found.items] == names(expected, "name")
    assert found.token == expected.token


def names(page: Page[dict[str, object]], column: str) -> list[object]:
    return [row[column] for row in page.items]


def test_the_rows_are_worth_filtering(everything: Everything) -> None:
    rows: list[Row] = list(everything.execution_rows)
    for filters in ("ne(task.name,x)", "ne(launch_plan.name,x)", "eq(execution_tag.value,b)", "ne(error_code,x)"):
        assert 0 < len(filter_rows("execution", rows, ListQuery(filters)).items) < len(rows)
    assert 0 < len(everything.live) < len(rows)
