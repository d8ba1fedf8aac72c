"""Registers tasks, workflows and launch plans: checks and compiles on the caller's thread, commits on the loop's.

Registered things never change, so an identical second registration is answered without the loop: SDKs repeat every
refused call three times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import compiler_pb2, identifier_pb2, interface_pb2

from flyte_kernel.compile.differences import differences
from flyte_kernel.compile.digest import structural_digest
from flyte_kernel.compile.identifiers import LAUNCH_PLAN, TASK, WORKFLOW, identifier
from flyte_kernel.compile.launch_plan import compile_launch_plan
from flyte_kernel.compile.program import build_program
from flyte_kernel.compile.requirements import RequiredEntities, required_entities
from flyte_kernel.compile.scope import LaunchPlanInterface
from flyte_kernel.compile.task import compile_task
from flyte_kernel.compile.text import message_text
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.facts import (
    Fact,
    LaunchPlanRegistered,
    LaunchPlanStateChanged,
    TaskRegistered,
    WorkflowRegistered,
)
from flyte_kernel.engine.state import Entity, LaunchPlanEntity, Registry, State
from flyte_kernel.engine.turns import Decision
from flyte_kernel.engine.validation import check_identifier, check_project_and_domain, entity_missing, missing
from flyte_kernel.errors import (
    AlreadyExistsError,
    CompileError,
    InvalidArgumentError,
    RequestError,
    UnsupportedError,
)
from flyte_kernel.ids import EntityId

__all__ = [
    "launch_plan_registered",
    "register_launch_plan",
    "register_task",
    "register_workflow",
    "registered",
    "set_launch_plan_state",
    "workflow_closure",
]

LaunchPlanState = launch_plan_pb2.LaunchPlanState

Registered = TypeVar("Registered", Entity, LaunchPlanEntity)


def register_task(engine: Backend, request: task_pb2.TaskCreateRequest) -> None:
    """Register a task; AlreadyExistsError if an identical one is there, InvalidArgumentError for all else."""
    key = check_identifier(request, "id", TASK)
    check_project_and_domain(engine.settings, key.project, key.domain)
    if not request.spec.HasField("template"):
        raise missing("spec")
    template = request.spec.template
    template.id.CopyFrom(identifier(key))
    compiled = compile_task(template)
    digest = structural_digest(compiled)
    closure = task_pb2.TaskClosure(compiled_task=compiled).SerializeToString(deterministic=True)
    fact = TaskRegistered(key, closure, digest, request.spec.description.short_description)
    existing = _register(engine, fact, lambda registry: registry.tasks.get(key))
    if existing is None:
        return
    if existing.digest == digest:
        raise AlreadyExistsError("task with identical structure already exists")
    stored = task_pb2.TaskClosure.FromString(existing.closure).compiled_task
    raise InvalidArgumentError(_different("task", key, differences(stored, compiled)))


def register_workflow(engine: Backend, request: workflow_pb2.WorkflowCreateRequest) -> None:
    """Compile and register a workflow; AlreadyExistsError if an identical one is there.

    UnsupportedError says which of its features this version cannot run; InvalidArgumentError stands for all else.
    """
    key = check_identifier(request, "id", WORKFLOW)
    check_project_and_domain(engine.settings, key.project, key.domain)
    if not request.spec.HasField("template"):
        raise missing("spec")
    request.spec.template.id.CopyFrom(identifier(key))
    compiled = _compile(engine.state.registry, request.spec)
    digest = structural_digest(compiled)
    short_description = request.spec.description.short_description
    fact = WorkflowRegistered(key, workflow_closure(compiled), digest, short_description)
    existing = engine.state.registry.workflows.get(key)
    if existing is None:
        build_program(compiled)  # raises for what cannot run
        existing = _register(engine, fact, lambda registry: registry.workflows.get(key))
    if existing is not None:
        raise _workflow_exists(key, existing, digest, compiled)


def register_launch_plan(engine: Backend, request: launch_plan_pb2.LaunchPlanCreateRequest) -> None:
    """Register an inactive launch plan; AlreadyExistsError if an identical one is there."""
    workflow = check_identifier(request.spec, "workflow_id", WORKFLOW)
    entity = engine.state.registry.workflows.get(workflow)
    if entity is None:
        raise entity_missing(workflow)
    key = check_identifier(request, "id", LAUNCH_PLAN)
    check_project_and_domain(engine.settings, key.project, key.domain)
    compiled = compile_launch_plan(identifier(key), request.spec, _interface_of(entity))
    fact = launch_plan_registered(key, compiled)
    existing = _register(engine, fact, lambda registry: registry.launch_plans.get(key))
    if existing is None:
        return
    if existing.digest == fact.digest:
        raise AlreadyExistsError("launch plan with identical structure already exists")
    stored = launch_plan_pb2.LaunchPlanSpec.FromString(existing.spec)
    raise InvalidArgumentError(_different("launch plan", key, differences(stored, compiled.spec)))


def launch_plan_registered(key: EntityId, compiled: launch_plan_pb2.LaunchPlan) -> LaunchPlanRegistered:
    """Return the fact that records a compiled launch plan."""
    return LaunchPlanRegistered(
        key,
        compiled.spec.SerializeToString(deterministic=True),
        compiled.closure.SerializeToString(deterministic=True),
        structural_digest(compiled),
    )


def workflow_closure(compiled: compiler_pb2.CompiledWorkflowClosure) -> bytes:
    """Return what is stored of a compiled workflow."""
    return bytes(workflow_pb2.WorkflowClosure(compiled_workflow=compiled).SerializeToString(deterministic=True))


def set_launch_plan_state(engine: Backend, request: launch_plan_pb2.LaunchPlanUpdateRequest) -> None:
    """Activate a launch plan, which deactivates the other versions of its name, or deactivate it."""
    if request.HasField("id") and request.id.resource_type == identifier_pb2.UNSPECIFIED:
        request.id.resource_type = identifier_pb2.LAUNCH_PLAN  # flytectl leaves it out
    key = check_identifier(request, "id", LAUNCH_PLAN)
    if request.state not in (LaunchPlanState.ACTIVE, LaunchPlanState.INACTIVE):
        raise InvalidArgumentError(
            f"Unrecognized launch plan state {int(request.state)} for update for launch plan "
            f"[{message_text(request.id)}]"
        )
    active = request.state == LaunchPlanState.ACTIVE

    def decide(state: State, _now: int) -> Decision:
        plan = state.registry.launch_plans.get(key)
        if plan is None:
            raise entity_missing(key)
        if active:
            _refuse_schedule(plan)
        return Decision(facts=[LaunchPlanStateChanged(key, active)])

    engine.commit(decide)


def _refuse_schedule(plan: LaunchPlanEntity) -> None:
    """Better to refuse than to leave a schedule that never fires."""
    spec = launch_plan_pb2.LaunchPlanSpec.FromString(plan.spec)
    if spec.entity_metadata.schedule.WhichOneof("ScheduleExpression") is not None:
        raise UnsupportedError(
            f"launch plan {plan.id.name} has a schedule, and this version of flyte-kernel runs no schedules: "
            "register it without one, or start its executions from outside"
        )


def _register(engine: Backend, fact: Fact, lookup: Callable[[Registry], Registered | None]) -> Registered | None:
    """Write `fact` unless `lookup` finds that the entity exists; return the existing one."""
    existing = lookup(engine.state.registry)
    if existing is not None:
        return existing

    def decide(state: State, _now: int) -> Decision:
        # Not compared here: the loop's thread is for what must be ordered, not for what takes time.
        found = lookup(state.registry) is not None
        return Decision(result=found) if found else Decision(facts=[fact], result=found)

    return lookup(engine.state.registry) if engine.commit(decide) else None


def _compile(registry: Registry, spec: workflow_pb2.WorkflowSpec) -> compiler_pb2.CompiledWorkflowClosure:
    template = spec.template
    tasks, launch_plans = registered(registry, required_entities(template, spec.sub_workflows))
    try:
        return compile_workflow(template, spec.sub_workflows, tasks, launch_plans)
    except CompileError as error:
        raise InvalidArgumentError(
            f"failed to compile workflow for [{message_text(template.id)}] with err: {error}"
        ) from error


def registered(
    registry: Registry, required: RequiredEntities
) -> tuple[dict[EntityId, compiler_pb2.CompiledTask], dict[EntityId, LaunchPlanInterface]]:
    """Return what a compiler needs to know of the required tasks and launch plans, as far as they are registered."""
    tasks = {
        key: task_pb2.TaskClosure.FromString(registry.tasks[key].closure).compiled_task
        for key in required.tasks
        if key in registry.tasks
    }
    launch_plans = {
        key: _launch_plan_interface(registry.launch_plans[key])
        for key in required.launch_plans
        if key in registry.launch_plans
    }
    return tasks, launch_plans


def _launch_plan_interface(plan: LaunchPlanEntity) -> LaunchPlanInterface:
    closure = launch_plan_pb2.LaunchPlanClosure.FromString(plan.closure)
    return closure.expected_inputs, closure.expected_outputs


def _interface_of(workflow: Entity) -> interface_pb2.TypedInterface:
    closure = workflow_pb2.WorkflowClosure.FromString(workflow.closure)
    return closure.compiled_workflow.primary.template.interface


def _workflow_exists(
    key: EntityId,
    existing: Entity,
    digest: bytes,
    compiled: compiler_pb2.CompiledWorkflowClosure,
) -> RequestError:
    reason = workflow_pb2.CreateWorkflowFailureReason()
    if existing.digest == digest:
        reason.exists_identical_structure.id.CopyFrom(identifier(key))
        return AlreadyExistsError("workflow with identical structure already exists", reason)
    reason.exists_different_structure.id.CopyFrom(identifier(key))
    stored = workflow_pb2.WorkflowClosure.FromString(existing.closure).compiled_workflow
    return InvalidArgumentError(_different("workflow", key, differences(stored, compiled)), reason)


def _different(kind: str, key: EntityId, changes: str) -> str:
    return (
        f"{key.name} {kind} with different structure already exists. "
        f"(Please register a new version of the {kind}):\n{changes}"
    )
