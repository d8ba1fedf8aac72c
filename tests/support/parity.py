"""The same workflows here and on the server: all started at once, each looked at when a test asks for it."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from flyteidl.admin import node_execution_pb2, task_execution_pb2
from flyteidl.core import execution_pb2
from flyteidl.service import admin_pb2_grpc
from flytekit.core.options import Options
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.remote.executions import FlyteWorkflowExecution

from tests.support.client import DOMAIN, PROJECT, Client
from tests.support.local_runs import MODULES, Call, outcomes_of, start_local_runs
from tests.support.plain import plain

FOLDER = "<a folder of its own>"
"""Input that stands for an empty folder, another one for every run."""


@dataclass(frozen=True)
class Case:
    """A workflow with its inputs, and how to start it."""

    name: str
    inputs: Mapping[str, object] = field(default_factory=dict)
    answers: tuple[str, ...] = ()
    options: Options | None = None
    plan: str | None = None  # launch plan to start instead of the default one
    more: Mapping[str, object] = field(default_factory=dict)  # further arguments of FlyteRemote.execute
    local: bool = True  # whether a local run makes sense
    later: bool = False  # started when a test asks for it: it keeps a process, and with it a place, until told


def until(condition: Callable[[], object], what: str, timeout_s: float = 60) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether no live process has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def workflow_of(name: str) -> object:
    """Return the flytekit object behind `module.workflow`."""
    module, _, attribute = name.partition(".")
    return getattr(importlib.import_module(f"{MODULES}.{module}"), attribute)


class Admin:
    """The raw rows of the admin service, for what FlyteRemote's models do not carry."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub = admin_pb2_grpc.AdminServiceStub(self.channel)

    def nodes(self, execution: FlyteWorkflowExecution, parent: str = "") -> list[node_execution_pb2.NodeExecution]:
        """List the rows directly below a node, or the top ones."""
        request = node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=execution.id.to_flyte_idl(), limit=1000, unique_parent_id=parent
        )
        return list(self.stub.ListNodeExecutions(request).node_executions)

    def tree(self, execution: FlyteWorkflowExecution, parent: str = "") -> dict[str, node_execution_pb2.NodeExecution]:
        """Return every row of an execution by its id, found by descending through the parents."""
        found: dict[str, node_execution_pb2.NodeExecution] = {}
        for row in self.nodes(execution, parent):
            assert row.id.node_id not in found
            found[row.id.node_id] = row
            if row.metadata.is_parent_node:
                found |= self.tree(execution, row.id.node_id)
        return found

    def outline(self, execution: FlyteWorkflowExecution) -> dict[str, str]:
        """Return phase and flags of every row, as `SUCCEEDED parent dynamic`."""
        return {name: describe(row) for name, row in self.tree(execution).items()}

    def attempts(self, execution: FlyteWorkflowExecution, node: str) -> list[task_execution_pb2.TaskExecution]:
        """List the task executions of one node."""
        identifier = self.tree(execution)[node].id
        request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=identifier, limit=1000)
        return list(self.stub.ListTaskExecutions(request).task_executions)


def describe(row: node_execution_pb2.NodeExecution) -> str:
    """Return phase and flags of a row."""
    flags = {
        "parent": row.metadata.is_parent_node,
        "dynamic": row.metadata.is_dynamic,
        "array": row.metadata.is_array,
        "child": row.closure.HasField("workflow_node_metadata"),
    }
    phase = execution_pb2.NodeExecution.Phase.Name(row.closure.phase)
    return " ".join([phase, *(name for name, is_set in flags.items() if is_set)])


