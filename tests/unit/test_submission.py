"""Starting and stopping executions: inputs, names, the stored spec, what the core is told."""

from __future__ import annotations

import re

import pytest
from flyteidl.admin import execution_pb2, launch_plan_pb2
from flyteidl.core import literals_pb2, workflow_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.engine import registration, submission
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.turns import NEW_RUN, NO_NODE, Event
from flyte_kernel.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from flyte_kernel.ids import ExecutionId
from flyte_kernel.phases import EventKind, RunPhase
from tests.support import flows
from tests.support.fake_engine import FakeEngine
from tests.support.flows import LAUNCH_PLAN, TASK, WORKFLOW, identifier

Spec = execution_pb2.ExecutionSpec


@pytest.fixture
def engine() -> FakeEngine:
    """An engine with task, workflow and launch plan."""
    engine = FakeEngine()
    registration.register_task(engine, flows.task_request())
    registration.register_workflow(engine, flows.workflow_request())
    registration.register_launch_plan(engine, flows.plan_request())
    return engine


def create(engine: FakeEngine, request: execution_pb2.ExecutionCreateRequest) -> ExecutionRecord:
    return engine.state.executions[submission.create_execution(engine, request)]


def plan(engine: FakeEngine, name: str, spec: launch_plan_pb2.LaunchPlanSpec) -> None:
    request = flows.plan_request(name)
    request.spec.MergeFrom(spec)
    registration.register_launch_plan(engine, request)


def values(data: bytes) -> dict[str, int]:
    literals = literals_pb2.LiteralMap.FromString(data).literals
    return {name: literal.scalar.primitive.integer for name, literal in literals.items()}


def terminate(engine: FakeEngine, id: ExecutionId, cause: str = "enough") -> None:
    request = execution_pb2.ExecutionTerminateRequest(cause=cause)
    request.id.project, request.id.domain, request.id.name = id
    submission.terminate_execution(engine, request)


def test_the_stored_spec_is_the_requests_completed(engine: FakeEngine) -> None:
    request = flows.execution_request("ex", a=flows.integer(3))
    request.spec.inputs.literals["a"].CopyFrom(flows.integer(9))
    request.spec.metadata.system_metadata.execution_cluster = "claimed"
    record = create(engine, request)
    spec = Spec.FromString(record.spec)
    assert spec.metadata.principal == ""
    assert spec.metadata.system_metadata.namespace == "flytesnacks-development"
    assert spec.metadata.system_metadata.execution_cluster == ""
    assert (spec.max_parallelism, spec.HasField("inputs")) == (25, False)
    assert spec.security_context.HasField("run_as")
    assert spec.HasField("labels")
    assert spec.WhichOneof("notification_overrides") == "disable_all"
    assert (record.launch_entity, record.workflow) == (
        entity_id(identifier(LAUNCH_PLAN, "facts.wf")),
        entity_id(identifier(WORKFLOW, "facts.wf")),
    )
    assert (values(record.inputs), values(record.user_inputs)) == ({"a": 3}, {"a": 3})
    assert engine.events == [Event(int(EventKind.RUN_CREATED), NEW_RUN, NO_NODE, attempt=25, argument=0)]


def test_inputs_may_still_come_in_the_spec(engine: FakeEngine) -> None:
    request = flows.execution_request()
    request.spec.inputs.literals["a"].CopyFrom(flows.integer(9))
    assert values(create(engine, request).inputs) == {"a": 9}


def test_defaults_and_fixed_inputs_join_what_was_given(engine: FakeEngine) -> None:
    workflow = flows.workflow_request("facts.three")
    for name in ("b", "c"):
        workflow.spec.template.interface.inputs.variables[name].CopyFrom(
            workflow.spec.template.interface.inputs.variables["a"]
        )
    registration.register_workflow(engine, workflow)
    request = flows.with_default(flows.plan_request("facts.three", "facts.three"), "b", 2)
    request.spec.fixed_inputs.literals["c"].CopyFrom(flows.integer(3))
    registration.register_launch_plan(engine, request)
    record = create(engine, flows.execution_request(plan="facts.three", a=flows.integer(1)))
    assert (values(record.inputs), values(record.user_inputs)) == ({"a": 1, "b": 2, "c": 3}, {"a": 1})


