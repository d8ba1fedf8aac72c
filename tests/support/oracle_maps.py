"""What the oracle writes down, and its rules of a map's elements."""

from __future__ import annotations

from flyte_kernel.phases import AbortReason, EffectKind, EventKind, FailureClass, NodePhase, RefusalReason, RunPhase
from tests.support.oracle_state import (
    ACTIVE,
    BUSY,
    ENDED,
    NONE,
    OPEN,
    STOPPING,
    AbsorbedError,
    Attempts,
    Effect,
    Event,
    Limit,
    MapState,
    NodeState,
    OracleTurn,
    RefusedError,
    RunState,
    Shape,
    Transition,
)

AFTER_STOP = {
    NodePhase.FAILING: NodePhase.FAILED,
    NodePhase.TIMING_OUT: NodePhase.TIMED_OUT,
    NodePhase.ABORTING: NodePhase.ABORTED,
}
"""Where a node or element ends once what was called off is gone; RETRYING goes on instead."""


class Records:
    """Time, timers, and what a step came to."""

    def __init__(self, system_attempts_extra: int) -> None:
        self.system_attempts_extra = system_attempts_extra
        self.graphs: list[Shape] = []
        self.runs: list[RunState | None] = []
        self.deadlines: dict[tuple[int, int, int, Limit], int] = {}
        self.now = 0
        self.cause = NONE
        self.turn = OracleTurn()

    def become(self, index: int, run: RunState, number: int, phase: NodePhase) -> None:
        """Take a node to a phase; timers that mean nothing there are taken away."""
        node = run.nodes[number]
        self.disarm_for(index, number, NONE, phase)
        if phase != node.phase:
            node.phase = phase
            self.turn.transitions.append(Transition(index, number, phase, node.attempt))

    def become_run(self, index: int, run: RunState, phase: RunPhase) -> None:
        """Take a run to a phase."""
        run.phase = phase
        self.turn.transitions.append(Transition(index, NONE, phase, 0))

    def emit(
        self, kind: EffectKind, run: int, node: int, attempt: int, argument: int = 0, *, element: int = NONE
    ) -> None:
        """Ask for something."""
        self.turn.effects.append(Effect(kind, run, node, attempt, element, argument, self.cause))

    def arm(self, run: int, node: int, element: int, limit: Limit, timeout: int) -> None:
        """Set a timer, unless there is no limit."""
        if timeout:
            self.deadlines[run, node, element, limit] = min(self.now + timeout, 2**63 - 1)

    def disarm(self, run: int, node: int, element: int, *limits: Limit) -> None:
        """Take timers away."""
        for limit in limits:
            self.deadlines.pop((run, node, element, limit), None)

    def disarm_for(self, run: int, node: int, element: int, phase: NodePhase) -> None:
        """Take away the timers that mean nothing in a phase."""
        if phase not in {*ACTIVE, *OPEN, NodePhase.RETRYING}:
            self.disarm(run, node, element, Limit.ACTIVE)
        if phase not in OPEN:
            self.disarm(run, node, element, Limit.EXECUTION)
        if phase != NodePhase.RUNNING:
            self.disarm(run, node, element, Limit.SLEEP)

    def may_try_again(self, what: Attempts, failure: FailureClass, attempts_max: int) -> bool:
        """Charge a failure to whom it belongs and say whether there is budget left."""
        if failure == FailureClass.USER_RECOVERABLE:
            what.user_failures += 1
            return what.user_failures < attempts_max
        if failure == FailureClass.SYSTEM_RECOVERABLE and what.system_failures < self.system_attempts_extra:
            what.system_failures += 1
            return True
        return False


