"""What the gRPC edge answers to wrong requests: codes and texts of a running Flyte 1, and nothing it cannot explain."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
import pytest
from flyteidl.admin import (
    common_pb2,
    event_pb2,
    execution_pb2,
    launch_plan_pb2,
    node_execution_pb2,
    project_pb2,
    task_execution_pb2,
    task_pb2,
    workflow_pb2,
)
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2, dataproxy_pb2, signal_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.engine import registration, submission
from flyte_kernel.errors import AdapterError, InternalError, InvalidArgumentError, StorageFullError, UnavailableError
from flyte_kernel.phases import RunPhase
from tests.support import flows
from tests.support.edge import REQUEST_BYTES_MAX, Edge
from tests.support.fake_engine import FakeEngine
from tests.support.flows import LAUNCH_PLAN, TASK, WORKFLOW, identifier

Listing = common_pb2.ResourceListRequest
NamedId = common_pb2.NamedEntityIdentifier
Detail = TypeVar("Detail", bound=Message)

NO_SUCH = 'with identifier project:"flytesnacks" domain:"development" name:"no.such" version:"v1"'
MISSING = {kind: f"missing entity of type {kind} {NO_SUCH}" for kind in ("TASK", "WORKFLOW", "LAUNCH_PLAN")}
NO_EXECUTION = (
    'missing entity of type execution with identifier project:"flytesnacks" domain:"development" name:"nosuch"'
)
NO_NODE = (
    'missing entity of type node execution with identifier node_id:"n0" '
    'execution_id:{project:"flytesnacks" domain:"development" name:"nosuch"}'
)


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """One server for the tests that change nothing."""
    edge = Edge()
    fixed = flows.plan_request("facts.fixed")
    fixed.spec.fixed_inputs.literals["a"].CopyFrom(flows.integer(5))
    registration.register_launch_plan(edge.engine, fixed)
    done = submission.create_execution(edge.engine, flows.execution_request("done", a=flows.integer(1)))
    edge.engine.finish(edge.engine.state.executions[done], RunPhase.SUCCEEDED)
    yield edge
    edge.close()


def refusal(call: Callable[[], object]) -> grpc.RpcError:
    """Return the error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def detail(error: grpc.RpcError, kind: type[Detail]) -> Detail:
    """Return the typed detail of an error, whose status must agree with it."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    message = kind()
    assert status.details[0].Unpack(message)
    return message


def get(resource_type: int, name: str = "no.such", **fields: str) -> common_pb2.ObjectGetRequest:
    return common_pb2.ObjectGetRequest(id=identifier(resource_type, name, **fields))


def execution_id(name: str = "nosuch") -> identifier_pb2.WorkflowExecutionIdentifier:
    return identifier_pb2.WorkflowExecutionIdentifier(project=flows.PROJECT, domain=flows.DOMAIN, name=name)


def node_id(node: str = "n0", execution: str = "nosuch") -> identifier_pb2.NodeExecutionIdentifier:
    return identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution_id(execution))


def listing(**fields: object) -> common_pb2.ResourceListRequest:
    return Listing(**{"id": NamedId(project=flows.PROJECT, domain=flows.DOMAIN), "limit": 10, **fields})  # type: ignore[arg-type]


def create(**fields: object) -> execution_pb2.ExecutionCreateRequest:
    request = flows.execution_request("", a=flows.integer(1))
    for name, value in fields.items():
        if isinstance(value, Message):
            getattr(request, name).CopyFrom(value)
        else:
            setattr(request, name, value)
    return request


def of_entity(resource_type: int, name: str = "no.such") -> execution_pb2.ExecutionCreateRequest:
    request = create()
    request.spec.launch_plan.CopyFrom(identifier(resource_type, name))
    return request


def named(name: str) -> tuple[str, execution_pb2.ExecutionCreateRequest]:
    return "CreateExecution", create(name=name)


def bad_name(name: str) -> str:
    return f"invalid name format: {name}, does not match regex '^[a-z][a-z\\-0-9]*$'"


def plan(edit: Callable[[launch_plan_pb2.LaunchPlanCreateRequest], object]) -> launch_plan_pb2.LaunchPlanCreateRequest:
    request = flows.plan_request("facts.other")
    edit(request)
    return request


def empty_literal() -> execution_pb2.ExecutionCreateRequest:
    request = create()
    request.inputs.literals["a"].Clear()
    return request


INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
EXISTS, FAILED = grpc.StatusCode.ALREADY_EXISTS, grpc.StatusCode.FAILED_PRECONDITION
NO_PROJECT = (
    "failed to validate that project [nope] and domain [development] are registered, err: [project [nope] not found]"
)

TABLE: dict[str, tuple[str, Message, grpc.StatusCode, str]] = {
    "get task missing": ("GetTask", get(TASK), NOT_FOUND, MISSING["TASK"]),
    "get task of no type": ("GetTask", get(0), NOT_FOUND, MISSING["TASK"]),
    "get task empty": ("GetTask", common_pb2.ObjectGetRequest(), INVALID, "missing id"),
    "get workflow missing": ("GetWorkflow", get(WORKFLOW), NOT_FOUND, MISSING["WORKFLOW"]),
    "get workflow of no type": ("GetWorkflow", get(0), NOT_FOUND, MISSING["WORKFLOW"]),
    "get workflow of wrong type": (
        "GetWorkflow",
        get(TASK, "facts.wf"),
        INVALID,
        'unexpected resource type task for identifier [resource_type:TASK project:"flytesnacks" domain:"development" '
        'name:"facts.wf" version:"v1"], expected workflow instead',
    ),
    "get plan missing": ("GetLaunchPlan", get(LAUNCH_PLAN), NOT_FOUND, MISSING["LAUNCH_PLAN"]),
    "get plan without version": ("GetLaunchPlan", get(LAUNCH_PLAN, version=""), INVALID, "missing version"),
    "get execution missing": (
        "GetExecution",
        execution_pb2.WorkflowExecutionGetRequest(id=execution_id()),
        NOT_FOUND,
        NO_EXECUTION,
    ),
    "get execution empty": ("GetExecution", execution_pb2.WorkflowExecutionGetRequest(), INVALID, "missing id"),
    "get execution data missing": (
        "GetExecutionData",
        execution_pb2.WorkflowExecutionGetDataRequest(id=execution_id()),
        NOT_FOUND,
        NO_EXECUTION,
    ),
    "get node missing": (
        "GetNodeExecution",
        node_execution_pb2.NodeExecutionGetRequest(id=node_id()),
        NOT_FOUND,
        NO_NODE,
    ),
    "get node data missing": (
        "GetNodeExecutionData",
        node_execution_pb2.NodeExecutionGetDataRequest(id=node_id()),
        NOT_FOUND,
        NO_NODE,
    ),
    "get node without node": (
        "GetNodeExecution",
        node_execution_pb2.NodeExecutionGetRequest(id=node_id("")),
        INVALID,
        "missing node_id",
    ),
    "list nodes below a missing one": (
        "ListNodeExecutions",
        node_execution_pb2.NodeExecutionListRequest(
            workflow_execution_id=execution_id(), limit=1, unique_parent_id="n0"
        ),
        NOT_FOUND,
        NO_NODE,
    ),
    "list nodes of nothing": (
        "ListNodeExecutions",
        node_execution_pb2.NodeExecutionListRequest(limit=1),
        INVALID,
        "missing execution_id",
    ),
    "get attempt missing": (
        "GetTaskExecution",
        task_execution_pb2.TaskExecutionGetRequest(
            id=identifier_pb2.TaskExecutionIdentifier(
                task_id=identifier(TASK, "facts.inc"), node_execution_id=node_id(), retry_attempt=2
            )
        ),
        NOT_FOUND,
        'missing entity of type task execution with identifier task_id:{resource_type:TASK project:"flytesnacks" '
        'domain:"development" name:"facts.inc" version:"v1"} node_execution_id:{node_id:"n0" '
        'execution_id:{project:"flytesnacks" domain:"development" name:"nosuch"}} retry_attempt:2',
    ),
    "create empty": ("CreateExecution", execution_pb2.ExecutionCreateRequest(), INVALID, "missing project"),
    "create in unknown project": ("CreateExecution", create(project="nope"), INVALID, NO_PROJECT),
    "create in unknown domain": (
        "CreateExecution",
        create(domain="nope"),
        INVALID,
        "domain [nope] is unrecognized by system",
    ),
    "create without spec": (
        "CreateExecution",
        execution_pb2.ExecutionCreateRequest(project=flows.PROJECT, domain=flows.DOMAIN),
        INVALID,
        "missing spec",
    ),
    "create of unknown plan": ("CreateExecution", of_entity(LAUNCH_PLAN), NOT_FOUND, MISSING["LAUNCH_PLAN"]),
    "create of unknown task": ("CreateExecution", of_entity(TASK), NOT_FOUND, MISSING["TASK"]),
    "create of a workflow": (
        "CreateExecution",
        of_entity(WORKFLOW),
        INVALID,
        "Invalid reference entity resource type [WORKFLOW], only [map[TASK:<nil> LAUNCH_PLAN:<nil>]] allowed",
    ),
    "create of no type": (
        "CreateExecution",
        of_entity(0),
        INVALID,
        "Invalid reference entity resource type [UNSPECIFIED], only [map[TASK:<nil> LAUNCH_PLAN:<nil>]] allowed",
    ),
    "create without input": (
        "CreateExecution",
        flows.execution_request(),
        INVALID,
        "expected_inputs a missing",
    ),
    "create with another input": (
        "CreateExecution",
        flows.execution_request(a=flows.integer(1), zz=flows.integer(1)),
        INVALID,
        "invalid input zz",
    ),
    "create with wrong type": (
        "CreateExecution",
        flows.execution_request(a=flows.text("1")),
        INVALID,
        "invalid a input wrong type. Expected simple:INTEGER, but got simple:STRING",
    ),
    "create with empty literal": ("CreateExecution", empty_literal(), INVALID, "missing valid literal in inputs a"),
    "create over a fixed input": (
        "CreateExecution",
        flows.execution_request(plan="facts.fixed", a=flows.integer(1)),
        INVALID,
        "invalid input a",
    ),
    "create named 1digit": (*named("1digit"), INVALID, bad_name("1digit")),
    "create named has_under": (*named("has_under"), INVALID, bad_name("has_under")),
    "create named with space": (*named("with space"), INVALID, bad_name("with space")),
    "create named -a": (*named("-a"), INVALID, bad_name("-a")),
    "create named with line end": (*named("abc\n"), INVALID, bad_name("abc\n")),
    "create named in another script": (*named("añb"), INVALID, bad_name("añb")),
    "create named too long": (*named("x" * 64), INVALID, "size of name exceeded length 63 : " + "x" * 64),
    "create of a taken name": (
        *named("done"),
        EXISTS,
        'value with matching already exists (duplicate key value violates unique constraint "executions_pkey")',
    ),
    "terminate missing": (
        "TerminateExecution",
        execution_pb2.ExecutionTerminateRequest(id=execution_id()),
        NOT_FOUND,
        NO_EXECUTION,
    ),
    "terminate finished": (
        "TerminateExecution",
        execution_pb2.ExecutionTerminateRequest(id=execution_id("done")),
        FAILED,
        "Cannot abort an already terminated workflow execution",
    ),
    "update execution missing": (
        "UpdateExecution",
        execution_pb2.ExecutionUpdateRequest(id=execution_id()),
        NOT_FOUND,
        NO_EXECUTION,
    ),
    "active plan none": (
        "GetActiveLaunchPlan",
        launch_plan_pb2.ActiveLaunchPlanRequest(
            id=NamedId(project=flows.PROJECT, domain=flows.DOMAIN, name="facts.wf")
        ),
        NOT_FOUND,
        "No active launch plan could be found: flytesnacks:development:facts.wf",
    ),
    "active plan without name": (
        "GetActiveLaunchPlan",
        launch_plan_pb2.ActiveLaunchPlanRequest(id=NamedId(project=flows.PROJECT, domain=flows.DOMAIN)),
        INVALID,
        "missing name",
    ),
    "update plan missing": (
        "UpdateLaunchPlan",
        launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(LAUNCH_PLAN, "no.such")),
        NOT_FOUND,
        MISSING["LAUNCH_PLAN"],
    ),
    "update plan of no type": (
        "UpdateLaunchPlan",
        launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(0, "no.such")),
        NOT_FOUND,
        MISSING["LAUNCH_PLAN"],
    ),
    "update plan to a bad state": (
        "UpdateLaunchPlan",
        launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(LAUNCH_PLAN, "facts.wf"), state=7),  # type: ignore[arg-type]
        INVALID,
        "Unrecognized launch plan state 7 for update for launch plan [resource_type:LAUNCH_PLAN "
        'project:"flytesnacks" domain:"development" name:"facts.wf" version:"v1"]',
    ),
    "list tasks limit 0": ("ListTasks", listing(limit=0), INVALID, "invalid value for limit"),
    "list tasks bad token": (
        "ListTasks",
        listing(token="abc"),
        INVALID,
        "invalid pagination token abc for ListTasks",
    ),
    "list executions bad token": (
        "ListExecutions",
        listing(token="abc"),
        INVALID,
        "invalid pagination token abc for ListExecutions",
    ),
    "list tasks negative token": (
        "ListTasks",
        listing(token="-1"),
        INVALID,
        "invalid pagination token -1 for ListTasks",
    ),
    "list workflows huge token": (
        "ListWorkflows",
        listing(token="9" * 30),
        INVALID,
        f"invalid pagination token {'9' * 30} for ListWorkflows",
    ),
    "list executions of nothing": ("ListExecutions", Listing(limit=1), INVALID, "missing id"),
    "list task ids limit 0": (
        "ListTaskIds",
        common_pb2.NamedEntityIdentifierListRequest(project=flows.PROJECT, domain=flows.DOMAIN),
        INVALID,
        "invalid value for limit",
    ),
    "list plan ids of nothing": (
        "ListLaunchPlanIds",
        common_pb2.NamedEntityIdentifierListRequest(limit=1),
        INVALID,
        "missing and/or invalid parameters: filters",
    ),
    "get project missing": ("GetProject", project_pb2.ProjectGetRequest(id="zz"), NOT_FOUND, "project [zz] not found"),
    "task again": ("CreateTask", flows.task_request(), EXISTS, "task with identical structure already exists"),
    "task different": (
        "CreateTask",
        flows.task_request(image="other:1"),
        INVALID,
        "facts.inc task with different structure already exists. (Please register a new version of the task):\n"
        "/template/Target/Container/image:\n\t- image:1 \n\t+ other:1",
    ),
    "task empty": ("CreateTask", task_pb2.TaskCreateRequest(), INVALID, "missing id"),
    "task without spec": (
        "CreateTask",
        task_pb2.TaskCreateRequest(id=identifier(TASK, "facts.none")),
        INVALID,
        "missing spec",
    ),
    "workflow again": (
        "CreateWorkflow",
        flows.workflow_request(),
        EXISTS,
        "workflow with identical structure already exists",
    ),
    "workflow without template": (
        "CreateWorkflow",
        workflow_pb2.WorkflowCreateRequest(id=identifier(WORKFLOW, "facts.none")),
        INVALID,
        "missing spec",
    ),
    "plan again": (
        "CreateLaunchPlan",
        flows.plan_request(),
        EXISTS,
        "launch plan with identical structure already exists",
    ),
    "plan with unknown default": (
        "CreateLaunchPlan",
        plan(lambda request: flows.with_default(request, "nope", 1)),
        INVALID,
        "unexpected default_input nope",
    ),
    "plan with wrong fixed input": (
        "CreateLaunchPlan",
        plan(lambda request: request.spec.fixed_inputs.literals["a"].CopyFrom(flows.text("1"))),
        INVALID,
        "invalid fixed_input wrong type a, expected simple:INTEGER, got simple:STRING instead",
    ),
    "plan without workflow": (
        "CreateLaunchPlan",
        flows.plan_request(workflow="no.such"),
        NOT_FOUND,
        MISSING["WORKFLOW"],
    ),
    "plan with empty workflow id": (
        "CreateLaunchPlan",
        plan(lambda request: request.spec.ClearField("workflow_id")),
        INVALID,
        "missing id",
    ),
    "upload of nothing": (
        "CreateUploadLocation",
        dataproxy_pb2.CreateUploadLocationRequest(project=flows.PROJECT, domain=flows.DOMAIN),
        INVALID,
        "content_md5 or filename_root is a required parameter",
    ),
    "upload without project": (
        "CreateUploadLocation",
        dataproxy_pb2.CreateUploadLocationRequest(content_md5=bytes(16)),
        INVALID,
        "project and domain are required parameters",
    ),
    "upload for too long": (
        "CreateUploadLocation",
        dataproxy_pb2.CreateUploadLocationRequest(
            project=flows.PROJECT, domain=flows.DOMAIN, content_md5=bytes(16), expires_in=Duration(seconds=7200)
        ),
        INVALID,
        "expiresIn [2h0m0s] cannot exceed max allowed expiration [1h0m0s]",
    ),
    "upload out of its folder": (
        "CreateUploadLocation",
        dataproxy_pb2.CreateUploadLocationRequest(
            project=flows.PROJECT, domain="..", content_md5=bytes(16), filename="../../x"
        ),
        INVALID,
        f"[{'A' * 26}======/../../x] is no name for a blob",
    ),
    "download of nothing": (
        "CreateDownloadLocation",
        dataproxy_pb2.CreateDownloadLocationRequest(),
        INVALID,
        "error while validating request: native_url [] names no blob",
    ),
    "get data of a part": (
        "GetData",
        dataproxy_pb2.GetDataRequest(flyte_url="flyte://v1/a"),
        INVALID,
        "failed to parse artifact url Error: failed to parse [flyte://v1/a]",
    ),
    "get data of a missing execution": (
        "GetData",
        dataproxy_pb2.GetDataRequest(flyte_url="flyte://v1/flytesnacks/development/nosuch/n0/i"),
        NOT_FOUND,
        NO_NODE,
    ),
    "get data of a web page": (
        "GetData",
        dataproxy_pb2.GetDataRequest(flyte_url="http://x"),
        INVALID,
        "failed to validate resolve artifact request. Error: request does not start with the correct prefix",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_refusal_has_the_code_and_text_of_the_reference(edge: Edge, case: str) -> None:
    rpc, request, code, text = TABLE[case]
    stub = edge.data if hasattr(edge.data, rpc) else edge.admin
    # SDKs repeat what failed three times: the answer must not change.
    for _ in range(4):
        error = refusal(lambda: getattr(stub, rpc)(request))
        assert (error.code(), error.details()) == (code, text)


def test_unknown_executions_list_nothing(edge: Edge) -> None:
    nodes = node_execution_pb2.NodeExecutionListRequest(workflow_execution_id=execution_id(), limit=5)
    assert not edge.admin.ListNodeExecutions(nodes).node_executions
    attempts = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id(), limit=5)
    assert not edge.admin.ListTaskExecutions(attempts).task_executions
    assert not edge.admin.ListExecutions(listing(id=NamedId(project="zz", domain="zz"))).executions


def test_reregistered_workflows_carry_the_reason_as_detail(edge: Edge) -> None:
    error = refusal(lambda: edge.admin.CreateWorkflow(flows.workflow_request()))
    reason = detail(error, workflow_pb2.CreateWorkflowFailureReason)
    assert reason.exists_identical_structure.id.name == "facts.wf"
    error = refusal(lambda: edge.admin.CreateWorkflow(flows.workflow_request(length=3)))
    assert error.code() is INVALID
    assert error.details().startswith(
        "facts.wf workflow with different structure already exists. (Please register a new version of the workflow):\n/"
    )
    reason = detail(error, workflow_pb2.CreateWorkflowFailureReason)
    assert reason.exists_different_structure.id.version == "v1"


def test_terminating_a_finished_execution_says_where_it_stands(edge: Edge) -> None:
    request = execution_pb2.ExecutionTerminateRequest(id=execution_id("done"), cause="late")
    reason = detail(refusal(lambda: edge.admin.TerminateExecution(request)), event_pb2.EventFailureReason)
    assert reason.already_in_terminal_state.current_phase == "SUCCEEDED"


def test_workflows_that_do_not_compile_name_every_finding(edge: Edge) -> None:
    request = flows.workflow_request("facts.broken")
    request.spec.template.nodes[1].inputs[0].binding.promise.var = "nope"
    request.spec.template.nodes[0].inputs[0].var = "y"
    error = refusal(lambda: edge.admin.CreateWorkflow(request))
    assert error.code() is INVALID
    assert error.details().startswith(
        'failed to compile workflow for [resource_type:WORKFLOW project:"flytesnacks" domain:"development" '
        'name:"facts.broken" version:"v1"] with err: Collected Errors: 4\n\tError 0: Code: '
    )
    assert "VariableNameNotFound" in error.details()
    assert "ParameterNotBound" in error.details()


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
