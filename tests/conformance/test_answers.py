"""What the gRPC edge answers to right requests, through the wire."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from flyteidl.admin import (
    common_pb2,
    execution_pb2,
    launch_plan_pb2,
    node_execution_pb2,
    project_pb2,
    task_execution_pb2,
    version_pb2,
)
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf.duration_pb2 import Duration

import flyte_kernel
from flyte_kernel.adapters.grpc.executions import ExecutionCache
from flyte_kernel.engine import registration
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.ids import ExecutionId
from flyte_kernel.phases import AttemptPhase, NodePhase, RunPhase
from tests.support import flows
from tests.support.edge import Edge
from tests.support.fake_engine import SECOND
from tests.support.flows import LAUNCH_PLAN, TASK, identifier

NamedId = common_pb2.NamedEntityIdentifier
HERE = NamedId(project=flows.PROJECT, domain=flows.DOMAIN)
BASE = "s3://flyte/metadata/propeller/flytesnacks-development-ex"


@pytest.fixture
def edge() -> Iterator[Edge]:
    """A server of its own for each test."""
    edge = Edge()
    yield edge
    edge.close()


def get(resource_type: int, name: str) -> common_pb2.ObjectGetRequest:
    return common_pb2.ObjectGetRequest(id=identifier(resource_type, name))


def run(edge: Edge, name: str = "ex", plan: str = "facts.wf") -> ExecutionRecord:
    created = edge.admin.CreateExecution(flows.execution_request(name, plan, a=flows.integer(3)))
    return edge.engine.state.executions[ExecutionId(created.id.project, created.id.domain, created.id.name)]


def get_execution(edge: Edge, name: str = "ex") -> execution_pb2.Execution:
    request = execution_pb2.WorkflowExecutionGetRequest()
    request.id.project, request.id.domain, request.id.name = flows.PROJECT, flows.DOMAIN, name
    return edge.admin.GetExecution(request)


def node_id(node: str) -> identifier_pb2.NodeExecutionIdentifier:
    execution = identifier_pb2.WorkflowExecutionIdentifier(project=flows.PROJECT, domain=flows.DOMAIN, name="ex")
    return identifier_pb2.NodeExecutionIdentifier(node_id=node, execution_id=execution)


def list_nodes(edge: Edge, parent: str = "", **fields: object) -> node_execution_pb2.NodeExecutionList:
    request = node_execution_pb2.NodeExecutionListRequest(
        workflow_execution_id=node_id("").execution_id,
        unique_parent_id=parent,
        **{"limit": 100, **fields},  # type: ignore[arg-type]
    )
    return edge.admin.ListNodeExecutions(request)


def node_of(edge: Edge, record: ExecutionRecord, *path: str) -> int:
    scope = -1
    for step in path:
        scope = edge.engine.program(record.workflow).upstream_by_name(scope)[step]
    return scope


def test_entities_come_back_as_they_are_registered(edge: Edge) -> None:
    task = edge.admin.GetTask(get(TASK, "facts.inc"))
    assert task.closure.compiled_task.template == flows.task_request().spec.template
    assert task.closure.created_at.seconds == 1_700_000_000
    workflow = edge.admin.GetWorkflow(get(0, "facts.wf"))
    assert [node.id for node in workflow.closure.compiled_workflow.primary.template.nodes] == [
        "start-node",
        "end-node",
        "n0",
        "n1",
    ]
    plan = edge.admin.GetLaunchPlan(get(0, "facts.wf"))
    assert plan.closure.state == launch_plan_pb2.INACTIVE
    assert plan.spec.default_inputs.parameters["a"].required
    assert plan.closure.expected_outputs.variables["o0"].type.simple == 1


def test_listed_workflows_carry_their_interface_only(edge: Edge) -> None:
    for _ in range(2):
        page = edge.admin.ListWorkflows(common_pb2.ResourceListRequest(id=HERE, limit=5))
        closure = page.workflows[0].closure
        template = closure.compiled_workflow.primary.template
        assert (set(template.interface.inputs.variables), len(template.nodes)) == ({"a"}, 0)
        assert closure.created_at.seconds == 1_700_000_000


def test_launch_plans_are_activated_and_found(edge: Edge) -> None:
    request = launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(0, "facts.wf"), state=launch_plan_pb2.ACTIVE)
    for _ in range(4):
        edge.admin.UpdateLaunchPlan(request)
    name = NamedId(project=flows.PROJECT, domain=flows.DOMAIN, name="facts.wf")
    plan = edge.admin.GetActiveLaunchPlan(launch_plan_pb2.ActiveLaunchPlanRequest(id=name))
    assert (plan.id, plan.closure.state) == (identifier(LAUNCH_PLAN, "facts.wf"), launch_plan_pb2.ACTIVE)
    active = launch_plan_pb2.ActiveLaunchPlanListRequest(project=flows.PROJECT, domain=flows.DOMAIN, limit=5)
    assert [plan.id.name for plan in edge.admin.ListActiveLaunchPlans(active).launch_plans] == ["facts.wf"]


def test_tokens_are_offsets_and_a_full_page_has_one(edge: Edge) -> None:
    for index in range(3):
        edge.admin.CreateTask(flows.task_request(f"facts.t{index}"))
    seen, token = [], ""
    for expected in ("2", "4", ""):
        page = edge.admin.ListTasks(common_pb2.ResourceListRequest(id=HERE, limit=2, token=token))
        seen += [task.id.name for task in page.tasks]
        token = page.token
        assert token == expected
    assert seen == ["facts.inc", "facts.t0", "facts.t1", "facts.t2"]


def test_names_are_listed_once(edge: Edge) -> None:
    edge.admin.CreateTask(flows.task_request(version="v2"))
    request = common_pb2.NamedEntityIdentifierListRequest(project=flows.PROJECT, domain=flows.DOMAIN, limit=5)
    for listing in (edge.admin.ListTaskIds, edge.admin.ListWorkflowIds, edge.admin.ListLaunchPlanIds):
        assert len(listing(request).entities) == 1
    assert edge.admin.ListTaskIds(request).entities[0].name == "facts.inc"


def test_projects_domains_and_version(edge: Edge) -> None:
    projects = edge.admin.ListProjects(project_pb2.ProjectListRequest()).projects
    assert [project.id for project in projects] == ["flytesnacks"]
    assert [domain.id for domain in projects[0].domains] == ["development", "staging", "production"]
    assert edge.admin.GetProject(project_pb2.ProjectGetRequest(id="flytesnacks")) == projects[0]
    assert list(edge.admin.GetDomains(project_pb2.GetDomainRequest()).domains) == list(projects[0].domains)
    version = edge.admin.GetVersion(version_pb2.GetVersionRequest()).control_plane_version
    assert version.Version == flyte_kernel.__version__


def test_an_execution_is_seen_in_every_state_at_once(edge: Edge) -> None:
    """Answers are kept by version: each change must show in the very next call."""
    record = run(edge)
    for phase in (RunPhase.RUNNING, RunPhase.SUCCEEDING, RunPhase.SUCCEEDED):
        record.phase = int(phase)
        record.version += 1
        for _ in range(3):
            assert get_execution(edge).closure.phase == phase
    edge.engine.finish(record, RunPhase.SUCCEEDED)
    edge.engine.forget(record)
    assert get_execution(edge).closure.phase == RunPhase.SUCCEEDED
    update = execution_pb2.ExecutionUpdateRequest(id=get_execution(edge).id, state=execution_pb2.EXECUTION_ARCHIVED)
    edge.engine.state.executions[record.id] = record
    edge.admin.UpdateExecution(update)
    changes = get_execution(edge).closure.state_change_details
    assert changes.state == execution_pb2.EXECUTION_ARCHIVED


def test_an_answer_made_while_the_record_moved_on_is_not_kept() -> None:
    edge = Edge()
    try:
        record = run(edge)
    finally:
        edge.close()
    cache = ExecutionCache()
    version = record.version
    record.version += 1
    cache.put(record, version, b"old")
    assert cache.get(record) is None
    cache.put(record, record.version, b"new")
    assert cache.get(record) == b"new"


def test_executions_are_terminated(edge: Edge) -> None:
    run(edge)
    request = execution_pb2.ExecutionTerminateRequest(id=get_execution(edge).id, cause="enough")
    for _ in range(4):
        edge.admin.TerminateExecution(request)
    closure = get_execution(edge).closure
    assert (closure.phase, closure.abort_metadata.cause) == (core_execution_pb2.WorkflowExecution.ABORTING, "enough")


def test_running_and_finished_executions_are_listed_together(edge: Edge) -> None:
    finished = run(edge, "first")
    edge.engine.clock.advance(1)
    finished.error = core_execution_pb2.ExecutionError(message="m" * 500).SerializeToString()
    edge.engine.finish(finished, RunPhase.FAILED)
    edge.engine.forget(finished)
    run(edge, "second")
    request = common_pb2.ResourceListRequest(id=HERE, limit=2)
    request.sort_by.key = "created_at"
    page = edge.admin.ListExecutions(request)
    assert [execution.id.name for execution in page.executions] == ["second", "first"]
    assert page.token == "2"
    assert page.executions[1].closure.error.message == "m" * 100
    assert len(get_execution(edge, "first").closure.error.message) == 500


def test_an_execution_that_has_just_ended_is_listed_once(edge: Edge) -> None:
    """Whether the views know of it already or not."""
    told, untold = run(edge, "told"), run(edge, "untold")
    edge.engine.finish(told, RunPhase.SUCCEEDED)
    untold.phase = int(RunPhase.SUCCEEDED)
    page = edge.admin.ListExecutions(common_pb2.ResourceListRequest(id=HERE, limit=9))
    assert [execution.id.name for execution in page.executions] == ["told", "untold"]


def test_nodes_are_listed_level_by_level(edge: Edge) -> None:
    registration.register_workflow(edge.engine, flows.nested_request())
    registration.register_launch_plan(edge.engine, flows.plan_request("facts.outer", "facts.outer"))
    record = run(edge, plan="facts.outer")
    assert not list_nodes(edge).node_executions
    for path in (("start-node",), ("n0",), ("n0", "start-node"), ("n0", "n0")):
        edge.engine.clock.advance(1)
        edge.engine.set_node(record, node_of(edge, record, *path), NodePhase.RUNNING)
    assert [node.id.node_id for node in list_nodes(edge).node_executions] == ["n0", "start-node"]
    children = list_nodes(edge, "n0").node_executions
    assert [node.id.node_id for node in children] == ["n0-0-n0", "n0-0-start-node"]
    assert [node.metadata.spec_node_id for node in children] == ["n0", "start-node"]
    assert not list_nodes(edge, "n0-0-n0").node_executions
    ascending = common_pb2.Sort(key="created_at", direction=common_pb2.Sort.ASCENDING)
    page = list_nodes(edge, sort_by=ascending, limit=1)
    assert ([node.id.node_id for node in page.node_executions], page.token) == (["start-node"], "1")
    page = list_nodes(edge, sort_by=ascending, limit=1, token="1")
    assert ([node.id.node_id for node in page.node_executions], page.token) == (["n0"], "2")
    request = node_execution_pb2.NodeExecutionGetRequest(id=node_id("n0-0-n0"))
    assert edge.admin.GetNodeExecution(request) == children[0]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("eq(phase,RUNNING)", {"n0"}),
        ("value_in(phase,SUCCEEDED;FAILED)", {"start-node", "n1"}),
        ("eq(node_id,n1)+eq(error_code,USER:Bad)", {"n1"}),
        ("eq(error_kind,SYSTEM)", set()),
        ("gt(duration,1.5)", {"n1"}),
        ("eq(execution.phase,RUNNING)+ne(node_id,n0)", {"start-node", "n1"}),
        ("eq(execution.phase,FAILED)", set()),
        ("contains(node_id,node)", {"start-node"}),
        ("gte(created_at,2023-11-14T22:13:21Z)", {"n1"}),
    ],
)
def test_nodes_are_filtered(edge: Edge, filters: str, expected: set[str]) -> None:
    record = run(edge)
    edge.engine.set_node(record, node_of(edge, record, "start-node"), NodePhase.SUCCEEDED, started=False)
    edge.engine.set_node(record, node_of(edge, record, "n0"), NodePhase.RETRYING)  # the core's own: shows as RUNNING
    node = node_of(edge, record, "n1")
    edge.engine.clock.advance(SECOND)
    edge.engine.set_node(record, node, NodePhase.RUNNING)
    edge.engine.clock.advance(2 * SECOND)
    edge.engine.set_node(record, node, NodePhase.FAILED)
    record.nodes.error[node] = core_execution_pb2.ExecutionError(code="USER:Bad").SerializeToString()
    assert {row.id.node_id for row in list_nodes(edge, filters=filters).node_executions} == expected


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("eq(retry_attempt,1)", [1]),
        ("eq(phase,FAILED)", [0]),
        ("eq(task.name,facts.inc)+eq(node_execution.phase,RUNNING)", [0, 1]),
        ("eq(task.version,v2)", []),
        ("eq(execution_name,ex)+lt(retry_attempt,1)", [0]),
    ],
)
def test_attempts_are_filtered(edge: Edge, filters: str, expected: list[int]) -> None:
    record = run(edge)
    node = node_of(edge, record, "n0")
    edge.engine.set_node(record, node, NodePhase.RUNNING, attempt=1)
    for attempt, phase in enumerate((AttemptPhase.FAILED, AttemptPhase.RUNNING)):
        record.attempts.launch(node, attempt, edge.engine.clock())
        record.attempts.phase[attempt] = int(phase)
    request = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("n0"), limit=9, filters=filters)
    listed = edge.admin.ListTaskExecutions(request).task_executions
    assert [task.id.retry_attempt for task in listed] == expected


def test_projects_are_filtered(edge: Edge) -> None:
    for filters, count in (("eq(identifier,flytesnacks)", 1), ("eq(identifier,other)", 0), ("eq(state,0)", 1)):
        assert len(edge.admin.ListProjects(project_pb2.ProjectListRequest(filters=filters)).projects) == count


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"filters": "eq(phase"}, "invalid value for filters"),
        ({"filters": "foo(phase,x)"}, "unrecognized filter function: foo"),
        ({"filters": "eq(nope,x)"}, "'ne.nope' is invalid filter"),
        ({"filters": "eq(workflow.name,x)"}, "'w' entity is not allowed in filters"),
        ({"sort_by": common_pb2.Sort(key="nope")}, "invalid sort key 'nope'"),
        ({"token": "x"}, "invalid pagination token x for ListNodeExecutions"),
        ({"limit": 0}, "invalid value for limit"),
    ],
)
def test_wrong_listings_of_nodes_are_refused(edge: Edge, fields: dict[str, object], text: str) -> None:
    run(edge)
    with pytest.raises(grpc.RpcError) as caught:
        list_nodes(edge, **fields)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)


def test_attempts_are_listed_and_read(edge: Edge) -> None:
    record = run(edge)
    node = node_of(edge, record, "n0")
    edge.engine.set_node(record, node, NodePhase.SUCCEEDED, attempt=1)
    for attempt, phase in enumerate((AttemptPhase.FAILED, AttemptPhase.SUCCEEDED)):
        record.attempts.launch(node, attempt, edge.engine.clock())
        record.attempts.phase[attempt] = int(phase)
    edge.engine.blobs.write(f"{BASE}/n0/data/1/outputs.pb", flows.literal_map(o0=flows.integer(4)).SerializeToString())
    listing = task_execution_pb2.TaskExecutionListRequest(node_execution_id=node_id("n0"), limit=100)
    listed = edge.admin.ListTaskExecutions(listing).task_executions
    assert [(task.id.retry_attempt, task.closure.phase) for task in listed] == [(0, 5), (1, 3)]
    second = listed[1].id
    assert edge.admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=second)) == listed[1]
    data = edge.admin.GetTaskExecutionData(task_execution_pb2.TaskExecutionGetDataRequest(id=second))
    assert data.full_outputs == flows.literal_map(o0=flows.integer(4))
    second.task_id.name = "facts.other"
    with pytest.raises(grpc.RpcError, match="missing entity of type task execution"):
        edge.admin.GetTaskExecution(task_execution_pb2.TaskExecutionGetRequest(id=second))


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("start-node/o", flows.literal_map(a=flows.integer(3))),
        ("n0/i", flows.literal_map(x=flows.integer(3))),
        ("n0/o", flows.literal_map(o0=flows.integer(4))),
        ("n0/0/o", flows.literal_map(o0=flows.integer(4))),
        ("n0/o/o0", flows.integer(4)),
        ("n0/0/i/x", flows.integer(3)),
        ("n0/7/i", "no task executions were listed [flyte://v1/flytesnacks/development/ex/n0/7/i]"),
        ("n0/o/o9", "name [o9] not found in [flyte://v1/flytesnacks/development/ex/n0/o/o9]"),
        ("n0/d", "no deck for node execution [n0] of execution [ex]"),
    ],
)
def test_data_is_read_by_url(edge: Edge, tail: str, expected: object) -> None:
    record = run(edge)
    for name in ("start-node", "n0"):
        edge.engine.set_node(record, node_of(edge, record, name), NodePhase.SUCCEEDED)
    record.attempts.launch(node_of(edge, record, "n0"), 0, edge.engine.clock())
    record.attempts.phase[0] = int(AttemptPhase.SUCCEEDED)
    edge.engine.blobs.write(f"{BASE}/n0/data/inputs.pb", flows.literal_map(x=flows.integer(3)).SerializeToString())
    edge.engine.blobs.write(f"{BASE}/n0/data/0/outputs.pb", flows.literal_map(o0=flows.integer(4)).SerializeToString())
    request = dataproxy_pb2.GetDataRequest(flyte_url=f"flyte://v1/flytesnacks/development/ex/{tail}")
    if isinstance(expected, str):
        with pytest.raises(grpc.RpcError) as caught:
            edge.data.GetData(request)
        assert caught.value.details() == expected
        return
    answer = edge.data.GetData(request)
    assert getattr(answer, answer.WhichOneof("data")) == expected


def test_code_is_uploaded_under_its_digest(edge: Edge) -> None:
    digest = hashlib.md5(b"code", usedforsecurity=False).digest()
    request = dataproxy_pb2.CreateUploadLocationRequest(
        project=flows.PROJECT,
        domain=flows.DOMAIN,
        filename="fast.tar.gz",
        content_md5=digest,
        add_content_md5_metadata=True,
        expires_in=Duration(seconds=60),
    )
    answer = edge.data.CreateUploadLocation(request)
    folder = base64.b32encode(digest).decode()
    assert answer.native_url == f"s3://flyte/flytesnacks/development/{folder}/fast.tar.gz"
    text = base64.b64encode(digest).decode()
    assert dict(answer.headers) == {"Content-MD5": text, "x-amz-meta-flyteContentMD5": text}
    assert answer.signed_url.startswith(f"{answer.native_url}?method=PUT&expires=60&md5={digest.hex()}")
    assert answer.expires_at.seconds > 0


def test_files_are_uploaded_under_a_name_once(edge: Edge) -> None:
    def location(**fields: object) -> dataproxy_pb2.CreateUploadLocationResponse:
        request = dataproxy_pb2.CreateUploadLocationRequest(
            project=flows.PROJECT,
            domain=flows.DOMAIN,
            **{"filename_root": "folder/deep", **fields},  # type: ignore[arg-type]
        )
        return edge.data.CreateUploadLocation(request)

    first, second = location(), location()
    assert first.native_url != second.native_url
    assert len(first.native_url.rpartition("/")[2]) == 20
    assert not first.headers
    named = location(filename="data.csv")
    assert named.native_url == "s3://flyte/flytesnacks/development/folder/deep/data.csv"
    edge.engine.blobs.write(named.native_url, b"rows")
    for digest in (b"", hashlib.md5(b"other", usedforsecurity=False).digest()):
        with pytest.raises(grpc.RpcError, match="specify a matching hash if you wish to rewrite"):
            location(filename="data.csv", content_md5=digest)
    same = hashlib.md5(b"rows", usedforsecurity=False).digest()
    assert location(filename="data.csv", content_md5=same).native_url == named.native_url


def test_blobs_are_downloaded_by_link(edge: Edge) -> None:
    request = dataproxy_pb2.CreateDownloadLocationRequest(native_url="s3://flyte/x", expires_in=Duration(seconds=5))
    assert edge.data.CreateDownloadLocation(request).signed_url == "s3://flyte/x?method=GET&expires=5"
    request.expires_in.seconds = 3601
    with pytest.raises(grpc.RpcError, match=r"cannot exceed max allowed expiration \[1h0m0s\]"):
        edge.data.CreateDownloadLocation(request)


def test_many_clients_at_once_get_their_own_answers(edge: Edge) -> None:
    def work(index: int) -> str:
        created = edge.admin.CreateExecution(flows.execution_request(f"ex{index}", a=flows.integer(index)))
        request = execution_pb2.WorkflowExecutionGetDataRequest(id=created.id)
        literal = edge.admin.GetExecutionData(request).full_inputs.literals["a"]
        assert get_execution(edge, created.id.name).id == created.id
        return f"ex{literal.scalar.primitive.integer}"

    with ThreadPoolExecutor(32) as pool:
        names = list(pool.map(work, range(200)))
    assert names == [f"ex{index}" for index in range(200)]


def test_calls_in_flight_are_answered_while_the_server_drains(edge: Edge) -> None:
    reached, waiting = [], []

    def drain_meanwhile() -> None:
        waiting.append(pool.submit(edge.server.close))
        reached.append(True)

    with ThreadPoolExecutor(1) as pool:
        edge.engine.fault = drain_meanwhile
        edge.admin.CreateTask(flows.task_request("facts.last"))
        waiting[0].result(timeout=30)
    assert reached == [True]
    with pytest.raises(grpc.RpcError) as caught:
        edge.admin.GetTask(get(TASK, "facts.last"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
