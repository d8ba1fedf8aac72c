"""Everything the server knows, as a fold over the journal; changed by the loop's thread only, read by all.

Readers on other threads see single dictionary and attribute reads, which are atomic; whoever needs two things to agree
asks the loop (`Engine.commit`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from flyte_kernel.catalog.state import CatalogState
from flyte_kernel.engine.facts import (
    ExecutionCreated,
    LaunchPlanRegistered,
    LaunchPlanStateChanged,
    TaskRegistered,
    WorkflowRegistered,
)
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.ids import EntityId, ExecutionId, NamedEntityId

__all__ = ["Entity", "LaunchPlanEntity", "Registry", "State"]


@dataclass(slots=True)
class Entity:
    """A registered task or workflow: `closure` is its serialised admin.TaskClosure or admin.WorkflowClosure."""

    id: EntityId
    closure: bytes
    digest: bytes
    created_at: int
    short_description: str = ""


@dataclass(slots=True)
class LaunchPlanEntity:
    """A registered launch plan; `updated_at` moves with its state."""

    id: EntityId
    spec: bytes
    closure: bytes
    digest: bytes
    created_at: int
    updated_at: int
    active: bool = False


@dataclass(slots=True)
class Registry:
    """Tasks, workflows and launch plans by exact id; the active launch plan by name."""

    tasks: dict[EntityId, Entity] = field(default_factory=dict)
    workflows: dict[EntityId, Entity] = field(default_factory=dict)
    launch_plans: dict[EntityId, LaunchPlanEntity] = field(default_factory=dict)
    active_launch_plans: dict[NamedEntityId, EntityId] = field(default_factory=dict)

    def on_task_registered(self, fact: TaskRegistered, now: int) -> None:
        """Add a task version."""
        self.tasks[fact.id] = Entity(fact.id, fact.closure, fact.digest, now, fact.short_description)

    def on_workflow_registered(self, fact: WorkflowRegistered, now: int) -> None:
        """Add a workflow version."""
        self.workflows[fact.id] = Entity(fact.id, fact.closure, fact.digest, now, fact.short_description)

    def on_launch_plan_registered(self, fact: LaunchPlanRegistered, now: int) -> None:
        """Add a launch plan version; it starts inactive."""
        self.launch_plans[fact.id] = LaunchPlanEntity(fact.id, fact.spec, fact.closure, fact.digest, now, now)

    def on_launch_plan_state_changed(self, fact: LaunchPlanStateChanged, now: int) -> list[LaunchPlanEntity]:
        """Set a launch plan's state, switching off the version that was active; return all whose state changed."""
        changed = []
        plan = self.launch_plans[fact.id]
        name = NamedEntityId(*fact.id[1:4])
        active = self.active_launch_plans.get(name)
        if fact.active and active is not None and active != fact.id:
            changed.append(self._set_active(self.launch_plans[active], False, now))
        if fact.active:
            self.active_launch_plans[name] = fact.id
        elif active == fact.id:
            del self.active_launch_plans[name]
        changed.append(self._set_active(plan, fact.active, now))
        return changed

    @staticmethod
    def _set_active(plan: LaunchPlanEntity, active: bool, now: int) -> LaunchPlanEntity:
        plan.active = active
        plan.updated_at = now
        return plan


@dataclass(slots=True)
class State:
    """The registry, the catalog, and the executions that are live or so recent that they are still in memory."""

    registry: Registry = field(default_factory=Registry)
    catalog: CatalogState = field(default_factory=CatalogState)
    executions: dict[ExecutionId, ExecutionRecord] = field(default_factory=dict)
    runs: dict[int, ExecutionRecord] = field(default_factory=dict)
    run_count: int = 0

    def on_execution_created(self, fact: ExecutionCreated, record: ExecutionRecord) -> None:
        """Add the record of a new execution."""
        self.executions[fact.id] = record
        self.runs[fact.run] = record
        self.run_count = fact.run + 1

    def forget(self, record: ExecutionRecord) -> None:
        """Drop a finished execution from memory; the store has it."""
        self.executions.pop(record.id, None)
        self.runs.pop(record.run, None)
