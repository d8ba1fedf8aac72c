"""Starts, stops and archives executions.

Requests are checked and completed on the caller's thread (inputs, names, what the stored spec says); what must agree
with the state is decided on the loop's.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from flyteidl.admin import event_pb2, execution_pb2, launch_plan_pb2, task_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, interface_pb2, literals_pb2

from flyte_kernel.compile.digest import structural_digest
from flyte_kernel.compile.identifiers import LAUNCH_PLAN, TASK, WORKFLOW, entity_id
from flyte_kernel.compile.inputs import check_literals, required_parameters, resolve_inputs
from flyte_kernel.compile.launch_plan import check_labels, check_notifications
from flyte_kernel.compile.program import build_program
from flyte_kernel.compile.single_task import compile_single_task, single_task_name
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.details import ParentNode
from flyte_kernel.engine.execution_spec import resolved_spec
from flyte_kernel.engine.facts import (
    ExecutionAborted,
    ExecutionCreated,
    ExecutionStateChanged,
    Fact,
    WorkflowRegistered,
)
from flyte_kernel.engine.registration import launch_plan_registered, workflow_closure
from flyte_kernel.engine.state import Registry, State
from flyte_kernel.engine.turns import NEW_RUN, Decision, Event
from flyte_kernel.engine.validation import (
    check_execution_identifier,
    check_identifier_fields,
    check_project_and_domain,
    entity_missing,
    missing,
    not_found,
    require,
)
from flyte_kernel.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from flyte_kernel.ids import RESOURCE_TYPE_NAMES, EntityId, ExecutionId
from flyte_kernel.phases import EventKind, RunPhase

__all__ = [
    "create_child_execution",
    "create_execution",
    "end_execution",
    "recover_execution",
    "relaunch_execution",
    "set_execution_state",
    "terminate_execution",
]

_NAME_LENGTH_MAX = 63
_NAME = re.compile(r"[a-z][a-z\-0-9]*", re.ASCII)
_NAME_PATTERN = r"^[a-z][a-z\-0-9]*$"
_GENERATED_NAME_LENGTH = 19
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # no vowels, so that no words come up
_FAILS_LATE = 1  # bit 0 of RunCreated's argument


@dataclass(frozen=True, slots=True)
class _Launch:
    """What a request names, with everything an execution needs of it; `facts` register what is generated for it."""

    entity: EntityId
    workflow: EntityId
    expected: interface_pb2.ParameterMap
    plan: launch_plan_pb2.LaunchPlanSpec
    fails_late: bool
    facts: Sequence[Fact] = ()


def create_execution(engine: Backend, request: execution_pb2.ExecutionCreateRequest) -> ExecutionId:
    """Start an execution of a launch plan or of a task alone; AlreadyExistsError if its name is taken."""
    return _create(engine, request)


def create_child_execution(
    engine: Backend, request: execution_pb2.ExecutionCreateRequest, parent: ParentNode
) -> ExecutionId:
    """Start an execution for a launch-plan node, which is told in the same turn that its attempt has started."""
    started = Event(int(EventKind.ATTEMPT_STARTED), parent.run, parent.node, parent.attempt)
    return _create(engine, request, parent=parent, events=(started,))


def relaunch_execution(engine: Backend, request: execution_pb2.ExecutionRelaunchRequest) -> ExecutionId:
    """Start an execution once more, with the spec as it was resolved then and the inputs as they were given."""
    again = _again(engine, request, execution_pb2.ExecutionMetadata.RELAUNCH)
    again.spec.overwrite_cache = request.overwrite_cache
    return _create(engine, again)


def recover_execution(engine: Backend, request: execution_pb2.ExecutionRecoverRequest) -> ExecutionId:
    """Start an execution once more and take over the nodes that had succeeded."""
    again = _again(engine, request, execution_pb2.ExecutionMetadata.RECOVERED)
    if request.metadata.HasField("parent_node_execution"):
        again.spec.metadata.parent_node_execution.CopyFrom(request.metadata.parent_node_execution)
    id = request.id
    return _create(engine, again, recovered_from=ExecutionId(id.project, id.domain, id.name))


def _again(
    engine: Backend,
    request: execution_pb2.ExecutionRelaunchRequest | execution_pb2.ExecutionRecoverRequest,
    mode: execution_pb2.ExecutionMetadata.ExecutionMode,
) -> execution_pb2.ExecutionCreateRequest:
    id = check_execution_identifier(request, "id")
    record = engine.find_execution(id)
    if record is None:
        raise not_found("execution", _identifier(id))
    again = execution_pb2.ExecutionCreateRequest(project=id.project, domain=id.domain, name=request.name)
    again.spec.ParseFromString(record.spec)
    again.inputs.ParseFromString(record.user_inputs)
    again.spec.metadata.mode = mode
    again.spec.metadata.reference_execution.CopyFrom(_identifier(id))
    return again


def _create(
    engine: Backend,
    request: execution_pb2.ExecutionCreateRequest,
    *,
    parent: ParentNode | None = None,
    recovered_from: ExecutionId | None = None,
    events: Sequence[Event] = (),
) -> ExecutionId:
    given = _check_request(engine, request)
    entity = check_identifier_fields(request.spec, "launch_plan")
    launch = _of_task(engine, entity) if entity.resource_type == TASK else _of_launch_plan(engine, entity)
    inputs = resolve_inputs(launch.expected, launch.plan.fixed_inputs, given)
    spec = resolved_spec(
        engine,
        request,
        launch.plan,
        max_parallelism=0 if entity.resource_type == TASK else engine.settings.max_parallelism,
    )
    id = ExecutionId(request.project, request.domain, request.name or _generated_name())
    if request.name and engine.find_execution(id) is not None:
        raise _name_taken()
    created = ExecutionCreated(
        run=NEW_RUN,
        id=id,
        launch_entity=entity,
        workflow=launch.workflow,
        spec=spec.SerializeToString(deterministic=True),
        inputs=inputs.SerializeToString(deterministic=True),
        user_inputs=given.SerializeToString(deterministic=True),
        parent=parent,
        recovered_from=recovered_from,
    )
    argument = _FAILS_LATE if launch.fails_late else 0
    event = Event(int(EventKind.RUN_CREATED), NEW_RUN, attempt=int(spec.max_parallelism), argument=argument)

    def decide(state: State, _now: int) -> Decision:
        if id in state.executions:
            raise _name_taken()
        generated = [fact for fact in launch.facts if not _is_registered(state.registry, fact)]
        return Decision(facts=[*generated, created], events=[event, *events], result=id)

    engine.commit(decide)
    return id


def terminate_execution(engine: Backend, request: execution_pb2.ExecutionTerminateRequest) -> None:
    """Ask a run to end; a second request overwrites the cause, a finished run is a FailedPreconditionError."""
    end_execution(engine, check_execution_identifier(request, "id"), request.cause)


def end_execution(engine: Backend, id: ExecutionId, cause: str) -> None:
    """Ask a run to end; NotFoundError if there is none, FailedPreconditionError if it has ended."""
    found = engine.find_execution(id)
    if found is None:
        raise not_found("execution", _identifier(id))

    def decide(state: State, _now: int) -> Decision:
        record = state.executions.get(id, found)
        if record.is_terminal:
            raise _terminated(RunPhase(record.phase))
        return Decision(
            facts=[ExecutionAborted(record.run, cause)],
            events=[Event(int(EventKind.RUN_ABORTED), record.run)],
        )

    engine.commit(decide)


def set_execution_state(engine: Backend, request: execution_pb2.ExecutionUpdateRequest) -> None:
    """Archive an execution or make it active again."""
    id = check_execution_identifier(request, "id")
    if request.state not in execution_pb2.ExecutionState.values():
        raise InvalidArgumentError(f"unrecognized execution state {int(request.state)}")
    archived = request.state == execution_pb2.EXECUTION_ARCHIVED
    if engine.find_execution(id) is None:
        raise not_found("execution", _identifier(id))
    engine.commit(lambda _state, _now: Decision(facts=[ExecutionStateChanged(id, archived)]))


def _check_request(engine: Backend, request: execution_pb2.ExecutionCreateRequest) -> literals_pb2.LiteralMap:
    """Check in the reference's order; return the inputs that were given."""
    require(request.project, "project")
    require(request.domain, "domain")
    if request.name:
        _check_name(request.name)
    check_project_and_domain(engine.settings, request.project, request.domain)
    if not request.HasField("spec"):
        raise missing("spec")
    entity = check_identifier_fields(request.spec, "launch_plan")
    if entity.resource_type not in (TASK, LAUNCH_PLAN):
        name = RESOURCE_TYPE_NAMES.get(entity.resource_type, str(entity.resource_type))
        raise InvalidArgumentError(
            f"Invalid reference entity resource type [{name}], only [map[TASK:<nil> LAUNCH_PLAN:<nil>]] allowed"
        )
    # The console still sends the inputs where they used to be.
    given = request.inputs if request.inputs.literals else request.spec.inputs
    check_literals(given, "inputs")
    check_notifications(request.spec.notifications.notifications)
    check_labels(request.spec.labels.values)
    return given


