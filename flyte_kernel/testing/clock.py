"""A clock that stands still until it is told to go on."""

from __future__ import annotations

import threading

__all__ = ["VirtualClock"]


class VirtualClock:
    """Calling it gives the time in nanoseconds since the epoch; safe to use from any thread."""

    def __init__(self, now: int = 1_000_000_000) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the time."""
        with self._lock:
            return self._now

    def advance(self, duration_ns: int) -> int:
        """Go on by a duration and return the new time; ValueError if it is negative."""
        if duration_ns < 0:
            raise ValueError(f"a clock does not go back: {duration_ns} ns")
        with self._lock:
            self._now += duration_ns
            return self._now
