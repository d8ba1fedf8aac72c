"""Registration: what is stored, what a second registration comes to, which launch plan is active."""

from __future__ import annotations

import pytest
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, types_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.engine import registration
from flyte_kernel.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, UnsupportedError
from flyte_kernel.ids import EntityId, NamedEntityId
from tests.support import flows
from tests.support.fake_engine import FakeEngine
from tests.support.flows import LAUNCH_PLAN, TASK, WORKFLOW, identifier

NAME = NamedEntityId(flows.PROJECT, flows.DOMAIN, "facts.wf")


@pytest.fixture
def engine() -> FakeEngine:
    """An engine that knows one task."""
    engine = FakeEngine()
    registration.register_task(engine, flows.task_request())
    return engine


def key(resource_type: int, name: str, version: str = flows.VERSION) -> EntityId:
    return entity_id(identifier(resource_type, name, version))


def activate(engine: FakeEngine, version: str, state: int = launch_plan_pb2.ACTIVE) -> None:
    request = launch_plan_pb2.LaunchPlanUpdateRequest(id=identifier(LAUNCH_PLAN, "facts.wf", version))
    request.state = state  # type: ignore[assignment]
    registration.set_launch_plan_state(engine, request)


def test_the_stored_template_carries_the_id_of_the_request(engine: FakeEngine) -> None:
    request = flows.task_request("facts.other")
    request.spec.template.id.name = "somebody.else"
    request.id.org = "ignored"
    request.spec.description.short_description = "adds one"
    registration.register_task(engine, request)
    entity = engine.state.registry.tasks[key(TASK, "facts.other")]
    compiled = task_pb2.TaskClosure.FromString(entity.closure).compiled_task
    assert compiled.template.id == identifier(TASK, "facts.other")
    assert (entity.short_description, entity.created_at) == ("adds one", engine.clock())


def test_a_compiled_workflow_knows_tasks_and_subworkflows(engine: FakeEngine) -> None:
    registration.register_workflow(engine, flows.nested_request())
    entity = engine.state.registry.workflows[key(WORKFLOW, "facts.outer")]
    closure = workflow_pb2.WorkflowClosure.FromString(entity.closure).compiled_workflow
    assert [node.id for node in closure.primary.template.nodes] == ["start-node", "end-node", "n0"]
    assert [task.template.id.name for task in closure.tasks] == ["facts.inc"]
    assert [inner.template.id.name for inner in closure.sub_workflows] == ["facts.inner"]
    assert engine.program(entity.id).graph.node_count == 6


def test_upstream_ids_in_another_order_are_the_same_workflow(engine: FakeEngine) -> None:
    request = flows.workflow_request(length=3)
    request.spec.template.nodes[2].upstream_node_ids.append("n0")
    registration.register_workflow(engine, request)
    again = flows.workflow_request(length=3)
    again.spec.template.nodes[2].upstream_node_ids.insert(0, "n0")
    with pytest.raises(AlreadyExistsError):
        registration.register_workflow(engine, again)


def test_an_identical_registration_never_reaches_the_loop(engine: FakeEngine) -> None:
    def fail() -> None:
        raise AssertionError("committed")

    engine.fault = fail
    with pytest.raises(AlreadyExistsError, match="task with identical structure already exists"):
        registration.register_task(engine, flows.task_request())


def test_of_two_registrations_at_once_the_second_is_told_the_truth(engine: FakeEngine) -> None:
    """The other one slips in between the first look and the decision."""

    def other_first() -> None:
        engine.fault = None
        registration.register_task(engine, flows.task_request("facts.race", image="theirs"))

    engine.fault = other_first
    with pytest.raises(InvalidArgumentError, match="different structure"):
        registration.register_task(engine, flows.task_request("facts.race", image="ours"))
    engine.state.registry.tasks.pop(key(TASK, "facts.race"))
    engine.fault = other_first
    with pytest.raises(AlreadyExistsError):
        registration.register_task(engine, flows.task_request("facts.race", image="theirs"))


