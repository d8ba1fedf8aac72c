# /// script
# requires-python = ">=3.10"
# dependencies = ["dask[distributed]==2026.8.0"]
# ///
"""Dask: its threaded scheduler, and a cluster of one worker process with two threads."""

from __future__ import annotations

import dask
from distributed import Client, LocalCluster

from bench.rivals.standard_library import after, same
from bench.rivals.told import CHAIN, FAN, sizes, tell


def threaded_chain(count: int) -> list[int]:
    """Compute a chain of delayed calls."""
    calls = [dask.delayed(same)(0)]
    while len(calls) < count:
        calls.append(dask.delayed(after)(calls[-1]))
    return list(dask.compute(*calls, scheduler="threads", num_workers=2))


def distributed_chain(client: Client, count: int) -> list[int]:
    """Submit a chain of futures at once."""
    futures = [client.submit(same, 0, pure=False)]
    while len(futures) < count:
        futures.append(client.submit(after, futures[-1], pure=False))
    return client.gather(futures)


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    delayed = lambda: dask.compute(*[dask.delayed(same)(n) for n in range(fan)], scheduler="threads", num_workers=2)  # noqa: E731
    tell(FAN, "Dask, threads", fan, delayed)
    tell(CHAIN, "Dask, threads", chain, lambda: threaded_chain(chain))
    with LocalCluster(n_workers=1, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster) as client:
        tell(FAN, "Dask, distributed", fan, lambda: client.gather(client.map(same, range(fan), pure=False)))
        tell(CHAIN, "Dask, distributed", chain, lambda: distributed_chain(client, chain))


if __name__ == "__main__":
    main()
