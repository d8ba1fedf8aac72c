"""RPCs about tasks, workflows and launch plans."""

from __future__ import annotations

from flyteidl.admin import common_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from flyte_kernel.adapters.grpc.listing import list_query
from flyte_kernel.compile.identifiers import LAUNCH_PLAN, TASK, WORKFLOW, identifier
from flyte_kernel.engine import registration
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.state import Entity, LaunchPlanEntity
from flyte_kernel.engine.validation import (
    check_identifier,
    check_identifier_fields,
    check_limit,
    entity_missing,
    missing,
    require,
)
from flyte_kernel.errors import InvalidArgumentError, NotFoundError
from flyte_kernel.ids import EntityId, NamedEntityId

__all__ = ["EntityRpcs"]


class EntityRpcs:
    """Registering, reading and listing entities; mixed into AdminService."""

    _engine: Backend
    _listed_workflows: dict[EntityId, workflow_pb2.Workflow]

    # Tasks

    def CreateTask(self, request: task_pb2.TaskCreateRequest) -> task_pb2.TaskCreateResponse:
        """Register a task."""
        registration.register_task(self._engine, request)
        return task_pb2.TaskCreateResponse()

    def GetTask(self, request: common_pb2.ObjectGetRequest) -> task_pb2.Task:
        """Return a task; the type in the id is not looked at, as in the reference."""
        key = check_identifier_fields(request, "id")._replace(resource_type=TASK)
        entity = self._engine.state.registry.tasks.get(key)
        if entity is None:
            raise entity_missing(key)
        return _task(entity)

    def ListTasks(self, request: common_pb2.ResourceListRequest) -> task_pb2.TaskList:
        """List task versions."""
        _check_resource_list(request)
        query = list_query(request, "ListTasks", filters=request.filters)
        page = self._engine.views.list_tasks(request.id.project, request.id.domain, request.id.name, query)
        tasks = self._engine.state.registry.tasks
        return task_pb2.TaskList(tasks=[_task(tasks[key]) for key in page.items], token=page.token)

    def ListTaskIds(self, request: common_pb2.NamedEntityIdentifierListRequest) -> common_pb2.NamedEntityIdentifierList:
        """List task names."""
        return self._named_ids(request, TASK, "ListTaskIds")

    # Workflows

    def CreateWorkflow(self, request: workflow_pb2.WorkflowCreateRequest) -> workflow_pb2.WorkflowCreateResponse:
        """Compile and register a workflow."""
        registration.register_workflow(self._engine, request)
        return workflow_pb2.WorkflowCreateResponse()

    def GetWorkflow(self, request: common_pb2.ObjectGetRequest) -> workflow_pb2.Workflow:
        """Return a workflow with its compiled closure."""
        key = _checked_key(request, WORKFLOW)
        entity = self._engine.state.registry.workflows.get(key)
        if entity is None:
            raise entity_missing(key)
        workflow = workflow_pb2.Workflow(id=identifier(key), short_description=entity.short_description)
        workflow.closure.ParseFromString(entity.closure)
        workflow.closure.created_at.CopyFrom(_timestamp(entity.created_at))
        return workflow

    def ListWorkflows(self, request: common_pb2.ResourceListRequest) -> workflow_pb2.WorkflowList:
        """List workflow versions, with their interfaces only."""
        _check_resource_list(request)
        query = list_query(request, "ListWorkflows", filters=request.filters)
        page = self._engine.views.list_workflows(request.id.project, request.id.domain, request.id.name, query)
        return workflow_pb2.WorkflowList(workflows=[self._listed_workflow(key) for key in page.items], token=page.token)

    def ListWorkflowIds(
        self, request: common_pb2.NamedEntityIdentifierListRequest
    ) -> common_pb2.NamedEntityIdentifierList:
        """List workflow names."""
        return self._named_ids(request, WORKFLOW, "ListWorkflowIds")

    def _listed_workflow(self, key: EntityId) -> workflow_pb2.Workflow:
        """Kept, since a closure is parsed whole for the few lines of it that listings show."""
        listed = self._listed_workflows.get(key)
        if listed is None:
            entity = self._engine.state.registry.workflows[key]
            closure = workflow_pb2.WorkflowClosure.FromString(entity.closure)
            listed = workflow_pb2.Workflow(id=identifier(key), short_description=entity.short_description)
            listed.closure.compiled_workflow.primary.template.interface.CopyFrom(
                closure.compiled_workflow.primary.template.interface
            )
            listed.closure.created_at.CopyFrom(_timestamp(entity.created_at))
            self._listed_workflows[key] = listed
        return listed

    # Launch plans

    def CreateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanCreateRequest
    ) -> launch_plan_pb2.LaunchPlanCreateResponse:
        """Register an inactive launch plan."""
        registration.register_launch_plan(self._engine, request)
        return launch_plan_pb2.LaunchPlanCreateResponse()

    def GetLaunchPlan(self, request: common_pb2.ObjectGetRequest) -> launch_plan_pb2.LaunchPlan:
        """Return a launch plan."""
        key = _checked_key(request, LAUNCH_PLAN)
        entity = self._engine.state.registry.launch_plans.get(key)
        if entity is None:
            raise entity_missing(key)
        return _launch_plan(entity)

    def GetActiveLaunchPlan(self, request: launch_plan_pb2.ActiveLaunchPlanRequest) -> launch_plan_pb2.LaunchPlan:
        """Return the active version of a launch plan."""
        for field in ("project", "domain", "name"):
            require(getattr(request.id, field), field)
        name = NamedEntityId(request.id.project, request.id.domain, request.id.name)
        registry = self._engine.state.registry
        key = registry.active_launch_plans.get(name)
        if key is None:
            raise NotFoundError(f"No active launch plan could be found: {':'.join(name)}")
        return _launch_plan(registry.launch_plans[key])

    def ListLaunchPlans(self, request: common_pb2.ResourceListRequest) -> launch_plan_pb2.LaunchPlanList:
        """List launch plan versions."""
        _check_resource_list(request)
        query = list_query(request, "ListLaunchPlans", filters=request.filters)
        return self._launch_plans(request.id.project, request.id.domain, request.id.name, query)

    def ListActiveLaunchPlans(
        self, request: launch_plan_pb2.ActiveLaunchPlanListRequest
    ) -> launch_plan_pb2.LaunchPlanList:
        """List the active version of every launch plan of a project's domain."""
        require(request.project, "project")
        require(request.domain, "domain")
        query = list_query(request, "ListActiveLaunchPlans", filters=f"eq(state,{int(launch_plan_pb2.ACTIVE)})")
        return self._launch_plans(request.project, request.domain, "", query)

    def ListLaunchPlanIds(
        self, request: common_pb2.NamedEntityIdentifierListRequest
    ) -> common_pb2.NamedEntityIdentifierList:
        """List launch plan names."""
        if not request.project and not request.domain:
            check_limit(request.limit)
            raise InvalidArgumentError("missing and/or invalid parameters: filters")
        return self._named_ids(request, LAUNCH_PLAN, "ListLaunchPlanIds")

    def UpdateLaunchPlan(
        self, request: launch_plan_pb2.LaunchPlanUpdateRequest
    ) -> launch_plan_pb2.LaunchPlanUpdateResponse:
        """Activate or deactivate a launch plan."""
        registration.set_launch_plan_state(self._engine, request)
        return launch_plan_pb2.LaunchPlanUpdateResponse()

    def _launch_plans(self, project: str, domain: str, name: str, query: ListQuery) -> launch_plan_pb2.LaunchPlanList:
        page = self._engine.views.list_launch_plans(project, domain, name, query)
        plans = self._engine.state.registry.launch_plans
        return launch_plan_pb2.LaunchPlanList(
            launch_plans=[_launch_plan(plans[key]) for key in page.items], token=page.token
        )

    def _named_ids(
        self, request: common_pb2.NamedEntityIdentifierListRequest, resource_type: int, listing: str
    ) -> common_pb2.NamedEntityIdentifierList:
        if resource_type != LAUNCH_PLAN:
            require(request.project, "project")
            require(request.domain, "domain")
        query = list_query(request, listing)  # their filters are ignored by the reference
        page: Page[NamedEntityId] = self._engine.views.list_named_ids(
            resource_type, request.project, request.domain, query
        )
        entities = [common_pb2.NamedEntityIdentifier(project=p, domain=d, name=n) for p, d, n in page.items]
        return common_pb2.NamedEntityIdentifierList(entities=entities, token=page.token)


