"""The gRPC edge over the real engine: journal, blobs and processes are fakes, everything between them is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import grpc
import pytest
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import errors_pb2, identifier_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.service import admin_pb2_grpc

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.engine import registration
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.ports import AttemptLaunch
from flyte_kernel.engine.settings import Settings
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.testing import FakeEnd, FakeExecutor, MemoryBlobs
from tests.support import flows
from tests.support.fake_engine import FakeViews
from tests.support.flows import TASK
from tests.support.memory_journal import MemoryJournal

Phase = core_execution_pb2.WorkflowExecution
WAIT_S = 20


@dataclass
class World:
    """A server whose tasks end as `ends` says, by unique node id; those it leaves out run on."""

    ends: dict[str, FakeEnd]

    def __post_init__(self) -> None:
        blobs = MemoryBlobs("s3://flyte")
        self.executor = FakeExecutor(blobs, self._end)
        views = FakeViews()
        self.engine = Engine(
            journal=MemoryJournal(),
            blobs=blobs,
            views=views,
            executor=self.executor,
            plugin_of=PluginRegistry().plugin_of,
            settings=Settings(),
        )
        views.state = self.engine.state
        self.engine.start()
        registration.register_task(self.engine, flows.task_request())
        registration.register_workflow(self.engine, flows.workflow_request())
        registration.register_launch_plan(self.engine, flows.plan_request())
        registration.register_workflow(self.engine, flows.nested_request())
        registration.register_launch_plan(self.engine, flows.plan_request("facts.outer", "facts.outer"))
        self.server = GrpcServer(self.engine, "127.0.0.1", 0)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)

    def _end(self, launch: AttemptLaunch) -> FakeEnd | None:
        return self.ends.get(launch.node_id)

    def close(self) -> None:
        """Stop everything."""
        self.channel.close()
        self.server.close()
        self.engine.close()

    def create(self, name: str, plan: str = "facts.wf", **other: int) -> identifier_pb2.WorkflowExecutionIdentifier:
        """Start an execution."""
        variable = "x" if other.get("resource_type") == TASK else "a"
        request = flows.execution_request(name, plan, **other, **{variable: flows.integer(3)})  # type: ignore[arg-type]
        return self.admin.CreateExecution(request).id

    def get(self, id: identifier_pb2.WorkflowExecutionIdentifier) -> execution_pb2.Execution:
        """Ask for an execution."""
        return self.admin.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=id))

    def wait(self, id: identifier_pb2.WorkflowExecutionIdentifier, *phases: int) -> execution_pb2.Execution:
        """Ask until the execution is in one of the phases."""
        deadline = time.monotonic() + WAIT_S
        while (execution := self.get(id)).closure.phase not in phases:
            assert time.monotonic() < deadline, execution
        return execution

    def nodes(
        self, id: identifier_pb2.WorkflowExecutionIdentifier, parent: str = ""
    ) -> dict[str, node_execution_pb2.NodeExecution]:
        """List a level's nodes by id."""
        request = node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=id, limit=100, unique_parent_id=parent
        )
        return {node.id.node_id: node for node in self.admin.ListNodeExecutions(request).node_executions}

    def attempts(self, node: node_execution_pb2.NodeExecution) -> list[task_execution_pb2.TaskExecution]:
        """List a node's attempts."""
        request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node.id, limit=100)
        return list(self.admin.ListTaskExecutions(request).task_executions)


OUTPUTS = FakeEnd(outputs=flows.literal_map(o0=flows.integer(9)))


@pytest.fixture
def world() -> Iterator[World]:
    """A server whose tasks all run on until a test says how they end."""
    world = World({})
    yield world
    world.close()


def failing(code: str, message: str) -> FakeEnd:
    kind = errors_pb2.ContainerError.NON_RECOVERABLE
    return FakeEnd(error=errors_pb2.ContainerError(code=code, message=message, kind=kind))


def test_a_nested_workflow_runs_to_its_outputs(world: World) -> None:
    world.ends["n0-0-n0"] = OUTPUTS
    id = world.create("nested", "facts.outer")
    closure = world.wait(id, Phase.SUCCEEDED).closure
    assert closure.outputs.uri.endswith("-nested/end-node/data/0/outputs.pb")
    assert closure.HasField("duration")
    data = world.admin.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=id))
    assert data.full_outputs == flows.literal_map(o0=flows.integer(9))
    assert set(world.nodes(id)) == {"start-node", "n0", "end-node"}
    children = world.nodes(id, "n0")
    assert set(children) == {"n0-0-start-node", "n0-0-n0", "n0-0-end-node"}
    (attempt,) = world.attempts(children["n0-0-n0"])
    assert attempt.closure.phase == core_execution_pb2.TaskExecution.SUCCEEDED
    assert attempt.closure.metadata.generated_name == "nested-n0-0-n0-0"


def test_a_task_alone_runs_to_its_outputs(world: World) -> None:
    world.ends["factsinc"] = OUTPUTS
    id = world.create("alone", "facts.inc", resource_type=TASK)
    execution = world.wait(id, Phase.SUCCEEDED)
    assert execution.spec.launch_plan.resource_type == TASK
    assert execution.closure.workflow_id.name == ".flytegen.facts.inc"
    assert set(world.nodes(id)) == {"start-node", "factsinc", "end-node"}


def test_a_failure_is_never_seen_without_its_error(world: World) -> None:
    """Many clients ask while the run fails: whoever sees the end sees why, and the answer is never an older one."""
    world.ends["n0"] = failing("USER:Bad", "m" * 300)
    ids = [world.create(f"failing{index}") for index in range(20)]
    torn: list[execution_pb2.Execution] = []

    def watch(id: identifier_pb2.WorkflowExecutionIdentifier) -> None:
        execution = world.wait(id, Phase.FAILED)
        if execution.closure.error.code != "USER:Bad" or not execution.closure.HasField("duration"):
            torn.append(execution)

    threads = [threading.Thread(target=watch, args=(id,)) for id in ids for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not torn
    nodes = world.nodes(ids[0])
    assert set(nodes) == {"start-node", "n0"}
    assert len(nodes["n0"].closure.error.message) == 100
    (attempt,) = world.attempts(nodes["n0"])
    assert (attempt.closure.phase, len(attempt.closure.error.message)) == (core_execution_pb2.TaskExecution.FAILED, 300)


def test_termination_ends_the_running_attempt(world: World) -> None:
    id = world.create("stopped")
    deadline = time.monotonic() + WAIT_S
    while not world.executor.running:
        assert time.monotonic() < deadline
    world.admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=id, cause="enough"))
    closure = world.wait(id, Phase.ABORTED).closure
    assert (closure.abort_metadata.cause, closure.HasField("duration")) == ("enough", True)
    nodes = world.nodes(id)
    assert set(nodes) == {"start-node", "n0"}
    node = nodes["n0"].closure
    assert (node.phase, node.error.code, node.error.message) == (
        core_execution_pb2.NodeExecution.ABORTED,
        "NodeAborted",
        "Workflow aborted.",
    )
    with pytest.raises(grpc.RpcError, match="Cannot abort an already terminated workflow execution"):
        world.admin.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=id))


def test_a_draining_engine_says_unavailable(world: World) -> None:
    world.engine.close()
    with pytest.raises(grpc.RpcError) as caught:
        world.create("late")
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.UNAVAILABLE,
        "the server is shutting down",
    )
