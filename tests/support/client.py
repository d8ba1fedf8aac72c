"""Unmodified flytekit against a server: register a file, run what is in it, wait for the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from flytekit.configuration import Config
from flytekit.remote import FlyteRemote
from flytekit.remote.executions import FlyteWorkflowExecution

WORKFLOWS = Path(__file__).parent.parent / "e2e" / "workflows"
PROJECT, DOMAIN = "flytesnacks", "development"
WAIT_S = 90


def pyflyte(config: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the pyflyte command line against the server of a configuration file."""
    command = [sys.executable, "-m", "flytekit.clis.sdk_in_container.pyflyte", "--config", config, *arguments]
    environment = {**os.environ, "COLUMNS": "400", "TERM": "dumb"}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=WAIT_S)
    assert not check or result.returncode == 0, result.stdout + result.stderr
    return result


@dataclass
class Client:
    """FlyteRemote with the waits that tests want."""

    config: str
    version: str = "v1"

    @cached_property
    def remote(self) -> FlyteRemote:
        """The unmodified FlyteRemote."""
        return FlyteRemote(Config.auto(self.config), PROJECT, DOMAIN)

    def register(self, *files: str) -> None:
        """Fast-register files of tests/e2e/workflows; without any, the basics."""
        pyflyte(
            self.config,
            "register",
            "--project",
            PROJECT,
            "--domain",
            DOMAIN,
            "--version",
            self.version,
            *(str(WORKFLOWS / file) for file in files or ("basics.py",)),
        )

    def execute(self, name: str, inputs: Mapping[str, object], execution: str | None = None) -> FlyteWorkflowExecution:
        """Start the default launch plan of a workflow."""
        plan = self.remote.fetch_launch_plan(name=name, version=self.version)
        return self.remote.execute(plan, inputs=dict(inputs), execution_name=execution)

    def finish(self, execution: FlyteWorkflowExecution) -> FlyteWorkflowExecution:
        """Wait until it has ended and fetch everything about it."""
        deadline = time.monotonic() + WAIT_S
        while not execution.is_done:
            assert time.monotonic() < deadline, f"{execution.id.name} did not end: {execution.closure}"
            time.sleep(0.02)
            execution = self.remote.fetch_execution(PROJECT, DOMAIN, execution.id.name)
        return self.remote.sync_execution(execution, sync_nodes=True)

    def run(self, name: str, inputs: Mapping[str, object]) -> FlyteWorkflowExecution:
        """Start and wait."""
        return self.finish(self.execute(name, inputs))
