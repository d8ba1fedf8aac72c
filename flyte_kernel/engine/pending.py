"""Work that comes one by one and is done together: whatever has come by the time that somebody gets to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

__all__ = ["Pending"]

_Item = TypeVar("_Item")


class Pending(Generic[_Item]):
    """Items for `handle`, which is called by way of `submit` with those that have come since; from any thread."""

    def __init__(self, submit: Callable[..., object], handle: Callable[[Sequence[_Item]], None]) -> None:
        self._submit = submit
        self._handle = handle
        self._items: list[_Item] = []
        self._lock = threading.Lock()

    def add(self, item: _Item) -> None:
        """Have an item handled soon, with others of its kind."""
        with self._lock:
            self._items.append(item)
            is_first = len(self._items) == 1
        if is_first:
            self._submit(self._take)

    def _take(self) -> None:
        with self._lock:
            items, self._items = self._items, []
        self._handle(items)