def test_the_launch_plan_decides_what_the_request_leaves_open(engine: FakeEngine) -> None:
    spec = launch_plan_pb2.LaunchPlanSpec(max_parallelism=4, overwrite_cache=True)
    spec.raw_output_data_config.output_location_prefix = "s3://raw"
    spec.envs.values.add(key="A", value="1")
    spec.interruptible.value = True
    spec.security_context.run_as.k8s_service_account = "plan"
    spec.labels.values["team"] = "plans"
    plan(engine, "facts.full", spec)
    stored = Spec.FromString(create(engine, flows.execution_request(plan="facts.full", a=flows.integer(1))).spec)
    assert (stored.max_parallelism, stored.overwrite_cache, stored.interruptible.value) == (4, True, True)
    assert stored.raw_output_data_config.output_location_prefix == "s3://raw"
    assert [(pair.key, pair.value) for pair in stored.envs.values] == [("A", "1")]
    assert stored.security_context.run_as.k8s_service_account == "plan"
    assert not stored.labels.values  # the reference keeps a launch plan's labels to itself

    request = flows.execution_request(plan="facts.full", a=flows.integer(1))
    request.spec.max_parallelism = 7
    request.spec.interruptible.value = False
    request.spec.raw_output_data_config.output_location_prefix = "s3://mine"
    request.spec.security_context.run_as.iam_role = "mine"
    stored = Spec.FromString(create(engine, request).spec)
    assert (stored.max_parallelism, stored.interruptible.value) == (7, False)
    assert stored.raw_output_data_config.output_location_prefix == "s3://mine"
    run_as = stored.security_context.run_as
    assert (run_as.iam_role, run_as.k8s_service_account) == ("mine", "")


def test_an_old_auth_role_fills_the_security_context(engine: FakeEngine) -> None:
    request = flows.execution_request(a=flows.integer(1))
    request.spec.auth_role.kubernetes_service_account = "old"
    stored = Spec.FromString(create(engine, request).spec)
    assert stored.security_context.run_as.k8s_service_account == "old"


def test_generated_names_follow_the_reference(engine: FakeEngine) -> None:
    names = {create(engine, flows.execution_request(a=flows.integer(1))).id.name for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch("a[bcdfghjklmnpqrstvwxz2456789]{19}", name) for name in names)


def test_upper_case_names_are_kept(engine: FakeEngine) -> None:
    assert create(engine, flows.execution_request("UpPer", a=flows.integer(1))).id.name == "UpPer"


def test_names_are_taken_for_good(engine: FakeEngine) -> None:
    record = create(engine, flows.execution_request("once", a=flows.integer(1)))
    for step in (lambda: None, lambda: engine.finish(record, RunPhase.FAILED), lambda: engine.forget(record)):
        step()
        with pytest.raises(AlreadyExistsError, match="executions_pkey"):
            submission.create_execution(engine, flows.execution_request("once", a=flows.integer(2)))
    request = flows.execution_request("once", a=flows.integer(1))
    request.domain = "staging"
    assert create(engine, request).id.domain == "staging"


def test_of_two_requests_for_a_name_at_once_one_wins(engine: FakeEngine) -> None:
    def other_first() -> None:
        engine.fault = None
        submission.create_execution(engine, flows.execution_request("race", a=flows.integer(1)))

    engine.fault = other_first
    with pytest.raises(AlreadyExistsError):
        submission.create_execution(engine, flows.execution_request("race", a=flows.integer(2)))
    assert values(engine.state.executions[ExecutionId(flows.PROJECT, flows.DOMAIN, "race")].inputs) == {"a": 1}


def test_failing_late_is_told_to_the_core(engine: FakeEngine) -> None:
    workflow = flows.workflow_request("facts.late")
    workflow.spec.template.metadata.on_failure = workflow_pb2.WorkflowMetadata.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
    registration.register_workflow(engine, workflow)
    registration.register_launch_plan(engine, flows.plan_request("facts.late", "facts.late"))
    create(engine, flows.execution_request(plan="facts.late", a=flows.integer(1)))
    assert engine.events[-1].argument == 1


