"""Dynamic tasks: what grows at run time."""

from __future__ import annotations

import pytest
from flyteidl.admin import node_execution_pb2

from tests.support.parity import FOLDER, Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {
    "loop": Case("dynamics.loop", {"count": 5}),
    "loop-empty": Case("dynamics.loop", {"count": 0}),
    "chain": Case("dynamics.chain", {"count": 5}),
    "nested": Case("dynamics.nested", {"depth": 2, "count": 3}),
    "fibonacci": Case("dynamics.fibonacci", {"n": 4}),
    "merge-sort": Case("dynamics.merge_sort", {"values": [5, 3, 9, 1, 1], "count": 5}),
    "subworkflows": Case("dynamics.with_subworkflows", {"count": 2}),
    "branches": Case("dynamics.with_branches", {"count": 4}),
    "ungrown": Case("dynamics.ungrown", {"n": 4}),
    "silent": Case("dynamics.silent", {"count": 4}),
    "files": Case("values.files_in_dynamic", {"contents": ["a", "b"]}),
    "failing": Case("dynamics.failing", {"n": 4}),
    "not-growing": Case("dynamics.not_growing", {"n": 4}),
    "growing-late": Case("dynamics.growing_late", {"folder": FOLDER}),
}


@pytest.mark.parametrize("key", [key for key in CASES if key not in ("failing", "not-growing")])
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_rows_of_a_grown_graph(runs: Runs) -> None:
    grown = {f"n0-0-dn{index}": "SUCCEEDED" for index in range(5)}
    assert runs.outline("loop") == {
        "start-node": "SUCCEEDED",
        "n0": "SUCCEEDED parent dynamic",
        "n0-0-start-node": "SUCCEEDED",
        **grown,
        "n0-0-end-node": "SUCCEEDED",
        "n1": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    }
    rows = runs.admin.tree(runs.ended("loop"))
    assert rows["n0-0-dn3"].metadata.spec_node_id == "dn3"
    assert rows["n0-0-dn3"].metadata.retry_group == "0"
    assert rows["n0"].closure.dynamic_job_spec_uri.endswith("/n0/data/0/futures.pb")
    (attempt,) = runs.admin.attempts(runs.ended("loop"), "n0")
    assert attempt.closure.output_uri == rows["n0"].closure.output_uri


def test_the_grown_workflow_can_be_asked_for(runs: Runs) -> None:
    identifier = runs.admin.tree(runs.ended("loop"))["n0"].id
    data = runs.admin.stub.GetNodeExecutionData(node_execution_pb2.NodeExecutionGetDataRequest(id=identifier))
    assert data.dynamic_workflow.id.name == "dynamic_n0"
    assert len(data.dynamic_workflow.id.version) == 10
    template = data.dynamic_workflow.compiled_workflow.primary.template
    assert {node.id for node in template.nodes} == {"start-node", "end-node", *(f"dn{index}" for index in range(5))}
    request = node_execution_pb2.GetDynamicNodeWorkflowRequest(id=identifier)
    answer = runs.admin.stub.GetDynamicNodeWorkflow(request)
    assert answer.compiled_workflow.primary == data.dynamic_workflow.compiled_workflow.primary


def test_sync_goes_into_what_grew(runs: Runs) -> None:
    node = runs.ended("chain").node_executions["n1"]
    below = node.subworkflow_node_executions
    assert {"n1-0-dn0", "n1-0-dn5"} <= set(below)
    assert below["n1-0-dn5"].outputs["o0"] == 10
    assert node.outputs["o1"] == "5 values"


def test_dynamics_in_dynamics(runs: Runs) -> None:
    outline = runs.outline("nested")
    # outer(2) grows inner, outer(1), add; outer(1) the same with outer(0); outer(0) grows inner alone.
    assert sum(flags == "SUCCEEDED parent dynamic" for flags in outline.values()) == 3 + 3
    assert set(outline.values()) == {"SUCCEEDED", "SUCCEEDED parent dynamic"}
    assert len(outline) == 3 + (2 + 3) + (2 + 3) + (2 + 1) + 3 * (2 + 4)


def test_a_dynamic_that_grows_nothing_is_a_task(runs: Runs) -> None:
    assert runs.outline("ungrown") == dict.fromkeys(("start-node", "n0", "n1", "end-node"), "SUCCEEDED")


def test_a_failure_inside_fails_the_dynamic(runs: Runs) -> None:
    code, _ = runs.assert_both_fail("failing", "grown 4")
    assert code == "USER:RuntimeError"
    outline = runs.outline("failing")
    assert outline["n0"] == "FAILED parent dynamic"
    assert outline["n0-0-dn1"] == "FAILED"
    assert "n0-0-dn2" not in outline


def test_a_dynamic_that_cannot_grow_fails_as_a_task(runs: Runs) -> None:
    runs.assert_both_fail("not-growing", "cannot decide what to grow")
    assert runs.outline("not-growing") == {"start-node": "SUCCEEDED", "n0": "FAILED"}


def test_a_dynamic_is_retried_until_it_grows(runs: Runs) -> None:
    assert runs.outputs("growing-late") == {"o0": 10}
    assert sorted(path.name for path in runs.folder("growing-late").iterdir()) == ["attempt-0", "attempt-1"]
    outline = runs.outline("growing-late")
    assert outline["n0-1-dn0"] == "SUCCEEDED"
    rows = runs.admin.tree(runs.ended("growing-late"))
    assert rows["n0-1-dn0"].metadata.retry_group == "1"
    assert [row.id.retry_attempt for row in runs.admin.attempts(runs.ended("growing-late"), "n0")] == [0, 1]
