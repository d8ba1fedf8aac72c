"""FlyteAdmin's filter language: what it accepts, what it refuses and in which words, and what it means for rows."""

from __future__ import annotations

import pytest

from flyte_kernel.engine.queries import ListQuery
from flyte_kernel.errors import InvalidArgumentError
from flyte_kernel.store.columns import ColumnType
from flyte_kernel.store.filters import Filter, filter_rows, parse_filters
from flyte_kernel.store.values import parse_duration, parse_timestamp

SECOND = 1_000_000_000

TEXT, INTEGER, DURATION = ColumnType.TEXT, ColumnType.INTEGER, ColumnType.DURATION

ACCEPTED = {
    "nothing": ("execution", "", []),
    "own column": ("execution", "eq(phase,RUNNING)", [Filter("execution", "phase", "eq", ("RUNNING",), TEXT)]),
    "space after the comma": ("task", "ne(name, x)", [Filter("task", "name", "ne", ("x",), TEXT)]),
    "one space only": ("task", "ne(name,  x)", [Filter("task", "name", "ne", (" x",), TEXT)]),
    "own prefix": ("task", "eq(task.name,x)", [Filter("task", "name", "eq", ("x",), TEXT)]),
    "two": (
        "execution",
        "value_in(phase,FAILED;ABORTED)+gt(duration,1.5)",
        [
            Filter("execution", "phase", "value_in", ("FAILED", "ABORTED"), TEXT),
            Filter("execution", "duration", "gt", (1_500_000_000,), DURATION),
        ],
    ),
    "list of one": ("task", "value_not_in(name,a)", [Filter("task", "name", "value_not_in", ("a",), TEXT)]),
    "list with an empty text": ("task", "value_in(name,a;)", [Filter("task", "name", "value_in", ("a", ""), TEXT)]),
    "closing bracket in the value": ("task", "eq(name,x))", [Filter("task", "name", "eq", ("x)",), TEXT)]),
    "what follows is ignored": ("task", "eq(name,x)!", [Filter("task", "name", "eq", ("x",), TEXT)]),
    "joined": ("execution", "eq(workflow.name,w)", [Filter("workflow", "name", "eq", ("w",), TEXT)]),
    "integer": ("launch_plan", "eq(state,1)", [Filter("launch_plan", "state", "eq", (1,), INTEGER)]),
    "tags have moved": ("execution", "eq(admin_tag.name,x)", [Filter("execution_tag", "key", "eq", ("x",), TEXT)]),
    "renamed": ("task_execution", "eq(name,x)", [Filter("task_execution", "execution_name", "eq", ("x",), TEXT)]),
    "task of an attempt": ("task_execution", "eq(task.name,x)", [Filter("task", "name", "eq", ("x",), TEXT)]),
    "contains": ("task", "contains(name,a_b)", [Filter("task", "name", "contains", ("%a_b%",), TEXT)]),
    "escapes that PostgreSQL drops": (
        "task",
        r"not_like(name,\a\_\\)",
        [Filter("task", "name", "not_like", (r"a\_\\",), TEXT)],
    ),
}