class Runs:
    """Local and remote runs of several cases."""

    def __init__(self, client: Client, admin: Admin, cases: Mapping[str, Case], folder: Path) -> None:
        self.client = client
        self.admin = admin
        self.cases = cases
        self._folder = folder
        for key in cases:
            (folder / "here" / key).mkdir(parents=True)
            (folder / "there" / key).mkdir(parents=True)
        calls = {
            key: Call(case.name, self._inputs(key, "here"), case.answers) for key, case in cases.items() if case.local
        }
        self._local = start_local_runs(calls, folder)
        self._started = {key: self.start(key) for key, case in cases.items() if not case.later}
        self._ended: dict[str, FlyteWorkflowExecution] = {}
        self._outcomes: dict[str, dict[str, object]] | None = None

    def _inputs(self, key: str, where: str) -> dict[str, object]:
        folder = str(self._folder / where / key)
        return {name: folder if value is FOLDER else value for name, value in self.cases[key].inputs.items()}

    def start(self, key: str, **more: object) -> FlyteWorkflowExecution:
        """Start a case on the server; its folder is the one of all its runs there."""
        case = self.cases[key]
        plan = self.client.remote.fetch_launch_plan(name=case.plan or case.name, version=self.client.version)
        hints = workflow_of(case.name).python_interface.inputs
        arguments = {"options": case.options, **case.more, **more}
        return self.client.remote.execute(plan, inputs=self._inputs(key, "there"), type_hints=dict(hints), **arguments)

    def started(self, key: str) -> FlyteWorkflowExecution:
        """Return the execution of a case as it was when it started."""
        if key not in self._started:
            self._started[key] = self.start(key)
        return self._started[key]

    def folder(self, key: str) -> Path:
        """Return the folder that the run on the server was given."""
        return self._folder / "there" / key

    def local_folder(self, key: str) -> Path:
        """Return the folder that the local run was given."""
        return self._folder / "here" / key

    def ended(self, key: str) -> FlyteWorkflowExecution:
        """Return the execution of a case once it has ended, with its nodes synced by FlyteRemote."""
        if key not in self._ended:
            self._ended[key] = self.client.finish(self.started(key))
        return self._ended[key]

    def phase(self, key: str) -> str:
        """Return how the execution of a case ended."""
        return WorkflowExecutionPhase.enum_to_string(self.ended(key).closure.phase)

    def outline(self, key: str) -> dict[str, str]:
        """Return phase and flags of every row of a case."""
        return self.admin.outline(self.ended(key))

    def error(self, key: str) -> tuple[str, str]:
        """Return code and message of a failed case, uncut."""
        self.ended(key)
        closure = self.client.remote.fetch_execution(PROJECT, DOMAIN, self.started(key).id.name).closure
        assert closure.error is not None, closure
        return closure.error.code, closure.error.message

    def local(self, key: str) -> dict[str, object]:
        """Return the outcome of the local run of a case."""
        if self._outcomes is None:
            self._outcomes = outcomes_of(self._local, self._folder)
        return self._outcomes[key]

    def outputs(self, key: str) -> dict[str, object]:
        """Return what came out of the execution of a case, in plain form."""
        return self.outputs_of(self.ended(key), self.cases[key].name)

    def outputs_of(self, execution: FlyteWorkflowExecution, name: str) -> dict[str, object]:
        """Return what came out of an execution of the workflow `name`, in plain form."""
        assert execution.closure.phase == WorkflowExecutionPhase.SUCCEEDED, execution.closure
        types = workflow_of(name).python_interface.outputs
        with self.client.remote.remote_context():
            return {output: plain(execution.outputs.get(output, kind)) for output, kind in types.items()}

    def assert_same(self, key: str) -> dict[str, object]:
        """Assert that both runs of a case gave the same values of the same types; return them."""
        local = self.local(key)
        assert "outputs" in local, local
        outputs = self.outputs(key)
        assert outputs == local["outputs"]
        assert json.dumps(outputs, sort_keys=True) == json.dumps(local["outputs"], sort_keys=True)
        return outputs

    def assert_both_fail(self, key: str, text: str) -> tuple[str, str]:
        """Assert that both runs of a case failed with a text in their messages; return code and message there."""
        assert text in str(self.local(key)["error"])
        assert self.phase(key) == "FAILED"
        code, message = self.error(key)
        assert text in message, message
        return code, message

    def close(self) -> None:
        """End what still runs here."""
        self._local.kill()
        self._local.wait()
