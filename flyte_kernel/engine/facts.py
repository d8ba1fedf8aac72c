"""What the journal remembers beside the core's event columns: one small struct per thing that happened.

Facts carry what the core never sees: names, closures, literals, error texts. They are folded into `State` in the order
of the journal, in the same turn as the events they came with.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flyte_kernel.catalog.facts import CatalogFact
from flyte_kernel.catalog.index import Source
from flyte_kernel.catalog.keys import DatasetKey
from flyte_kernel.engine.details import ParentNode
from flyte_kernel.ids import NO_ELEMENT, EntityId, ExecutionId

__all__ = [
    "AttemptObserved",
    "CacheObserved",
    "ExecutionAborted",
    "ExecutionCreated",
    "ExecutionStateChanged",
    "Fact",
    "GraphGrown",
    "LaunchPlanRegistered",
    "LaunchPlanStateChanged",
    "SignalAwaited",
    "SignalSet",
    "TaskRegistered",
    "WorkflowRegistered",
]


class TaskRegistered(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """`closure` is a serialised flyteidl.admin.TaskClosure; `digest` its structural digest."""

    id: EntityId
    closure: bytes
    digest: bytes
    short_description: str = ""


class WorkflowRegistered(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """`closure` is a serialised flyteidl.admin.WorkflowClosure."""

    id: EntityId
    closure: bytes
    digest: bytes
    short_description: str = ""


class LaunchPlanRegistered(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """`spec` is a serialised admin.LaunchPlanSpec with complete default inputs, `closure` an admin.LaunchPlanClosure.

    The closure's state is left out: it is the launch plan's own, kept by LaunchPlanStateChanged.
    """

    id: EntityId
    spec: bytes
    closure: bytes
    digest: bytes


class LaunchPlanStateChanged(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A launch plan was activated (which deactivates the other versions of its name) or deactivated."""

    id: EntityId
    active: bool


class ExecutionCreated(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A run was asked for; its RunCreated event is in the same turn.

    `spec` is the admin.ExecutionSpec as stored (resolved, without inputs), `inputs` the resolved core.LiteralMap,
    `user_inputs` the one of the request. `launch_entity` is the launch plan or the task that was named, `parent` the
    node that started it, `recovered_from` an execution whose finished nodes are taken over.
    """

    run: int
    id: ExecutionId
    launch_entity: EntityId
    workflow: EntityId
    spec: bytes
    inputs: bytes
    user_inputs: bytes
    parent: ParentNode | None = None
    recovered_from: ExecutionId | None = None


class ExecutionAborted(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Somebody asked to terminate the run; a later request overwrites the cause."""

    run: int
    cause: str
    principal: str = ""


class AttemptObserved(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """What an event about (run, node, attempt, element) in the same turn means to people.

    `error` is a serialised core.ExecutionError or empty; `log_uri` is empty while unknown.
    """

    run: int
    node: int
    attempt: int
    element: int = NO_ELEMENT
    error: bytes = b""
    log_uri: str = ""


class ExecutionStateChanged(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """An execution was archived or made active again."""

    id: ExecutionId
    archived: bool
    principal: str = ""


class GraphGrown(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """An attempt put out a workflow to run below its node; its GraphGrown event is in the same turn.

    `closure` is a serialised core.CompiledWorkflowClosure.
    """

    run: int
    node: int
    attempt: int
    closure: bytes


class SignalAwaited(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """A gate began to wait for a signal; `literal_type` is a serialised core.LiteralType."""

    run: int
    signal_id: str
    literal_type: bytes


class SignalSet(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Somebody gave a signal its value, a serialised core.Literal; a later one overwrites it."""

    run: int
    signal_id: str
    value: bytes


class CacheObserved(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """What the catalog had to do with an attempt; in the turn of its success.

    `status` is a core.CatalogCacheStatus; `artifact` is empty if nothing was found or stored; `source` is the attempt
    that made what was found, `task_version` the version of its task.
    """

    run: int
    node: int
    attempt: int
    element: int
    status: int
    dataset: DatasetKey
    digest: bytes
    artifact: str
    source: Source | None
    task_version: str


Fact: TypeAlias = (
    TaskRegistered
    | WorkflowRegistered
    | LaunchPlanRegistered
    | LaunchPlanStateChanged
    | ExecutionCreated
    | ExecutionAborted
    | AttemptObserved
    | CacheObserved
    | ExecutionStateChanged
    | CatalogFact
    | GraphGrown
    | SignalAwaited
    | SignalSet
)