REFUSED = {
    "no bracket": ("task", "eq(phase", "invalid value for filters"),
    "no value": ("task", "eq(name,)", "invalid value for filters"),
    "no field": ("task", "eq(,x)", "invalid value for filters"),
    "empty part": ("task", "eq(name,x)+", "invalid value for filters"),
    "plus in the value": ("task", "eq(name,a+b)", "invalid value for filters"),
    "zone with a plus": ("task", "gt(created_at,2024-01-01T00:00:00+01:00)", "invalid value for filters"),
    "unknown function": ("task", "foo(name,x)", "unrecognized filter function: foo"),
    "upper case function": ("task", "EQ(name,x)", "unrecognized filter function: EQ"),
    "nested": ("task", "eq(f(name,x))", "unrecognized filter function: eq(f"),
    "unknown column": ("task", "eq(nope,x)", "'t.nope' is invalid filter"),
    "unknown function on an unknown column": ("task", "foo(nope,x)", "'t.nope' is invalid filter"),
    "the last comma parts": ("task", "eq(name,a,b)", "'t.name,a' is invalid filter"),
    "name of an execution": ("execution", "eq(name,x)", "'e.name' is invalid filter"),
    "unknown prefix is part of the column": ("execution", "eq(foo.name,x)", "'e.foo.name' is invalid filter"),
    "unknown joined column": ("execution", "eq(launch_plan.nope,x)", "'l.nope' is invalid filter"),
    "workflow of a task": ("task", "eq(workflow.name,x)", "'w' entity is not allowed in filters"),
    "node of an execution": ("execution", "eq(node_execution.phase,x)", "'ne' entity is not allowed in filters"),
    "task of a launch plan": ("launch_plan", "eq(task.name,x)", "'t' entity is not allowed in filters"),
    "launch plan of a node": ("node_execution", "eq(launch_plan.name,x)", "'l' entity is not allowed in filters"),
    "tag of a project": ("project", "eq(admin_tag.name,x)", "'at' entity is not allowed in filters"),
    "signal of a workflow": ("workflow", "eq(signal.signal_id,x)", "'s' entity is not allowed in filters"),
    "metadata of a task": ("task", "eq(named_entity_metadata.state,1)", "'nem' entity is not allowed in filters"),
    "several values": ("task", "eq(name,a;b)", "'eq' takes one value, but ';' makes several of 'a;b'"),
    "several patterns": ("task", "contains(name,a;b)", "'contains' takes one value, but ';' makes several of 'a;b'"),
    "no integer": ("execution", "eq(state,x)", "invalid value 'x' for 'e.state': not an integer"),
    "too great": ("execution", "eq(mode,9223372036854775808)", None),
    "no moment": ("task", "eq(created_at,zzz)", "invalid value 'zzz' for 't.created_at': not an ISO 8601 timestamp"),
    "no such day": ("task", "eq(created_at,2023-02-29)", None),
    "no duration": ("execution", "gt(duration,abc)", "Failed to parse duration [abc]"),
    "no unit": ("execution", "gt(duration,1h5)", "Failed to parse duration [1h5]"),
    "endless": ("execution", "gt(duration,inf)", "Failed to parse duration [inf]"),
    "too long": ("execution", "gt(duration,1e300)", "Failed to parse duration [1e300s]"),
    "pattern for an integer": ("execution", "contains(state,1)", "'contains' needs a text column, 'e.state' is none"),
    "open escape": ("task", "not_like(name,a\\)", "the pattern 'a\\' for 't.name' must not end with a backslash"),
    "opaque": ("execution", "eq(closure,x)", "'e.closure' cannot be filtered by"),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_accepted(case: str) -> None:
    table, text, expected = ACCEPTED[case]
    assert list(parse_filters(text, table)) == expected


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    table, text, message = REFUSED[case]
    with pytest.raises(InvalidArgumentError) as refusal:
        parse_filters(text, table)
    if message is not None:
        assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("task", "nope"),
        ("execution", "name"),
        ("execution", "closure"),
        ("entities", "created_at"),
        ("launch_plan", "workflow.name"),
        ("node_execution", "retry_attempt"),
    ],
)
def test_sort_keys_that_are_refused(table: str, key: str) -> None:
    with pytest.raises(InvalidArgumentError) as refusal:
        filter_rows(table, [], ListQuery(sort_key=key))
    assert str(refusal.value) == f"invalid sort key '{key}'"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("5", 5 * SECOND),
        ("1.5", 1_500_000_000),
        (".25", 250_000_000),
        ("2.", 2 * SECOND),
        ("-3", -3 * SECOND),
        ("1e2", 100 * SECOND),
        ("1h2m3.5s", 3723 * SECOND + 500_000_000),
        ("-1m", -60 * SECOND),
        ("1ms2us3ns", 1_002_003),
        ("7µs", 7_000),
        ("1.9999999999s", 1_999_999_999),
        ("2562047h47m16.854775807s", 2**63 - 1),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01", 0),
        ("2024-01-01T00:00:00.000Z", 1_704_067_200 * SECOND),
        ("2024-01-01T00:00:00Z", 1_704_067_200 * SECOND),
        ("2024-01-01 00:00", 1_704_067_200 * SECOND),
        ("2024-01-01T00:00:00.123456789Z", 1_704_067_200 * SECOND + 123_456_789),
        ("2024-01-01T00:00:00.5", 1_704_067_200 * SECOND + 500_000_000),
        ("2023-12-31T19:30:00-04:30", 1_704_067_200 * SECOND),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
    ],
)
def test_moments(text: str, nanoseconds: int) -> None:
    assert parse_timestamp(text, "e.created_at") == nanoseconds


