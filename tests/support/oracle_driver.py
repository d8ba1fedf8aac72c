"""Drives the core and the oracle side by side and compares everything they say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from flyte_kernel import Graph, Kernel, Turn
from flyte_kernel.phases import NodeKind, NodePhase
from tests.support.oracle import NONE, Effect, Event, Oracle, Shape, Transition
from tests.support.oracle_state import BROKEN, BUSY, GOOD, NodeState, OracleTurn


def graph_of(shape: Shape) -> Graph:
    """Build the core's graph of a shape."""
    edges = np.array(shape.edges, np.uint32).reshape(-1, 2)
    return Graph.from_edges(
        len(shape.kind),
        np.ascontiguousarray(edges[:, 0]),
        np.ascontiguousarray(edges[:, 1]),
        kind=np.array(shape.kind, np.uint8),
        scope=np.array(shape.scope, np.uint32),
        attempts_max=np.array(shape.attempts_max, np.uint16),
        execution_timeout=np.array(shape.execution_timeout, np.int64),
        active_timeout=np.array(shape.active_timeout, np.int64),
        failure_handler=np.array([node in shape.handlers for node in range(len(shape.kind))], np.bool_),
    )


def step(kernel: Kernel, now: int, events: Iterable[Event]) -> Turn:
    """Step the core with rows."""
    rows = list(events)
    dtypes = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)
    columns = zip(*rows, strict=True) if rows else ((),) * 6
    return kernel.step(now, *(np.array(column, dtype) for column, dtype in zip(columns, dtypes, strict=True)))  # type: ignore[arg-type]


def effects_of(turn: Turn) -> list[Effect]:
    """Return a turn's effects as rows."""
    columns = (
        turn.effect_kind,
        turn.effect_run,
        turn.effect_node,
        turn.effect_attempt,
        turn.effect_element,
        turn.effect_argument,
        turn.effect_cause,
    )
    return [Effect(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def transitions_of(turn: Turn) -> list[Transition]:
    """Return a turn's transitions as rows."""
    columns = (turn.transition_run, turn.transition_node, turn.transition_phase, turn.transition_attempt)
    return [Transition(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def by_node(transitions: Iterable[Transition]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Group transitions by (run, node): the order between nodes is nobody's business."""
    grouped: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for run, node, phase, attempt in transitions:
        grouped[run, node].append((int(phase), attempt))
    return dict(grouped)


class SideBySide:
    """A core and an oracle that are told the same; `step` fails at the first difference."""

    def __init__(self, shapes: Sequence[Shape], system_attempts_extra: int = 3) -> None:
        self.kernel = Kernel(system_attempts_extra=system_attempts_extra)
        self.oracle = Oracle(system_attempts_extra)
        self.script: list[object] = [*shapes]
        for shape in shapes:
            self.kernel.add_graph(graph_of(shape))
            self.oracle.graphs.append(shape)

    def step(self, now: int, events: Sequence[Event]) -> tuple[Turn, OracleTurn]:
        """Step both, compare what they say and where everything stands, check the core's invariants."""
        self.script.append((now, [*events]))
        try:
            return self._step(now, events)
        except BaseException:
            print(f"system_attempts_extra={self.oracle.system_attempts_extra}", *self.script, sep="\n")
            raise

    def _step(self, now: int, events: Sequence[Event]) -> tuple[Turn, OracleTurn]:
        turn, expected = step(self.kernel, now, events), self.oracle.step(now, events)
        assert effects_of(turn) == expected.effects
        assert by_node(transitions_of(turn)) == by_node(expected.transitions)
        refused = list(zip(turn.refused_event.tolist(), turn.refused_reason.tolist(), strict=True))
        assert refused == [(index, int(reason)) for index, reason in expected.refused]
        assert turn.absorbed == expected.absorbed
        self.compare_state()
        self.kernel.check_invariants()
        return turn, expected

    def compare_state(self) -> None:
        """Compare phases, attempts, counters and deadlines of all runs."""
        assert self.kernel.run_count == len(self.oracle.runs)
        assert self.kernel.next_deadline() == self.oracle.next_deadline()
        for index, run in enumerate(self.oracle.runs):
            if run is None:
                continue
            assert self.kernel.run_phase(index) == run.phase
            assert self.kernel.phases(index).tolist() == [node.phase for node in run.nodes]
            assert self.kernel.attempts(index).tolist() == [node.attempt for node in run.nodes]
            kinds = [
                NodeKind.DYNAMIC if node.grew else kind for node, kind in zip(run.nodes, run.shape.kind, strict=True)
            ]
            assert self.kernel.run_kinds(index).tolist() == kinds
            assert self.kernel.run_scopes(index).tolist() == list(run.shape.scope)
            for number, node in enumerate(run.nodes):
                counters = (node.attempt, node.user_failures, node.system_failures)
                assert self.kernel.counters(index, number) == counters
                if run.shape.kind[number] == NodeKind.MAP:
                    self.compare_map(index, number, node)

    def compare_map(self, index: int, number: int, node: NodeState) -> None:
        """Compare the elements of a map and what is counted of them."""
        elements = node.map.elements if node.map else []
        phases = [element.phase for element in elements]
        assert self.kernel.element_phases(index, number).tolist() == phases
        assert self.kernel.element_attempts(index, number).tolist() == [element.attempt for element in elements]
        assert self.kernel.map_counts(index, number) == (
            len(phases),
            sum(phase != NodePhase.UNDEFINED for phase in phases),
            sum(phase in GOOD for phase in phases),
            sum(phase in BROKEN for phase in phases),
            sum(phase in BUSY for phase in phases),
        )

    def restore(self) -> None:
        """Replace the core by what its snapshot restores to."""
        self.kernel = Kernel.restore(self.kernel.snapshot())


__all__ = ["NONE", "SideBySide", "by_node", "effects_of", "graph_of", "step", "transitions_of"]