def test_a_task_alone_runs_as_a_generated_workflow(engine: FakeEngine) -> None:
    def start() -> ExecutionRecord:
        return create(engine, flows.execution_request(plan="facts.inc", resource_type=TASK, x=flows.integer(5)))

    record = start()
    generated = record.workflow
    assert generated == entity_id(identifier(WORKFLOW, ".flytegen.facts.inc"))
    assert record.launch_entity == entity_id(identifier(TASK, "facts.inc"))
    plan_id = entity_id(identifier(LAUNCH_PLAN, ".flytegen.facts.inc"))
    spec = launch_plan_pb2.LaunchPlanSpec.FromString(engine.state.registry.launch_plans[plan_id].spec)
    assert spec.workflow_id == identifier(WORKFLOW, "facts.inc")  # the reference's quirk
    assert Spec.FromString(record.spec).max_parallelism == 0
    assert engine.events[-1].attempt == 0
    assert sorted(engine.program(generated).node_id) == ["end-node", "factsinc", "start-node"]
    created_at = engine.state.registry.workflows[generated].created_at
    engine.clock.advance(1)
    assert start().workflow == generated
    assert engine.state.registry.workflows[generated].created_at == created_at


def test_terminating_twice_overwrites_the_cause(engine: FakeEngine) -> None:
    record = create(engine, flows.execution_request("ex", a=flows.integer(1)))
    for cause in ("first", ""):
        terminate(engine, record.id, cause)
        assert (record.abort_cause, record.phase) == (cause, RunPhase.ABORTING)
        assert engine.events[-1] == Event(int(EventKind.RUN_ABORTED), record.run)


@pytest.mark.parametrize("phase", [RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.ABORTED, RunPhase.TIMED_OUT])
@pytest.mark.parametrize("in_memory", [True, False])
def test_what_has_ended_cannot_be_terminated(engine: FakeEngine, phase: RunPhase, in_memory: bool) -> None:
    record = create(engine, flows.execution_request("ex", a=flows.integer(1)))
    engine.finish(record, phase)
    if not in_memory:
        engine.forget(record)
    with pytest.raises(FailedPreconditionError) as caught:
        terminate(engine, record.id)
    assert caught.value.detail.already_in_terminal_state.current_phase == phase.name  # type: ignore[attr-defined]
    assert record.abort_cause is None


def test_archiving_and_back(engine: FakeEngine) -> None:
    record = create(engine, flows.execution_request("ex", a=flows.integer(1)))
    request = execution_pb2.ExecutionUpdateRequest(state=execution_pb2.EXECUTION_ARCHIVED)
    request.id.project, request.id.domain, request.id.name = record.id
    engine.clock.advance(5)
    submission.set_execution_state(engine, request)
    assert (record.archived, record.state_changed_at) == (True, engine.clock())
    request.state = execution_pb2.EXECUTION_ACTIVE
    submission.set_execution_state(engine, request)
    assert not record.archived


def test_a_parent_execution_must_exist_and_deepens_the_nesting(engine: FakeEngine) -> None:
    request = flows.execution_request("child", a=flows.integer(1))
    request.spec.metadata.nesting = 40
    parent = request.spec.metadata.parent_node_execution
    parent.node_id = "n0"
    parent.execution_id.project, parent.execution_id.domain, parent.execution_id.name = flows.PROJECT, flows.DOMAIN, "p"
    with pytest.raises(NotFoundError, match=r'missing entity of type execution with identifier .*name:"p"'):
        submission.create_execution(engine, request)
    create(engine, flows.execution_request("p", a=flows.integer(1)))
    assert Spec.FromString(create(engine, request).spec).metadata.nesting == 1


def test_namespaces_follow_the_template() -> None:
    assert Settings().namespace("p", "d") == "p-d"
    assert Settings(namespace_template="x-{{ domain }}-{{project}}").namespace("p", "d") == "x-d-p"


def test_notifications_need_somebody_to_notify(engine: FakeEngine) -> None:
    request = flows.execution_request(a=flows.integer(1))
    notification = request.spec.notifications.notifications.add()
    for text, step in (
        ("invalid value for notification type", lambda: notification.email.SetInParent()),
        ("missing recipients", lambda: notification.email.recipients_email.append("")),
        ("missing recipient", lambda: notification.email.recipients_email.__setitem__(0, "a@b")),
    ):
        with pytest.raises(InvalidArgumentError, match=f"^{text}$"):
            submission.create_execution(engine, request)
        step()
    notification.phases.append(99)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match=r"^invalid value for phase$"):
        submission.create_execution(engine, request)
    notification.phases[0] = int(RunPhase.FAILED)
    assert create(engine, request).phase == RunPhase.RUNNING
