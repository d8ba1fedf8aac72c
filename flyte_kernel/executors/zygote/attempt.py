"""An attempt from its fork until its end is written down."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from .claims import read_claim
from .entrypoints import ENTRYPOINTS

__all__ = ["UNTOLD_S", "Attempt", "end_of"]

UNTOLD_S = 0.05  # how long an element may run before it is told that it has started


class Attempt:
    """One that holds its claim; `pid` is its process once there is one, `status` what waitpid said of that."""

    def __init__(self, request: dict[str, Any], claim: int) -> None:
        self.id: int = request["id"]
        self.slot: int = request["slot"]
        self.folder = Path(request["folder"])
        self.claim = claim
        self.pid = 0
        self.forked_at = time.monotonic()
        self.aborted = False
        self.code: str = request["code"]
        self.is_brief: bool = request["brief"]  # one of many that may end before it is worth telling that it started
        # None once it was told that it has started.
        self.tell_at: float | None = self.forked_at + UNTOLD_S if self.is_brief else None
        self.shares_folder = bool(request["crew"])  # work/ goes on to be used by others
        self.has_copy = False  # of the code, handed on by another attempt
        self.has_scratch = False  # likewise
        self.uses_sdk = request["command"][0] in ENTRYPOINTS
        self.began_ns = 0  # in its own process: when its launch was written down
        self.left_processes = False
        self.kill_at: float | None = None
        self.status: int | None = None

    def is_started(self) -> bool:
        """Say whether its process came as far as user code."""
        launch = read_claim(self.claim).get("launch")
        return isinstance(launch, dict) and launch.get("pid") == self.pid


def end_of(attempt: Attempt) -> dict[str, Any]:
    """Return how an attempt ended, as its claim and the server are told."""
    status = attempt.status
    assert status is not None
    end: dict[str, Any] = {"exit_code": None, "signal": None, "aborted": attempt.aborted}
    if os.WIFSIGNALED(status):
        end["signal"] = os.WTERMSIG(status)
    else:
        end["exit_code"] = os.WEXITSTATUS(status)
    return end
