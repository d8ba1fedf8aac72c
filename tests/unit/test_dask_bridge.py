"""A real Dask cluster driven by the kernel, as docs/library.md says."""

from __future__ import annotations

import numpy as np
import pytest
from distributed import Client, LocalCluster

import flyte_kernel
from flyte_kernel import Graph

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(120)]


def square(number: int) -> int:
    return number * number


def test_a_cluster_runs_nodes_and_items() -> None:
    graph = Graph.from_edges(4, np.array([0, 0, 1, 2], np.uint32), np.array([1, 2, 3, 3], np.uint32))
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        client.get_executor() as pool,
    ):
        assert flyte_kernel.execute(graph, square, executor=pool).results == {0: 0, 1: 1, 2: 4, 3: 9}
        assert flyte_kernel.map(square, range(40), executor=pool).results == [n * n for n in range(40)]
