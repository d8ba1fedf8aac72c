"""Relaunch runs everything again, recover only what had not succeeded; marks tell what ran."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from flyteidl.admin import node_execution_pb2
from flytekit.remote.executions import FlyteWorkflowExecution

from tests.support.client import DOMAIN, PROJECT, pyflyte
from tests.support.parity import FOLDER, Case, Runs
from tests.support.server import ServerProcess

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {
    "relaunched": Case("recovery.chain", {"folder": FOLDER}, local=False),
    "relaunched-by-pyflyte": Case("recovery.chain", {"folder": FOLDER}, local=False),
    "chain": Case("recovery.chain", {"folder": FOLDER}, local=False),
    "grown": Case("recovery.grown", {"folder": FOLDER}, local=False),
    "with-child": Case("recovery.with_child", {"folder": FOLDER}, local=False),
    "with-failed-child": Case("recovery.with_failed_child", {"folder": FOLDER}, local=False),
}


def ran(runs: Runs, key: str) -> Counter[str]:
    """Return how often each task of a case ran, over all executions."""
    return Counter(path.name[4:-33] for path in runs.folder(key).glob("ran-*"))


def fetched(runs: Runs, name: str) -> FlyteWorkflowExecution:
    """Return an execution by its name once it has ended."""
    return runs.client.finish(runs.client.remote.fetch_execution(PROJECT, DOMAIN, name))


def recover(runs: Runs, key: str) -> FlyteWorkflowExecution:
    """Recover a failed case whose missing file has appeared."""
    assert runs.phase(key) == "FAILED"
    (runs.folder(key) / "key").touch()
    return fetched(runs, runs.client.remote.client.recover_execution(runs.ended(key).id).name)


def test_relaunch_runs_everything_again(runs: Runs) -> None:
    assert runs.phase("relaunched") == "FAILED"
    (runs.folder("relaunched") / "key").touch()
    identifier = runs.client.remote.client.relaunch_execution(runs.ended("relaunched").id, name="again-by-name")
    assert identifier.name == "again-by-name"
    execution = fetched(runs, identifier.name)
    assert runs.outputs_of(execution, "recovery.chain") == {"o0": 41}
    assert ran(runs, "relaunched") == {"first": 2, "inner-a": 2, "inner-b": 2, "key": 2, "last": 1}
    assert execution.spec.metadata.reference_execution.name == runs.ended("relaunched").id.name
    assert set(runs.admin.outline(execution).values()) == {"SUCCEEDED", "SUCCEEDED parent"}


def test_relaunch_from_the_command_line(runs: Runs, server: ServerProcess) -> None:
    execution = runs.ended("relaunched-by-pyflyte")
    (runs.folder("relaunched-by-pyflyte") / "key").touch()
    result = pyflyte(server.config, "execution", "--execution-id", execution.id.name, "relaunch")
    name = re.search(rf"{PROJECT}:{DOMAIN}:(\w+)", result.stdout)
    assert name, result.stdout
    assert runs.outputs_of(fetched(runs, name.group(1)), "recovery.chain") == {"o0": 41}


def test_recover_runs_only_what_had_failed(runs: Runs) -> None:
    execution = recover(runs, "chain")
    assert runs.outputs_of(execution, "recovery.chain") == {"o0": 41}
    assert ran(runs, "chain") == {"first": 1, "inner-a": 1, "inner-b": 1, "key": 2, "last": 1}
    assert runs.admin.outline(execution) == {
        "start-node": "SUCCEEDED",
        "n0": "RECOVERED",
        "n1": "RECOVERED parent",
        "n2": "SUCCEEDED",
        "n3": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    }
    request = node_execution_pb2.NodeExecutionGetDataRequest(id=runs.admin.tree(execution)["n1"].id)
    inner = runs.admin.stub.GetNodeExecutionData(request)
    assert inner.full_outputs.literals["o0"].scalar.primitive.integer == 4


def test_recover_keeps_what_grew(runs: Runs) -> None:
    execution = recover(runs, "grown")
    assert runs.outputs_of(execution, "recovery.grown") == {"o0": 61}
    assert ran(runs, "grown") == {"grown-0": 1, "grown-1": 1, "grown-2": 1, "key": 2, "last": 1}
    outline = runs.admin.outline(execution)
    assert outline["n0"] == "SUCCEEDED parent dynamic"
    assert {outline[f"n0-0-dn{index}"] for index in range(4)} == {"RECOVERED"}
    assert outline["n0-0-dn4"] == "SUCCEEDED"


def test_recover_keeps_children(runs: Runs) -> None:
    execution = recover(runs, "with-child")
    assert runs.outputs_of(execution, "recovery.with_child") == {"o0": 40}
    assert ran(runs, "with-child") == {"parent": 1, "inner-a": 1, "inner-b": 1, "key": 2}


def test_recover_goes_into_failed_children(runs: Runs) -> None:
    execution = recover(runs, "with-failed-child")
    assert runs.outputs_of(execution, "recovery.with_failed_child") == {"o0": 42}
    assert ran(runs, "with-failed-child")["last"] == 1
