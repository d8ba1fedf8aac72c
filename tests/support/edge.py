"""A gRPC server over a fake engine, with a channel to it."""

from __future__ import annotations

import grpc
from flyteidl.service import admin_pb2_grpc, dataproxy_pb2_grpc

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.engine import registration
from flyte_kernel.engine.settings import Settings
from tests.support import flows
from tests.support.fake_engine import FakeEngine

REQUEST_BYTES_MAX = 1024 * 1024


class Edge:
    """Knows the task facts.inc, the workflow facts.wf and its launch plan."""

    def __init__(self) -> None:
        self.engine = FakeEngine(settings=Settings(request_bytes_max=REQUEST_BYTES_MAX))
        registration.register_task(self.engine, flows.task_request())
        registration.register_workflow(self.engine, flows.workflow_request())
        registration.register_launch_plan(self.engine, flows.plan_request())
        self.server = GrpcServer(self.engine, "127.0.0.1", 0)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.admin = admin_pb2_grpc.AdminServiceStub(self.channel)
        self.data = dataproxy_pb2_grpc.DataProxyServiceStub(self.channel)

    def raw(self, method: str, data: bytes) -> bytes:
        """Call any method with any bytes."""
        return bytes(self.channel.unary_unary(method)(data))

    def close(self) -> None:
        """Stop both."""
        self.channel.close()
        self.server.close()
