"""Wrong requests, and what comes back of them."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from flyteidl.admin import common_pb2

from flyte_kernel.engine import registration, submission
from flyte_kernel.phases import RunPhase
from tests.support import flows
from tests.support.edge import Edge
from tests.support.flows import identifier

__all__ = ["get", "listing", "refusal", "stocked_edge"]


def stocked_edge() -> Edge:
    """A server with a launch plan of fixed inputs and a finished execution."""
    edge = Edge()
    fixed = flows.plan_request("facts.fixed")
    fixed.spec.fixed_inputs.literals["a"].CopyFrom(flows.integer(5))
    registration.register_launch_plan(edge.engine, fixed)
    done = submission.create_execution(edge.engine, flows.execution_request("done", a=flows.integer(1)))
    edge.engine.finish(edge.engine.state.executions[done], RunPhase.SUCCEEDED)
    return edge


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    """Return the error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def get(resource_type: int, name: str = "no.such", **fields: str) -> common_pb2.ObjectGetRequest:
    return common_pb2.ObjectGetRequest(id=identifier(resource_type, name, **fields))


def listing(**fields: object) -> common_pb2.ResourceListRequest:
    name = common_pb2.NamedEntityIdentifier(project=flows.PROJECT, domain=flows.DOMAIN)
    return common_pb2.ResourceListRequest(**{"id": name, "limit": 10, **fields})  # type: ignore[arg-type]
