"""The claim of an attempt: a file that is locked for as long as somebody runs it, and says how far that came.

It holds lines of {"launch": which process it is and which its zygote}, added by that process before user code can run,
and {"exit": {"exit_code", "signal", "aborted"}}, added when the process and all that it left behind are gone. One file,
since making one is the dearest thing that an attempt asks of a disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path
from typing import Any

__all__ = ["MARK", "add_to_claim", "bears_mark", "claim_attempt", "read_claim"]

MARK = "FLYTE_KERNEL_ATTEMPT"  # the variable by which a process tells of which attempt it is
_BYTES_MAX = 1 << 16


def claim_attempt(folder: Path) -> int | None:
    """Return a descriptor that holds the attempt's claim, None if another has it or the attempt was run."""
    claim = os.open(folder / "claim", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_fresh = os.fstat(claim).st_size == 0
    except BlockingIOError:
        is_fresh = False
    if not is_fresh:
        os.close(claim)
        return None
    return claim


def add_to_claim(claim: int, kind: str, content: Any) -> None:
    """Add a line to an open claim, in one system call."""
    os.write(claim, json.dumps({kind: content}).encode() + b"\n")


def read_claim(claim: int) -> dict[str, Any]:
    """Return what the lines of an open claim say, by kind; user code that has the descriptor may have added others."""
    said: dict[str, Any] = {}
    for line in os.pread(claim, _BYTES_MAX, 0).splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            said.update(json.loads(line).items())
    return said


def bears_mark(pid: int, folder: Path) -> bool:
    """Say whether a process holds the claim of the attempt in `folder` or carries its mark in the environment."""
    root = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if f"{MARK}={folder.name}".encode() in root.joinpath("environ").read_bytes().split(b"\0"):
            return True
        claim = str(folder / "claim")
        return any(os.readlink(entry) == claim for entry in root.joinpath("fd").iterdir())  # noqa: PTH115
    return False