def test_a_missing_task_is_the_workflows_fault() -> None:
    with pytest.raises(InvalidArgumentError, match=r"(?s)failed to compile workflow for .*TaskReferenceNotFound"):
        registration.register_workflow(FakeEngine(), flows.workflow_request())


def test_a_launch_plan_is_completed_with_the_open_inputs_of_its_workflow(engine: FakeEngine) -> None:
    request = flows.workflow_request()
    request.spec.template.interface.inputs.variables["b"].type.simple = types_pb2.STRING
    registration.register_workflow(engine, request)
    registration.register_launch_plan(engine, flows.with_default(flows.plan_request(), "a", 7))
    entity = engine.state.registry.launch_plans[key(LAUNCH_PLAN, "facts.wf")]
    spec = launch_plan_pb2.LaunchPlanSpec.FromString(entity.spec)
    closure = launch_plan_pb2.LaunchPlanClosure.FromString(entity.closure)
    assert spec.default_inputs == closure.expected_inputs
    assert closure.expected_inputs.parameters["a"].default == flows.integer(7)
    assert closure.expected_inputs.parameters["b"].required
    assert set(closure.expected_outputs.variables) == {"o0"}
    assert not entity.active


def test_a_launch_plan_needs_its_workflow_before_anything_else(engine: FakeEngine) -> None:
    request = flows.plan_request()
    request.ClearField("id")
    with pytest.raises(NotFoundError, match="missing entity of type WORKFLOW"):
        registration.register_launch_plan(engine, request)


def test_activating_a_version_deactivates_the_other(engine: FakeEngine) -> None:
    registration.register_workflow(engine, flows.workflow_request())
    for version in ("v1", "v2"):
        request = flows.plan_request()
        request.id.version = version
        registration.register_launch_plan(engine, request)
    plans, active = engine.state.registry.launch_plans, engine.state.registry.active_launch_plans
    for version in ("v1", "v2", "v2"):
        activate(engine, version)
    states = [plans[key(LAUNCH_PLAN, "facts.wf", version)].active for version in ("v1", "v2")]
    assert (states, active[NAME].version) == ([False, True], "v2")
    activate(engine, "v1", launch_plan_pb2.INACTIVE)
    assert active[NAME].version == "v2"
    activate(engine, "v2", launch_plan_pb2.INACTIVE)
    assert NAME not in active


def test_a_schedule_that_would_never_fire_cannot_be_activated(engine: FakeEngine) -> None:
    registration.register_workflow(engine, flows.workflow_request())
    request = flows.with_default(flows.plan_request(), "a", 1)
    request.spec.entity_metadata.schedule.cron_schedule.schedule = "@hourly"
    registration.register_launch_plan(engine, request)
    with pytest.raises(UnsupportedError, match=r"launch plan facts\.wf has a schedule"):
        activate(engine, "v1")
    activate(engine, "v1", launch_plan_pb2.INACTIVE)


@pytest.mark.parametrize("field", ["project", "domain", "name", "version"])
def test_identifiers_are_complete(engine: FakeEngine, field: str) -> None:
    for register, request in (
        (registration.register_task, flows.task_request()),
        (registration.register_workflow, flows.workflow_request()),
    ):
        request.id.ClearField(field)  # type: ignore[attr-defined]
        with pytest.raises(InvalidArgumentError, match=f"^missing {field}$"):
            register(engine, request)  # type: ignore[operator]


def test_types_of_identifiers_are_checked_before_their_fields(engine: FakeEngine) -> None:
    request = flows.task_request()
    request.id.Clear()
    request.id.resource_type = identifier_pb2.LAUNCH_PLAN
    text = r"unexpected resource type launch_plan for identifier \[resource_type:LAUNCH_PLAN\], expected task instead"
    with pytest.raises(InvalidArgumentError, match=text):
        registration.register_task(engine, request)
