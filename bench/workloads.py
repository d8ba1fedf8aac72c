"""Graphs that the benches drive; the same numbers and seed always give the same graph."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["EdgeList", "layered_graph"]


class EdgeList(NamedTuple):
    """A graph before it is built: edge i joins source[i] and target[i]."""

    node_count: int
    source: NDArray[np.uint32]
    target: NDArray[np.uint32]


def layered_graph(nodes: int, edges: int, width: int, seed: int) -> EdgeList:
    """Return layers of `width` nodes; every node but the first layer's waits for nodes of the layer before.

    `edges` are spread evenly, at least one a node; which nodes they come from is random, doubles included.
    """
    random = np.random.default_rng(seed)
    waiting = nodes - width
    if waiting <= 0 or edges < waiting:
        raise ValueError(f"{nodes} nodes in layers of {width} need more than one layer and at least {waiting} edges")
    target = np.sort(np.arange(edges) % waiting) + width
    layer = target // width
    source = (layer - 1) * width + random.integers(0, width, edges)
    return EdgeList(nodes, source.astype(np.uint32), target.astype(np.uint32))
