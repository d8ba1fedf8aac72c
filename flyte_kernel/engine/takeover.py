"""Recovery: finished nodes of an earlier execution are taken over by a new one of the same workflow and not run again.

Nodes correspond by the ids on their way down from the top. The rules are the reference's (flytepropeller,
nodes/executor.go, attemptRecovery): what had succeeded is recovered as a whole; a dynamic task that had not finished
keeps the workflow it put out; a task that had failed finds its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flyte_kernel.compile.program import Program
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.elements import ElementColumns
from flyte_kernel.engine.facts import Fact, GraphGrown
from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.turns import NEW_GRAPH, Event
from flyte_kernel.ids import NO_ELEMENT, AttemptKey, ExecutionId
from flyte_kernel.phases import EventKind, NodePhase

__all__ = ["Earlier", "TakeOver"]

_RECOVERED = 1  # argument of AttemptSucceeded
_FINISHED = frozenset({NodePhase.SUCCEEDED, NodePhase.RECOVERED})


@dataclass(frozen=True, slots=True)
class Earlier:
    """The node of an earlier execution that a node corresponds to."""

    record: ExecutionRecord
    node: int

    @property
    def has_succeeded(self) -> bool:
        """Whether it can be taken over."""
        return int(self.record.nodes.phase[self.node]) in _FINISHED


class TakeOver:
    """Finds and takes over what an earlier execution has done; used from worker threads."""

    def __init__(
        self,
        data: NodeData,
        programs: Programs,
        find: Callable[[ExecutionId], ExecutionRecord | None],
        elements: Callable[[ExecutionRecord, int, int, int], ElementColumns],
    ) -> None:
        self._elements = elements
        self._data = data
        self._programs = programs
        self._find = find
        self._earlier: dict[int, tuple[ExecutionRecord, dict[tuple[str, ...], int]]] = {}

    def earlier(self, record: ExecutionRecord, node: int) -> Earlier | None:
        """Return what corresponds to a node, None if there is nothing."""
        if record.details.recovered_from is None:
            return None
        found = self._earlier.get(record.run) or self._load(record)
        if found is None:
            return None
        old, nodes = found
        place = nodes.get(_path(self._programs.of_record(record), node))
        return None if place is None else Earlier(old, place)

    def take_over(self, record: ExecutionRecord, key: AttemptKey) -> tuple[Event, tuple[Fact, ...]] | None:
        """Copy what a node had come to; return the event and facts that say so, None if it must run."""
        earlier = None if key.attempt else self.earlier(record, key.node)
        if earlier is None:
            return None
        if key.element != NO_ELEMENT:
            return self._take_over_element(earlier, record, key)
        if earlier.has_succeeded:
            self._data.write_inputs(record, key.node, self._data.node_inputs(earlier.record, earlier.node))
            outputs = self._data.node_outputs(earlier.record, earlier.node)
            self._data.write_outputs(record, key.node, key.attempt, outputs)
            self._data.copy_deck(earlier.record, earlier.node, record, key.node)
            return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key, argument=_RECOVERED), ()
        attempt = int(earlier.record.nodes.attempt[earlier.node])
        for growth in earlier.record.details.growths:
            if (growth.node, growth.attempt) == (earlier.node, attempt):
                self._data.write_inputs(record, key.node, self._data.node_inputs(earlier.record, earlier.node))
                event = Event(int(EventKind.GRAPH_GROWN), *key, argument=NEW_GRAPH)
                return event, (GraphGrown(key.run, key.node, key.attempt, growth.closure),)
        return None

    def _take_over_element(
        self, earlier: Earlier, record: ExecutionRecord, key: AttemptKey
    ) -> tuple[Event, tuple[Fact, ...]] | None:
        old, new = earlier.record.details.maps.get(earlier.node), record.details.maps[key.node]
        if old is None or old.size != new.size:
            return None
        columns = self._elements(earlier.record, earlier.node, key.element, 1)
        if int(columns.phase[0]) not in _FINISHED:
            return None
        attempt = AttemptKey(earlier.record.run, earlier.node, int(columns.attempt[0]), key.element)
        with suppress(BlobNotFoundError):  # there is none if there is nothing to put out
            self._data.write_attempt_outputs(record, key, self._data.element_outputs(earlier.record, attempt))
        return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key, argument=_RECOVERED), ()

    def _load(self, record: ExecutionRecord) -> tuple[ExecutionRecord, dict[tuple[str, ...], int]] | None:
        assert record.details.recovered_from is not None
        old = self._find(record.details.recovered_from)
        if old is None or old.workflow != record.workflow:
            return None
        program = self._programs.of_record(old)
        # Of a node that grew twice the later growth counts: it has the higher indices.
        found = (old, {_path(program, node): node for node in range(len(program.node_id))})
        self._earlier[record.run] = found
        return found

    def forget(self, run: int) -> None:
        """Let go of what was kept for a run that has ended."""
        self._earlier.pop(run, None)


def _path(program: Program, node: int) -> tuple[str, ...]:
    path = [program.node_id[node]]
    while (node := program.parent[node]) >= 0:
        path.append(program.node_id[node])
    return tuple(reversed(path))
