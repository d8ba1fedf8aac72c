"""Which attempts run at once, and which are given to a warm process ahead of their turn.

A slot is a line of attempts that one warm process was given: the first runs, the others wait there, so that the next
can start without a word from the server when the first ends. Lines change in the same order here and in the warm
process.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Slots"]

_A = TypeVar("_A", bound=Hashable)


class Slots(Generic[_A]):
    """At most `count` lines of at most 1 + `ahead` attempts; more lines only for what runs already, by `take`."""

    def __init__(self, count: int, ahead: int) -> None:
        self._count = count
        self._ahead = ahead
        self._lines: dict[int, list[_A]] = {}
        self._owners: dict[int, object] = {}
        self._slot_of: dict[_A, int] = {}

    def has_free(self) -> bool:
        """Say whether one more attempt may run."""
        return len(self._lines) < self._count

    def runs(self, attempt: _A) -> bool:
        """Say whether an attempt is the first of a line."""
        slot = self._slot_of.get(attempt)
        return slot is not None and self._lines[slot][0] == attempt

    def take(self, attempt: _A, owner: object = None) -> int:
        """Give an attempt a line of its own, which `owner` keeps; return its number."""
        slot = next(number for number in range(len(self._lines) + 1) if number not in self._lines)
        self._lines[slot], self._owners[slot], self._slot_of[attempt] = [attempt], owner, slot
        return slot

    def shortest(self, owner: object) -> int | None:
        """Return the shortest line that `owner` keeps, None if they are as long as they may be."""
        lines = [slot for slot, keeper in self._owners.items() if keeper == owner]
        slot = min(lines, key=lambda slot: len(self._lines[slot]), default=None)
        return None if slot is None or len(self._lines[slot]) > self._ahead else slot

    def has_room(self) -> bool:
        """Say whether somebody keeps a line that may be longer."""
        return any(owner is not None and len(self._lines[slot]) <= self._ahead for slot, owner in self._owners.items())

    def join(self, attempt: _A, slot: int) -> None:
        """Let an attempt wait at the end of a line."""
        self._lines[slot].append(attempt)
        self._slot_of[attempt] = slot

    def waiting(self) -> list[_A]:
        """Return the attempts that are second in their lines: each line's next one."""
        return [line[1] for line in self._lines.values() if len(line) > 1]

    def move(self, attempt: _A) -> int:
        """Give a waiting attempt a line of its own with the same keeper; return its number."""
        owner = self._owners[self._slot_of[attempt]]
        self.leave(attempt)
        return self.take(attempt, owner)

    def leave(self, attempt: _A) -> None:
        """Remove an attempt from its line, if it is in one; the next in line runs."""
        slot = self._slot_of.pop(attempt, None)
        if slot is None:
            return
        self._lines[slot].remove(attempt)
        if not self._lines[slot]:
            del self._lines[slot], self._owners[slot]
