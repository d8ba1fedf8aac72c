"""The oracle: the core's rules once more, slow and obvious.

Nothing is counted ahead. After every event the oracle looks at all nodes of the run, again and again, until nothing
more follows; readiness, settled scopes and held slots are worked out from the phases each time. It shares no code with
the core and knows its numbers only through `flyte_kernel.phases`.

Within one event effects come in this order: aborts (ascending index), the next attempt of the event's own node, what
became ready (ascending index, tasks that got a slot last), the end of the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from flyte_kernel.phases import (
    TERMINAL_NODE_PHASES,
    TERMINAL_RUN_PHASES,
    AbortReason,
    EffectKind,
    EventKind,
    FailureClass,
    NodeKind,
    NodePhase,
    RefusalReason,
    RunPhase,
)

NONE = 0xFFFF_FFFF
GOOD = {NodePhase.SUCCEEDED, NodePhase.RECOVERED}
SETTLED = {*GOOD, NodePhase.FAILED, NodePhase.TIMED_OUT, NodePhase.SKIPPED}
BROKEN = {NodePhase.FAILED, NodePhase.TIMED_OUT}
ACTIVE = {NodePhase.QUEUED, NodePhase.RUNNING}
STOPPING = {NodePhase.RETRYING, NodePhase.FAILING, NodePhase.TIMING_OUT}
ACCEPTED = {
    NodeKind.TASK: {
        EventKind.ATTEMPT_STARTED,
        EventKind.ATTEMPT_SUCCEEDED,
        EventKind.ATTEMPT_FAILED,
        EventKind.ATTEMPT_ABORTED,
    },
    NodeKind.START: set(),
    NodeKind.END: {EventKind.ATTEMPT_SUCCEEDED, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_ABORTED},
    NodeKind.SUBWORKFLOW: {EventKind.SCOPE_OPENED, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_ABORTED},
}
EFFECT_OF = {
    NodeKind.TASK: EffectKind.LAUNCH_ATTEMPTS,
    NodeKind.END: EffectKind.RESOLVE_OUTPUTS,
    NodeKind.SUBWORKFLOW: EffectKind.OPEN_SCOPE,
}


class Limit(IntEnum):
    """Which timeout a deadline belongs to; of two at one time the active one fires first."""

    ACTIVE = 0
    EXECUTION = 1


class Event(NamedTuple):
    """One row of the event columns."""

    kind: int
    run: int
    node: int = 0
    attempt: int = 0
    argument: int = 0


class Effect(NamedTuple):
    """One row of the effect columns."""

    kind: int
    run: int
    node: int
    attempt: int
    argument: int
    cause: int


class Transition(NamedTuple):
    """One row of the transition columns."""

    run: int
    node: int
    phase: int
    attempt: int


@dataclass(frozen=True)
class Shape:
    """A graph as lists; `edges` are (source, target) pairs."""

    kind: Sequence[int]
    scope: Sequence[int]
    edges: Sequence[tuple[int, int]]
    attempts_max: Sequence[int]
    execution_timeout: Sequence[int]
    active_timeout: Sequence[int]

    def upstream(self, node: int) -> list[int]:
        """The nodes that `node` waits for."""
        return [source for source, target in self.edges if target == node]

    def members(self, scope: int) -> list[int]:
        """The nodes directly in a scope."""
        return [node for node, its in enumerate(self.scope) if its == scope]

    def inside(self, scope: int) -> list[int]:
        """The nodes in a scope at any depth, ascending."""
        found: list[int] = []
        for node in self.members(scope):
            found.append(node)
            if self.kind[node] == NodeKind.SUBWORKFLOW:
                found.extend(self.inside(node))
        return sorted(found)

    def ancestors(self, node: int) -> Iterator[int]:
        """The scopes around a node, innermost first, the top one left out."""
        scope = self.scope[node]
        while scope != NONE:
            yield scope
            scope = self.scope[scope]


@dataclass
class NodeState:
    """What the rules know of one node."""

    phase: NodePhase = NodePhase.UNDEFINED
    attempt: int = 0
    started: bool = False
    opened: bool = False
    user_failures: int = 0
    system_failures: int = 0


@dataclass
class RunState:
    """What the rules know of one run."""

    shape: Shape
    max_parallelism: int
    fails_late: bool
    nodes: list[NodeState]
    phase: RunPhase = RunPhase.RUNNING
    queue: list[int] = field(default_factory=list)


@dataclass
class OracleTurn:
    """What one step came to."""

    effects: list[Effect] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    refused: list[tuple[int, RefusalReason]] = field(default_factory=list)
    absorbed: int = 0


class RefusedError(Exception):
    """An event is illegal."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class AbsorbedError(Exception):
    """An event comes too late to matter."""


