"""Listings through the wire over the real engine and the real store: pages, filters, orders and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2

from flyte_kernel.engine.validation import execution_key
from flyte_kernel.store.duckdb_views import DuckDBViews
from tests.support import flows
from tests.support.flows import LAUNCH_PLAN, identifier
from tests.support.world import OUTPUTS, World

HERE = common_pb2.NamedEntityIdentifier(project=flows.PROJECT, domain=flows.DOMAIN)
Phase = core_execution_pb2.WorkflowExecution


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three executions: `first` has succeeded, `second` runs, `third` was archived after it had succeeded."""
    world = World({"n0-0-n0": OUTPUTS}, DuckDBViews(tmp_path_factory.mktemp("views")))
    first = world.create("first", "facts.outer")
    world.wait(first, Phase.SUCCEEDED)
    world.create("second")
    third = world.create("third", "facts.outer")
    world.wait(third, Phase.SUCCEEDED)
    update = execution_pb2.ExecutionUpdateRequest(id=third, state=execution_pb2.EXECUTION_ARCHIVED)
    world.admin.UpdateExecution(update)
    world.admin.CreateTask(flows.task_request("facts.b"))
    world.admin.CreateTask(flows.task_request("facts.b", version="v2"))
    plan = identifier(LAUNCH_PLAN, "facts.wf")
    world.admin.UpdateLaunchPlan(launch_plan_pb2.LaunchPlanUpdateRequest(id=plan, state=launch_plan_pb2.ACTIVE))
    yield world
    world.close()


def listing(**fields: object) -> common_pb2.ResourceListRequest:
    return common_pb2.ResourceListRequest(**{"id": HERE, "limit": 100, **fields})  # type: ignore[arg-type]


def by(key: str, *, ascending: bool = False) -> common_pb2.Sort:
    direction = common_pb2.Sort.ASCENDING if ascending else common_pb2.Sort.DESCENDING
    return common_pb2.Sort(key=key, direction=direction)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["first", "second"]),
        ({"filters": "eq(state,1)"}, ["third"]),
        ({"filters": "value_in(state,0;1)", "sort_by": by("created_at")}, ["third", "second", "first"]),
        ({"filters": "eq(phase,RUNNING)"}, ["second"]),
        ({"filters": "eq(phase,SUCCEEDED)"}, ["first"]),
        ({"filters": "eq(workflow.name,facts.outer)"}, ["first"]),
        ({"filters": "eq(launch_plan.name,facts.wf)+contains(execution_name,eco)"}, ["second"]),
        ({"sort_by": by("execution_name"), "limit": 1}, ["second"]),
        ({"sort_by": by("execution_name"), "limit": 1, "token": "1"}, ["first"]),
        ({"id": common_pb2.NamedEntityIdentifier(project=flows.PROJECT, domain="staging")}, []),
    ],
)
def test_executions_are_listed(world: World, fields: dict[str, object], expected: list[str]) -> None:
    page = world.admin.ListExecutions(listing(**fields))
    assert [execution.id.name for execution in page.executions] == expected


def test_a_listed_execution_is_the_one_that_is_read(world: World) -> None:
    page = world.admin.ListExecutions(listing())
    assert list(page.executions) == [world.get(execution.id) for execution in page.executions]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["facts.inc v1", "facts.b v1", "facts.b v2"]),
        ({"sort_by": by("created_at"), "limit": 1}, ["facts.b v2"]),
        ({"filters": "eq(version,v1)", "sort_by": by("name", ascending=True)}, ["facts.b v1", "facts.inc v1"]),
        ({"filters": "ne(name,facts.b)"}, ["facts.inc v1"]),
    ],
)
def test_tasks_are_listed(world: World, fields: dict[str, object], expected: list[str]) -> None:
    page = world.admin.ListTasks(listing(**fields))
    assert [f"{task.id.name} {task.id.version}" for task in page.tasks] == expected


