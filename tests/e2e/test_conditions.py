"""Branches, as flytekit decides them locally and as the reference engine shows them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from tests.support.client import DOMAIN, PROJECT, WORKFLOWS, pyflyte
from tests.support.parity import Case, Runs
from tests.support.server import ServerProcess

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)

OPERATORS = {
    "integers-less": Case("conditions.integers", {"a": -3, "b": 2**40}),
    "integers-equal": Case("conditions.integers", {"a": 0, "b": 0}),
    "integers-greater": Case("conditions.integers", {"a": 10, "b": 9}),
    "floats-less": Case("conditions.floats", {"a": 0.1, "b": 0.1 + 2**-50}),
    "floats-equal": Case("conditions.floats", {"a": -0.0, "b": 0.0}),
    "floats-greater": Case("conditions.floats", {"a": 1e300, "b": -1e300}),
    "strings-less": Case("conditions.strings", {"a": "Z", "b": "a"}),
    "strings-equal": Case("conditions.strings", {"a": "ünï", "b": "ünï"}),
    "strings-greater": Case("conditions.strings", {"a": "10", "b": ""}),
    "times-less": Case("conditions.times", {"a": NOON, "b": NOON + SECOND, "long": 2 * SECOND, "short": SECOND}),
    "times-equal": Case("conditions.times", {"a": NOON, "b": NOON, "long": SECOND, "short": 2 * SECOND}),
    "booleans-true": Case("conditions.booleans", {"a": True, "b": False}),
    "booleans-false": Case("conditions.booleans", {"a": False, "b": False}),
    "conjunctions-none": Case("conditions.conjunctions", {"a": 0, "b": 0, "c": 0}),
    "conjunctions-left": Case("conditions.conjunctions", {"a": 1, "b": 0, "c": 9}),
    "conjunctions-right": Case("conditions.conjunctions", {"a": 0, "b": 1, "c": 1}),
    "conjunctions-both": Case("conditions.conjunctions", {"a": 1, "b": 1, "c": 10}),
    **{f"grade-{score}": Case("conditions.grade", {"score": score}) for score in (0.95, 0.7, 0.3, 0.1)},
}
ARMS = {
    f"arm-{which}": Case("conditions.kinds_of_arms", {"which": which, "n": 3})
    for which in ("task", "workflow", "plan", "dynamic", "none of them")
}
CASES = {
    **OPERATORS,
    **ARMS,
    "refusing-first": Case("conditions.refusing", {"n": 4}),
    "refusing-second": Case("conditions.refusing", {"n": -40}),
    "refusing": Case("conditions.refusing", {"n": -4}),
    "nested-outer": Case("conditions.refusing_within", {"n": 101}),
    "nested-middle": Case("conditions.refusing_within", {"n": 11}),
    "nested-inner": Case("conditions.refusing_within", {"n": 1}),
    "nested-refusing": Case("conditions.refusing_within", {"n": 0}),
    "of-results-yes": Case("conditions.of_results", {"n": 6}),
    "of-results-no": Case("conditions.of_results", {"n": 5}),
    "within": Case("conditions.within", {"n": 2}),
    "grown-yes": Case("conditions.grown", {"n": 6}),
    "grown-no": Case("conditions.grown", {"n": 5}),
    "failing-arm": Case("conditions.failing_arm", {"n": 6}),
}
FAILING = {"refusing", "nested-refusing", "failing-arm"}


@pytest.mark.parametrize("key", [key for key in CASES if key not in FAILING])
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_only_the_chosen_arm_has_a_row(runs: Runs) -> None:
    assert runs.outline("refusing-second") == {
        "start-node": "SUCCEEDED",
        "n0": "SUCCEEDED parent",
        "n0-0-n0-n1": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    }
    rows = runs.admin.tree(runs.ended("refusing-second"))
    assert rows["n0-0-n0-n1"].metadata.spec_node_id == "n0-n1"
    assert rows["n0-0-n0-n1"].metadata.retry_group == "0"
    assert rows["n0"].metadata.spec_node_id == "n0"


def test_sync_hangs_the_arm_below_the_branch(runs: Runs) -> None:
    branch = runs.ended("refusing-first").node_executions["n0"]
    assert set(branch.subworkflow_node_executions) == {"n0-0-n0-n0"}
    assert branch.subworkflow_node_executions["n0-0-n0-n0"].outputs["o0"] == 8
    assert branch.inputs.get(".n", int) == 4


def test_else_fail(runs: Runs) -> None:
    code, message = runs.assert_both_fail("refusing", "n must not be between -10 and 0")
    assert code == "UserProvidedError"
    assert message == "n must not be between -10 and 0"
    assert runs.outline("refusing") == {"start-node": "SUCCEEDED", "n0": "FAILED parent"}


def test_else_fail_in_a_nested_branch(runs: Runs) -> None:
    code, message = runs.assert_both_fail("nested-refusing", "not even positive")
    assert (code, message) == ("UserProvidedError", "not even positive")
    phases = list(runs.outline("nested-refusing").values())
    assert phases == ["FAILED parent", "FAILED parent", "FAILED parent", "SUCCEEDED"]


def test_nested_branches_are_rows_in_rows(runs: Runs) -> None:
    outline = runs.outline("nested-inner")
    assert sorted(outline.values()) == ["SUCCEEDED"] * 3 + ["SUCCEEDED parent"] * 3
    rows = runs.admin.tree(runs.ended("nested-inner"))
    assert [row.metadata.spec_node_id for row in rows.values() if row.metadata.is_parent_node][:1] == ["n0"]


def test_a_failing_arm_fails_its_branch(runs: Runs) -> None:
    code, message = runs.assert_both_fail("failing-arm", "arm of 6")
    assert code == "USER:RuntimeError"
    assert "ValueError: arm of 6" in message
    assert runs.outline("failing-arm") == {
        "start-node": "SUCCEEDED",
        "n0": "FAILED parent",
        "n0-0-n0-n0": "FAILED",
    }


def test_unlike_types_are_refused_at_registration(server: ServerProcess) -> None:
    arguments = ("--project", PROJECT, "--domain", DOMAIN, "--version", "v1", str(WORKFLOWS / "mixed_types.py"))
    result = pyflyte(server.config, "register", *arguments, check=False)
    assert result.returncode != 0
    assert "Code: MismatchingTypes, Node Id: n0" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("key", "children"),
    [
        ("arm-task", {"n0-0-n0-n0": "SUCCEEDED"}),
        ("arm-workflow", {"n0-0-n0-n1": "SUCCEEDED parent"}),
        ("arm-plan", {"n0-0-n0-n2": "SUCCEEDED child"}),
        ("arm-dynamic", {"n0-0-n0-n3": "SUCCEEDED parent dynamic"}),
        ("arm-none of them", {"n0-0-n0-n4": "SUCCEEDED"}),
    ],
)
def test_arms_of_every_kind(runs: Runs, key: str, children: dict[str, str]) -> None:
    below = runs.admin.nodes(runs.ended(key), "n0")
    outline = runs.outline(key)
    assert {row.id.node_id: outline[row.id.node_id] for row in below} == children
