"""Processes that attempts left behind: who has ended must have left none before its end is told."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from .attempt import Attempt
from .claims import bears_mark
from .processes import Process, children, newest_pid, process_table, with_descendants

__all__ = ["Leftovers"]

# After this time process ids may have wrapped around, so that younger processes may have smaller ones.
_YOUNG_S = 10.0


class Leftovers:
    """What a zygote, as the reaper of all below it, knows of processes that lost their parents."""

    def __init__(self) -> None:
        self._orphans: dict[int, set[int]] = {}  # of unknown attempt: the attempts that ran when they were seen first

    def forget(self, pid: int) -> None:
        """Note that a process has ended."""
        self._orphans.pop(pid, None)

    def look(self, ended: Sequence[Attempt], running: Mapping[int, Attempt], others: set[int]) -> dict[int, Process]:
        """Return the processes that may be of attempts that have ended: none if all children here are known.

        `running` are all attempts by process id, the ended ones included, `others` the zygote's other children.
        """
        # Whoever lost its parent is a child of this process, its reaper; only who has such children can be below them.
        if children() <= {*running, *others}:
            return {}
        return process_table(0 if any(map(_may_have_wrapped, ended)) else min(attempt.pid for attempt in ended))

    def note_orphans(
        self, table: Mapping[int, Process], running: Mapping[int, Attempt], branches: set[int], workers: set[int]
    ) -> None:
        """Note children of attempts that lost their parents, left the session and are not known yet."""
        own, sessions = os.getpid(), {*running, *workers}
        for pid, process in table.items():
            is_known = pid in running or pid in branches
            if process.parent == own and not is_known and process.session not in sessions:
                marked = {attempt.pid for attempt in running.values() if bears_mark(pid, attempt.folder)}
                self._orphans.setdefault(pid, marked or sessions)

    def of(self, attempt: Attempt, table: dict[int, Process], running: Mapping[int, Attempt]) -> set[int]:
        """Return the processes that only an attempt that has ended can have started."""
        roots = {pid for pid, process in table.items() if process.session == attempt.pid}
        alive = {pid for pid, other in running.items() if other.status is None}
        roots |= {pid for pid, owners in self._orphans.items() if attempt.pid in owners and not owners & alive}
        return with_descendants(roots, table) - set(running)


def _may_have_wrapped(attempt: Attempt) -> bool:
    """Say whether an attempt's descendants may have smaller process ids than it has."""
    return newest_pid() < attempt.pid or time.monotonic() - attempt.forked_at > _YOUNG_S
