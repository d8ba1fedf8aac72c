"""Makes every array that is a view of the core's memory, drops what owns it and reads it; run under valgrind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flyte_kernel import Graph, Kernel, Run
from flyte_kernel.phases import EventKind

NODES = 500
TURN_COLUMNS = ("kind", "run", "node", "attempt", "element", "argument", "cause")
ROUNDS = 10


def views() -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Yield arrays by name; nobody else holds what owns them."""
    source = np.arange(NODES - 1, dtype=np.uint32) // 3
    graph = Graph.from_edges(NODES, source, np.arange(1, NODES, dtype=np.uint32))
    for name in ("kind", "scope", "attempts_max", "execution_timeout", "active_timeout", "failure_handler"):
        yield f"graph.{name}", getattr(graph, name)
    yield "graph.downstream", graph.downstream(0)
    for number, edges in enumerate(graph.edges()):
        yield f"graph.edges.{number}", edges
    kernel = Kernel()
    kernel.add_graph(graph)
    zeros = [np.zeros(1, dtype) for dtype in (np.uint32, np.uint32, np.uint32, np.uint32, np.int64)]
    turn = kernel.step(1, np.full(1, int(EventKind.RUN_CREATED), np.uint8), *zeros)
    yield from ((f"turn.effect_{name}", getattr(turn, f"effect_{name}")) for name in TURN_COLUMNS)
    for name in ("run", "node", "phase", "attempt"):
        yield f"turn.transition_{name}", getattr(turn, f"transition_{name}")
    yield "turn.refused_event", turn.refused_event
    yield "kernel.phases", kernel.phases(0)
    run = Run(graph)
    yield "run.ready", run.ready()
    ready = run.ready().copy()
    run.start(ready)
    run.succeed(ready)
    yield "run.ready again", run.ready()
    yield "run.phases", run.phases()
    yield "run.counts", run.counts()


def main() -> None:
    """Keep all arrays beyond their owners, use the memory that was freed, then read them from two threads."""
    for _ in range(ROUNDS):
        kept = [(name, array, array.tobytes()) for name, array in views()]
        gc.collect()
        churn = [Graph.from_edges(NODES, *2 * [np.zeros(0, np.uint32)]) for _ in range(20)]
        wrong: list[str] = []

        def read(kept: list[tuple[str, NDArray[np.generic], bytes]] = kept, wrong: list[str] = wrong) -> None:
            wrong.extend(name for name, array, content in kept if array.tobytes() != content)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, wrong
        del churn, kept
        gc.collect()
    print("all arrays kept their content")


if __name__ == "__main__":
    main()
