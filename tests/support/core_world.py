"""One run of a small graph, told what happens in words that fit a test."""

from __future__ import annotations

from collections.abc import Iterable

from flyte_kernel import Kernel, Turn
from flyte_kernel.phases import EventKind, NodeKind, NodePhase, RunPhase
from tests.support.oracle import NONE, Effect, Event, Shape
from tests.support.oracle_driver import effects_of, graph_of, step, transitions_of

KIND_OF_LETTER = {
    "t": NodeKind.TASK,
    "s": NodeKind.START,
    "e": NodeKind.END,
    "w": NodeKind.SUBWORKFLOW,
    "b": NodeKind.BRANCH,
    "m": NodeKind.MAP,
    "g": NodeKind.GATE,
    "c": NodeKind.CHILD_RUN,
}


def shape(
    kinds: str,
    edges: list[tuple[int, int]] | None = None,
    *,
    scope: dict[int, int] | None = None,
    attempts_max: dict[int, int] | None = None,
    execution_timeout: dict[int, int] | None = None,
    active_timeout: dict[int, int] | None = None,
    handlers: Iterable[int] = (),
) -> Shape:
    """Describe a graph: a letter a node, see KIND_OF_LETTER; columns name only what is not the default."""
    count = len(kinds)

    def column(given: dict[int, int] | None, default: int) -> list[int]:
        return [(given or {}).get(node, default) for node in range(count)]

    return Shape(
        [KIND_OF_LETTER[letter] for letter in kinds],
        column(scope, NONE),
        edges or [],
        column(attempts_max, 1),
        column(execution_timeout, 0),
        column(active_timeout, 0),
        frozenset(handlers),
    )


class CoreWorld:
    """A core with one run; every step checks the invariants."""

    def __init__(
        self, graph: Shape, *, parallelism: int = 0, fails_late: bool = False, system_attempts_extra: int = 3
    ) -> None:
        self.taken: set[tuple[int, NodePhase, NodePhase]] = set()
        self._at: dict[int, NodePhase] = {}
        self.kernel = Kernel(system_attempts_extra=system_attempts_extra)
        self.kernel.add_graph(graph_of(graph))
        self.last = self.step(Event(EventKind.RUN_CREATED, 0, 0, parallelism, argument=int(fails_late)))

    def step(self, *events: Event, now: int = 0) -> Turn:
        """Step, keep the turn in `last` and every (node, phase before, phase after) in `taken`."""
        self.last = step(self.kernel, now, events)
        self.kernel.check_invariants()
        for _, node, phase, _ in transitions_of(self.last):
            if node != NONE:
                self.taken.add((node, self._at.get(node, NodePhase.UNDEFINED), NodePhase(phase)))
                self._at[node] = NodePhase(phase)
        return self.last

    def started(self, node: int, attempt: int = 0, now: int = 0, *, sleep: int = 0, element: int = NONE) -> Turn:
        """Say that an attempt runs, and for how long until it succeeds by itself."""
        return self.step(Event(EventKind.ATTEMPT_STARTED, 0, node, attempt, element, sleep), now=now)

    def succeeded(self, *nodes: int, attempt: int = 0, now: int = 0, element: int = NONE, recovered: int = 0) -> Turn:
        """Say that attempts succeeded, or that their outputs were taken over."""
        rows = [Event(EventKind.ATTEMPT_SUCCEEDED, 0, node, attempt, element, recovered) for node in nodes]
        return self.step(*rows, now=now)

    def failed(self, node: int, failure: int, attempt: int = 0, now: int = 0, *, element: int = NONE) -> Turn:
        """Say that an attempt failed, with a FailureClass."""
        return self.step(Event(EventKind.ATTEMPT_FAILED, 0, node, attempt, element, failure), now=now)

    def gone(self, node: int, attempt: int = 0, now: int = 0, *, element: int = NONE) -> Turn:
        """Say that an attempt which was to be aborted is gone."""
        return self.step(Event(EventKind.ATTEMPT_ABORTED, 0, node, attempt, element), now=now)

    def decided(self, node: int, member: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say which member of a branch is to run."""
        return self.step(Event(EventKind.BRANCH_DECIDED, 0, node, attempt, argument=member), now=now)

    def grown(self, node: int, graph: Shape, attempt: int = 0, now: int = 0) -> Turn:
        """Say that an attempt made a graph."""
        index = self.kernel.add_graph(graph_of(graph))
        return self.step(Event(EventKind.GRAPH_GROWN, 0, node, attempt, argument=index), now=now)

    def map_opened(
        self,
        node: int,
        size: int,
        *,
        at_once: int = 0,
        min_successes: int | None = None,
        attempt: int = 0,
        now: int = 0,
    ) -> Turn:
        """Say how many elements a map has, how many of them may be under way and how many must succeed."""
        least = size if min_successes is None else min_successes
        return self.step(Event(EventKind.MAP_OPENED, 0, node, attempt, at_once, size | least << 32), now=now)

    def opened(self, node: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say that the inputs of a scope are there."""
        return self.step(Event(EventKind.SCOPE_OPENED, 0, node, attempt), now=now)

    def aborted(self, now: int = 0) -> Turn:
        """Abort the run."""
        return self.step(Event(EventKind.RUN_ABORTED, 0), now=now)

    def passes(self, now: int) -> Turn:
        """Let time pass with nothing else happening."""
        return self.step(now=now)

    def phase(self, node: int) -> NodePhase:
        """Where a node stands."""
        return NodePhase(int(self.kernel.phases(0)[node]))

    def phases(self) -> str:
        """Where all nodes stand, as names with blanks between."""
        return " ".join(NodePhase(phase).name for phase in self.kernel.phases(0).tolist())

    @property
    def run_phase(self) -> RunPhase:
        """Where the run stands."""
        return RunPhase(self.kernel.run_phase(0))

    def effects(self) -> list[tuple[int, int, int, int]]:
        """The last turn's effects as (kind, node, attempt, argument)."""
        return [(e.kind, e.node, e.attempt, e.argument) for e in effects_of(self.last)]

    def element_effects(self) -> list[tuple[int, int, int, int]]:
        """The last turn's effects as (kind, element, attempt, argument)."""
        return [(e.kind, e.element, e.attempt, e.argument) for e in effects_of(self.last)]

    def elements(self, node: int) -> str:
        """Where all elements of a map stand, as names with blanks between."""
        return " ".join(NodePhase(phase).name for phase in self.kernel.element_phases(0, node).tolist())

    def causes(self) -> list[int]:
        """The last turn's effects' causes."""
        return [effect.cause for effect in effects_of(self.last)]

    def moves(self, node: int) -> list[NodePhase]:
        """Where the last turn took a node."""
        return [NodePhase(phase) for run, number, phase, _ in transitions_of(self.last) if (run, number) == (0, node)]


__all__ = ["NONE", "CoreWorld", "Effect", "shape"]
