"""The gRPC edge over the real engine: journal, blobs and processes are fakes, everything between them is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import errors_pb2, identifier_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2

from flyte_kernel.testing import FakeEnd
from tests.support import flows
from tests.support.flows import TASK
from tests.support.world import OUTPUTS, WAIT_S, World

Phase = core_execution_pb2.WorkflowExecution


@pytest.fixture
def world() -> Iterator[World]:
    """A server whose tasks all run on until a test says how they end."""
    world = World()
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
