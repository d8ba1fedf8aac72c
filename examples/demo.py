"""`make demo`: a server, unmodified flytekit, a real table, and what came out of it.

Starts `flyte-kernel up`, registers breast_cancer.py with `pyflyte register`, runs it with FlyteRemote, shows the nodes
while they run, prints outputs and durations, and stops the server.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
from flytekit.configuration import Config
from flytekit.models.core.execution import NodeExecutionPhase, WorkflowExecutionPhase
from flytekit.remote import FlyteRemote
from flytekit.remote.executions import FlyteWorkflowExecution
from rich.console import Console
from rich.live import Live
from rich.table import Table

EXAMPLE = Path(__file__).parent / "breast_cancer.py"
DATA = Path(".demo")
PROJECT, DOMAIN = "flytesnacks", "development"
START_TIMEOUT_S = 60
POLL_S = 0.1

console = Console()


@contextmanager
def running_server(data: Path) -> Iterator[dict[str, str]]:
    """Start a server on free ports, yield its addresses, stop it."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        command = [sys.executable, "-m", "flyte_kernel.cli", "up", "--data", str(data), "--ready-file", str(ready)]
        server = subprocess.Popen([*command, "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"])
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not ready.exists():
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the server did not start; its own message stands above")
                time.sleep(0.02)
            yield json.loads(ready.read_text())
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def register(config: str) -> str:
    """Register the example with pyflyte and return the version it got, the same for the same code."""
    command = [sys.executable, "-m", "flytekit.clis.sdk_in_container.pyflyte", "--config", config, "register"]
    scope = ["--project", PROJECT, "--domain", DOMAIN]
    result = subprocess.run([*command, *scope, str(EXAMPLE)], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"pyflyte register failed:\n{result.stdout}{result.stderr}")
    lines = [line for line in result.stdout.splitlines() if line.strip()]
    console.print("\n".join(lines), style="dim", highlight=False)
    return next(line.split()[-1] for line in lines if line.startswith("Computed version is"))


def duration_text(start: datetime | None, end: datetime | None) -> str:
    """Return seconds between two times, or nothing while either is unknown."""
    return f"{(end - start).total_seconds():.2f} s" if start and end and start.year > 1970 else ""


def node_table(remote: FlyteRemote, execution: FlyteWorkflowExecution) -> Table:
    """Return the task nodes of an execution with their phases and times."""
    table = Table(title=f"{execution.id.name}: {WorkflowExecutionPhase.enum_to_string(execution.closure.phase)}")
    for column in ("node", "phase", "queued", "ran", "waited"):
        table.add_column(column, justify="left" if column in ("node", "phase") else "right")
    nodes, _ = remote.client.list_node_executions(execution.id, limit=100)
    for node in sorted(nodes, key=lambda node: node.closure.created_at):
        closure = node.closure
        if node.id.node_id in ("start-node", "end-node"):
            continue
        end = closure.started_at + closure.duration if closure.duration else None
        waited = duration_text(closure.created_at, closure.started_at)
        phase = NodeExecutionPhase.enum_to_string(closure.phase)
        queued = duration_text(execution.closure.created_at, closure.created_at)
        table.add_row(node.id.node_id, phase, f"+{queued}", duration_text(closure.started_at, end), waited)
    return table


def watch(remote: FlyteRemote, execution: FlyteWorkflowExecution) -> FlyteWorkflowExecution:
    """Show the nodes until the execution has ended."""
    with Live(console=console, refresh_per_second=10) as live:
        while True:
            current = remote.fetch_execution(PROJECT, DOMAIN, execution.id.name)
            live.update(node_table(remote, current))
            if current.is_done:
                return current
            time.sleep(POLL_S)


def kernel_share(remote: FlyteRemote, execution: FlyteWorkflowExecution) -> timedelta:
    """Return how much of the run no task was running: scheduling, durability and hand-over."""
    nodes, _ = remote.client.list_node_executions(execution.id, limit=100)
    spans = sorted(
        (node.closure.started_at, node.closure.started_at + node.closure.duration)
        for node in nodes
        if node.closure.started_at and node.closure.duration
    )
    idle, reached = timedelta(), execution.closure.created_at
    for start, end in spans:
        idle += max(timedelta(), start - reached)
        reached = max(reached, end)
    ended = execution.closure.started_at + execution.closure.duration
    return idle + max(timedelta(), ended - reached)


def main() -> None:
    """Run the whole demonstration."""
    logging.disable(logging.WARNING)
    began = time.monotonic()
    with running_server(DATA) as server:
        version = register(server["config"])
        remote = FlyteRemote(Config.auto(server["config"]), PROJECT, DOMAIN)
        plan = remote.fetch_launch_plan(name="breast_cancer.pick_model", version=version)
        console.print("running breast_cancer.pick_model, version", version, highlight=False)
        execution = watch(remote, remote.execute(plan, inputs={}))
        if execution.error is not None:
            sys.exit(f"the execution failed: {execution.error.message}")
        execution = remote.sync_execution(execution)
        outputs = execution.outputs
        with remote.remote_context():
            console.print(Path(outputs.get("report").download()).read_text(), style="bold", highlight=False)
            console.print(outputs.get("table", pd.DataFrame), highlight=False)
        console.print("best model:", outputs.get("best"))
        share = kernel_share(remote, execution).total_seconds()
        console.print(f"of the run, {share:.3f} s were spent outside every task: {share / 7:.3f} s a task")
    console.print(f"demo took {time.monotonic() - began:.1f} s in all; its data stays in {DATA}/")


if __name__ == "__main__":
    main()
