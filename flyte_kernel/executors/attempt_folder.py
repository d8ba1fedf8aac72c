"""The folder of one attempt: what its supervisor wrote there, and whether somebody still runs it.

The files are described in zygote.py, which writes them.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from flyte_kernel.executors import zygote

__all__ = ["AttemptFolder", "Exit"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: one of the two is set."""

    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class AttemptFolder:
    """Paths and states of an attempt's folder."""

    path: Path

    @property
    def log_uri(self) -> str:
        """Where people find what the attempt printed."""
        return (self.path / "log.txt").as_uri()

    def prepare(self, code: Path | None) -> Path:
        """Make the folders an attempt runs in and return the one it starts in.

        The entries of the code distribution appear there as links, since user code may open the files that were
        registered with it by relative paths.
        """
        work = self.path / "work"
        for folder in (work, self.path / "tmp"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        if code is not None:
            for entry in code.iterdir():
                (work / entry.name).symlink_to(entry)
        return work

    def exit(self) -> Exit | None:
        """Return how the attempt ended, None if nobody wrote that down."""
        try:
            content = json.loads((self.path / "exit.json").read_text())
        except (OSError, ValueError):
            return None
        return Exit(exit_code=content.get("exit_code"), signal=content.get("signal"))

    def is_claimed(self) -> bool:
        """Say whether a process of this attempt, or its supervisor, still lives."""
        try:
            claim = os.open(self.path / "claim", os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(claim)
        return False

    def wait_until_unclaimed(self) -> None:
        """Block until no process of this attempt lives any more."""
        claim = os.open(self.path / "claim", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX)
        finally:
            os.close(claim)

    def process(self) -> int | None:
        """Return the id of the attempt's process if it is alive."""
        try:
            content = json.loads((self.path / "launch.json").read_text())
        except (OSError, ValueError):
            return None
        pid = int(content["pid"])
        return pid if zygote.start_time(pid) == int(content["start_time"]) != 0 else None

    def remove_scratch(self) -> None:
        """Remove all but the log and the record of the end."""
        for name in ("work", "tmp"):
            shutil.rmtree(self.path / name, ignore_errors=True)
