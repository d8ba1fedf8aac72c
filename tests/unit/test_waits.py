"""Which nodes the engine waits for by itself, and what clients see of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flyteidl.admin import execution_pb2, task_pb2, workflow_pb2
from flyteidl.core import literals_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from google.protobuf.duration_pb2 import Duration

from flyte_kernel.engine import registration
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.submission import create_execution, terminate_execution
from flyte_kernel.phases import AttemptPhase, NodePhase, RunPhase
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.testing import FakeExecutor, MemoryBlobs, VirtualClock
from tests.simulation.world import OneThread, SimulatedEngine
from tests.support import flows
from tests.support.fake_engine import FakeViews
from tests.support.literals import bound, promise
from tests.support.memory_journal import MemoryJournal

SECOND = 1_000_000_000


class Bench:
    """An engine without threads: `workers.jobs` shows what goes the long way."""

    def __init__(self) -> None:
        self.clock = VirtualClock(1_000 * SECOND)
        self.blobs = MemoryBlobs("s3://flyte")
        self.workers = OneThread()
        self.executor = FakeExecutor(self.blobs)
        self.engine = SimulatedEngine(
            journal=MemoryJournal(),
            blobs=self.blobs,
            views=FakeViews(),
            executor=self.executor,
            plugin_of=PluginRegistry([]).plugin_of,
            settings=Settings(),
            clock=self.clock,
            workers=self.workers,
        )
        self.engine.begin()

    def register(self, task: task_pb2.TaskCreateRequest, *nodes: core_workflow_pb2.Node) -> None:
        """Register a workflow of nodes."""
        registration.register_task(self.engine, task)
        request = workflow_pb2.WorkflowCreateRequest(id=flows.identifier(flows.WORKFLOW, "facts.wf"))
        request.spec.template.id.CopyFrom(request.id)
        request.spec.template.nodes.extend(nodes)
        request.spec.template.interface.inputs.variables["pause"].type.simple = types_pb2.DURATION
        registration.register_workflow(self.engine, request)
        registration.register_launch_plan(self.engine, flows.plan_request())

    def start(self) -> ExecutionRecord:
        """Create an execution with a pause of three seconds."""
        id_ = create_execution(self.engine, flows.execution_request("e", pause=duration(3)))
        record = self.engine.find_execution(id_)
        assert record is not None
        return record

    def settle(self) -> None:
        """Do what is to be done now."""
        while self.engine.turn() or self.workers.jobs:
            if self.workers.jobs:
                self.workers.jobs.pop(0)()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.settle()
    made.engine.close()


def duration(seconds: int) -> literals_pb2.Literal:
    primitive = literals_pb2.Primitive(duration=Duration(seconds=seconds))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def sleep_request(task_type: str = "core-sleep") -> task_pb2.TaskCreateRequest:
    request = flows.task_request()
    template = request.spec.template
    template.type = task_type
    template.ClearField("container")
    template.ClearField("interface")
    template.interface.inputs.variables["duration"].type.simple = types_pb2.DURATION
    template.interface.outputs.SetInParent()
    return request


def node(name: str, binding: literals_pb2.BindingData, *upstream: str) -> core_workflow_pb2.Node:
    made = core_workflow_pb2.Node(id=name, inputs=[bound("duration", binding)], upstream_node_ids=upstream)
    made.task_node.reference_id.CopyFrom(flows.identifier(flows.TASK, "facts.inc"))
    return made


def constant(seconds: int) -> literals_pb2.BindingData:
    return literals_pb2.BindingData(scalar=duration(seconds).scalar)


def phases(bench: Bench, record: ExecutionRecord) -> dict[str, NodePhase]:
    names = bench.engine.program_of(record).node_id
    return {name: NodePhase(phase) for name, phase in zip(names, record.nodes.phase.tolist(), strict=True)}


def test_waits_begin_and_end_by_the_clock_alone(bench: Bench) -> None:
    bench.register(sleep_request(), node("n0", constant(5)), node("n1", promise("", "pause"), "n0"))
    record = bench.start()
    bench.workers.jobs.clear()  # nobody works
    bench.engine.turn()
    assert phases(bench, record)["n0"] == NodePhase.RUNNING
    assert bench.engine.next_deadline() == bench.clock() + 5 * SECOND
    bench.clock.advance(5 * SECOND)
    bench.engine.turn()
    assert (phases(bench, record)["n0"], phases(bench, record)["n1"]) == (NodePhase.SUCCEEDED, NodePhase.RUNNING)
    bench.clock.advance(3 * SECOND)
    bench.settle()
    assert record.phase == RunPhase.SUCCEEDED
    assert record.attempts.phase == [AttemptPhase.SUCCEEDED] * 2
    assert [
        ended - began for began, ended in zip(record.attempts.started_at, record.attempts.updated_at, strict=True)
    ] == [
        5 * SECOND,
        3 * SECOND,
    ]


def test_a_thousand_waits_of_no_time_take_one_turn(bench: Bench) -> None:
    nodes = [node(f"n{i}", constant(0), *([f"n{i - 1}"] if i else [])) for i in range(1000)]
    bench.register(sleep_request(), *nodes)
    record = bench.start()
    assert set(list(phases(bench, record).values())[2:]) <= {NodePhase.SUCCEEDED, NodePhase.QUEUED}
    assert list(phases(bench, record).values()).count(NodePhase.SUCCEEDED) >= 1000
    assert record.attempts.phase == [AttemptPhase.SUCCEEDED] * 1000
    assert all(record.attempts.started_at)


def test_inputs_are_there_when_somebody_asks(bench: Bench) -> None:
    bench.register(sleep_request(), node("n0", promise("", "pause")))
    record = bench.start()
    place = list(bench.engine.program_of(record).node_id).index("n0")
    uri = f"{bench.engine.data.data_prefix(record, place)}/inputs.pb"
    assert not bench.blobs.exists(uri)
    inputs = bench.engine.data.node_inputs(record, place)
    assert literals_pb2.LiteralMap.FromString(inputs).literals["duration"] == duration(3)
    assert bench.blobs.read(uri) == inputs


def test_an_abort_ends_waits_without_the_executor(bench: Bench) -> None:
    bench.register(sleep_request(), node("n0", constant(500)))
    record = bench.start()
    request = execution_pb2.ExecutionTerminateRequest(cause="enough")
    request.id.project, request.id.domain, request.id.name = record.id
    terminate_execution(bench.engine, request)
    assert (record.phase, phases(bench, record)["n0"]) == (RunPhase.ABORTED, NodePhase.ABORTED)
    assert record.attempts.phase == [AttemptPhase.ABORTED]
    assert not bench.executor.aborted


def test_what_is_no_plain_wait_goes_the_long_way(bench: Bench) -> None:
    cached = sleep_request()
    cached.spec.template.metadata.discoverable = True
    cached.spec.template.metadata.discovery_version = "1"
    bench.register(cached, node("n0", constant(1)))
    record = bench.start()
    assert phases(bench, record)["n0"] == NodePhase.QUEUED
    assert bench.workers.jobs


def test_a_wait_that_cannot_be_fails_its_node(bench: Bench) -> None:
    bench.register(sleep_request(), node("n0", constant(-1)))
    record = bench.start()
    assert phases(bench, record)["n0"] == NodePhase.QUEUED
    bench.settle()
    assert phases(bench, record)["n0"] == NodePhase.FAILED
    assert b"cannot wait for -1s" in record.error
