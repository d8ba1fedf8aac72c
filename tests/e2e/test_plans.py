"""Launch plan nodes: child executions."""

from __future__ import annotations

from pathlib import Path

import pytest
from flyteidl.admin import execution_pb2
from flytekit.core.options import Options
from flytekit.exceptions.user import FlyteInvalidInputException
from flytekit.models.common import Annotations, Labels
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.remote.executions import FlyteWorkflowExecution

from tests.support.client import DOMAIN, PROJECT
from tests.support.parity import FOLDER, Case, Runs, is_gone, until

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {
    "parent": Case("plans.parent", {"a": 5}),
    "top": Case("plans.top", {"n": 5}),
    "in-subworkflow": Case("plans.in_subworkflow", {"n": 5}),
    "in-dynamic": Case("plans.in_dynamic", {"count": 3}),
    "failing-child": Case("plans.failing_child", {"n": 3}),
    "good-child": Case("plans.failing_child", {"n": -3}),
    "labelled": Case("plans.child", plan="plans.labelled", local=False),
    "with-fixed": Case("plans.child", plan="plans.with_fixed", local=False),
    "options": Case(
        "plans.top",
        {"n": 1},
        options=Options(
            labels=Labels({"owner": "e2e"}), annotations=Annotations({"why": "because"}), max_parallelism=7
        ),
        more={"interruptible": True, "envs": {"DEPTH": "any"}},
    ),
    "aborted": Case("plans.waiting_child", {"path": FOLDER}, local=False, later=True),
    "child-aborted": Case("plans.waiting_child", {"path": FOLDER}, local=False, later=True),
    "waited": Case("plans.waiting_child", {"path": FOLDER}, local=False, later=True),
}
SAME = ("parent", "top", "in-subworkflow", "in-dynamic", "good-child", "options")


def child_of(runs: Runs, execution: FlyteWorkflowExecution, node: str = "n0") -> FlyteWorkflowExecution:
    """Return the execution behind a launch plan node."""
    row = runs.admin.tree(execution)[node]
    return runs.client.remote.fetch_execution(PROJECT, DOMAIN, row.closure.workflow_node_metadata.executionId.name)


def pid_of(folder: Path) -> int:
    """Return the process that waits in a folder, once it does."""
    until(lambda: [path for path in folder.glob("pid-*") if path.read_text()], "the child's task started")
    return int(next(folder.glob("pid-*")).read_text())


@pytest.mark.parametrize("key", SAME)
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_fixed_and_default_inputs_of_a_plan(runs: Runs) -> None:
    assert runs.outputs("with-fixed") == {"o0": "sum:1007"}
    assert runs.outputs("labelled") == {"o0": "sum:5"}
    plan = runs.client.remote.fetch_launch_plan(name="plans.with_fixed", version="v1")
    with pytest.raises(FlyteInvalidInputException, match="invalid input b"):
        runs.client.remote.execute(plan, inputs={"a": 1, "b": 5})


def test_rows_of_children(runs: Runs) -> None:
    nodes = {f"n{index}": "SUCCEEDED child" for index in range(4)}
    assert runs.outline("parent") == {"start-node": "SUCCEEDED", **nodes, "end-node": "SUCCEEDED"}
    child = child_of(runs, runs.ended("parent"))
    assert (len(child.id.name), child.id.name[0]) == (14, "f")
    assert runs.admin.outline(child) == dict.fromkeys(("start-node", "n0", "end-node"), "SUCCEEDED")


def test_sync_goes_into_children(runs: Runs) -> None:
    node = runs.ended("top").node_executions["n1"]
    (upper,) = node.workflow_executions
    assert upper.outputs["o0"] == node.outputs["o0"] == 9
    (middle,) = upper.node_executions["n0"].workflow_executions
    assert middle.outputs["o0"] == 8
    assert set(middle.node_executions) == {"start-node", "n0", "n1", "end-node"}


def test_children_know_their_parents(runs: Runs) -> None:
    child = child_of(runs, runs.ended("top"), "n1")
    metadata = child.spec.metadata
    assert metadata.mode == execution_pb2.ExecutionMetadata.CHILD_WORKFLOW
    assert metadata.parent_node_execution.node_id == "n1"
    assert metadata.parent_node_execution.execution_id.name == runs.ended("top").id.name


def test_options_pass_to_children(runs: Runs) -> None:
    upper = child_of(runs, runs.ended("options"), "n1")
    middle = child_of(runs, upper, "n0")
    for child in (upper, middle):
        assert child.spec.labels.values["owner"] == "e2e"
        assert child.spec.annotations.values["why"] == "because"
        assert child.spec.max_parallelism == 7
        assert child.spec.interruptible is True
        assert child.spec.envs.envs == {"DEPTH": "any"}


def test_a_childs_failure_is_its_nodes(runs: Runs) -> None:
    code, message = runs.assert_both_fail("failing-child", "child of 3")
    child = child_of(runs, runs.ended("failing-child"))
    assert child.closure.phase == WorkflowExecutionPhase.FAILED
    assert (code, message) == (child.closure.error.code, child.closure.error.message)
    assert runs.outline("failing-child") == {"start-node": "SUCCEEDED", "n0": "FAILED child"}


def test_an_abort_reaches_the_childs_process(runs: Runs) -> None:
    started = runs.started("aborted")
    pid = pid_of(runs.folder("aborted"))
    child = child_of(runs, started)
    runs.client.remote.terminate(started, "enough of it")
    assert runs.phase("aborted") == "ABORTED"
    child = runs.client.finish(child)
    assert child.closure.phase == WorkflowExecutionPhase.ABORTED
    assert "cascading abort" in child.closure.abort_metadata.cause
    assert is_gone(pid)


def test_an_aborted_child_fails_its_parent(runs: Runs) -> None:
    started = runs.started("child-aborted")
    pid = pid_of(runs.folder("child-aborted"))
    runs.client.remote.terminate(child_of(runs, started), "only the child")
    assert runs.phase("child-aborted") == "FAILED"
    assert runs.error("child-aborted")[0] == "RemoteChildWorkflowExecutionFailed"
    assert is_gone(pid)


def test_a_parent_waits_for_its_child(runs: Runs) -> None:
    started = runs.started("waited")
    pid_of(runs.folder("waited"))
    assert runs.admin.outline(started)["n0"] == "RUNNING child"
    (runs.folder("waited") / "go").touch()
    assert runs.outputs("waited") == {"o0": 2}
