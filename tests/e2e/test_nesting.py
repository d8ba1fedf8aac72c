"""Subworkflows in subworkflows."""

from __future__ import annotations

import pytest

from tests.support.parity import Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {
    "level-one": Case("nesting.level_one", {"n": 4}),
    "level-two": Case("nesting.level_two", {"n": 4}),
    "level-two-given": Case("nesting.level_two", {"n": 4, "step": -1}),
    "passing-through": Case("nesting.passing_through", {"a": 4, "text": "t"}),
    "silent": Case("nesting.silent", {"n": 4}),
    "ordered": Case("nesting.ordered", {"n": 4}),
    "named": Case("nesting.named", {"n": 4}),
    "imperative": Case("nesting.imperative", {"n": 4}, local=False),
    "shouting": Case("nesting.failing_below", {"text": "a"}),
    "failing-below": Case("nesting.failing_below", {"text": ""}),
}


@pytest.mark.parametrize("key", [key for key in CASES if key not in ("failing-below", "imperative")])
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_imperative_workflow(runs: Runs) -> None:
    assert runs.outputs("imperative") == {"both": [9, 19]}


def test_rows_of_three_levels(runs: Runs) -> None:
    outline = runs.outline("level-two")
    levels = {"start-node": "SUCCEEDED", "n0": "SUCCEEDED parent", "n1": "SUCCEEDED parent", "n2": "SUCCEEDED"}
    below = {
        f"{node}-0-{inner}": "SUCCEEDED" for node in ("n0", "n1") for inner in ("start-node", "n0", "n1", "end-node")
    }
    assert outline == {**levels, "end-node": "SUCCEEDED", **below}
    rows = runs.admin.tree(runs.ended("level-two"))
    assert {row.metadata.retry_group for name, row in rows.items() if "-0-" in name} == {"0"}
    assert rows["n1-0-n1"].metadata.spec_node_id == "n1"
    assert rows["n1-0-n1"].id.node_id == "n1-0-n1"


def test_long_ids_are_hashed(runs: Runs) -> None:
    outline = runs.outline("level-one")
    assert len(outline) == 4 + 2 * (5 + 2 * 4)
    hashed = [name for name in outline if not name.startswith(("n", "start", "end"))]
    assert {"n0-0-n0-0-n0", "n1-0-n1-0-end-node"} <= set(outline)
    assert all(len(name) <= 20 for name in outline)
    assert all(len(name) == 8 for name in hashed)


def test_a_failure_goes_outwards(runs: Runs) -> None:
    code, _ = runs.assert_both_fail("failing-below", "nothing to shout")
    assert code == "USER:RuntimeError"
    assert runs.outline("failing-below") == {
        "start-node": "SUCCEEDED",
        "n0": "FAILED parent",
        "n0-0-start-node": "SUCCEEDED",
        "n0-0-n0": "FAILED",
    }


def test_order_by_hand(runs: Runs) -> None:
    rows = runs.admin.tree(runs.ended("ordered"))
    ends = [rows[name].closure.updated_at.ToNanoseconds() for name in ("n0", "n1", "n2")]
    starts = [rows[name].closure.created_at.ToNanoseconds() for name in ("n0", "n1", "n2")]
    assert ends[0] <= starts[1] < ends[1] <= starts[2]


def test_names_by_hand(runs: Runs) -> None:
    assert runs.outline("named") == dict.fromkeys(("start-node", "first-one", "last", "end-node"), "SUCCEEDED")
