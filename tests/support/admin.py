"""AdminService by its bare RPCs, for what the SDK would not send and where its own time would be the test's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

import grpc
from flyteidl.admin import execution_pb2, node_execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import admin_pb2_grpc

from tests.support.client import DOMAIN, PROJECT, WAIT_S

_PHASE = core_execution_pb2.WorkflowExecution
_TERMINAL = {_PHASE.SUCCEEDED, _PHASE.FAILED, _PHASE.ABORTED, _PHASE.TIMED_OUT}


def literal(value: str | int) -> literals_pb2.Literal:
    """Return a string or integer as a literal."""
    kind = "string_value" if isinstance(value, str) else "integer"
    primitive = literals_pb2.Primitive(**{kind: value})  # type: ignore[arg-type]
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


class Admin:
    """A channel to a server; a context manager."""

    def __init__(self, address: str, version: str = "v1") -> None:
        self.version = version
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 20)]
        self.channel = grpc.insecure_channel(address, options=[*options, ("grpc.max_reconnect_backoff_ms", 50)])
        self.stub = admin_pb2_grpc.AdminServiceStub(self.channel)

    def __enter__(self) -> Admin:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def create(self, plan: str, inputs: Mapping[str, str | int], name: str = "", annotation: str = "") -> str:
        """Start an execution of a launch plan; return its name."""
        request = execution_pb2.ExecutionCreateRequest(
            project=PROJECT,
            domain=DOMAIN,
            name=name,
            spec=execution_pb2.ExecutionSpec(
                launch_plan=identifier_pb2.Identifier(
                    resource_type=identifier_pb2.LAUNCH_PLAN,
                    project=PROJECT,
                    domain=DOMAIN,
                    name=plan,
                    version=self.version,
                )
            ),
            inputs=literals_pb2.LiteralMap(literals={key: literal(value) for key, value in inputs.items()}),
        )
        if annotation:
            request.spec.annotations.values["padding"] = annotation
        response = self.stub.CreateExecution(request, timeout=WAIT_S)
        return str(response.id.name)

    def get(self, name: str) -> execution_pb2.Execution:
        """Return an execution."""
        return self.stub.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=identifier(name)), timeout=WAIT_S)

    def terminate(self, name: str, cause: str = "enough") -> None:
        """Ask an execution to end."""
        request = execution_pb2.ExecutionTerminateRequest(id=identifier(name), cause=cause)
        self.stub.TerminateExecution(request, timeout=WAIT_S)

    def finish(self, name: str) -> execution_pb2.Execution:
        """Return an execution once it has ended."""
        deadline = time.monotonic() + WAIT_S
        while True:
            execution = self.get(name)
            if execution.closure.phase in _TERMINAL:
                return execution
            assert time.monotonic() < deadline, f"{name} never ended: {execution.closure}"
            time.sleep(0.02)

    def phase(self, name: str) -> str:
        """Wait for the end and return its phase."""
        return str(_PHASE.Phase.Name(self.finish(name).closure.phase))

    def error(self, name: str) -> core_execution_pb2.ExecutionError:
        """Wait for the end, which must be a failure, and return what it says."""
        execution = self.finish(name)
        assert execution.closure.phase == _PHASE.FAILED, execution
        return execution.closure.error

    def output(self, name: str) -> int | str:
        """Wait for success and return the one output."""
        assert self.phase(name) == "SUCCEEDED", self.get(name).closure
        data = self.stub.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=identifier(name)))
        primitive = data.full_outputs.literals["o0"].scalar.primitive
        value: int | str = getattr(primitive, str(primitive.WhichOneof("value")))
        return value

    def node(self, name: str, node: str = "n0") -> node_execution_pb2.NodeExecution:
        """Return a node of an execution."""
        id_ = identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=identifier(name))
        return self.stub.GetNodeExecution(node_execution_pb2.NodeExecutionGetRequest(id=id_), timeout=WAIT_S)


def identifier(name: str) -> identifier_pb2.WorkflowExecutionIdentifier:
    """Return an execution's identifier."""
    return identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)
