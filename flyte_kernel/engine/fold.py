"""State as a fold over turns: facts into the registry, events through the core, transitions into records.

The same code runs live and in replay, so a restart ends where the journal ends. It obeys nothing and knows no clock:
it returns the effects and the rows for the views, and the loop decides what to do with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from flyteidl.core import compiler_pb2
from flyteidl.core.catalog_pb2 import CACHE_HIT
from numpy.typing import NDArray

from flyte_kernel import Kernel, Turn
from flyte_kernel.catalog.facts import CatalogChange
from flyte_kernel.catalog.keys import is_cacheable
from flyte_kernel.compile.program import Program, build_program
from flyte_kernel.engine.details import CacheDetails, Details, Growth, MapDetails, Signal
from flyte_kernel.engine.elements import keep_elements
from flyte_kernel.engine.facts import (
    AttemptObserved,
    CacheObserved,
    ExecutionAborted,
    ExecutionCreated,
    ExecutionStateChanged,
    Fact,
    GraphGrown,
    LaunchPlanRegistered,
    LaunchPlanStateChanged,
    SignalAwaited,
    SignalSet,
    TaskRegistered,
    WorkflowRegistered,
)
from flyte_kernel.engine.node_errors import SYSTEM_ATTEMPTS_EXTRA, TOP, NodeErrors, abort_error
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import AttemptColumns, ExecutionRecord, NodeColumns
from flyte_kernel.engine.state import State
from flyte_kernel.engine.steps import COLUMNAR_MIN, PLAIN_EFFECTS, PLAIN_PHASES, Effect, Step, among
from flyte_kernel.engine.turns import NO_NODE, Event, EventColumns
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.errors import InternalError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey, EntityId
from flyte_kernel.phases import (
    TERMINAL_NODE_PHASES,
    TERMINAL_RUN_PHASES,
    AbortReason,
    AttemptPhase,
    EffectKind,
    EventKind,
    FailureClass,
    NodeKind,
    NodePhase,
    RunPhase,
)

__all__ = ["SYSTEM_ATTEMPTS_EXTRA", "Applied", "Fold"]

_ELEMENT_ERRORS_MAX = 10_000  # a guess: far more than fit the error of a map
_RECOVERED = 1  # argument of AttemptSucceeded
_LAUNCHES = frozenset({EffectKind.LAUNCH_ATTEMPTS, EffectKind.OPEN_MAP})
_INTERNAL = [int(phase) for phase in (NodePhase.RETRYING, NodePhase.TIMING_OUT, NodePhase.ABORTING)]
_INTERNAL_PHASES = frozenset({NodePhase.RETRYING, NodePhase.TIMING_OUT, NodePhase.ABORTING})
_ENDED_ATTEMPTS = frozenset({AttemptPhase.SUCCEEDED, AttemptPhase.FAILED, AttemptPhase.ABORTED})
_STARTED = int(EventKind.ATTEMPT_STARTED)
_SUCCEEDED = int(NodePhase.SUCCEEDED)
_ATTEMPT_PHASE_IN = {  # of a node that has come to its end
    int(NodePhase.SUCCEEDED): int(AttemptPhase.SUCCEEDED),
    int(NodePhase.FAILED): int(AttemptPhase.FAILED),
    int(NodePhase.TIMED_OUT): int(AttemptPhase.FAILED),
    int(NodePhase.ABORTED): int(AttemptPhase.ABORTED),
}
_TASK_KINDS = [int(kind) for kind in (NodeKind.TASK, NodeKind.DYNAMIC, NodeKind.MAP)]


@dataclass(slots=True)
class Applied:
    """What one turn came to; `changed_in_store` are changes to executions that only the store still holds."""

    step: Step | None = None
    rows: TurnRows = field(default_factory=TurnRows)
    refusals: list[str] = field(default_factory=list)
    changed_in_store: list[ExecutionStateChanged] = field(default_factory=list)

    @property
    def effects(self) -> list[Effect]:
        """What the turn's last step asks for."""
        return [] if self.step is None else self.step.effects


