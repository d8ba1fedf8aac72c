"""How far something is, for people who wait: a callable of their own, or a line on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["Progress", "progress_of"]

Progress: TypeAlias = "bool | Callable[[int, int], object]"
"""Whether to show progress, or what to tell (done, total)."""

_PAUSE_S = 0.1


def progress_of(progress: Progress) -> Callable[[int, int], object]:
    """Return what to tell how far it is."""
    if callable(progress):
        return progress
    return _Line().show if progress else lambda _done, _total: None


class _Line:
    def __init__(self) -> None:
        self._shown_at = 0.0

    def show(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._shown_at < _PAUSE_S and done < total:
            return
        self._shown_at = now
        end = "\n" if done >= total else ""
        print(f"\r{done:,} of {total:,}", end=end, file=sys.stderr, flush=True)
