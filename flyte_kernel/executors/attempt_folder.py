"""The folder of one attempt: what its processes wrote there, and whether somebody still runs it.

The files are described in the package zygote, which writes them.
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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte_kernel.executors.zygote.claims import add_to_claim, bears_mark, read_claim
from flyte_kernel.executors.zygote.processes import boot_id, process_table, start_time
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
        content = self._said().get("exit")
        if not isinstance(content, dict):
            return None
        return Exit(content.get("exit_code"), content.get("signal"), bool(content.get("aborted")))

    def write_exit(self, end: Exit) -> None:
        """Write down how an attempt ended whose zygote cannot do it any more."""
        content = {"exit_code": end.exit_code, "signal": end.signal, "aborted": end.aborted}
        with self._opened(os.O_RDWR | os.O_APPEND | os.O_CREAT) as claim:
            add_to_claim(claim, "exit", content)

    def process(self) -> LaunchedProcess | None:
        """Return the process that the attempt was run by last, None if user code never ran."""
        content = self._said().get("launch")
        if not isinstance(content, dict):
            return None
        names = ("pid", "start_time", "supervisor", "supervisor_start_time", "boot")
        return LaunchedProcess(AttemptKey(*content["key"]), *(content[name] for name in names))

    def is_claimed(self) -> bool:
        """Say whether a process of this attempt, or its zygote, still lives."""
        try:
            with self._opened(os.O_RDWR) as claim:
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
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
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self.path / "claim", 0)

    def remove_scratch(self) -> None:
        """Remove all but the log and the records of start and end."""
        for name in ("work", "tmp", "work.fit", "tmp.fit"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        (self.path / "imports.json").unlink(missing_ok=True)

    def imports(self) -> list[str]:
        """Return the libraries that the attempt had to import."""
        try:
            return [str(name) for name in json.loads((self.path / "imports.json").read_text())]
        except (OSError, ValueError):
            return []

    def _said(self) -> dict[str, Any]:
        try:
            with self._opened(os.O_RDONLY) as claim:
                return read_claim(claim)
        except OSError:
            return {}

    @contextlib.contextmanager
    def _opened(self, flags: int) -> Iterator[int]:
        claim = os.open(self.path / "claim", flags | os.O_CLOEXEC, 0o600)
        try:
            yield claim
        finally:
            os.close(claim)
