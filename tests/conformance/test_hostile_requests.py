"""What the gRPC edge answers to bytes, methods, names and sizes that nobody should send, and when it fails itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import grpc
import pytest
from flyteidl.admin import (
    common_pb2,
)
from flyteidl.service import admin_pb2, dataproxy_pb2, signal_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.errors import AdapterError, InternalError, InvalidArgumentError, StorageFullError, UnavailableError
from tests.support import flows
from tests.support.edge import REQUEST_BYTES_MAX, Edge
from tests.support.fake_engine import FakeEngine
from tests.support.flows import TASK
from tests.support.refusals import get, listing, refusal, stocked_edge

NamedId = common_pb2.NamedEntityIdentifier
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One server for the tests that change nothing."""
    edge = stocked_edge()
    yield edge
    edge.close()


ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
DATA_PROXY = dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"]
SIGNAL = signal_pb2.DESCRIPTOR.services_by_name["SignalService"]
EVERY_METHOD = [method for service in (ADMIN, DATA_PROXY, SIGNAL) for method in service.methods]
UNSERVED = { "ListNodeExecutionsForTask", "RegisterProject",
    "UpdateProject", "CreateWorkflowEvent", "CreateNodeEvent", "CreateTaskEvent", "UpdateProjectDomainAttributes",
    "GetProjectDomainAttributes", "DeleteProjectDomainAttributes", "UpdateProjectAttributes", "GetProjectAttributes",
    "DeleteProjectAttributes", "UpdateWorkflowAttributes", "GetWorkflowAttributes", "DeleteWorkflowAttributes",
    "ListMatchableAttributes", "ListNamedEntities", "GetNamedEntity", "UpdateNamedEntity", "GetDescriptionEntity",
    "ListDescriptionEntities", "GetExecutionMetrics", "GetOrCreateSignal",
}  # fmt: skip


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
def test_bytes_that_are_no_message_are_the_callers_fault(edge: Edge, method: object) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"  # type: ignore[attr-defined]
    error = refusal(lambda: edge.raw(path, b"\xff\xff\xff\xff"))
    if method.name in UNSERVED:  # type: ignore[attr-defined]
        assert error.code() is grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == f"{method.full_name} is not implemented by this version of flyte-kernel"  # type: ignore[attr-defined]
    else:
        assert error.code() is INVALID
        assert error.details() == f"the request is not a valid {method.input_type.full_name}"  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", EVERY_METHOD, ids=lambda method: method.name)
def test_no_empty_request_is_answered_with_unknown_or_internal(edge: Edge, method: object) -> None:
    path = f"/{method.containing_service.full_name}/{method.name}"  # type: ignore[attr-defined]
    call = edge.channel.unary_unary(path).future(b"")
    assert call.code() in (grpc.StatusCode.OK, INVALID, NOT_FOUND, grpc.StatusCode.UNIMPLEMENTED), call.details()


@pytest.mark.parametrize(
    ("method", "text"),
    [
        (
            "/flyteidl.service.AuthMetadataService/GetPublicClientConfig",
            "unknown service flyteidl.service.AuthMetadataService",
        ),
        (
            "/flyteidl.service.AuthMetadataService/GetOAuth2Metadata",
            "unknown service flyteidl.service.AuthMetadataService",
        ),
        ("/flyteidl.service.IdentityService/UserInfo", "unknown service flyteidl.service.IdentityService"),
        ("/flyteidl.service.AdminService/Nope", "unknown method Nope for service flyteidl.service.AdminService"),
        ("/nothing", "malformed method name: '/nothing'"),
    ],
)
def test_what_nobody_serves_is_unimplemented(edge: Edge, method: str, text: str) -> None:
    error = refusal(lambda: edge.raw(method, b""))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, text)


def test_streaming_calls_to_unknown_services_are_answered_before_they_end(edge: Edge) -> None:
    call = edge.channel.stream_stream("/some.Service/Chat")(iter(()))
    error = refusal(lambda: next(call))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_oversized_messages_are_refused_and_the_connection_lives_on(edge: Edge) -> None:
    request = flows.task_request("facts.big")
    request.spec.template.container.args.append("x" * (REQUEST_BYTES_MAX + 1))
    error = refusal(lambda: edge.admin.CreateTask(request))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"vs. {REQUEST_BYTES_MAX})" in error.details()
    assert refusal(lambda: edge.admin.GetTask(get(TASK, "facts.big"))).code() is NOT_FOUND


