"""What the oracle knows: graphs as lists, where runs, nodes and elements stand, the rows that go in and come out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import NamedTuple

from flyte_kernel.phases import NodeKind, NodePhase, RefusalReason, RunPhase

NONE = 0xFFFF_FFFF
GONE = 0xFFFF_FFFE
"""The scope of a node that grew in an attempt which was given up."""

GOOD = {NodePhase.SUCCEEDED, NodePhase.RECOVERED}
BROKEN = {NodePhase.FAILED, NodePhase.TIMED_OUT}
SETTLED = {*GOOD, *BROKEN, NodePhase.SKIPPED}
ENDED = {*SETTLED, NodePhase.ABORTED}
ACTIVE = {NodePhase.QUEUED, NodePhase.RUNNING}
STOPPING = {NodePhase.RETRYING, NodePhase.FAILING, NodePhase.TIMING_OUT}
BUSY = {*ACTIVE, *STOPPING, NodePhase.ABORTING}
OPEN = {NodePhase.RUNNING, NodePhase.DYNAMIC_RUNNING}
SLOTTED = {NodeKind.TASK, NodeKind.MAP, NodeKind.CHILD_RUN}
"""Kinds that wait in line for a place under max_parallelism."""


class Limit(IntEnum):
    """What a timer is for; of several at one time they fire in this order."""

    ACTIVE = 0
    EXECUTION = 1
    SLEEP = 2


class Event(NamedTuple):
    """One row of the event columns."""

    kind: int
    run: int
    node: int = 0
    attempt: int = 0
    element: int = NONE
    argument: int = 0


class Effect(NamedTuple):
    """One row of the effect columns."""

    kind: int
    run: int
    node: int
    attempt: int
    element: int
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
    """A graph as lists; `edges` are (source, target) pairs, `handlers` the nodes that handle their scope's failure."""

    kind: Sequence[int]
    scope: Sequence[int]
    edges: Sequence[tuple[int, int]]
    attempts_max: Sequence[int]
    execution_timeout: Sequence[int]
    active_timeout: Sequence[int]
    handlers: frozenset[int] = frozenset()

    def upstream(self, node: int) -> list[int]:
        """The nodes that `node` waits for."""
        return [source for source, target in self.edges if target == node]

    def members(self, scope: int) -> list[int]:
        """The nodes directly in a scope, the one that handles its failure left out."""
        return [node for node, its in enumerate(self.scope) if its == scope and node not in self.handlers]

    def handler(self, scope: int) -> int | None:
        """The node that handles a scope's failure."""
        return next((node for node in sorted(self.handlers) if self.scope[node] == scope), None)

    def inside(self, scope: int) -> list[int]:
        """The nodes in a scope at any depth, ascending."""
        found: list[int] = []
        for node, its in enumerate(self.scope):
            if its == scope:
                found += [node, *self.inside(node)]
        return sorted(found)

    def path(self, node: int) -> Iterator[tuple[int, int]]:
        """The way from a node to the top, as pairs of a node and the scope that it is in."""
        while True:
            scope = self.scope[node]
            yield node, scope
            if scope in (NONE, GONE):
                return
            node = scope

    def grown(self, node: int, graph: Shape) -> Shape:
        """This graph with another one put into a node."""
        count = len(self.kind)
        return Shape(
            [*self.kind, *graph.kind],
            [*self.scope, *(node if scope == NONE else count + scope for scope in graph.scope)],
            [*self.edges, *((count + source, count + target) for source, target in graph.edges)],
            [*self.attempts_max, *graph.attempts_max],
            [*self.execution_timeout, *graph.execution_timeout],
            [*self.active_timeout, *graph.active_timeout],
            self.handlers | {count + handler for handler in graph.handlers},
        )

    def given_up(self, node: int) -> Shape:
        """This graph after the nodes in `node` have been taken out of it."""
        return replace(self, scope=[GONE if scope == node else scope for scope in self.scope])


@dataclass
class Attempts:
    """What nodes and elements have in common: one attempt after another, until one ends for good."""

    phase: NodePhase = NodePhase.UNDEFINED
    attempt: int = 0
    started: bool = False
    user_failures: int = 0
    system_failures: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether something of its own is under way outside."""
        return self.phase in BUSY


@dataclass
class MapState:
    """What the rules know of an open map."""

    elements: list[Attempts]
    parallelism: int
    min_successes: int
    resolves: bool = False

    def count(self, phases: set[NodePhase]) -> int:
        """How many elements stand in one of some phases."""
        return sum(element.phase in phases for element in self.elements)


@dataclass
class NodeState(Attempts):
    """What the rules know of one node.

    `opened` is a scope whose members may go on; `grew` is a task that became one; `breaks` is one that failed inside
    and waits until nothing is under way there; `handles` is one whose failure is being handled.
    """

    opened: bool = False
    grew: bool = False
    breaks: bool = False
    handles: bool = False
    map: MapState | None = None
    base: int = 0

    @property
    def is_busy(self) -> bool:
        """Whether something of its own is under way outside; of an open scope nothing is."""
        return not self.opened and self.phase in BUSY


@dataclass
class RunState:
    """What the rules know of one run."""

    shape: Shape
    max_parallelism: int
    fails_late: bool
    nodes: list[NodeState]
    phase: RunPhase = RunPhase.RUNNING
    handles: bool = False
    queue: list[int] = field(default_factory=list)

    def goes_on(self, node: int) -> bool:
        """Whether all scopes around a node let it go on: they are open, or failing and it belongs to the handler."""
        for inner, scope in self.shape.path(node):
            if inner in self.shape.handlers:
                is_open = self.handles_failure_of(scope)
            elif scope == NONE:
                is_open = self.phase == RunPhase.RUNNING
            else:
                is_open = scope != GONE and self.nodes[scope].opened and self.nodes[scope].phase in OPEN
            if not is_open:
                return False
        return True

    def handles_failure_of(self, scope: int) -> bool:
        """Whether the time of a scope's failure handler has come."""
        if scope == NONE:
            return self.handles and self.phase == RunPhase.FAILING
        return scope != GONE and self.nodes[scope].handles and self.nodes[scope].phase == NodePhase.FAILING

    def busy(self, numbers: Sequence[int]) -> bool:
        """Whether anything is under way among some nodes."""
        return any(self.nodes[number].is_busy for number in numbers)

    @property
    def slots_used(self) -> int:
        """How many nodes hold a slot."""
        return sum(node.is_busy for number, node in enumerate(self.nodes) if self.shape.kind[number] in SLOTTED)


@dataclass
class OracleTurn:
    """What one step came to; `moves` are the phases of elements, before and after, which the core does not tell."""

    effects: list[Effect] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    moves: list[tuple[NodePhase, NodePhase]] = field(default_factory=list)
    refused: list[tuple[int, RefusalReason]] = field(default_factory=list)
    absorbed: int = 0


class RefusedError(Exception):
    """An event is illegal."""

    def __init__(self, reason: RefusalReason) -> None:
        super().__init__(reason.name)
        self.reason = reason


class AbsorbedError(Exception):
    """An event comes too late to matter."""
