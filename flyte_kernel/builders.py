"""Graphs out of what people have: adjacency, networkx, rustworkx, a compiled Flyte workflow.

Each builder returns the graph and the labels of its nodes, by index. Nothing is imported that the caller has not.
"""

# Callers may not use a type checker, and flyteidl has no stubs.
# pyright: reportUnnecessaryIsInstance=false, reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from flyte_kernel._core import Graph
from flyte_kernel.errors import GraphError, InvalidArgumentError

if TYPE_CHECKING:
    from flyteidl.core import compiler_pb2

__all__ = ["Labelled", "from_adjacency", "from_closure", "from_networkx", "from_rustworkx"]

Label = TypeVar("Label", bound=Hashable)


class Labelled(NamedTuple):
    """A graph and what its nodes stand for, by index."""

    graph: Graph
    labels: list[Any]


def from_adjacency(upstream: Mapping[Label, Iterable[Label]], **columns: Any) -> Labelled:
    """Build a graph from what each node waits for, as graphlib.TopologicalSorter takes it.

    Nodes that are only waited for need no entry; `columns` are those of Graph.from_edges, in the order of the labels:
    the mapping's own order, then the others as they come. CycleError names a cycle by index.
    """
    if not isinstance(upstream, Mapping):
        raise InvalidArgumentError(f"expected a mapping from each node to those it waits for, not {upstream!r:.100}")
    index: dict[Label, int] = {label: place for place, label in enumerate(upstream)}
    source: list[int] = []
    target: list[int] = []
    for label, needed in upstream.items():
        if isinstance(needed, str) or not isinstance(needed, Iterable):
            raise InvalidArgumentError(f"what {label!r} waits for must be a collection of nodes, not {needed!r:.100}")
        for other in needed:
            source.append(index.setdefault(other, len(index)))
            target.append(index[label])
    return Labelled(_build(len(index), source, target, columns), list(index))


def from_networkx(graph: Any, **columns: Any) -> Labelled:
    """Build a graph from a networkx.DiGraph, whose edges go from what is waited for to what waits."""
    if not graph.is_directed():
        raise GraphError("the networkx graph is not directed: it does not say what waits for what")
    labels = list(graph.nodes)
    index = {label: place for place, label in enumerate(labels)}
    pairs = [(index[source], index[target]) for source, target in graph.edges()]
    return Labelled(_build(len(labels), *_columns_of(pairs), columns), labels)


def from_rustworkx(graph: Any, **columns: Any) -> Labelled:
    """Build a graph from a rustworkx.PyDiGraph; labels are the payloads of its nodes."""
    indices = list(graph.node_indices())
    index = {number: place for place, number in enumerate(indices)}
    pairs = [(index[source], index[target]) for source, target in graph.edge_list()]
    return Labelled(_build(len(indices), *_columns_of(pairs), columns), [graph[number] for number in indices])


def from_closure(closure: compiler_pb2.CompiledWorkflowClosure) -> Labelled:
    """Build the graph of a compiled Flyte workflow; labels are node ids within their own workflow.

    Needs the extra `server` for the compiler. UnsupportedError names the workflow and node that cannot run.
    """
    from flyte_kernel.compile.program import build_program  # an extra of its own

    program = build_program(closure)
    return Labelled(program.graph, list(program.node_id))


def _columns_of(pairs: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [source for source, _ in pairs], [target for _, target in pairs]


def _build(count: int, source: list[int], target: list[int], columns: Mapping[str, Any]) -> Graph:
    return Graph.from_edges(count, np.array(source, np.uint32), np.array(target, np.uint32), **columns)
