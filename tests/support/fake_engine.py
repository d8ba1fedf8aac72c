"""An engine without journal, core and executor: facts are folded at once, and tests move the records by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from flyte_kernel.catalog.facts import CatalogChange
from flyte_kernel.compile.program import Program
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.elements import ElementColumns
from flyte_kernel.engine.facts import (
    ExecutionAborted,
    ExecutionCreated,
    ExecutionStateChanged,
    Fact,
    LaunchPlanRegistered,
    LaunchPlanStateChanged,
    TaskRegistered,
    WorkflowRegistered,
)
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord, NodeColumns
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision, Event
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.errors import InvalidArgumentError
from flyte_kernel.ids import EntityId, ExecutionId, NamedEntityId
from flyte_kernel.phases import EventKind, NodePhase, RunPhase
from flyte_kernel.testing import MemoryBlobs, VirtualClock

SECOND = 1_000_000_000


class FakeViews:
    """Listings in insertion order, by creation time if sorted; filters are `eq(state,0|1)` on launch plans only."""

    def __init__(self, state: State | None = None) -> None:
        self.state = state or State()
        self.stored: dict[ExecutionId, ExecutionRecord] = {}
        self.sequence = 0

    def append(self, sequence: int, rows: TurnRows) -> None:
        """Keep finished executions."""
        self.sequence = sequence
        self.stored.update({record.id: record for record in rows.executions})

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing to release."""

    def load_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return a stored execution."""
        return self.stored.get(id)

    def list_tasks(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List tasks."""
        return _page(_entities(self.state.registry.tasks, project, domain, name), query)

    def list_workflows(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List workflows."""
        return _page(_entities(self.state.registry.workflows, project, domain, name), query)

    def list_launch_plans(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List launch plans."""
        plans = self.state.registry.launch_plans
        keys = _entities(plans, project, domain, name)
        if query.filters.startswith("eq(state,"):
            keys = [key for key in keys if plans[key].active == (query.filters == "eq(state,1)")]
            query = ListQuery("", query.sort_key, query.descending, query.limit, query.offset)
        return _page(keys, query)

    def list_named_ids(self, resource_type: int, project: str, domain: str, query: ListQuery) -> Page[NamedEntityId]:
        """List names."""
        registry = self.state.registry
        entities = {1: registry.tasks, 2: registry.workflows, 3: registry.launch_plans}[resource_type]
        names = dict.fromkeys(NamedEntityId(*key[1:4]) for key in entities)
        return _page([name for name in names if name.project == project and name.domain == domain], query)

    def list_executions(
        self, project: str, domain: str, name: str, query: ListQuery, live: Sequence[ExecutionRecord]
    ) -> Page[ExecutionRecord]:
        """List executions."""
        records = {record.run: record for record in (*self.stored.values(), *live)}.values()
        found = [r for r in records if (r.id.project, r.id.domain) == (project, domain) and name in ("", r.id.name)]
        if query.sort_key:
            found.sort(key=lambda record: record.created_at, reverse=query.descending)
        return _page(found, query)


def _entities(entities: dict[EntityId, object], project: str, domain: str, name: str) -> list[EntityId]:
    return [key for key in entities if (key.project, key.domain) == (project, domain) and name in ("", key.name)]


def _page(items: list[object], query: ListQuery) -> Page:
    if query.filters:
        raise InvalidArgumentError("invalid value for filters")
    chosen = items[query.offset :][: query.limit or None]
    return Page(chosen, str(query.offset + len(chosen)) if len(chosen) == query.limit else "")


@dataclass
class FakeEngine:
    """What Engine promises its callers, at once and in memory; `events` keeps what the core would have been given."""

    settings: Settings = field(default_factory=Settings)
    blobs: MemoryBlobs = field(default_factory=lambda: MemoryBlobs("s3://flyte"))
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(1_700_000_000 * SECOND))
    state: State = field(default_factory=State)
    events: list[Event] = field(default_factory=list)
    fault: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._programs = Programs(self.state.registry)
        self.data = NodeData(self.blobs, self._programs)
        self.views = FakeViews(self.state)

    def commit(self, decide: Callable[[State, int], Decision]) -> object:
        """Decide and fold."""
        if self.fault is not None:
            self.fault()
        with self._lock:  # the real engine decides on one thread
            now = self.clock()
            decision = decide(self.state, now)
            for fact in decision.facts:
                self._fold(fact, now)
            self.events.extend(decision.events)
            for event in decision.events:
                if event.kind == EventKind.RUN_ABORTED:
                    self.state.runs[event.run].phase = int(RunPhase.ABORTING)
                    self.state.runs[event.run].version += 1
        return decision.result

    def find_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Look in memory, then in the views."""
        return self.state.executions.get(id) or self.views.load_execution(id)

    def program_of(self, record: ExecutionRecord) -> Program:
        """Compile, with what it grew."""
        return self._programs.of_record(record)

    def map_elements(
        self, record: ExecutionRecord, node: int, first: int = 0, count: int | None = None
    ) -> ElementColumns:
        """There is no core, so nothing has elements."""
        del record, node, first, count
        return ElementColumns(np.zeros(0, np.uint8), np.zeros(0, np.uint32))

    def program(self, workflow: EntityId) -> Program:
        """Return the program of a registered workflow."""
        return self._programs.of(workflow)

    def _fold(self, fact: Fact, now: int) -> None:
        registry = self.state.registry
        match fact:
            case TaskRegistered():
                registry.on_task_registered(fact, now)
            case WorkflowRegistered():
                registry.on_workflow_registered(fact, now)
            case LaunchPlanRegistered():
                registry.on_launch_plan_registered(fact, now)
            case LaunchPlanStateChanged():
                registry.on_launch_plan_state_changed(fact, now)
            case ExecutionCreated():
                self._create(fact, now)
            case ExecutionAborted():
                record = self.state.runs[fact.run]
                record.abort_cause = fact.cause
                record.version += 1
            case ExecutionStateChanged():
                record = self.state.executions[fact.id]
                record.archived, record.state_changed_at = fact.archived, now
                record.version += 1
            case CatalogChange():
                self.state.catalog.on_fact(fact, now)

    def _create(self, fact: ExecutionCreated, now: int) -> None:
        program = self.program(fact.workflow)
        record = ExecutionRecord(
            run=self.state.run_count,
            id=fact.id,
            launch_entity=fact.launch_entity,
            workflow=fact.workflow,
            spec=fact.spec,
            inputs=fact.inputs,
            user_inputs=fact.user_inputs,
            nodes=NodeColumns.empty(program.graph.node_count),
            phase=int(RunPhase.RUNNING),
            created_at=now,
            started_at=now,
            updated_at=now,
            state_changed_at=now,
        )
        self.state.executions[fact.id] = self.state.runs[record.run] = record
        self.state.run_count += 1

    # Moving records by hand

    def set_node(
        self, record: ExecutionRecord, node: int, phase: NodePhase, *, attempt: int = 0, started: bool = True
    ) -> None:
        """Put a node into a phase now; it was created now unless it had been before."""
        now = self.clock()
        nodes = record.nodes
        nodes.phase[node], nodes.attempt[node], nodes.updated_at[node] = int(phase), attempt, now
        nodes.created_at[node] = nodes.created_at[node] or now
        if started and not nodes.started_at[node]:
            nodes.started_at[node] = now
        record.version += 1

    def finish(self, record: ExecutionRecord, phase: RunPhase) -> None:
        """End a run now and hand it to the views, still in memory."""
        record.phase, record.updated_at = int(phase), self.clock()
        record.version += 1
        rows = TurnRows(executions=[record])
        self.views.append(self.views.sequence + 1, rows)

    def forget(self, record: ExecutionRecord) -> None:
        """Leave a finished run to the views."""
        self.state.forget(record)
