"""The real engine behind a gRPC server: journal, blobs and processes are fakes, everything between them is not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import grpc
from flyteidl.admin import execution_pb2, node_execution_pb2, task_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.engine import registration
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.ports import AttemptLaunch
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.views import Views
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.testing import FakeEnd, FakeExecutor, MemoryBlobs
from tests.support import flows
from tests.support.fake_engine import FakeViews
from tests.support.flows import TASK
from tests.support.memory_journal import MemoryJournal

WAIT_S = 20

OUTPUTS = FakeEnd(outputs=flows.literal_map(o0=flows.integer(9)))


@dataclass
class World:
    """A server whose tasks end as `ends` says, by unique node id; those it leaves out run on."""

    ends: dict[str, FakeEnd] = field(default_factory=dict)
    views: Views = field(default_factory=FakeViews)

    def __post_init__(self) -> None:
        blobs = MemoryBlobs("s3://flyte")
        self.executor = FakeExecutor(blobs, self._end)
        self.engine = Engine(
            journal=MemoryJournal(),
            blobs=blobs,
            views=self.views,
            executor=self.executor,
            plugin_of=PluginRegistry().plugin_of,
            settings=Settings(),
        )
        if isinstance(self.views, FakeViews):
            self.views.state = self.engine.state
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
