"""How graphs, kernels and runs come out of a pickle again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyte_kernel._core import Graph, Run

__all__ = ["rebuild_graph", "rebuild_run"]

COLUMNS = ("kind", "scope", "attempts_max", "execution_timeout", "active_timeout", "failure_handler")


def rebuild_graph(
    node_count: int, source: NDArray[np.uint32], target: NDArray[np.uint32], columns: dict[str, NDArray[Any]]
) -> Graph:
    """Build a graph from what its pickle holds; GraphError if that is none."""
    return Graph.from_edges(node_count, source, target, **columns)


def rebuild_run(data: bytes, max_parallelism: int, priority: NDArray[np.int64] | None) -> Run:
    """Build a run from its snapshot."""
    return Run.restore(data, max_parallelism=max_parallelism, priority=priority)