class Oracle:
    """The whole kernel; see the module's docstring for how it differs from the real one."""

    def __init__(self, system_attempts_extra: int = 3) -> None:
        self.system_attempts_extra = system_attempts_extra
        self.graphs: list[Shape] = []
        self.runs: list[RunState | None] = []
        self.deadlines: dict[tuple[int, int, Limit], int] = {}
        self.now = 0
        self.cause = NONE
        self.turn = OracleTurn()

    def step(self, now: int, events: Iterable[Event]) -> OracleTurn:
        """Fire what is due, then apply `events` in their order."""
        self.now, self.turn, self.cause = now, OracleTurn(), NONE
        while due := [(at, limit, run, node) for (run, node, limit), at in self.deadlines.items() if at <= now]:
            _, limit, run, node = min(due)
            del self.deadlines[run, node, limit]
            self.fire(run, node, limit)
        for self.cause, event in enumerate(events):
            self.try_to_apply(event)
        return self.turn

    def next_deadline(self) -> int | None:
        """The earliest time at which something happens by itself."""
        return min(self.deadlines.values(), default=None)

    def release(self, run: int) -> None:
        """Forget a run."""
        self.runs[run] = None

    # Events

    def try_to_apply(self, event: Event) -> None:
        """Apply one event, or note why not."""
        try:
            self.apply(event)
        except RefusedError as refused:
            self.turn.refused.append((self.cause, refused.reason))
        except AbsorbedError:
            self.turn.absorbed += 1

    def apply(self, event: Event) -> None:
        """Apply one event, or say why not."""
        if event.kind not in set(EventKind):
            raise RefusedError(RefusalReason.UNKNOWN_KIND)
        if event.kind == EventKind.RUN_CREATED:
            self.create(event)
            return
        if event.run >= len(self.runs):
            raise RefusedError(RefusalReason.UNKNOWN_RUN)
        run = self.runs[event.run]
        if run is None:
            raise AbsorbedError
        if event.kind == EventKind.RUN_ABORTED:
            self.abort_run(event.run, run)
            return
        self.check(run, event)
        self.apply_to_node(event.run, run, event)
        self.follow_up(event.run, run)

    def check(self, run: RunState, event: Event) -> None:
        """Refuse or absorb an event about a node that cannot be applied."""
        if event.node >= len(run.nodes):
            raise RefusedError(RefusalReason.UNKNOWN_NODE)
        if event.kind not in ACCEPTED[NodeKind(run.shape.kind[event.node])]:
            raise RefusedError(RefusalReason.WRONG_NODE_KIND)
        if event.kind == EventKind.ATTEMPT_FAILED and event.argument not in set(FailureClass):
            raise RefusedError(RefusalReason.BAD_ARGUMENT)
        node = run.nodes[event.node]
        if event.attempt < node.attempt:
            raise AbsorbedError
        if node.phase in (NodePhase.UNDEFINED, NodePhase.SKIPPED):
            raise RefusedError(RefusalReason.NEVER_LAUNCHED)
        if event.attempt > node.attempt:
            raise RefusedError(RefusalReason.FUTURE_ATTEMPT)
        if node.phase in TERMINAL_NODE_PHASES:
            raise AbsorbedError

    def create(self, event: Event) -> None:
        if event.run < len(self.runs):
            raise AbsorbedError
        if event.run > len(self.runs):
            raise RefusedError(RefusalReason.UNKNOWN_RUN)
        if event.node >= len(self.graphs):
            raise RefusedError(RefusalReason.UNKNOWN_GRAPH)
        if event.argument not in (0, 1):
            raise RefusedError(RefusalReason.BAD_ARGUMENT)
        shape = self.graphs[event.node]
        run = RunState(shape, event.attempt, event.argument == 1, [NodeState() for _ in shape.kind])
        self.runs.append(run)
        self.turn.transitions.append(Transition(event.run, NONE, RunPhase.RUNNING, 0))
        self.follow_up(event.run, run)

    def abort_run(self, index: int, run: RunState) -> None:
        if run.phase in TERMINAL_RUN_PHASES or run.phase == RunPhase.ABORTING:
            raise AbsorbedError
        self.stop_run(index, run, RunPhase.ABORTING, AbortReason.RUN_ABORTED)
        self.follow_up(index, run)

    def apply_to_node(self, index: int, run: RunState, event: Event) -> None:
        node = run.nodes[event.node]
        if event.kind == EventKind.SCOPE_OPENED:
            if node.phase != NodePhase.QUEUED:
                raise AbsorbedError
            node.opened = True
            self.start(index, run, event.node)
        elif event.kind == EventKind.ATTEMPT_STARTED:
            if node.phase not in ACTIVE or node.started:
                raise AbsorbedError
            self.start(index, run, event.node)
        elif node.opened:
            # An open scope ends with what is inside it, never by word from outside.
            if node.phase in ACTIVE:
                raise RefusedError(RefusalReason.NOT_AWAITED)
            raise AbsorbedError
        elif node.phase not in ACTIVE:
            self.gone(index, run, event.node)
        elif event.kind == EventKind.ATTEMPT_SUCCEEDED:
            self.end(index, run, event.node, NodePhase.SUCCEEDED)
        elif event.kind == EventKind.ATTEMPT_FAILED:
            self.fail(index, run, event.node, FailureClass(event.argument))
        else:
            raise RefusedError(RefusalReason.NOT_AWAITED)

    def start(self, index: int, run: RunState, number: int) -> None:
        run.nodes[number].started = True
        self.become(index, run, number, NodePhase.RUNNING)
        self.arm(index, number, Limit.EXECUTION, run.shape.execution_timeout[number])

    def fail(self, index: int, run: RunState, number: int, failure: FailureClass) -> None:
        node = run.nodes[number]
        again = False
        if failure == FailureClass.USER_RECOVERABLE:
            node.user_failures += 1
            again = node.user_failures < run.shape.attempts_max[number]
        elif failure == FailureClass.SYSTEM_RECOVERABLE and node.system_failures < self.system_attempts_extra:
            node.system_failures += 1
            again = True
        if again:
            self.try_again(index, run, number)
        else:
            self.end(index, run, number, NodePhase.FAILED)

    def gone(self, index: int, run: RunState, number: int) -> None:
        """What was to be stopped is gone: go where the waiting phase leads."""
        phase = run.nodes[number].phase
        if phase == NodePhase.RETRYING:
            self.try_again(index, run, number)
        elif phase == NodePhase.FAILING:
            self.end(index, run, number, NodePhase.FAILED)
        elif phase == NodePhase.TIMING_OUT:
            self.end(index, run, number, NodePhase.TIMED_OUT)
        else:
            self.end(index, run, number, NodePhase.ABORTED)

    def try_again(self, index: int, run: RunState, number: int) -> None:
        """Go to the next attempt; a scope takes everything inside along."""
        kind = NodeKind(run.shape.kind[number])
        node = run.nodes[number]
        node.attempt += 1
        node.started = node.opened = False
        self.deadlines.pop((index, number, Limit.EXECUTION), None)
        if kind == NodeKind.SUBWORKFLOW:
            for inner in run.shape.inside(number):
                run.nodes[inner] = NodeState(run.nodes[inner].phase, run.nodes[inner].attempt + 1)
                self.become(index, run, inner, NodePhase.UNDEFINED)
        self.become(index, run, number, NodePhase.QUEUED if kind == NodeKind.SUBWORKFLOW else NodePhase.RUNNING)
        self.emit(EFFECT_OF[kind], index, number, node.attempt)

    def end(self, index: int, run: RunState, number: int, phase: NodePhase) -> None:
        """A node ends; if that breaks a run that fails at once, the scopes around it fail and all else is stopped."""
        self.become(index, run, number, phase)
        if phase in BROKEN and not run.fails_late:
            for scope in run.shape.ancestors(number):
                self.become(index, run, scope, NodePhase.FAILED)
            self.stop_run(index, run, RunPhase.FAILING, AbortReason.RUN_FAILING)

    # Stopping

    def fire(self, index: int, number: int, limit: Limit) -> None:
        """A deadline has passed."""
        run = self.runs[index]
        assert run is not None
        node = run.nodes[number]
        was_retrying = node.phase == NodePhase.RETRYING
        reason = AbortReason.ACTIVE_TIMEOUT if limit == Limit.ACTIVE else AbortReason.EXECUTION_TIMEOUT
        if limit == Limit.ACTIVE:
            phase = NodePhase.TIMING_OUT
        else:
            node.user_failures += 1
            again = node.user_failures < run.shape.attempts_max[number]
            phase = NodePhase.RETRYING if again else NodePhase.FAILING
        self.become(index, run, number, phase)
        if was_retrying:
            pass  # it was told to stop already
        elif node.opened:
            self.stop(index, run, run.shape.inside(number), reason)
        else:
            self.emit(EffectKind.ABORT_ATTEMPTS, index, number, node.attempt, reason)
        self.follow_up(index, run)

    def stop_run(self, index: int, run: RunState, phase: RunPhase, reason: AbortReason) -> None:
        self.become_run(index, run, phase)
        self.stop(index, run, range(len(run.nodes)), reason)

    def stop(self, index: int, run: RunState, numbers: Iterable[int], reason: AbortReason) -> None:
        """Call off whatever is under way among some nodes; what was called off before is not told twice."""
        for number in numbers:
            node = run.nodes[number]
            self.disarm(index, number, Limit.ACTIVE, Limit.EXECUTION)
            if number in run.queue:
                run.queue.remove(number)
            if node.opened:
                continue  # it has nothing of its own outside
            if node.phase in ACTIVE:
                self.emit(EffectKind.ABORT_ATTEMPTS, index, number, node.attempt, reason)
            if node.phase in ACTIVE | STOPPING:
                self.become(index, run, number, NodePhase.ABORTING)

    # What follows

    def follow_up(self, index: int, run: RunState) -> None:
        """Work out everything that follows by itself from where the nodes stand now."""
        while (
            self.finish_stopped_scope(index, run)
            or self.skip_or_pass(index, run)
            or self.finish_settled_scope(index, run)
        ):
            pass
        self.queue_ready(index, run)
        self.launch(index, run)
        self.finish_run(index, run)

    def finish_stopped_scope(self, index: int, run: RunState) -> bool:
        """A scope that was to be stopped goes on once nothing inside is under way; scopes left open inside abort."""
        for number, node in enumerate(run.nodes):
            inside = run.shape.inside(number)
            outermost = not any(run.nodes[scope].phase in STOPPING for scope in run.shape.ancestors(number))
            if run.phase != RunPhase.RUNNING or not outermost:
                continue
            if node.opened and node.phase in STOPPING and not any(self.is_busy(run.nodes[i]) for i in inside):
                self.abort_open_scopes(index, run, inside)
                self.gone(index, run, number)
                return True
        return False

    def abort_open_scopes(self, index: int, run: RunState, numbers: Iterable[int]) -> None:
        for number in numbers:
            if run.nodes[number].opened and run.nodes[number].phase in ACTIVE | STOPPING:
                self.become(index, run, number, NodePhase.ABORTED)

    def skip_or_pass(self, index: int, run: RunState) -> bool:
        """A node with a bad upstream is skipped once all have settled; a start node succeeds as soon as it may."""
        for number in self.due_nodes(run):
            good = all(run.nodes[up].phase in GOOD for up in run.shape.upstream(number))
            if not good:
                self.become(index, run, number, NodePhase.SKIPPED)
                return True
            if run.shape.kind[number] == NodeKind.START:
                self.become(index, run, number, NodePhase.SUCCEEDED)
                return True
        return False

    def due_nodes(self, run: RunState) -> list[int]:
        """Nodes that have not started although all their upstreams have settled and their scope is open."""
        return [
            number
            for number, node in enumerate(run.nodes)
            if node.phase == NodePhase.UNDEFINED
            and number not in run.queue
            and run.phase == RunPhase.RUNNING
            and all(run.nodes[scope].phase == NodePhase.RUNNING for scope in run.shape.ancestors(number))
            and all(run.nodes[up].phase in SETTLED for up in run.shape.upstream(number))
        ]

    def finish_settled_scope(self, index: int, run: RunState) -> bool:
        for number, node in enumerate(run.nodes):
            goes_on = all(run.nodes[scope].phase == NodePhase.RUNNING for scope in run.shape.ancestors(number))
            if run.phase == RunPhase.RUNNING and node.opened and node.phase == NodePhase.RUNNING and goes_on:
                phases = {run.nodes[member].phase for member in run.shape.members(number)}
                if phases <= SETTLED:
                    self.end(index, run, number, NodePhase.FAILED if phases & BROKEN else NodePhase.SUCCEEDED)
                    return True
        return False

    def queue_ready(self, index: int, run: RunState) -> None:
        for number in self.due_nodes(run):
            if run.shape.kind[number] == NodeKind.TASK:
                run.queue.append(number)
            else:
                self.begin(index, run, number)

    def launch(self, index: int, run: RunState) -> None:
        while run.queue and (run.max_parallelism == 0 or self.slots_used(run) < run.max_parallelism):
            self.begin(index, run, run.queue.pop(0))

    def begin(self, index: int, run: RunState, number: int) -> None:
        self.become(index, run, number, NodePhase.QUEUED)
        self.emit(EFFECT_OF[NodeKind(run.shape.kind[number])], index, number, run.nodes[number].attempt)
        self.arm(index, number, Limit.ACTIVE, run.shape.active_timeout[number])

    def slots_used(self, run: RunState) -> int:
        return sum(
            self.is_busy(node) for number, node in enumerate(run.nodes) if run.shape.kind[number] == NodeKind.TASK
        )

    @staticmethod
    def is_busy(node: NodeState) -> bool:
        """Whether something of the node's own is under way outside."""
        return not node.opened and node.phase in ACTIVE | STOPPING | {NodePhase.ABORTING}

    def finish_run(self, index: int, run: RunState) -> None:
        phases = {run.nodes[number].phase for number in run.shape.members(NONE)}
        if run.phase == RunPhase.RUNNING and phases <= SETTLED:
            last = RunPhase.FAILED if phases & BROKEN else RunPhase.SUCCEEDED
        elif run.phase in (RunPhase.FAILING, RunPhase.ABORTING) and not any(map(self.is_busy, run.nodes)):
            self.abort_open_scopes(index, run, range(len(run.nodes)))
            last = RunPhase.FAILED if run.phase == RunPhase.FAILING else RunPhase.ABORTED
        else:
            return
        self.become_run(index, run, last)
        self.emit(EffectKind.FINISH_RUN, index, NONE, 0, last)

    # Records

    def become(self, index: int, run: RunState, number: int, phase: NodePhase) -> None:
        node = run.nodes[number]
        if phase not in ACTIVE | {NodePhase.RETRYING}:
            self.disarm(index, number, Limit.ACTIVE)
        if phase != NodePhase.RUNNING:
            self.disarm(index, number, Limit.EXECUTION)
        if phase != node.phase:
            node.phase = phase
            self.turn.transitions.append(Transition(index, number, phase, node.attempt))

    def become_run(self, index: int, run: RunState, phase: RunPhase) -> None:
        run.phase = phase
        self.turn.transitions.append(Transition(index, NONE, phase, 0))

    def emit(self, kind: EffectKind, run: int, node: int, attempt: int, argument: int = 0) -> None:
        self.turn.effects.append(Effect(kind, run, node, attempt, argument, self.cause))

    def arm(self, run: int, node: int, limit: Limit, timeout: int) -> None:
        if timeout:
            self.deadlines[run, node, limit] = min(self.now + timeout, 2**63 - 1)

    def disarm(self, run: int, node: int, *limits: Limit) -> None:
        for limit in limits:
            self.deadlines.pop((run, node, limit), None)
