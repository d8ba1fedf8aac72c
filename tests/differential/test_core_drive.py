"""The workload of the core's bench at a small size: what it measures is what others compute too."""

from __future__ import annotations

import networkx
import pytest

from bench import core_drive
from bench.core_drive import Driven
from bench.workloads import EdgeList, layered_graph
from flyte_kernel import Graph


@pytest.fixture(scope="module")
def edges() -> EdgeList:
    return layered_graph(2_000, 6_000, 100, seed=7)


@pytest.fixture(scope="module")
def driven(edges: EdgeList) -> Driven:
    return core_drive.drive(Graph.from_edges(*edges))


def test_every_node_succeeds_in_the_order_of_always(driven: Driven) -> None:
    assert (driven.succeeded, driven.order) == (2_000, "2f602a6372cc30db")


def test_frontiers_are_the_generations_of_the_graph(edges: EdgeList, driven: Driven) -> None:
    graph = networkx.DiGraph(zip(edges.source.tolist(), edges.target.tolist(), strict=True))
    graph.add_nodes_from(range(edges.node_count))
    generations = list(networkx.topological_generations(graph))
    assert driven.turns == len(generations) + 1
    assert [sorted(frontier.tolist()) for frontier in driven.frontiers] == [sorted(nodes) for nodes in generations]


def test_rivals_do_the_same_work(edges: EdgeList, driven: Driven) -> None:
    for rival in (core_drive.drive_numpy, core_drive.drive_rustworkx, core_drive.drive_graphlib):
        assert rival(edges).succeeded == driven.succeeded


def test_a_layered_graph_is_as_asked() -> None:
    edges = layered_graph(50, 120, 10, seed=1)
    assert (edges.node_count, len(edges.source), len(edges.target)) == (50, 120, 120)
    assert (edges.target // 10 - edges.source // 10 == 1).all()
    assert set(edges.target.tolist()) == set(range(10, 50))
    with pytest.raises(ValueError, match="at least 40 edges"):
        layered_graph(50, 39, 10, seed=1)
