"""The folder of one attempt: what its processes wrote there, and whether somebody still runs it.

The files are described in zygote.py, which writes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte_kernel.executors.zygote import bears_mark, boot_id, process_table, start_time, write_json
from flyte_kernel.ids import AttemptKey

__all__ = ["AttemptFolder", "Exit", "LaunchedProcess"]

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: exit_code or signal is set; `aborted` if it was asked to."""

    exit_code: int | None = None
    signal: int | None = None
    aborted: bool = False


@dataclass(frozen=True, slots=True)
class LaunchedProcess:
    """The process of an attempt and the zygote that waits for it; start times in ticks since the boot `boot`."""

    key: AttemptKey
    pid: int
    start_time: int
    supervisor: int
    supervisor_start_time: int
    boot: str

    def is_of_this_boot(self) -> bool:
        """Say whether the machine has not been restarted since."""
        return self.boot == boot_id()

    def is_alive(self) -> bool:
        """Say whether the process still runs."""
        return self.is_of_this_boot() and start_time(self.pid) == self.start_time

    def is_supervised(self) -> bool:
        """Say whether the zygote still runs, and will write down how the process ends."""
        return self.is_of_this_boot() and start_time(self.supervisor) == self.supervisor_start_time


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """Paths and states of an attempt's folder."""

    path: Path

    @classmethod
    def of(cls, root: Path, name: str) -> AttemptFolder:
        """Return the folder of the attempt called `name`; a name that is none for a file is replaced by its hash."""
        if not _PLAIN_NAME.fullmatch(name):
            name = f"attempt-{hashlib.sha256(name.encode()).hexdigest()[:40]}"
        return cls(root / name)

    @property
    def log_uri(self) -> str:
        """Where people find what the attempt printed."""
        return (self.path / "log.txt").as_uri()

    def create(self) -> bool:
        """Make the folder; False if it was there."""
        try:
            self.path.mkdir()
        except FileExistsError:
            return False
        return True

    def exit(self) -> Exit | None:
        """Return how the attempt ended, None if nobody wrote that down."""
        content = self._read("exit.json")
        if content is None:
            return None
        return Exit(content.get("exit_code"), content.get("signal"), bool(content.get("aborted")))

    def write_exit(self, end: Exit) -> None:
        """Write down how an attempt ended whose zygote cannot do it any more."""
        content = {"exit_code": end.exit_code, "signal": end.signal, "aborted": end.aborted}
        write_json(self.path / "exit.json", content)

    def process(self) -> LaunchedProcess | None:
        """Return the process that the attempt was run by last, None if user code never ran."""
        content = self._read("launch.json")
        if content is None:
            return None
        names = ("pid", "start_time", "supervisor", "supervisor_start_time", "boot")
        return LaunchedProcess(AttemptKey(*content["key"]), *(content[name] for name in names))

    def is_claimed(self) -> bool:
        """Say whether a process of this attempt, or its zygote, still lives."""
        try:
            claim = os.open(self.path / "claim", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(claim)
        return False

    def kill_strays(self) -> bool:
        """Kill the processes of an attempt whose zygote is gone; return whether there were any."""
        own = os.getpid()
        table = process_table()
        strays = [pid for pid in table if pid != own and table[pid].state != "Z" and bears_mark(pid, self.path)]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        return bool(strays)

    def reset(self) -> None:
        """Make way for another run of an attempt that nobody runs and that left no result."""
        (self.path / "launch.json").unlink(missing_ok=True)

    def remove_scratch(self) -> None:
        """Remove all but the log and the records of start and end."""
        for name in ("work", "tmp"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "imports.json").unlink(missing_ok=True)

    def imports(self) -> list[str]:
        """Return the libraries that the attempt had to import."""
        try:
            return [str(name) for name in json.loads((self.path / "imports.json").read_text())]
        except (OSError, ValueError):
            return []

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            content = json.loads((self.path / name).read_text())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None
