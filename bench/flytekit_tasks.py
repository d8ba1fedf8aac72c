"""Trivial flytekit tasks through the whole server: a chain, a fan-out and a map, isolated processes and reused ones."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from flytekit.remote.executions import FlyteWorkflowExecution

from bench.records import Record
from tests.support.client import DOMAIN, PROJECT, Client
from tests.support.server import ServerProcess

ELEMENTS = 1000
# A module of a few functions, and one of many beside others: whoever imports it, that is a part of what elements cost.
MAPS = (
    ("a small module", str(Path(__file__).parent / "workflows" / "one_map.py"), "one_map.plain"),
    ("a large module", "maps.py", "maps.plain"),
)


def say(record: Record) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(record)), flush=True)


@contextmanager
def serving(*options: str) -> Iterator[Client]:
    """Give a client of a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data", options).start()
        try:
            yield Client(server.config)
        finally:
            server.stop()


def run(
    client: Client, name: str, inputs: dict[str, object], look_every_s: float = 0.01
) -> tuple[float, float, FlyteWorkflowExecution]:
    """Return the seconds that passed here and in the execution's own account, and the execution."""
    began = time.perf_counter()
    execution = client.execute(name, inputs)
    while not execution.is_done:
        time.sleep(look_every_s)
        execution = client.remote.fetch_execution(PROJECT, DOMAIN, execution.id.name)
    wall = time.perf_counter() - began
    return wall, execution.closure.duration.total_seconds(), client.remote.sync_execution(execution)


def shapes() -> None:
    """A chain and a fan-out."""
    with serving() as client:
        client.register("shapes.py")
        client.run("shapes.chain_50", {"a": 0})  # warms the process that tasks are forked from
        for name, tasks, goal in (("chain_50", 50, "< 2.5 s"), ("fan_out_200", 200, ">= 50 tasks a second")):
            wall, ran, execution = run(client, f"shapes.{name}", {"a": 0})
            say(Record(name, "wall time", "ours", wall, "s", goal, check=str(execution.outputs["o0"])))
            say(Record(name, "tasks", "ours", tasks / ran, "a second"))


def maps() -> None:
    """A map, whose elements have processes of their own or share two."""
    for name, goal, options in (
        ("isolated processes", ">= 70 a second", ()),
        ("reused workers", ">= 400 a second", ("--reuse-workers",)),
    ):
        for module, file, workflow in MAPS:
            with serving(*options) as client:
                client.register(file)
                client.run(workflow, {"values": [1, 2]})
                values = {"values": list(range(ELEMENTS))}
                _, ran, execution = run(client, workflow, values, look_every_s=0.5)
                workload = f"map of {ELEMENTS:,} flytekit elements of {module}"
                check = str(execution.outputs["o1"])
                say(Record(workload, name, "ours", ELEMENTS / ran, "a second", goal, check=check))


def main() -> None:
    """Print the records."""
    shapes()
    maps()


if __name__ == "__main__":
    main()
