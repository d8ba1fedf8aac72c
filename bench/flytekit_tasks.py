"""Trivial flytekit tasks through the whole server: a chain and a fan-out, isolated processes."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from bench.records import Record
from tests.support.client import Client
from tests.support.server import ServerProcess


def main() -> None:
    """Print the records."""
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data").start()
        client = Client(server.config)
        client.register("shapes.py")
        client.run("shapes.chain_50", {"a": 0})  # warms the process that tasks are forked from
        for name, tasks, goal in (("chain_50", 50, "< 2.5 s"), ("fan_out_200", 200, ">= 50 tasks a second")):
            began = time.perf_counter()
            execution = client.execute(f"shapes.{name}", {"a": 0})
            while not execution.is_done:
                time.sleep(0.01)
                execution = client.remote.fetch_execution("flytesnacks", "development", execution.id.name)
            wall = time.perf_counter() - began
            outputs = client.remote.sync_execution(execution).outputs
            print(json.dumps(asdict(Record(name, "wall time", "ours", wall, "s", goal, check=str(outputs["o0"])))))
            ran = execution.closure.duration.total_seconds()
            print(json.dumps(asdict(Record(name, "tasks", "ours", tasks / ran, "a second"))))
        server.stop()


if __name__ == "__main__":
    main()
