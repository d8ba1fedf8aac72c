"""The oracle: the core's rules once more, slow and obvious.

Nothing is counted ahead. After every event the oracle looks at all nodes of the run, again and again, until nothing
more follows; readiness, settled scopes and held slots are worked out from the phases each time. It shares no code with
the core and knows its numbers only through `flyte_kernel.phases`.

Within one event effects come in this order: aborts (ascending index), the next attempt of the event's own node or
element, what became ready (ascending index, what needs a slot last), the end of the run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from flyte_kernel.phases import (
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
from tests.support.oracle_maps import AFTER_STOP, Maps, check_attempt
from tests.support.oracle_state import (
    ACTIVE,
    BROKEN,
    ENDED,
    GONE,
    GOOD,
    NONE,
    OPEN,
    SETTLED,
    SLOTTED,
    STOPPING,
    AbsorbedError,
    Effect,
    Event,
    Limit,
    NodeState,
    OracleTurn,
    RefusedError,
    RunState,
    Shape,
    Transition,
)

ENDS = {EventKind.ATTEMPT_SUCCEEDED, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_ABORTED}
ATTEMPTED = {EventKind.ATTEMPT_STARTED, *ENDS}
ACCEPTED: dict[NodeKind, set[EventKind]] = {
    NodeKind.TASK: {*ATTEMPTED, EventKind.GRAPH_GROWN},
    NodeKind.GATE: ATTEMPTED,
    NodeKind.CHILD_RUN: ATTEMPTED,
    NodeKind.START: set(),
    NodeKind.END: ENDS,
    NodeKind.SUBWORKFLOW: {*ENDS, EventKind.SCOPE_OPENED},
    NodeKind.BRANCH: {*ENDS, EventKind.BRANCH_DECIDED},
    NodeKind.MAP: {*ENDS, EventKind.MAP_OPENED},
}
EFFECT_OF = {
    NodeKind.TASK: EffectKind.LAUNCH_ATTEMPTS,
    NodeKind.GATE: EffectKind.LAUNCH_ATTEMPTS,
    NodeKind.CHILD_RUN: EffectKind.LAUNCH_ATTEMPTS,
    NodeKind.END: EffectKind.RESOLVE_OUTPUTS,
    NodeKind.SUBWORKFLOW: EffectKind.OPEN_SCOPE,
    NodeKind.BRANCH: EffectKind.DECIDE_BRANCH,
    NodeKind.MAP: EffectKind.OPEN_MAP,
}
SCOPES = {NodeKind.SUBWORKFLOW, NodeKind.BRANCH}
OPENINGS = {EventKind.SCOPE_OPENED, EventKind.BRANCH_DECIDED, EventKind.MAP_OPENED}


class Oracle(Maps):
    """The whole kernel; see the module's docstring for how it differs from the real one."""

    def __init__(self, system_attempts_extra: int = 3) -> None:
        super().__init__(system_attempts_extra)

    def step(self, now: int, events: Iterable[Event]) -> OracleTurn:
        """Fire what is due, then apply `events` in their order."""
        self.now, self.turn, self.cause = now, OracleTurn(), NONE
        while due := [(at, limit, *where) for (*where, limit), at in self.deadlines.items() if at <= now]:
            _, limit, index, number, element = min(due)
            del self.deadlines[index, number, element, Limit(limit)]
            self.fire(index, number, element, Limit(limit))
        for self.cause, event in enumerate(events):
            try:
                self.apply(event)
            except RefusedError as refused:
                self.turn.refused.append((self.cause, refused.reason))
            except AbsorbedError:
                self.turn.absorbed += 1
        return self.turn

    def next_deadline(self) -> int | None:
        """The earliest time at which something happens by itself."""
        return min(self.deadlines.values(), default=None)

    def release(self, run: int) -> None:
        """Forget a run."""
        self.runs[run] = None

    # Events

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
        if is_about_element(event) and event.kind == EventKind.ATTEMPT_SUCCEEDED and event.argument >> 32 > 0:
            self.apply_to_elements(run, event)
            return
        self.check(run, event)
        if is_about_element(event):
            self.apply_to_element(event.run, run, event)
        else:
            self.apply_to_node(event.run, run, event)
        self.follow_up(event.run, run)

    def apply_to_elements(self, run: RunState, event: Event) -> None:
        """Successes of elements in a row are single ones, unless one of them is refused."""
        more, outcome = event.argument >> 32, event.argument & 0xFFFF_FFFF
        singles = [event._replace(element=event.element + place, argument=outcome) for place in range(more + 1)]
        for single in reversed(singles):
            with contextlib.suppress(AbsorbedError):
                self.check(run, single)
        applied = 0
        for single in singles:
            with contextlib.suppress(AbsorbedError):
                self.check(run, single)
                self.apply_to_element(event.run, run, single)
                self.follow_up(event.run, run)
                applied += 1
        if not applied:
            raise AbsorbedError

    def check(self, run: RunState, event: Event) -> None:
        """Refuse or absorb an event about a node or element that cannot be applied."""
        if event.node >= len(run.nodes):
            raise RefusedError(RefusalReason.UNKNOWN_NODE)
        kind = NodeKind(run.shape.kind[event.node])
        accepted = ACCEPTED[kind]
        if is_about_element(event):
            accepted = ATTEMPTED if kind == NodeKind.MAP else set()
        if event.kind not in accepted:
            raise RefusedError(RefusalReason.WRONG_NODE_KIND)
        self.check_argument(run, kind, event)
        if is_about_element(event):
            self.check_element(run.nodes[event.node], event)
        else:
            check_attempt(run.nodes[event.node], event)

    def check_argument(self, run: RunState, kind: NodeKind, event: Event) -> None:
        size, min_successes = event.argument & 0xFFFF_FFFF, event.argument >> 32
        fits = {
            EventKind.ATTEMPT_STARTED: event.argument >= 0,
            EventKind.ATTEMPT_SUCCEEDED: event.argument in successes(kind, event),
            EventKind.ATTEMPT_FAILED: event.argument in set(FailureClass),
            EventKind.BRANCH_DECIDED: event.argument in run.shape.members(event.node),
            EventKind.MAP_OPENED: 0 <= min_successes <= size,
        }
        if not fits.get(EventKind(event.kind), True):
            raise RefusedError(RefusalReason.BAD_ARGUMENT)
        if event.kind == EventKind.ATTEMPT_SUCCEEDED and kind in SCOPES and event.argument == 0:
            raise RefusedError(RefusalReason.WRONG_NODE_KIND)
        if event.kind == EventKind.GRAPH_GROWN and not 0 <= event.argument < len(self.graphs):
            raise RefusedError(RefusalReason.UNKNOWN_GRAPH)

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
        if event.kind in OPENINGS:
            if node.phase != NodePhase.QUEUED:
                raise AbsorbedError
            self.open(index, run, event)
        elif event.kind == EventKind.ATTEMPT_STARTED:
            if node.phase not in ACTIVE or node.started:
                raise AbsorbedError
            self.start(index, run, event.node)
            self.arm(index, event.node, NONE, Limit.SLEEP, event.argument)
        elif event.kind == EventKind.GRAPH_GROWN and node.opened:
            raise AbsorbedError
        elif node.opened or (node.map is not None and not node.map.resolves):
            # It ends with what is inside it, never by word from outside.
            if node.phase in OPEN:
                raise RefusedError(RefusalReason.NOT_AWAITED)
            raise AbsorbedError
        elif node.phase not in ACTIVE:
            self.gone(index, run, event.node)
        elif event.kind == EventKind.GRAPH_GROWN:
            self.grow(index, run, event.node, self.graphs[event.argument])
        elif event.kind == EventKind.ATTEMPT_SUCCEEDED:
            if node.map is not None and event.argument:
                raise RefusedError(RefusalReason.BAD_ARGUMENT)
            self.end(index, run, event.node, PHASE_OF_SUCCESS[event.argument])
        elif event.kind == EventKind.ATTEMPT_FAILED:
            if self.may_try_again(node, FailureClass(event.argument), run.shape.attempts_max[event.node]):
                self.try_again(index, run, event.node)
            else:
                self.end(index, run, event.node, NodePhase.FAILED)
        else:
            raise RefusedError(RefusalReason.NOT_AWAITED)

    def open(self, index: int, run: RunState, event: Event) -> None:
        """A scope or a map may go on."""
        node = run.nodes[event.node]
        if event.kind == EventKind.MAP_OPENED:
            self.open_map(node, event)
            self.become(index, run, event.node, NodePhase.RUNNING)
            return
        node.opened = True
        self.start(index, run, event.node)
        if event.kind == EventKind.BRANCH_DECIDED:
            for member in run.shape.members(event.node):
                if member != event.argument:
                    self.become(index, run, member, NodePhase.SKIPPED)

    def start(self, index: int, run: RunState, number: int) -> None:
        run.nodes[number].started = True
        self.become(index, run, number, NodePhase.RUNNING)
        self.arm(index, number, NONE, Limit.EXECUTION, run.shape.execution_timeout[number])

    def grow(self, index: int, run: RunState, number: int, graph: Shape) -> None:
        """An attempt made a graph: the task is from now on a scope with these nodes."""
        node = run.nodes[number]
        self.become(index, run, number, NodePhase.DYNAMIC_RUNNING)
        if not node.started:
            self.arm(index, number, NONE, Limit.EXECUTION, run.shape.execution_timeout[number])
        node.started = node.opened = node.grew = True
        run.shape = run.shape.grown(number, graph)
        run.nodes += [NodeState() for _ in graph.kind]

    def gone(self, index: int, run: RunState, number: int) -> None:
        """What was to be stopped is gone: go where the waiting phase leads."""
        phase = run.nodes[number].phase
        if phase == NodePhase.RETRYING:
            self.try_again(index, run, number)
        else:
            self.end(index, run, number, AFTER_STOP[phase])

    def try_again(self, index: int, run: RunState, number: int) -> None:
        """Go to the next attempt; a scope takes everything inside along."""
        kind = NodeKind(run.shape.kind[number])
        node = run.nodes[number]
        node.attempt += 1
        node.started = node.opened = False
        self.disarm(index, number, NONE, Limit.EXECUTION, Limit.SLEEP)
        if kind in SCOPES:
            self.reset_inside(index, run, number)
        elif node.grew:
            self.give_up_growth(run, number)
        if node.map is not None:
            self.emit(EffectKind.RESOLVE_OUTPUTS, index, number, node.attempt)
            return
        waits = kind in {*SCOPES, NodeKind.MAP}
        self.become(index, run, number, NodePhase.QUEUED if waits else NodePhase.RUNNING)
        self.emit(EFFECT_OF[kind], index, number, node.attempt)

    def give_up_growth(self, run: RunState, number: int) -> None:
        """The nodes in a task that grew stay as they are and belong to nothing."""
        run.shape = run.shape.given_up(number)
        run.nodes[number].grew = False

    def reset_inside(self, index: int, run: RunState, number: int) -> None:
        """Make everything inside a scope as new, only no attempt number is used twice."""
        while grown := [inner for inner in run.shape.inside(number) if run.nodes[inner].grew]:
            self.give_up_growth(run, grown[0])
        for inner in run.shape.inside(number):
            node = run.nodes[inner]
            launched = [element.attempt for element in node.map.elements if element.phase] if node.map else []
            base = max(launched) + 1 if launched else node.base
            run.nodes[inner] = NodeState(node.phase, node.attempt + 1, base=base)
            self.become(index, run, inner, NodePhase.UNDEFINED)

    def end(self, index: int, run: RunState, number: int, phase: NodePhase) -> None:
        """A node ends; if that breaks a run that fails at once, what is around it fails."""
        self.become(index, run, number, phase)
        if phase in BROKEN and not run.fails_late:
            self.fail_outwards(index, run, number)

    def fail_outwards(self, index: int, run: RunState, number: int) -> None:
        """Scopes around a failed node fail at once, up to one with a handler; a handler that fails only ends.

        What is under way inside the last of them is called off.
        """
        for inner, scope in run.shape.path(number):
            if inner in run.shape.handlers:
                self.stop(index, run, run.shape.inside(inner), AbortReason.RUN_FAILING)
                return
            if scope == NONE:
                self.stop_run(index, run, RunPhase.FAILING, AbortReason.RUN_FAILING)
            elif run.shape.handler(scope) is None:
                self.become(index, run, scope, NodePhase.FAILED)
            else:
                run.nodes[scope].breaks = True
                self.become(index, run, scope, NodePhase.FAILING)
                self.stop(index, run, run.shape.inside(scope), AbortReason.RUN_FAILING)
                return

    # Stopping

    def fire(self, index: int, number: int, element: int, limit: Limit) -> None:
        """A timer is due."""
        run = self.runs[index]
        assert run is not None
        if element != NONE:
            self.fire_element(index, run, number, element, limit)
        elif limit == Limit.SLEEP:
            self.end(index, run, number, NodePhase.SUCCEEDED)
        else:
            self.run_out_of_time(index, run, number, limit)
        self.follow_up(index, run)

    def run_out_of_time(self, index: int, run: RunState, number: int, limit: Limit) -> None:
        node = run.nodes[number]
        was_retrying = node.phase == NodePhase.RETRYING
        reason = AbortReason.ACTIVE_TIMEOUT if limit == Limit.ACTIVE else AbortReason.EXECUTION_TIMEOUT
        self.become(index, run, number, self.phase_of_stop(node, limit, run.shape.attempts_max[number]))
        if was_retrying:
            pass  # it was told to stop already
        elif node.opened:
            self.stop(index, run, run.shape.inside(number), reason)
        else:
            self.emit(EffectKind.ABORT_ATTEMPTS, index, number, node.attempt, reason)

    def stop_run(self, index: int, run: RunState, phase: RunPhase, reason: AbortReason) -> None:
        run.handles = False
        self.become_run(index, run, phase)
        self.stop(index, run, range(len(run.nodes)), reason)

    def stop(self, index: int, run: RunState, numbers: Iterable[int], reason: AbortReason) -> None:
        """Call off whatever is under way among some nodes; what was called off before is not told twice."""
        for number in numbers:
            node = run.nodes[number]
            self.disarm(index, number, NONE, *Limit)
            if number in run.queue:
                run.queue.remove(number)
            if node.opened:
                continue  # it has nothing of its own outside
            if node.map is not None and not node.map.resolves:
                self.stop_elements(index, number, node.map, reason)
            elif node.phase in ACTIVE:
                self.emit(EffectKind.ABORT_ATTEMPTS, index, number, node.attempt, reason)
            if node.phase in ACTIVE | STOPPING:
                self.become(index, run, number, NodePhase.ABORTING)

    # What follows

    def follow_up(self, index: int, run: RunState) -> None:
        """Work out everything that follows by itself from where the nodes stand now."""
        while (
            self.finish_map(index, run)
            or self.finish_stopped_scope(index, run)
            or self.finish_handled_scope(index, run)
            or self.skip_or_pass(index, run)
            or self.finish_settled_scope(index, run)
            or self.handle_failure_of_run(index, run)
        ):
            pass
        self.queue_ready(index, run)
        self.launch(index, run)
        self.finish_run(index, run)

    def finish_map(self, index: int, run: RunState) -> bool:
        """A map launches what there is room for, and ends once its elements say how."""
        for number, node in enumerate(run.nodes):
            if node.map is None or node.map.resolves or not node.is_busy:
                continue
            failed, ended = node.map.count(BROKEN), node.map.count(ENDED)
            size, busy = len(node.map.elements), any(element.is_busy for element in node.map.elements)
            if node.phase != NodePhase.RUNNING:
                if not busy:
                    self.gone(index, run, number)
                    return True
            elif size - failed < node.map.min_successes:
                self.become(index, run, number, NodePhase.FAILING)
                self.stop_elements(index, number, node.map, AbortReason.RUN_FAILING)
                return True
            elif ended == size:
                node.map.resolves = True
                self.emit(EffectKind.RESOLVE_OUTPUTS, index, number, node.attempt)
                return True
            else:
                self.launch_elements(index, run, number)
        return False

    def finish_stopped_scope(self, index: int, run: RunState) -> bool:
        """A scope that was to be stopped goes on once nothing inside is under way; scopes left open inside abort."""
        for number, node in enumerate(run.nodes):
            inside = run.shape.inside(number)
            stopped = node.opened and node.phase in STOPPING and not node.handles
            if stopped and run.goes_on(number) and not run.busy(inside):
                self.abort_open_scopes(index, run, inside)
                if node.breaks:
                    node.breaks, node.handles = False, True
                else:
                    self.gone(index, run, number)
                return True
        return False

    def finish_handled_scope(self, index: int, run: RunState) -> bool:
        """A scope fails when its handler has ended in any way and has left nothing under way."""
        for number, node in enumerate(run.nodes):
            handler = run.shape.handler(number)
            if handler is None or not run.handles_failure_of(number) or not run.goes_on(number):
                continue
            inside = run.shape.inside(number)
            if run.nodes[handler].phase in ENDED and not run.busy(inside):
                self.abort_open_scopes(index, run, inside)
                node.handles = False
                self.end(index, run, number, NodePhase.FAILED)
                return True
        return False

    def abort_open_scopes(self, index: int, run: RunState, numbers: Iterable[int]) -> None:
        for number in numbers:
            if run.nodes[number].opened and run.nodes[number].phase in OPEN | STOPPING:
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
            and run.goes_on(number)
            and all(run.nodes[up].phase in SETTLED for up in run.shape.upstream(number))
        ]

    def finish_settled_scope(self, index: int, run: RunState) -> bool:
        for number, node in enumerate(run.nodes):
            phases = {run.nodes[member].phase for member in run.shape.members(number)}
            if not (node.opened and node.phase in OPEN and run.goes_on(number) and phases <= SETTLED):
                continue
            if phases & BROKEN and run.shape.handler(number) is not None:
                node.handles = True
                self.become(index, run, number, NodePhase.FAILING)
            else:
                self.end(index, run, number, NodePhase.FAILED if phases & BROKEN else NodePhase.SUCCEEDED)
            return True
        return False

    def handle_failure_of_run(self, index: int, run: RunState) -> bool:
        """The time of the top scope's handler comes when all else is gone."""
        if run.shape.handler(NONE) is None or run.handles or run.busy(range(len(run.nodes))):
            return False
        phases = {run.nodes[number].phase for number in run.shape.members(NONE)}
        if run.phase == RunPhase.RUNNING and phases <= SETTLED and phases & BROKEN:
            self.become_run(index, run, RunPhase.FAILING)
        elif run.phase != RunPhase.FAILING:
            return False
        self.abort_open_scopes(index, run, range(len(run.nodes)))
        run.handles = True
        return True

    def queue_ready(self, index: int, run: RunState) -> None:
        for number in self.due_nodes(run):
            if run.shape.kind[number] in SLOTTED:
                run.queue.append(number)
            else:
                self.begin(index, run, number)

    def launch(self, index: int, run: RunState) -> None:
        while run.queue and (run.max_parallelism == 0 or run.slots_used < run.max_parallelism):
            self.begin(index, run, run.queue.pop(0))

    def begin(self, index: int, run: RunState, number: int) -> None:
        kind = NodeKind(run.shape.kind[number])
        self.become(index, run, number, NodePhase.QUEUED)
        self.emit(EFFECT_OF[kind], index, number, run.nodes[number].attempt)
        if kind != NodeKind.MAP:  # there the limits are its elements'
            self.arm(index, number, NONE, Limit.ACTIVE, run.shape.active_timeout[number])

    def finish_run(self, index: int, run: RunState) -> None:
        everything = range(len(run.nodes))
        phases = {run.nodes[number].phase for number in run.shape.members(NONE)}
        if run.phase == RunPhase.RUNNING and phases <= SETTLED:
            last = RunPhase.FAILED if phases & BROKEN else RunPhase.SUCCEEDED
        elif run.phase == RunPhase.ABORTING and not run.busy(everything):
            last = RunPhase.ABORTED
        elif run.phase == RunPhase.FAILING and not run.busy(everything):
            handler = run.shape.handler(NONE)
            if handler is not None and run.nodes[handler].phase not in ENDED:
                return
            last = RunPhase.FAILED
        else:
            return
        self.abort_open_scopes(index, run, everything)
        self.become_run(index, run, last)
        self.emit(EffectKind.FINISH_RUN, index, NONE, 0, last)


PHASE_OF_SUCCESS = (NodePhase.SUCCEEDED, NodePhase.RECOVERED, NodePhase.SKIPPED)


def successes(kind: NodeKind, event: Event) -> tuple[int, ...]:
    """How an attempt without failure may end: an end node only by itself, an element never as not wanted."""
    if kind == NodeKind.END:
        return (0,)
    if is_about_element(event):
        return (0, 1)
    return (0, 1, 2)


def is_about_element(event: Event) -> bool:
    """Whether an event names an element; in MAP_OPENED the column says how many may be under way."""
    return event.element != NONE and event.kind != EventKind.MAP_OPENED


__all__ = ["GONE", "NONE", "Effect", "Event", "Oracle", "Shape", "Transition"]
