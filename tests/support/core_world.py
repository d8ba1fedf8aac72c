"""One run of a small graph, told what happens in words that fit a test."""

from __future__ import annotations

from flyte_kernel import Kernel, Turn
from flyte_kernel.phases import EventKind, NodeKind, NodePhase, RunPhase
from tests.support.oracle import NONE, Effect, Event, Shape
from tests.support.oracle_driver import effects_of, graph_of, step, transitions_of

KIND_OF_LETTER = {"t": NodeKind.TASK, "s": NodeKind.START, "e": NodeKind.END, "w": NodeKind.SUBWORKFLOW}


def shape(
    kinds: str,
    edges: list[tuple[int, int]] | None = None,
    *,
    scope: dict[int, int] | None = None,
    attempts_max: dict[int, int] | None = None,
    execution_timeout: dict[int, int] | None = None,
    active_timeout: dict[int, int] | None = None,
) -> Shape:
    """Describe a graph: a letter a node (task, start, end, workflow); columns name only what is not the default."""
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
        self.last = self.step(Event(EventKind.RUN_CREATED, 0, 0, parallelism, int(fails_late)))

    def step(self, *events: Event, now: int = 0) -> Turn:
        """Step, keep the turn in `last` and every (node, phase before, phase after) in `taken`."""
        self.last = step(self.kernel, now, events)
        self.kernel.check_invariants()
        for _, node, phase, _ in transitions_of(self.last):
            if node != NONE:
                self.taken.add((node, self._at.get(node, NodePhase.UNDEFINED), NodePhase(phase)))
                self._at[node] = NodePhase(phase)
        return self.last

    def started(self, node: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say that an attempt runs."""
        return self.step(Event(EventKind.ATTEMPT_STARTED, 0, node, attempt), now=now)

    def succeeded(self, *nodes: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say that attempts succeeded."""
        return self.step(*(Event(EventKind.ATTEMPT_SUCCEEDED, 0, node, attempt) for node in nodes), now=now)

    def failed(self, node: int, failure: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say that an attempt failed, with a FailureClass."""
        return self.step(Event(EventKind.ATTEMPT_FAILED, 0, node, attempt, failure), now=now)

    def gone(self, node: int, attempt: int = 0, now: int = 0) -> Turn:
        """Say that an attempt which was to be aborted is gone."""
        return self.step(Event(EventKind.ATTEMPT_ABORTED, 0, node, attempt), now=now)

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

    def causes(self) -> list[int]:
        """The last turn's effects' causes."""
        return [effect.cause for effect in effects_of(self.last)]

    def moves(self, node: int) -> list[NodePhase]:
        """Where the last turn took a node."""
        return [NodePhase(phase) for run, number, phase, _ in transitions_of(self.last) if (run, number) == (0, node)]


__all__ = ["NONE", "CoreWorld", "Effect", "shape"]