def _check_resource_list(request: common_pb2.ResourceListRequest) -> None:
    if not request.HasField("id"):
        raise missing("id")
    require(request.id.project, "project")
    require(request.id.domain, "domain")


def _checked_key(request: common_pb2.ObjectGetRequest, resource_type: int) -> EntityId:
    """The type may be left out: REST paths have no room for it."""
    if request.HasField("id") and request.id.resource_type == identifier_pb2.UNSPECIFIED:
        request.id.resource_type = resource_type  # type: ignore[assignment,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    return check_identifier(request, "id", resource_type)


def _task(entity: Entity) -> task_pb2.Task:
    task = task_pb2.Task(id=identifier(entity.id), short_description=entity.short_description)
    task.closure.ParseFromString(entity.closure)
    task.closure.created_at.CopyFrom(_timestamp(entity.created_at))
    return task


def _launch_plan(entity: LaunchPlanEntity) -> launch_plan_pb2.LaunchPlan:
    plan = launch_plan_pb2.LaunchPlan(id=identifier(entity.id))
    plan.spec.ParseFromString(entity.spec)
    plan.closure.ParseFromString(entity.closure)
    plan.closure.state = launch_plan_pb2.ACTIVE if entity.active else launch_plan_pb2.INACTIVE
    plan.closure.created_at.CopyFrom(_timestamp(entity.created_at))
    plan.closure.updated_at.CopyFrom(_timestamp(entity.updated_at))
    return plan


def _timestamp(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)
