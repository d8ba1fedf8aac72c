"""What a graph is built of, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from flyte_kernel import Graph, NodeKind
from flyte_kernel.errors import CycleError, GraphError, UnknownNodeError

NONE = 0xFFFF_FFFF


def u32(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


def test_rows_keep_the_order_of_their_edges() -> None:
    graph = Graph.from_edges(4, u32(0, 1, 0, 0), u32(3, 3, 1, 2))
    assert (graph.node_count, graph.edge_count) == (4, 4)
    assert [graph.downstream(node).tolist() for node in range(4)] == [[3, 1, 2], [3], [], []]


def test_columns_come_back_with_their_defaults() -> None:
    graph = Graph.from_edges(2, u32(0), u32(1))
    assert graph.kind.tolist() == [NodeKind.TASK] * 2
    assert graph.scope.tolist() == [NONE] * 2
    assert graph.attempts_max.tolist() == [1, 1]
    assert graph.execution_timeout.tolist() == graph.active_timeout.tolist() == [0, 0]


def test_columns_come_back_as_given() -> None:
    graph = Graph.from_edges(
        3,
        u32(),
        u32(),
        kind=np.array([3, 0, 2], np.uint8),
        scope=u32(NONE, 0, 0),
        attempts_max=np.array([1, 65535, 2], np.uint16),
        execution_timeout=np.array([0, 5, 2**62], np.int64),
        active_timeout=np.array([7, 0, 0], np.int64),
    )
    assert graph.kind.tolist() == [3, 0, 2]
    assert graph.scope.tolist() == [NONE, 0, 0]
    assert graph.attempts_max.tolist() == [1, 65535, 2]
    assert graph.execution_timeout.tolist() == [0, 5, 2**62]
    assert graph.active_timeout.tolist() == [7, 0, 0]


def test_views_are_read_only_and_outlive_the_graph() -> None:
    kind = Graph.from_edges(3, u32(0), u32(1), kind=np.array([1, 0, 2], np.uint8)).kind
    with pytest.raises(ValueError, match="read-only"):
        kind[0] = 5
    assert kind.tolist() == [1, 0, 2]


def test_an_empty_graph_is_a_graph() -> None:
    assert Graph.from_edges(0, u32(), u32()).node_count == 0


@pytest.mark.parametrize(
    ("source", "target", "cycle"),
    [([0], [0], {0}), ([0, 1, 2], [1, 2, 1], {1, 2}), ([3, 1, 0, 2], [1, 0, 3, 3], {0, 1, 3})],
)
def test_a_cycle_is_named(source: list[int], target: list[int], cycle: set[int]) -> None:
    with pytest.raises(CycleError) as caught:
        Graph.from_edges(4, u32(*source), u32(*target))
    walk = [int(node) for node in str(caught.value).rsplit(": ", 1)[1].split(" -> ")]
    assert walk[0] == walk[-1]
    assert set(walk) == cycle
    assert set(pairwise(walk)) <= set(zip(source, target, strict=True))


def test_a_long_cycle_is_named_in_short() -> None:
    count = 100_000
    nodes = np.arange(count, dtype=np.uint32)
    with pytest.raises(CycleError, match=r"\(99977 more\)") as caught:
        Graph.from_edges(count, nodes, np.roll(nodes, -1))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", [8, 9])
def test_reserved_kinds_are_refused_by_name(kind: int) -> None:
    name = NodeKind(kind).name if kind in set(NodeKind) else "unknown"
    with pytest.raises(GraphError, match=rf"node 1 has kind {kind} \({name}\)"):
        Graph.from_edges(2, u32(), u32(), kind=np.array([0, kind], np.uint8))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Graph.from_edges(2, u32(0, 1), u32(1, 2)), "edge 1 joins 1 and 2, but the graph has 2 nodes"),
        (lambda: Graph.from_edges(-1, u32(), u32()), "not -1"),
        (lambda: Graph.from_edges(2**32, u32(), u32()), "not 4294967296"),
        (lambda: Graph.from_edges(2**32 - 1, u32(), u32()), "not 4294967295"),
        (lambda: Graph.from_edges(2, u32(0), u32()), "target has 0 rows, expected 1"),
        (lambda: Graph.from_edges(2, u32(), u32(), scope=u32(NONE)), "scope has 1 rows, expected 2"),
        (lambda: Graph.from_edges(1, u32(), u32(), attempts_max=np.zeros(1, np.uint16)), "node 0 may have 0 attempts"),
        (lambda: Graph.from_edges(1, u32(), u32(), active_timeout=np.array([-7])), "negative timeout -7"),
        (lambda: Graph.from_edges(1, u32(), u32(), execution_timeout=np.array([-8])), "negative timeout -8"),
        (lambda: Graph.from_edges(2, u32(), u32(), scope=u32(NONE, 0)), "node 1 is in scope 0"),
        (lambda: Graph.from_edges(2, u32(), u32(), scope=u32(NONE, 9)), "node 1 is in scope 9"),
        (lambda: scoped([3], [0]), "node 0 is in scope 0"),
        (lambda: scoped([3, 3], [1, 0]), "which is no scope that encloses it"),
        (lambda: scoped([3, 0, 0], [NONE, 0, NONE], [(1, 2)]), "edge 0 joins node 1 and node 2 of different scopes"),
    ],
)
def test_what_cannot_be_is_refused_with_the_value(build: Callable[[], Graph], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        build()


def scoped(kind: list[int], scope: list[int], edges: list[tuple[int, int]] | None = None) -> Graph:
    source, target = zip(*edges, strict=True) if edges else ((), ())
    return Graph.from_edges(
        len(kind), u32(*source), u32(*target), kind=np.array(kind, np.uint8), scope=np.array(scope, np.uint32)
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        (np.array([0], np.int64), r"1-d array of uint32, not an array of int64 and shape \(1,\)"),
        (np.zeros((1, 1), np.uint32), r"not an array of uint32 and shape \(1, 1\)"),
        ([0], "not a <class 'list'>"),
        (np.zeros(4, np.uint32)[::2], "must be contiguous"),
        (np.zeros(1, ">u4"), "not an array of >u4"),
    ],
)
def test_wrong_arrays_are_refused_with_what_was_found(source: object, found: str) -> None:
    with pytest.raises(GraphError, match=found):
        Graph.from_edges(4, source, u32(0, 1))  # type: ignore[arg-type]


def test_deep_nesting_is_checked_in_one_pass() -> None:
    depth = 50_000
    graph = scoped([3] * depth, [NONE, *range(depth - 1)])
    assert graph.scope[depth - 1] == depth - 2


def test_unknown_nodes_have_no_row() -> None:
    with pytest.raises(UnknownNodeError, match="no node 2 in a graph of 2 nodes"):
        Graph.from_edges(2, u32(), u32()).downstream(2)
