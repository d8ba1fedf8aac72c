"""For every workflow: connections say the same in both directions, nothing is left loose, and the order is stable."""

from __future__ import annotations

import random

import numpy as np
import pytest
from flyteidl.core import literals_pb2, workflow_pb2
from hypothesis import given
from hypothesis import strategies as st

from flyte_kernel.compile.digest import structural_digest
from flyte_kernel.compile.layout import lay_out
from flyte_kernel.errors import CompileError
from tests.support.templates import INT, compiled, edges, list_of, promise, sub_workflow_node, task, task_node, workflow

SUM = task("sum", {"xs": list_of(INT)}, {"o0": INT})
Edges = dict[int, tuple[set[int], set[int]]]


@st.composite
def dags(draw: st.DrawFn) -> Edges:
    """By node: the nodes whose data it takes and the nodes it waits for; -1 is an input of the workflow."""
    count = draw(st.integers(1, 12))
    return {
        node: (
            draw(st.sets(st.integers(-1, node - 1), max_size=4)),
            draw(st.sets(st.integers(0, node - 1), max_size=2)) if node else set(),
        )
        for node in range(count)
    }


def template_of(dag: Edges, name: str = "wf", shuffle: int | None = None) -> workflow_pb2.WorkflowTemplate:
    nodes = [_node(node, data, waits) for node, (data, waits) in dag.items()]
    if shuffle is not None:
        random.Random(shuffle).shuffle(nodes)
    return workflow(name, nodes, {"x": INT}, {"r": INT}, [promise("r", "n0", "o0")])


def _source(node: int) -> literals_pb2.BindingData:
    return (promise("", "", "x") if node < 0 else promise("", f"n{node}", "o0")).binding


def _node(node: int, data: set[int], waits: set[int]) -> workflow_pb2.Node:
    result = task_node(f"n{node}", "sum", upstream=[f"n{other}" for other in waits])
    items = [
        promise("", "" if source < 0 else f"n{source}", "x" if source < 0 else "o0").binding for source in sorted(data)
    ]
    result.inputs.append(
        literals_pb2.Binding(
            var="xs",
            binding=literals_pb2.BindingData(collection=literals_pb2.BindingDataCollection(bindings=items)),
        )
    )
    return result


@given(dags())
def test_connections_are_exactly_the_edges_and_the_ties(dag: Edges) -> None:
    closure = compiled(template_of(dag), [SUM])
    expected: set[tuple[str, str]] = {("n0", "end-node")}
    for node, (data, waits) in dag.items():
        expected |= {("start-node" if source < 0 else f"n{source}", f"n{node}") for source in data | waits}
    targets = {target for _, target in expected}
    sources = {source for source, _ in expected}
    expected |= {("start-node", f"n{node}") for node in dag if f"n{node}" not in targets}
    expected |= {(f"n{node}", "end-node") for node in dag if f"n{node}" not in sources}

    downstream, upstream = edges(closure.primary.connections.downstream), edges(closure.primary.connections.upstream)
    assert {(source, target) for source, ids in downstream.items() for target in ids} == expected
    assert {(source, target) for target, ids in upstream.items() for source in ids} == expected
    assert all(ids == sorted(set(ids)) for ids in [*downstream.values(), *upstream.values()])
    for node in closure.primary.template.nodes:
        assert "start-node" not in node.upstream_node_ids
        assert list(node.upstream_node_ids) == sorted(node.upstream_node_ids)


@given(dags(), st.integers(0, 1000))
def test_the_order_of_nodes_changes_neither_edges_nor_indices(dag: Edges, seed: int) -> None:
    one, other = compiled(template_of(dag), [SUM]), compiled(template_of(dag, shuffle=seed), [SUM])
    assert one.primary.connections == other.primary.connections
    for name, column, again in zip(
        lay_out(one).arrays._fields, lay_out(one).arrays, lay_out(other).arrays, strict=True
    ):
        assert np.array_equal(column, again), name


@given(dags())
def test_compiling_twice_gives_one_digest(dag: Edges) -> None:
    once = compiled(template_of(dag), [SUM])
    assert structural_digest(once) == structural_digest(compiled(template_of(dag), [SUM]))
    assert compiled(once.primary.template, [SUM]) == once


@given(dags(), st.integers(1, 4))
def test_layouts_are_topological_and_keep_scopes_apart(dag: Edges, uses: int) -> None:
    top = workflow("top", [sub_workflow_node(f"s{i}", "wf", promise("x", "", "x")) for i in range(uses)], {"x": INT})
    layout = lay_out(compiled(top, [SUM], [template_of(dag)]))
    arrays = layout.arrays
    assert (arrays.source < arrays.target).all()
    assert (arrays.scope[arrays.source] == arrays.scope[arrays.target]).all()
    assert arrays.node_count == uses + 2 + uses * (len(dag) + 2)
    in_edges = np.bincount(arrays.target, minlength=arrays.node_count)
    out_edges = np.bincount(arrays.source, minlength=arrays.node_count)
    for level in layout.levels:
        names = level.index_of
        assert all(in_edges[index] > 0 for name, index in names.items() if name != "start-node")
        assert all(out_edges[index] > 0 for name, index in names.items() if name != "end-node")


@given(dags(), st.data())
def test_an_edge_back_is_always_refused(dag: Edges, data: st.DataObject) -> None:
    template = template_of(dag)
    late = data.draw(st.integers(0, len(dag) - 1))
    reachable = {late}
    for node in range(late, -1, -1):
        if node in reachable:
            reachable |= {source for source in dag[node][0] | dag[node][1] if source >= 0}
    early = data.draw(st.sampled_from(sorted(reachable)))
    template.nodes[early].upstream_node_ids.append(f"n{late}")
    with pytest.raises(CompileError, match=r"CycleDetected|UnreachableNodes"):
        compiled(template, [SUM])
