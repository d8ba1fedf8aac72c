"""What the server is told: lines of at most PIPE_BUF bytes, which zygote and attempts may write side by side."""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from typing import Any

__all__ = ["MESSAGE_CHARACTERS_MAX", "Reports"]

MESSAGE_CHARACTERS_MAX = 600
_SOON_S = 0.02  # how late the server may learn of an end while there is work at hand


class Reports:
    """The pipe to the server; a fork has one of its own (`inherit`), lest it says again what is to be said here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._later = b""
        self._first_at = 0.0

    def inherit(self) -> Reports:
        """Return the pipe for a forked process."""
        return Reports(self._descriptor)

    def tell(self, **message: Any) -> None:
        """Tell the server, if there still is one."""
        self.tell_soon(**message)
        self.flush()

    def tell_soon(self, **message: Any) -> None:
        """Have the server told with the next message, or by `flush`: each waking of the server costs."""
        line = json.dumps(message).encode() + b"\n"
        if len(self._later) + len(line) > select.PIPE_BUF:
            self.flush()
        if not self._later:
            self._first_at = time.monotonic()
        self._later += line

    def due_at(self) -> float | None:
        """Return by when the server should be told what it was not told yet, None if that is nothing."""
        return self._first_at + _SOON_S if self._later else None

    def flush(self) -> None:
        """Tell the server what it was not told yet."""
        said, self._later = self._later, b""
        if said:
            with contextlib.suppress(OSError):
                os.write(self._descriptor, said)

    def refuse(self, attempt: int, error: BaseException) -> None:
        """Say why an attempt could not be started."""
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
        self.tell(id=attempt, event="refused", message=message)

    def close(self) -> None:
        """Give up this process' end."""
        os.close(self._descriptor)
