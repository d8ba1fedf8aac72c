"""What comes into the loop's inbox, and the turn that is put together of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec

from flyte_kernel.catalog.facts import CatalogChange
from flyte_kernel.engine.facts import (
    AttemptObserved,
    CacheObserved,
    ExecutionAborted,
    ExecutionCreated,
    Fact,
    GraphGrown,
    SignalAwaited,
    SignalSet,
)
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import NEW_GRAPH, NEW_RUN, Decision, Event
from flyte_kernel.ids import EntityId
from flyte_kernel.phases import EventKind

__all__ = ["Asked", "Batch", "Decide", "Happened", "Request"]

Decide: TypeAlias = Callable[[State, int], Decision]


@dataclass(slots=True)
class Request:
    """Somebody waits for `decide`'s outcome."""

    decide: Decide
    future: Future[object] = field(default_factory=Future)


@dataclass(slots=True)
class Happened:
    """Things that happened outside; nobody waits."""

    told: Sequence[tuple[Event, Sequence[Fact]]]


@dataclass(slots=True)
class Asked:
    """A decision of the engine's own; nobody waits for it, so it must not be lost."""

    decide: Decide


class Batch:
    """What one turn will write, while it is put together.

    `run_count`, `graph_count` and `graph_of` are those of the state before it: indices are given from there on, and
    become real when the turn is folded.
    """

    def __init__(self, run_count: int, graph_count: int, graph_of: Mapping[EntityId, int]) -> None:
        self.events: list[Event] = []
        self.facts: list[Fact] = []
        self.answers: list[tuple[Request, object]] = []
        self.to_keep: list[object] = []  # must become durable in a later turn if not in this one
        self._claimed: set[object] = set()
        self._run_count = run_count
        self._graph_count = graph_count
        self._graph_of = graph_of
        self._graphs: dict[EntityId, int] = {}

    def add_happened(self, happened: Happened) -> None:
        """Take what happened."""
        self.to_keep.append(happened)
        for event, facts in happened.told:
            self._number(facts, (event,))

    def add_decision(self, request: Request | Asked, decision: Decision) -> bool:
        """Take what a request came to; False if it touches what this turn already changes."""
        claims = {key for fact in decision.facts for key in _claims(fact)}
        if claims & self._claimed:
            return False
        self._claimed |= claims
        self._number(decision.facts, decision.events)
        if isinstance(request, Request):
            self.answers.append((request, decision.result))
        else:
            self.to_keep.append(request)
        return True

    def _number(self, facts: Sequence[Fact], events: Sequence[Event]) -> None:
        """Give a new run its index and its graph, and what a node grew by the index of its graph."""
        run = self._run_count
        graph = 0
        for fact in facts:
            if isinstance(fact, ExecutionCreated):
                self._run_count += 1
                graph = self._index_of(fact.workflow)
                fact = msgspec.structs.replace(fact, run=run)
            elif isinstance(fact, GraphGrown):
                graph = self._new_graph()
            self.facts.append(fact)
        for event in events:
            if event.run == NEW_RUN:
                node = graph if event.kind == EventKind.RUN_CREATED else event.node
                event = event._replace(run=run, node=node)
            elif event.kind == EventKind.GRAPH_GROWN and event.argument == NEW_GRAPH:
                event = event._replace(argument=graph)
            self.events.append(event)

    def _index_of(self, workflow: EntityId) -> int:
        graph = self._graph_of.get(workflow, self._graphs.get(workflow))
        if graph is None:
            graph = self._graphs[workflow] = self._new_graph()
        return graph

    def _new_graph(self) -> int:
        self._graph_count += 1
        return self._graph_count - 1


def _claims(fact: Fact) -> tuple[object, ...]:
    """Return what nobody else may touch in the same turn, since decisions are taken on the state before it."""
    if isinstance(fact, ExecutionAborted):
        return (fact.run,)
    if isinstance(fact, (AttemptObserved, CacheObserved, GraphGrown)):
        return ()
    if isinstance(fact, (SignalAwaited, SignalSet)):
        return ((fact.run, fact.signal_id),)
    if isinstance(fact, CatalogChange):
        return fact.claims()
    return (fact.id,)
