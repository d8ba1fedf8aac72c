"""Processes of this machine, as the kernel tells of them, and what is asked of it about this one."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Process",
    "become_reaper",
    "boot_id",
    "children",
    "die_with_parent",
    "fork",
    "newest_pid",
    "process_table",
    "signal_group",
    "start_time",
    "with_descendants",
]

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A line of the process table."""

    state: str
    parent: int
    session: int
    start_time: int


def _read_process(pid: int) -> Process | None:
    """Return what /proc says about a process, None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Process(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def process_table(pid_min: int = 0) -> dict[int, Process]:
    """Return the processes of this machine whose id is at least `pid_min`."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    found = ((pid, _read_process(pid)) for pid in pids if pid >= pid_min)
    return {pid: process for pid, process in found if process is not None}


def children() -> set[int]:
    """Return the child processes of this process, {0} if this machine does not list them.

    While nobody else waits for them, none that is there is left out.
    """
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except OSError:
        return {0}


def with_descendants(roots: set[int], table: dict[int, Process]) -> set[int]:
    """Return `roots` and all processes below them."""
    found, size = set(roots), -1
    while size != len(found):
        size = len(found)
        found |= {pid for pid, process in table.items() if process.parent in found}
    return found


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot, 0 if it is gone: with pid and boot it names a process."""
    process = _read_process(pid)
    return 0 if process is None or process.state in "ZX" else process.start_time


def boot_id() -> str:
    """Return what names the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def newest_pid() -> int:
    """Return the process id that was given last."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


def signal_group(pid: int, number: int) -> None:
    """Send a signal to an attempt's process group, or to its process if that has not made its group yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def become_reaper() -> None:
    """Have this process be the parent of descendants that lose theirs; OSError if the kernel refuses."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal: int) -> None:
    """Have the kernel send this process a signal when its parent ends; OSError if it refuses."""
    _prctl(_PR_SET_PDEATHSIG, signal)


def _prctl(option: int, argument: int) -> None:
    if _LIBC.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")


def fork() -> int:
    """Fork without the interpreter's warning about threads: `quiet_after_fork` has looked at them."""
    if sys.version_info < (3, 12):
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()
