"""A real server process for tests: started, killed, started again on the same folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

START_TIMEOUT_S = 60


@dataclass
class ServerProcess:
    """`flyte-kernel up` on a data folder; the ports stay the same over restarts."""

    data: Path
    options: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def grpc(self) -> str:
        """HOST:PORT of the gRPC services."""
        return self.addresses["grpc"]

    @property
    def config(self) -> str:
        """Path of the client's configuration file."""
        return self.addresses["config"]

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> ServerProcess:
        """Start it and wait until it serves."""
        self.data.mkdir(parents=True, exist_ok=True)
        ready = self.data.parent / f"{self.data.name}.ready.json"
        ready.unlink(missing_ok=True)
        grpc = self.addresses.get("grpc", "127.0.0.1:0")
        http = self.addresses.get("http", "127.0.0.1:0")
        command = [sys.executable, "-m", "flyte_kernel.cli", "up", "--data", str(self.data), "--grpc", grpc]
        log = self.log_path.open("ab")
        self.process = subprocess.Popen(
            [*command, "--http", http, "--ready-file", str(ready), *self.options],
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109
        )
        log.close()
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log_path.read_text()}")
            time.sleep(0.01)
        self.addresses = json.loads(ready.read_text())
        return self

    @property
    def log_path(self) -> Path:
        """Where the server's own output goes."""
        return self.data.parent / f"{self.data.name}.log"

    def kill(self) -> None:
        """SIGKILL, as a power cut to the process."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)