NODES = [
    {"node_id": "n0", "phase": "SUCCEEDED", "created_at": 3 * SECOND, "duration": 0, "execution": {"phase": "RUNNING"}},
    {"node_id": "n1", "phase": "FAILED", "created_at": 2 * SECOND, "error_code": "E_1", "duration": 5 * SECOND},
    {"node_id": "n2", "phase": "QUEUED", "created_at": 0, "error_code": "Ex1", "duration": 60 * SECOND},
]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", "n0 n1 n2"),
        ("eq(phase,FAILED)", "n1"),
        ("ne(phase,FAILED)", "n0 n2"),
        ("ne(error_code,E_1)", "n2"),
        ("value_in(phase,FAILED;QUEUED)", "n1 n2"),
        ("value_not_in(error_code,E_1;x)", "n2"),
        ("contains(error_code,E_)", "n1 n2"),
        (r"contains(error_code,E\_)", "n1"),
        ("not_like(error_code,E%)", ""),
        ("not_like(error_code,e_1)", "n1 n2"),
        ("gt(duration,5)", "n2"),
        ("gte(duration,5s)", "n1 n2"),
        ("lt(duration,1m)+gt(duration,0)", "n1"),
        ("lte(created_at,1970-01-01T00:00:02Z)", "n1"),
        ("gt(node_id,n0)", "n1 n2"),
        ("eq(execution.phase,RUNNING)", "n0"),
        ("ne(execution.phase,RUNNING)", ""),
    ],
)
def test_rows_that_are_found(filters: str, expected: str) -> None:
    page = filter_rows("node_execution", NODES, ListQuery(filters))
    assert " ".join(str(row["node_id"]) for row in page.items) == expected


@pytest.mark.parametrize(
    ("key", "descending", "expected"),
    [
        ("created_at", True, "n2 n0 n1"),
        ("created_at", False, "n1 n0 n2"),
        ("error_code", False, "n1 n2 n0"),
        ("cache_status", True, "n0 n1 n2"),
        ("phase", False, "n1 n2 n0"),
    ],
)
def test_order_of_rows(key: str, descending: bool, expected: str) -> None:
    page = filter_rows("node_execution", NODES, ListQuery(sort_key=key, descending=descending))
    assert " ".join(str(row["node_id"]) for row in page.items) == expected


def test_conditions_on_a_joined_table_hold_for_one_row_together() -> None:
    tags = [{"key": "team", "value": "red"}, {"key": "cost", "value": "blue"}]
    rows = [{"execution_name": "ex", "execution_tag": tags}, {"execution_name": "bare"}]
    both = ListQuery("eq(execution_tag.key,team)+eq(execution_tag.value,red)")
    assert [row["execution_name"] for row in filter_rows("execution", rows, both).items] == ["ex"]
    crossed = ListQuery("eq(execution_tag.key,team)+eq(execution_tag.value,blue)")
    assert not filter_rows("execution", rows, crossed).items


def test_pages() -> None:
    rows = [{"name": f"t{number}"} for number in range(5)]

    def page(limit: int, offset: int) -> tuple[str, str]:
        found = filter_rows("task", rows, ListQuery(limit=limit, offset=offset))
        return " ".join(row["name"] for row in found.items), found.token

    assert page(2, 0) == ("t0 t1", "2")
    assert page(2, 4) == ("t4", "")
    assert page(5, 0) == ("t0 t1 t2 t3 t4", "5")
    assert page(5, 5) == ("", "")
    assert page(0, 3) == ("t3 t4", "")
    assert page(9, 0) == ("t0 t1 t2 t3 t4", "")


def test_projects_come_by_identifier() -> None:
    rows = [{"identifier": name} for name in ("b", "c", "a")]
    assert [row["identifier"] for row in filter_rows("project", rows, ListQuery(limit=2)).items] == ["a", "b"]
