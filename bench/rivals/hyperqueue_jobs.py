# /// script
# requires-python = ">=3.10"
# dependencies = ["hyperqueue==0.27.0"]
# ///
"""HyperQueue: a process a task (`true`), a job that names what each task waits for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

from bench.rivals.told import CHAIN, FAN, sizes, tell


def run(client: Any, folder: Path, count: int, *, is_chain: bool) -> list[int]:
    """Run a job and return a number for each of its tasks."""
    job = Job(folder, max_fails=0)
    before: list[Any] = []
    for _ in range(count):
        task = job.program(["true"], deps=before, stdout=None, stderr=None)
        before = [task] if is_chain else []
    client.wait_for_jobs([client.submit(job)])
    return list(range(len(job.tasks)))


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    with tempfile.TemporaryDirectory(prefix="bench-hyperqueue-") as folder, LocalCluster() as cluster:
        cluster.start_worker(WorkerConfig(cores=2))
        client, place = cluster.client(), Path(folder)
        tell(FAN, "HyperQueue, a process each", fan, lambda: run(client, place, fan, is_chain=False), rounds=1)
        tell(CHAIN, "HyperQueue, a process each", chain, lambda: run(client, place, chain, is_chain=True), rounds=1)


if __name__ == "__main__":
    main()
