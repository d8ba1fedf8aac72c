"""What the gRPC edge answers to wrong requests: codes and texts of a running Flyte 1, and nothing it cannot explain."""

from __future__ import annotations

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
from flyteidl.service import dataproxy_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import status_pb2

from tests.support import flows
from tests.support.edge import Edge
from tests.support.flows import LAUNCH_PLAN, TASK, WORKFLOW, identifier
from tests.support.refusals import get, listing, refusal, stocked_edge

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
    edge = stocked_edge()
    yield edge
    edge.close()


def detail(error: grpc.RpcError, kind: type[Detail]) -> Detail:
    """Return the typed detail of an error, whose status must agree with it."""
    trailers = dict(error.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    message = kind()
    assert status.details[0].Unpack(message)
    return message


def execution_id(name: str = "nosuch") -> identifier_pb2.WorkflowExecutionIdentifier:
    return identifier_pb2.WorkflowExecutionIdentifier(project=flows.PROJECT, domain=flows.DOMAIN, name=name)


def node_id(node: str = "n0", execution: str = "nosuch") -> identifier_pb2.NodeExecutionIdentifier:
    return identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution_id(execution))


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
