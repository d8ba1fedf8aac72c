"""Tasks that do nothing, side by side and one after the other, by `execute`: what rivals in bench/rivals do too."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from bench.rivals.told import CHAIN, FAN, sizes, tell
from flyte_kernel import Graph, execute


def same(node: int) -> int:
    """Return the number of the node."""
    return node


def after(_node: int, upstream: Mapping[int, int]) -> int:
    """Return one more than what the node before returned."""
    return 1 + max(upstream.values(), default=-1)


def graphs(fan: int, chain: int) -> tuple[Graph, Graph]:
    """Return nodes side by side and nodes in a line."""
    nothing = np.empty(0, np.uint32)
    line = np.arange(chain - 1, dtype=np.uint32)
    return Graph.from_edges(fan, nothing, nothing), Graph.from_edges(chain, line, line + 1)


def run(graph: Graph, function: Any, *, is_chain: bool, is_durable: bool, executor: str) -> list[int]:
    """Execute a graph and return its results by node."""
    with tempfile.TemporaryDirectory(prefix="bench-tasks-") as folder:
        place = folder if is_durable else None
        ended = execute(graph, function, executor=executor, workers=2, pass_results=is_chain, folder=place)
        return [ended.results[node] for node in range(len(graph))]


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    wide, line = graphs(fan, chain)
    for name, executor, is_durable in (
        ("execute, inline", "inline", False),
        ("execute, threads", "threads", False),
        ("execute, processes", "processes", False),
        ("execute, inline, durable", "inline", True),
    ):
        work = partial(run, is_durable=is_durable, executor=executor)
        tell(FAN, name, fan, partial(work, wide, same, is_chain=False), role="ours")
        tell(CHAIN, name, chain, partial(work, line, after, is_chain=True), role="ours")


if __name__ == "__main__":
    main()
