"""Requests that wait in a zygote for the end of what runs in their slot."""

from __future__ import annotations

import collections
from typing import Any

__all__ = ["Lines"]


class Lines:
    """A line of requests by slot; none is empty."""

    def __init__(self) -> None:
        self._lines: dict[int, collections.deque[dict[str, Any]]] = {}

    def join(self, request: dict[str, Any]) -> None:
        """Let a request wait behind those of its slot."""
        self._lines.setdefault(request["slot"], collections.deque()).append(request)

    def next(self, slot: int) -> dict[str, Any] | None:
        """Take the first request of a line, None if there is none."""
        line = self._lines.get(slot)
        if line is None:
            return None
        request = line.popleft()
        if not line:
            del self._lines[slot]
        return request

    def length(self, slot: int) -> int:
        """Return how many requests wait in a slot."""
        return len(self._lines.get(slot, ()))

    def withdraw(self, id_: int) -> dict[str, Any] | None:
        """Take a request out of its line, None if it waits in none."""
        for slot, line in self._lines.items():
            for request in line:
                if request["id"] == id_:
                    line.remove(request)
                    if not line:
                        del self._lines[slot]
                    return request
        return None

    def clear(self) -> None:
        """Forget all."""
        self._lines.clear()