def test_launch_plans_are_found_by_state_and_by_workflow(world: World) -> None:
    def names(filters: str) -> list[str]:
        return [plan.id.name for plan in world.admin.ListLaunchPlans(listing(filters=filters)).launch_plans]

    assert names("eq(state,1)") == ["facts.wf"]
    assert names("eq(workflow.name,facts.outer)") == ["facts.outer"]
    active = launch_plan_pb2.ActiveLaunchPlanListRequest(project=flows.PROJECT, domain=flows.DOMAIN, limit=5)
    assert [plan.id.name for plan in world.admin.ListActiveLaunchPlans(active).launch_plans] == ["facts.wf"]


def test_names_are_listed_once(world: World) -> None:
    request = common_pb2.NamedEntityIdentifierListRequest(project=flows.PROJECT, domain=flows.DOMAIN, limit=9)
    request.sort_by.CopyFrom(by("name", ascending=True))
    assert [entity.name for entity in world.admin.ListTaskIds(request).entities] == ["facts.b", "facts.inc"]
    request.sort_by.key = "created_at"
    with pytest.raises(grpc.RpcError, match="invalid sort key 'created_at'"):
        world.admin.ListTaskIds(request)


@pytest.mark.parametrize(
    ("rpc", "fields", "text"),
    [
        ("ListTasks", {"sort_by": by("nope")}, "invalid sort key 'nope'"),
        ("ListTasks", {"filters": "eq(phase"}, "invalid value for filters"),
        ("ListTasks", {"filters": "foo(name,x)"}, "unrecognized filter function: foo"),
        ("ListTasks", {"filters": "EQ(name,x)"}, "unrecognized filter function: EQ"),
        ("ListTasks", {"filters": "eq(nope,x)"}, "'t.nope' is invalid filter"),
        ("ListTasks", {"filters": "eq(workflow.name,x)"}, "'w' entity is not allowed in filters"),
        ("ListExecutions", {"filters": "eq(name,x)"}, "'e.name' is invalid filter"),
        ("ListExecutions", {"filters": "gt(duration,abc)"}, "Failed to parse duration [abc]"),
        ("ListExecutions", {"filters": "eq(node_execution.phase,x)"}, "'ne' entity is not allowed in filters"),
        ("ListWorkflows", {"token": "abc"}, "invalid pagination token abc for ListWorkflows"),
        ("ListLaunchPlans", {"limit": 0}, "invalid value for limit"),
    ],
)
def test_wrong_listings_are_refused(world: World, rpc: str, fields: dict[str, object], text: str) -> None:
    for _ in range(4):
        with pytest.raises(grpc.RpcError) as caught:
            getattr(world.admin, rpc)(listing(**fields))
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)


@pytest.mark.parametrize("filters", ["eq(name,a;b)", "eq(created_at,zzz)", "eq(name,')", 'eq(name,x") OR 1=1 --)'])
def test_no_filter_is_answered_with_unknown_or_internal(world: World, filters: str) -> None:
    """Some of these are UNKNOWN in the reference, which SDKs take for a demand to log in."""
    call = world.admin.ListTasks.future(listing(filters=filters))
    assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
    if call.code() is grpc.StatusCode.OK:
        assert not call.result().tasks


def test_an_execution_that_memory_has_let_go_of_is_archived_in_the_store(tmp_path: Path) -> None:
    world = World({"n0-0-n0": OUTPUTS}, DuckDBViews(tmp_path))
    try:
        id = world.create("old", "facts.outer")
        before = world.wait(id, Phase.SUCCEEDED)
        world.views.flush()
        world.engine.state.forget(world.engine.state.executions[execution_key(id)])
        assert world.get(id) == before
        for state in (execution_pb2.EXECUTION_ARCHIVED, execution_pb2.EXECUTION_ACTIVE):
            world.admin.UpdateExecution(execution_pb2.ExecutionUpdateRequest(id=id, state=state))
            world.views.flush()
            after = world.get(id)
            assert after.closure.state_change_details.state == state
            listed = world.admin.ListExecutions(listing(filters=f"eq(state,{int(state)})")).executions
            assert [execution.id.name for execution in listed] == ["old"]
        after.closure.state_change_details.CopyFrom(before.closure.state_change_details)
        assert after == before
        assert {node.id.node_id for node in world.nodes(id).values()} == {"start-node", "n0", "end-node"}
    finally:
        world.close()