@pytest.mark.parametrize("name", ["naïve ☃ 工作", "a\tb\nc\x01", "a/../b", "%2F%00", '"quoted"\\', " ", "x" * 3000])
def test_odd_names_are_kept_as_they_are(name: str) -> None:
    edge = Edge()
    try:
        request = flows.task_request(name)
        edge.admin.CreateTask(request)
        assert edge.admin.GetTask(get(TASK, name)).id == request.id
        page = edge.admin.ListTasks(listing(id=NamedId(project=flows.PROJECT, domain=flows.DOMAIN, name=name)))
        assert [task.id for task in page.tasks] == [request.id]
        other = refusal(lambda: edge.admin.CreateTask(flows.task_request(name, image="other:1")))
        assert other.details().startswith(f"{name} task with different structure already exists.")
        unknown = refusal(lambda: edge.admin.GetTask(get(TASK, name, version="v2")))
        assert unknown.code() is NOT_FOUND
    finally:
        edge.close()


def test_texts_too_long_for_a_client_are_cut_between_characters(edge: Edge) -> None:
    name = "ß" * 20_000
    error = refusal(lambda: edge.admin.GetTask(get(TASK, name)))
    assert error.code() is NOT_FOUND
    assert error.details().startswith('missing entity of type TASK with identifier project:"flytesnacks"')
    assert error.details().endswith("ß… (cut)")
    assert 1000 < len(error.details()) < 1300  # ß takes six bytes of the 7,168 in a trailer


def test_details_are_dropped_when_the_text_was_cut(edge: Edge) -> None:
    request = flows.workflow_request(length=2)
    request.spec.template.nodes[0].metadata.name = "y" * 20_000
    error = refusal(lambda: edge.admin.CreateWorkflow(request))
    assert error.code() is INVALID
    assert error.details().endswith("… (cut)")
    assert "grpc-status-details-bin" not in dict(error.trailing_metadata())


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (UnavailableError("the server is shutting down"), grpc.StatusCode.UNAVAILABLE, "the server is shutting down"),
        (
            StorageFullError("no space left in /data"),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "no space left in /data. Nothing was written; try again when there is space",
        ),
        (AdapterError("the store is away", retryable=True), grpc.StatusCode.UNAVAILABLE, "the store is away"),
        (
            InternalError("a promise broke"),
            grpc.StatusCode.INTERNAL,
            "CreateTask failed inside the server: InternalError: a promise broke",
        ),
        (
            KeyError("surprise"),
            grpc.StatusCode.INTERNAL,
            "CreateTask failed inside the server: KeyError: 'surprise'",
        ),
        (InvalidArgumentError("lone \ud800 surrogate"), INVALID, "lone ? surrogate"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_failures_of_the_server_itself(
    fault: Exception, code: grpc.StatusCode, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    edge = Edge()

    def fail() -> None:
        raise fault

    edge.engine.fault = fail
    try:
        error = refusal(lambda: edge.admin.CreateTask(flows.task_request("facts.new")))
        assert (error.code(), error.details()) == (code, text)
        logged = [record for record in caplog.records if record.name.startswith("flyte_kernel")]
        assert [record.exc_info[1] for record in logged if record.exc_info] == (
            [fault] if code is grpc.StatusCode.INTERNAL else []
        )
    finally:
        edge.close()


def test_health_names_are_those_of_flyteadmin(edge: Edge) -> None:
    stub = health_pb2_grpc.HealthStub(edge.channel)
    for name in ("", "flyteadmin"):
        answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    error = refusal(lambda: stub.Check(health_pb2.HealthCheckRequest(service="other")))
    assert error.code() is NOT_FOUND


def test_reflection_names_the_services_and_describes_them(edge: Edge) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(edge.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="flyteidl.service.AdminService"),
    ]
    services, file = list(stub.ServerReflectionInfo(iter(requests)))
    assert {service.name for service in services.list_services_response.service} == {
        "datacatalog.DataCatalog",
        "flyteidl.service.AdminService",
        "flyteidl.service.DataProxyService",
        "flyteidl.service.SignalService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert file.file_descriptor_response.file_descriptor_proto


def test_a_port_in_use_is_a_clear_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AdapterError, match=f"cannot listen for gRPC on 127.0.0.1:{port}: the port is in use"):
            GrpcServer(FakeEngine(), "127.0.0.1", port)


def test_download_links_say_what_is_missing(edge: Edge) -> None:
    request = dataproxy_pb2.CreateDownloadLinkRequest(artifact_type=dataproxy_pb2.ARTIFACT_TYPE_DECK)
    assert "source is required" in str(refusal(lambda: edge.data.CreateDownloadLink(request)).details())
    request.node_execution_id.node_id = "n9"
    error = refusal(lambda: edge.data.CreateDownloadLink(request))
    assert (error.code(), "n9" in str(error.details())) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    request.artifact_type = dataproxy_pb2.ARTIFACT_TYPE_UNDEFINED
    assert "artifact_type is required" in str(refusal(lambda: edge.data.CreateDownloadLink(request)).details())