class Fold:
    """Owns state and core; `apply` is the only thing that changes either."""

    def __init__(self, state: State, kernel: Kernel, programs: Programs, graph_of: dict[EntityId, int]) -> None:
        self.state = state
        self.kernel = kernel
        self.programs = programs
        self.graph_of = graph_of
        self.now = 0
        self.graph_count = 0
        self._errors = NodeErrors(kernel, programs)
        self._grown: dict[tuple[int, int, int], bytes] = {}
        self._grown_graphs: list[int] = []
        self._tasks: WeakKeyDictionary[Program, tuple[NDArray[np.bool_], NDArray[np.bool_]]] = WeakKeyDictionary()

    def apply(self, now: int, events: EventColumns, facts: Sequence[Fact]) -> Applied:
        """Apply one durable turn."""
        self.now = now
        applied = Applied()
        observed: dict[AttemptKey, AttemptObserved] = {}
        for fact in facts:
            if isinstance(fact, AttemptObserved):
                observed[AttemptKey(fact.run, fact.node, fact.attempt, fact.element)] = fact
            else:
                self._on_fact(fact, applied)
        step = self.step(now, events)
        is_long = len(events.kind) >= COLUMNAR_MIN and not facts and step.is_plain
        places = self._places_of(events) if is_long else None
        if places is not None:
            self._on_plain_steps((step,), places)
            applied.step = step
        else:
            self._on_step(step, observed, applied)
        return applied

    def step(self, now: int, events: EventColumns) -> Step:
        """Let the core take events ahead of their records, which follow in `apply_steps`.

        The core may go on only after plain steps: all others must be folded while it stands where they left it.
        """
        turn = self.kernel.step(now, *events.columns())
        return Step(events, turn)

    def apply_steps(self, now: int, steps: Sequence[Step]) -> Applied:
        """Bring the records up to date with durable steps without facts; all but the last must be plain.

        Nothing tells the result from that of `apply` for one after the other.
        """
        self.now = now
        applied = Applied(step=steps[-1])
        plain = [step for step in steps if step.is_plain]
        if sum(len(step.turn.transition_run) for step in plain) < COLUMNAR_MIN:
            plain = []
        if plain:
            self._on_plain_steps(plain)
        for step in steps[len(plain) :]:
            self._on_step(step, {}, applied)
        return applied

    def _on_step(self, step: Step, observed: dict[AttemptKey, AttemptObserved], applied: Applied) -> None:
        turn = step.turn
        refused = set(turn.refused_event.tolist())
        applied.refusals += [str(turn.refusal(i)) for i in range(len(refused))]
        failures = self._on_attempt_events(step.events, observed, refused)
        applied.step = step
        if EffectKind.ABORT_ATTEMPTS in turn.effect_kind:
            self._on_timeouts(step.effects)
        self._on_transitions(turn, failures)
        self._on_effects(step, applied)
        self._release_grown_graphs()
        self._count_versions((step,))

    def _places_of(self, events: EventColumns) -> list[tuple[AttemptColumns, list[int]]] | None:
        """Return by run the rows of the attempts that events are about.

        None if an attempt has no row, is being stopped, or opened a map: such events are taken one by one.
        """
        runs = np.unique(events.run).tolist()
        places = []
        for run in runs:
            record = self.state.runs.get(run)
            if record is None:
                return None
            is_here = slice(None) if len(runs) == 1 else events.run == run
            node, attempt = events.node[is_here], events.attempt[is_here]
            nodes = node.tolist()
            if among(record.nodes.phase[node], _INTERNAL).any() or not record.details.maps.keys().isdisjoint(nodes):
                return None
            try:
                rows = list(map(record.attempts.row_of.__getitem__, zip(nodes, attempt.tolist(), strict=True)))
            except KeyError:
                return None
            places.append((record.attempts, rows))
        return places

    def _on_plain_steps(
        self, steps: Sequence[Step], places: Sequence[tuple[AttemptColumns, list[int]]] | None = None
    ) -> None:
        """What plain steps do to different things commutes: each attempt is launched, seen and ended once.

        `places` are those of the events of a single step, if they have been looked up.
        """
        self._on_plain_effects(*_columns(steps, "effect_kind", "effect_run", "effect_node", "effect_attempt"))
        for step in steps:
            if len(step.events.kind) < COLUMNAR_MIN:
                self._on_few_plain_events(step.events)
            else:
                self._on_plain_events(step.events, places or self._places_of(step.events) or [])
        self._on_plain_transitions(*_columns(steps, "transition_run", "transition_node", "transition_phase"))
        self._count_versions(steps)

    def _on_plain_events(self, events: EventColumns, places: Sequence[tuple[AttemptColumns, list[int]]]) -> None:
        """Bring attempts up to date; `places` has those of each run that events are about, in the order of the runs."""
        runs = np.unique(events.run).tolist()
        for run, (attempts, rows) in zip(runs, places, strict=True):
            kinds = (events.kind if len(runs) == 1 else events.kind[events.run == run]).tolist()
            if set(kinds) == {_STARTED} and attempts.start_all(rows, self.now):
                continue
            for kind, row in zip(kinds, rows, strict=True):
                self._on_plain_event(attempts, row, kind)

    def _on_few_plain_events(self, events: EventColumns) -> None:
        columns = (events.kind.tolist(), events.run.tolist(), events.node.tolist(), events.attempt.tolist())
        for kind, run, node, attempt in zip(*columns, strict=True):
            attempts = self.state.runs[run].attempts
            self._on_plain_event(attempts, attempts.row_of[node, attempt], kind)

    def _on_plain_event(self, attempts: AttemptColumns, row: int, kind: int) -> None:
        if attempts.phase[row] in _ENDED_ATTEMPTS:
            return
        if kind == _STARTED:
            attempts.started_at[row] = attempts.started_at[row] or self.now
        attempts.updated_at[row] = self.now
        attempts.phase[row] = _ATTEMPT_PHASE_AFTER[kind]

    def _count_versions(self, steps: Sequence[Step]) -> None:
        """Last of all: what is kept under a version must have been read after everything that version stands for."""
        for step in steps:
            turn = step.turn
            for run in {*step.events.run.tolist(), *turn.transition_run.tolist(), *turn.effect_run.tolist()}:
                record = self.state.runs.get(run)
                if record is not None:
                    record.version += 1

    # Facts

    def _on_fact(self, fact: Fact, applied: Applied) -> None:
        registry, rows = self.state.registry, applied.rows
        match fact:
            case TaskRegistered():
                registry.on_task_registered(fact, self.now)
                rows.tasks.append(registry.tasks[fact.id])
            case WorkflowRegistered():
                registry.on_workflow_registered(fact, self.now)
                rows.workflows.append(registry.workflows[fact.id])
            case LaunchPlanRegistered():
                registry.on_launch_plan_registered(fact, self.now)
                rows.launch_plans.append(registry.launch_plans[fact.id])
            case LaunchPlanStateChanged():
                rows.launch_plans.extend(registry.on_launch_plan_state_changed(fact, self.now))
            case ExecutionCreated():
                self._on_execution_created(fact)
            case ExecutionAborted():
                record = self.state.runs[fact.run]
                record.abort_cause, record.abort_principal = fact.cause, fact.principal
            case ExecutionStateChanged():
                self._on_execution_state_changed(fact, applied)
            case CatalogChange():
                self.state.catalog.on_fact(fact, self.now)
            case GraphGrown():
                self._on_graph_grown(fact)
            case CacheObserved():
                self._on_cache_observed(fact)
            case SignalAwaited() | SignalSet():
                self._on_signal(fact)
            case _:
                raise InternalError(f"no fold for {type(fact).__name__}")

    def _on_execution_created(self, fact: ExecutionCreated) -> None:
        program = self.programs.of(fact.workflow)
        if fact.workflow not in self.graph_of:
            self.graph_of[fact.workflow] = self.kernel.add_graph(program.graph)
            self.graph_count += 1
        record = ExecutionRecord(
            run=fact.run,
            id=fact.id,
            launch_entity=fact.launch_entity,
            workflow=fact.workflow,
            spec=fact.spec,
            inputs=fact.inputs,
            user_inputs=fact.user_inputs,
            nodes=NodeColumns.empty(program.node_count),
            created_at=self.now,
            updated_at=self.now,
            state_changed_at=self.now,
            details=Details(parent=fact.parent, recovered_from=fact.recovered_from),
        )
        self.state.on_execution_created(fact, record)

    def _on_execution_state_changed(self, fact: ExecutionStateChanged, applied: Applied) -> None:
        record = self.state.executions.get(fact.id)
        if record is None:
            applied.changed_in_store.append(fact)
            return
        record.archived, record.state_changed_at = fact.archived, self.now
        record.version += 1
        if record.is_terminal:
            applied.rows.executions.append(record)

    # What goes with events

    def _on_graph_grown(self, fact: GraphGrown) -> None:
        """Hand the core the graph that the event of this turn names; the core says whether the node takes it."""
        closure = compiler_pb2.CompiledWorkflowClosure.FromString(fact.closure)
        self._grown_graphs.append(self.kernel.add_graph(build_program(closure).graph))
        self._grown[fact.run, fact.node, fact.attempt] = fact.closure
        self.graph_count += 1

    def _grow(self, record: ExecutionRecord, node: int) -> None:
        attempt = int(record.nodes.attempt[node])
        record.details.growths.append(Growth(node, attempt, self._grown[record.run, node, attempt]))
        record.nodes.extend(self.programs.of_record(record).node_count)

    def _release_grown_graphs(self) -> None:
        for graph in self._grown_graphs:
            self.kernel.release_graph(graph)
        self._grown_graphs.clear()
        self._grown.clear()

    def _on_signal(self, fact: SignalAwaited | SignalSet) -> None:
        record = self.state.runs.get(fact.run)
        if record is None:
            return
        signals = record.details.signals
        if isinstance(fact, SignalAwaited):
            signals.setdefault(fact.signal_id, Signal(fact.literal_type, self.now, self.now))
        else:
            signal = signals[fact.signal_id]
            signal.value, signal.updated_at = fact.value, self.now

    # Attempts

    def _on_attempt_events(
        self, events: EventColumns, observed: dict[AttemptKey, AttemptObserved], refused: set[int]
    ) -> dict[tuple[int, int], tuple[int, bytes]]:
        """Bring the attempts' rows up to date; return (failure class, error) of the nodes that reported a failure."""
        failures: dict[tuple[int, int], tuple[int, bytes]] = {}
        for index, event in enumerate(events.rows()):
            record = self.state.runs.get(event.run)
            if record is None or index in refused:
                continue
            if event.kind == EventKind.MAP_OPENED:
                self._on_map_opened(record, event)
            elif event.element != NO_ELEMENT:
                self._on_element_event(record, event, observed)
                continue
            fact = observed.get(AttemptKey(event.run, event.node, event.attempt))
            if event.kind == EventKind.ATTEMPT_FAILED and fact is not None:
                failures[event.run, event.node] = (event.argument, fact.error)
            row = self._row_of(record, event)
            if row is not None and record.attempts.phase[row] not in _ENDED_ATTEMPTS:
                self._on_attempt_event(record, row, event.kind, fact)
        return failures

    def _row_of(self, record: ExecutionRecord, event: Event) -> int | None:
        """Return the row of an attempt; one at a cached task is there only once it is known that it runs."""
        opened = record.details.maps.get(event.node)
        key = (event.node, event.attempt if opened is None else opened.attempt)
        row = record.attempts.row_of.get(key)
        if row is None and event.kind in _SIGNS_OF_LIFE and self._is_cached(record, event.node):
            has_ended = record.nodes.phase[event.node] in TERMINAL_NODE_PHASES  # reports may come late
            is_current = event.attempt == record.nodes.attempt[event.node] and not has_ended
            if is_current and not (event.kind == EventKind.ATTEMPT_SUCCEEDED and _came_from_elsewhere(record, event)):
                record.attempts.launch(event.node, event.attempt, self.now)
                return record.attempts.row_of[key]
        return row

    def _on_map_opened(self, record: ExecutionRecord, event: Event) -> None:
        size = event.argument & 0xFFFF_FFFF
        record.details.maps[event.node] = MapDetails(event.attempt, size)

    def _on_element_event(
        self, record: ExecutionRecord, event: Event, observed: Mapping[AttemptKey, AttemptObserved]
    ) -> None:
        """Remember why elements failed, as far as anybody will read it."""
        details = record.details.maps.get(event.node)
        if event.kind != EventKind.ATTEMPT_FAILED or details is None:
            return
        fact = observed.get(AttemptKey(event.run, event.node, event.attempt, event.element))
        if fact is not None and (len(details.errors) < _ELEMENT_ERRORS_MAX or event.element in details.errors):
            details.errors[event.element] = (event.argument, fact.error)

    def _on_cache_observed(self, fact: CacheObserved) -> None:
        record = self.state.runs.get(fact.run)
        if record is None:
            return
        if fact.element != NO_ELEMENT:
            record.details.maps[fact.node].cache[fact.element] = fact.status
            return
        found = (fact.status, fact.dataset, fact.digest, fact.artifact, fact.source, fact.task_version)
        record.details.cache[fact.node] = CacheDetails(*found)

    def _on_attempt_event(self, record: ExecutionRecord, row: int, kind: int, fact: AttemptObserved | None) -> None:
        attempts = record.attempts
        if kind == EventKind.ATTEMPT_STARTED:
            attempts.started_at[row] = attempts.started_at[row] or self.now
        attempts.updated_at[row] = self.now
        if fact is not None:
            attempts.error[row] = fact.error or attempts.error[row]
            attempts.log_uri[row] = fact.log_uri or attempts.log_uri[row]
        stopping = record.nodes.phase[attempts.node[row]] in _INTERNAL_PHASES
        if stopping and kind in (EventKind.ATTEMPT_SUCCEEDED, EventKind.ATTEMPT_FAILED):
            attempts.phase[row] = int(AttemptPhase.ABORTED)
        else:
            attempts.phase[row] = _ATTEMPT_PHASE_AFTER.get(kind, attempts.phase[row])

    def _on_timeouts(self, effects: Sequence[Effect]) -> None:
        """Give a node that is stopped for good by its execution timeout its error: only the core knows the reason."""
        for effect in effects:
            if effect.kind != EffectKind.ABORT_ATTEMPTS or effect.argument != AbortReason.EXECUTION_TIMEOUT:
                continue
            record = self.state.runs[effect.run]
            if effect.element == NO_ELEMENT:
                record.nodes.error[effect.node] = self._errors.of_timeout(record, effect.node)
            else:
                failure = (int(FailureClass.USER_RECOVERABLE), self._errors.of_late_element(record, effect.node))
                record.details.maps[effect.node].errors[effect.element] = failure

    # Transitions

    def _on_transitions(self, turn: Turn, failures: dict[tuple[int, int], tuple[int, bytes]]) -> None:
        """Take the transitions in their order, long stretches of plain ones by columns."""
        run, node, phase = turn.transition_run, turn.transition_node, turn.transition_phase
        if len(run) < COLUMNAR_MIN:
            self._on_transitions_one_by_one(run, node, phase, failures)
            return
        is_plain = (node != NO_NODE) & among(phase, PLAIN_PHASES)
        bounds = [0, *(np.flatnonzero(np.diff(is_plain)) + 1).tolist(), len(run)]
        for first, last in pairwise(bounds):
            part = run[first:last], node[first:last], phase[first:last]
            if is_plain[first] and last - first >= COLUMNAR_MIN:
                self._on_plain_transitions(*part)
            else:
                self._on_transitions_one_by_one(*part, failures)

    def _on_transitions_one_by_one(
        self,
        run: NDArray[np.uint32],
        node: NDArray[np.uint32],
        phase: NDArray[np.uint8],
        failures: dict[tuple[int, int], tuple[int, bytes]],
    ) -> None:
        for transition in zip(run.tolist(), node.tolist(), phase.tolist(), strict=True):
            self._on_transition(*transition, failures)

    def _on_plain_transitions(
        self, runs: NDArray[np.uint32], nodes: NDArray[np.uint32], phases: NDArray[np.uint8]
    ) -> None:
        """Do what `_on_transition` does for nodes that are queued, run or succeed; a node's last phase stays."""
        for run in np.unique(runs).tolist():
            record = self.state.runs[run]
            is_here = runs == run
            node, phase, columns = nodes[is_here], phases[is_here], record.nodes
            columns.created_at[node[columns.created_at[node] == 0]] = self.now
            running = node[phase == NodePhase.RUNNING]
            columns.started_at[running[columns.started_at[running] == 0]] = self.now
            columns.updated_at[node] = self.now
            for ended in node[phase == NodePhase.SUCCEEDED].tolist():
                columns.error.pop(ended, None)
                self._end_attempt(record, ended, _SUCCEEDED)
            columns.phase[node] = phase

    def _on_transition(
        self, run: int, node: int, phase: int, failures: dict[tuple[int, int], tuple[int, bytes]]
    ) -> None:
        record = self.state.runs[run]
        if node == NO_NODE:
            self._on_run_transition(record, phase)
            return
        nodes = record.nodes
        if phase == NodePhase.UNDEFINED:  # a scope starts over and takes its nodes along
            nodes.created_at[node] = nodes.started_at[node] = nodes.updated_at[node] = 0
            nodes.error.pop(node, None)
            nodes.phase[node] = phase
            return
        if phase == NodePhase.SKIPPED and self._is_arm(record, node):
            nodes.phase[node] = phase  # the reference says nothing of cases that are not taken
            return
        if not nodes.created_at[node]:
            nodes.created_at[node] = self.now
        if phase == NodePhase.DYNAMIC_RUNNING:
            self._grow(record, node)
            nodes = record.nodes
        if phase == NodePhase.RUNNING and not nodes.started_at[node]:
            nodes.started_at[node] = self.now
        nodes.updated_at[node] = self.now
        if phase == NodePhase.FAILED:
            self._set_failure(record, node, failures)
        elif phase == NodePhase.ABORTED:
            nodes.error[node] = abort_error(record)
        elif phase == NodePhase.FAILING:
            self._on_failing(record, node)
        elif phase in (NodePhase.SUCCEEDED, NodePhase.TIMED_OUT):
            nodes.error.pop(node, None)
        if phase in _ATTEMPT_PHASE_IN:
            self._end_attempt(record, node, phase)
        nodes.phase[node] = phase  # last: who sees the phase must find what belongs to it

    def _is_arm(self, record: ExecutionRecord, node: int) -> bool:
        program = self.programs.of_record(record)
        parent = program.parent[node]
        return parent >= 0 and program.kind[parent] == NodeKind.BRANCH

    def _end_attempt(self, record: ExecutionRecord, node: int, phase: int) -> None:
        """An attempt that ends by the core's clock, or with the elements of its map, has no event of its own."""
        attempts = record.attempts
        opened = record.details.maps.get(node)
        attempt = int(record.nodes.attempt[node]) if opened is None else opened.attempt
        row = attempts.row_of.get((node, attempt))
        if row is not None and attempts.phase[row] not in _ENDED_ATTEMPTS:
            attempts.phase[row], attempts.updated_at[row] = _ATTEMPT_PHASE_IN[phase], self.now
            if phase != NodePhase.SUCCEEDED:
                attempts.error[row] = attempts.error[row] or record.nodes.error.get(node, b"")

    def _on_failing(self, record: ExecutionRecord, node: int) -> None:
        """What handles the failure of a scope wants to know what failed before the scope ends."""
        if node in record.details.maps and node not in record.nodes.error:
            record.nodes.error[node] = self._errors.of_elements(record, node)
        if self.programs.of_record(record).failure_handler(node) is not None and node not in record.nodes.error:
            record.nodes.error[node] = self._errors.below(record, node)

    def _set_failure(
        self, record: ExecutionRecord, node: int, failures: dict[tuple[int, int], tuple[int, bytes]]
    ) -> None:
        failure = failures.get((record.run, node))
        if failure is None:
            handler_error = self._errors.of_handler(record, node)
            if handler_error or node not in record.nodes.error:
                record.nodes.error[node] = handler_error or self._errors.below(record, node)
        else:
            record.nodes.error[node] = self._errors.reported(record, node, *failure)

    def _on_run_transition(self, record: ExecutionRecord, phase: int) -> None:
        record.updated_at = self.now if phase != RunPhase.ABORTING else record.updated_at
        if phase == RunPhase.RUNNING and not record.started_at:
            record.started_at = self.now
        if phase in (RunPhase.FAILING, RunPhase.FAILED) and not record.error:
            record.error = self._errors.below(record, TOP)
        if phase == RunPhase.FAILED:
            record.error = self._errors.of_handler(record, TOP) or record.error
        record.phase = phase  # last: clients stop asking once they see the end

    def _is_cached(self, record: ExecutionRecord, node: int) -> bool:
        task = self.programs.of_record(record).task[node]
        return task is not None and is_cacheable(task) and self._has_task(record, node)

    def _has_task(self, record: ExecutionRecord, node: int) -> bool:
        return int(self.programs.of_record(record).kind[node]) in _TASK_KINDS

    def _on_effects(self, step: Step, applied: Applied) -> None:
        turn = step.turn
        if len(turn.effect_kind) >= COLUMNAR_MIN and step.has_beginnings_only:
            self._on_plain_effects(turn.effect_kind, turn.effect_run, turn.effect_node, turn.effect_attempt)
            return
        for effect in step.effects:
            if effect.kind in PLAIN_EFFECTS and effect.element == NO_ELEMENT:
                record = self.state.runs[effect.run]
                record.nodes.attempt[effect.node] = effect.attempt
                if effect.kind in _LAUNCHES and self._has_task(record, effect.node):
                    self._on_launch(record, effect)
            elif effect.kind == EffectKind.FINISH_RUN:
                record = self.state.runs[effect.run]
                if record.phase not in TERMINAL_RUN_PHASES:
                    raise InternalError(f"run {effect.run} finished in phase {record.phase}")
                for node, details in record.details.maps.items():
                    keep_elements(details, self.kernel, effect.run, node)
                applied.rows.executions.append(record)
                self.kernel.release(effect.run)

    def _on_plain_effects(
        self,
        kinds: NDArray[np.uint8],
        runs: NDArray[np.uint32],
        nodes: NDArray[np.uint32],
        attempts: NDArray[np.uint32],
    ) -> None:
        """Do what `_on_effects` does for beginnings of nodes."""
        for run in np.unique(runs).tolist():
            record = self.state.runs[run]
            is_here = runs == run
            node, attempt = nodes[is_here], attempts[is_here]
            record.nodes.attempt[node] = attempt
            has_task, is_cached = self._tasks_of(self.programs.of_record(record))
            is_map = kinds[is_here] == EffectKind.OPEN_MAP
            is_launch = (kinds[is_here] == EffectKind.LAUNCH_ATTEMPTS) & ~is_cached[node]
            launched = has_task[node] & (is_map | is_launch)
            record.attempts.launch_all(node[launched].tolist(), attempt[launched].tolist(), self.now)

    def _tasks_of(self, program: Program) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which nodes of a program run a task, and which of them a cached one."""
        found = self._tasks.get(program)
        if found is None:
            has_task = np.isin(program.kind, _TASK_KINDS)
            is_cached = np.array([task is not None and is_cacheable(task) for task in program.task], np.bool_)
            found = self._tasks[program] = has_task, has_task & is_cached
        return found

    def _on_launch(self, record: ExecutionRecord, effect: Effect) -> None:
        is_map = effect.kind == EffectKind.OPEN_MAP
        if is_map or not self._is_cached(record, effect.node):
            record.attempts.launch(effect.node, effect.attempt, self.now)


_SIGNS_OF_LIFE = frozenset(
    {EventKind.ATTEMPT_STARTED, EventKind.ATTEMPT_SUCCEEDED, EventKind.ATTEMPT_FAILED, EventKind.GRAPH_GROWN}
)
_ATTEMPT_PHASE_AFTER = {
    int(EventKind.ATTEMPT_STARTED): int(AttemptPhase.RUNNING),
    int(EventKind.ATTEMPT_SUCCEEDED): int(AttemptPhase.SUCCEEDED),
    int(EventKind.GRAPH_GROWN): int(AttemptPhase.SUCCEEDED),
    int(EventKind.MAP_OPENED): int(AttemptPhase.RUNNING),
    int(EventKind.ATTEMPT_FAILED): int(AttemptPhase.FAILED),
    int(EventKind.ATTEMPT_ABORTED): int(AttemptPhase.ABORTED),
}


def _columns(steps: Sequence[Step], *names: str) -> list[NDArray[Any]]:
    return [np.concatenate([getattr(step.turn, name) for step in steps]) for name in names]


def _came_from_elsewhere(record: ExecutionRecord, event: Event) -> bool:
    """Whether an attempt succeeded without having run: from the catalog or from an earlier execution."""
    cache = record.details.cache.get(event.node)
    return event.argument == _RECOVERED or (cache is not None and cache.status == CACHE_HIT)