def _check_name(name: str) -> None:
    lowered = name.lower()
    if len(lowered.encode()) > _NAME_LENGTH_MAX:
        raise InvalidArgumentError(f"size of name exceeded length {_NAME_LENGTH_MAX} : {lowered}")
    if _NAME.fullmatch(lowered) is None:
        raise InvalidArgumentError(f"invalid name format: {lowered}, does not match regex '{_NAME_PATTERN}'")


def _generated_name() -> str:
    return "a" + "".join(secrets.choice(_NAME_LETTERS) for _ in range(_GENERATED_NAME_LENGTH))


def _of_launch_plan(engine: Backend, entity: EntityId) -> _Launch:
    plan = engine.state.registry.launch_plans.get(entity)
    if plan is None:
        raise entity_missing(entity)
    spec = launch_plan_pb2.LaunchPlanSpec.FromString(plan.spec)
    workflow = entity_id(spec.workflow_id)
    if workflow not in engine.state.registry.workflows:
        raise entity_missing(workflow)
    return _Launch(entity, workflow, spec.default_inputs, spec, engine.program(workflow).fails_late)


def _of_task(engine: Backend, entity: EntityId) -> _Launch:
    """A task alone runs as the one node of a workflow that is generated the first time and hidden from listings."""
    registry = engine.state.registry
    task = registry.tasks.get(entity)
    if task is None:
        raise entity_missing(entity)
    compiled = task_pb2.TaskClosure.FromString(task.closure).compiled_task
    expected = required_parameters(compiled.template.interface.inputs)
    name = single_task_name(entity.name)
    workflow = entity._replace(resource_type=WORKFLOW, name=name)
    plan = registry.launch_plans.get(entity._replace(resource_type=LAUNCH_PLAN, name=name))
    if plan is not None and workflow in registry.workflows:
        return _Launch(entity, workflow, expected, launch_plan_pb2.LaunchPlanSpec.FromString(plan.spec), False)
    single = compile_single_task(compiled)
    build_program(single.closure)  # raises for what cannot run
    facts: list[Fact] = [
        WorkflowRegistered(single.workflow, workflow_closure(single.closure), structural_digest(single.closure)),
        launch_plan_registered(entity_id(single.launch_plan.id), single.launch_plan),
    ]
    return _Launch(entity, single.workflow, expected, single.launch_plan.spec, False, facts)


def _is_registered(registry: Registry, fact: Fact) -> bool:
    id = getattr(fact, "id", None)
    return id in registry.workflows or id in registry.launch_plans


def _name_taken() -> AlreadyExistsError:
    return AlreadyExistsError(
        'value with matching already exists (duplicate key value violates unique constraint "executions_pkey")'
    )


def _terminated(phase: RunPhase) -> FailedPreconditionError:
    reason = event_pb2.EventFailureReason()
    reason.already_in_terminal_state.current_phase = core_execution_pb2.WorkflowExecution.Phase.Name(int(phase))
    return FailedPreconditionError("Cannot abort an already terminated workflow execution", reason)


def _identifier(id: ExecutionId) -> identifier_pb2.WorkflowExecutionIdentifier:
    return identifier_pb2.WorkflowExecutionIdentifier(project=id.project, domain=id.domain, name=id.name)