class Maps(Records):
    """The rules of elements; what they mean for their node is the oracle's."""

    def open_map(self, node: NodeState, event: Event) -> None:
        """Make the elements."""
        size, min_successes = event.argument & 0xFFFF_FFFF, event.argument >> 32
        node.map = MapState([Attempts(attempt=node.base) for _ in range(size)], event.element, min_successes)

    def check_element(self, node: NodeState, event: Event) -> None:
        """Refuse or absorb an event about an element that cannot be applied."""
        if event.attempt < node.base:
            raise AbsorbedError
        if node.map is None:
            if node.phase in ENDED - {NodePhase.SKIPPED}:
                raise AbsorbedError
            raise RefusedError(RefusalReason.NEVER_LAUNCHED)
        if event.element >= len(node.map.elements):
            raise RefusedError(RefusalReason.UNKNOWN_NODE)
        check_attempt(node.map.elements[event.element], event)

    def apply_to_element(self, index: int, run: RunState, event: Event) -> None:
        """Apply an event that was found to be about an element's current attempt."""
        the_map = run.nodes[event.node].map
        assert the_map is not None
        element = the_map.elements[event.element]
        if event.kind == EventKind.ATTEMPT_STARTED:
            if element.phase not in ACTIVE or element.started:
                raise AbsorbedError
            element.started = True
            self.move(index, event.node, event.element, element, NodePhase.RUNNING)
            timeout = run.shape.execution_timeout[event.node]
            self.arm(index, event.node, event.element, Limit.EXECUTION, timeout)
            self.arm(index, event.node, event.element, Limit.SLEEP, event.argument)
        elif element.phase == NodePhase.RETRYING:
            self.try_element_again(index, event.node, event.element, element)
        elif element.phase in AFTER_STOP:
            self.move(index, event.node, event.element, element, AFTER_STOP[element.phase])
        elif event.kind == EventKind.ATTEMPT_SUCCEEDED:
            phase = NodePhase.RECOVERED if event.argument else NodePhase.SUCCEEDED
            self.move(index, event.node, event.element, element, phase)
        elif event.kind == EventKind.ATTEMPT_FAILED:
            attempts_max = run.shape.attempts_max[event.node]
            if self.may_try_again(element, FailureClass(event.argument), attempts_max):
                self.try_element_again(index, event.node, event.element, element)
            else:
                self.move(index, event.node, event.element, element, NodePhase.FAILED)
        else:
            raise RefusedError(RefusalReason.NOT_AWAITED)

    def try_element_again(self, index: int, number: int, place: int, element: Attempts) -> None:
        """Launch an element's next attempt; it keeps its place in the window."""
        element.attempt += 1
        element.started = False
        self.disarm(index, number, place, Limit.EXECUTION, Limit.SLEEP)
        self.move(index, number, place, element, NodePhase.RUNNING)
        self.emit(EffectKind.LAUNCH_ATTEMPTS, index, number, element.attempt, element=place)

    def launch_elements(self, index: int, run: RunState, number: int) -> None:
        """Launch elements in their order while there is room in the window."""
        the_map = run.nodes[number].map
        assert the_map is not None
        for place, element in enumerate(the_map.elements):
            full = the_map.parallelism and the_map.count(BUSY) >= the_map.parallelism
            if element.phase == NodePhase.UNDEFINED and not full:
                self.move(index, number, place, element, NodePhase.QUEUED)
                self.emit(EffectKind.LAUNCH_ATTEMPTS, index, number, element.attempt, element=place)
                self.arm(index, number, place, Limit.ACTIVE, run.shape.active_timeout[number])

    def stop_elements(self, index: int, number: int, the_map: MapState, reason: AbortReason) -> None:
        """Call off the elements under way; those that were called off before are not told twice."""
        for place, element in enumerate(the_map.elements):
            if element.phase in ACTIVE:
                self.emit(EffectKind.ABORT_ATTEMPTS, index, number, element.attempt, reason, element=place)
            if element.phase in ACTIVE | STOPPING:
                self.move(index, number, place, element, NodePhase.ABORTING)

    def fire_element(self, index: int, run: RunState, number: int, place: int, limit: Limit) -> None:
        """A timer of an element is due."""
        the_map = run.nodes[number].map
        assert the_map is not None
        element = the_map.elements[place]
        if limit == Limit.SLEEP:
            self.move(index, number, place, element, NodePhase.SUCCEEDED)
            return
        if element.phase != NodePhase.RETRYING:  # else it was told to stop already
            reason = AbortReason.ACTIVE_TIMEOUT if limit == Limit.ACTIVE else AbortReason.EXECUTION_TIMEOUT
            self.emit(EffectKind.ABORT_ATTEMPTS, index, number, element.attempt, reason, element=place)
        phase = self.phase_of_stop(element, limit, run.shape.attempts_max[number])
        self.move(index, number, place, element, phase)

    def phase_of_stop(self, what: Attempts, limit: Limit, attempts_max: int) -> NodePhase:
        """Where a limit takes a node or element; time out of an attempt is the user's failure."""
        if limit == Limit.ACTIVE:
            return NodePhase.TIMING_OUT
        again = self.may_try_again(what, FailureClass.USER_RECOVERABLE, attempts_max)
        return NodePhase.RETRYING if again else NodePhase.FAILING

    def move(self, run: int, node: int, place: int, element: Attempts, phase: NodePhase) -> None:
        """Take an element to a phase; the core tells nobody."""
        self.disarm_for(run, node, place, phase)
        if phase != element.phase:
            self.turn.moves.append((element.phase, phase))
        element.phase = phase


def check_attempt(what: Attempts, event: Event) -> None:
    """Refuse or absorb an event about an attempt that is not the current one of what it is about."""
    if event.attempt < what.attempt:
        raise AbsorbedError
    if what.phase in (NodePhase.UNDEFINED, NodePhase.SKIPPED):
        raise RefusedError(RefusalReason.NEVER_LAUNCHED)
    if event.attempt > what.attempt:
        raise RefusedError(RefusalReason.FUTURE_ATTEMPT)
    if what.phase in ENDED:
        raise AbsorbedError
