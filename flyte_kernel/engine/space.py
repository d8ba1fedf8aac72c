"""Waiting for space: a full disk is nobody's failure and uses up nobody's retries."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from flyte_kernel.engine.ports import Blobs

__all__ = ["HeldWork", "is_disk_full"]

_PAUSE_S = 0.5
_FULL_BYTES = 1024 * 1024  # with less than this, whatever failed is taken to have failed for want of space


def is_disk_full(blobs: Blobs) -> bool:
    """Say whether the disk that a blob folder is on has no space left; False for stores elsewhere."""
    folder = blobs.local_path(f"{blobs.base_uri}/metadata")
    if folder is None:
        return False
    try:
        space = os.statvfs(folder.parent)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _FULL_BYTES


class HeldWork:
    """Work that is tried again after a pause, in which space may have been made."""

    def __init__(
        self,
        submit: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._submit = submit
        self._later = later
        self._held: list[Callable[[], None]] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def hold(self, what: Callable[[], None]) -> None:
        """Do it after a pause."""
        with self._lock:
            self._held.append(what)
            if len(self._held) > 1:
                return
        self._later(_PAUSE_S, self._release)

    def close(self) -> None:
        """Leave what is held to the next start."""
        with self._lock:
            self._is_closed = True

    def _release(self) -> None:
        with self._lock:
            held, self._held = self._held, []
            if not self._is_closed:
                for what in held:
                    self._submit(what)
