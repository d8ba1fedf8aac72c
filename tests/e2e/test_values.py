"""Data of every shape, between nodes and out of workflows."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from flytekit.types.file import FlyteFile

from tests.e2e.workflows import values
from tests.support.parity import Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

GIVEN = Path(__file__).parent / "workflows" / "basics.py"
INNER = values.Inner(3, 0.75, ["x", "y"])
CASES = {
    "attributes": Case("values.attributes", {"n": 3}),
    "of-collections": Case("values.of_collections", {"n": 3}),
    "attributes-out": Case("values.attributes_out", {"n": 3}),
    "attributes-of-input": Case("values.attributes_of_input", {"outer": values.Outer(INNER, {"k": 1}, [INNER])}),
    "bindings": Case("values.bindings", {"n": 3}),
    "optionals": Case("values.optionals", {"n": 3}),
    "optionals-none": Case("values.optionals", {"n": None}),
    "optionals-absent": Case("values.optionals"),
    "unions": Case("values.unions", {"a": 3, "b": "three"}),
    "enums": Case("values.enums", {"colour": values.Colour.GREEN}),
    "moments": Case(
        "values.moments",
        {
            "when": datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=timezone.utc),
            "by": timedelta(days=1, microseconds=1),
            "day": date(2023, 12, 31),
        },
    ),
    "files": Case("values.files", {"content": "cöntent", "given": FlyteFile(str(GIVEN))}),
    "folders": Case("values.folders", {"content": "abc"}),
    "tables": Case("values.tables", {"rows": 4}),
    "pickles": Case("values.pickles", {"value": 4}),
    "nested-collections": Case(
        "values.nested_collections",
        {"numbers": [[1, 2], [], [3]], "table": {"k": [INNER]}, "nothing": [], "empty": {}},
    ),
}


@pytest.mark.parametrize("key", CASES)
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_a_given_file_was_uploaded(runs: Runs) -> None:
    given = runs.ended("files").inputs["given"]
    assert given.remote_source.startswith("s3://")
    assert GIVEN.read_text() in runs.outputs("files")["o1"]
