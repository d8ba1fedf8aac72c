"""What the server is told: lines of at most PIPE_BUF bytes, which zygote and attempts may write side by side."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

__all__ = ["MESSAGE_CHARACTERS_MAX", "Reports"]

MESSAGE_CHARACTERS_MAX = 600


class Reports:
    """The pipe to the server."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def tell(self, **message: Any) -> None:
        """Tell the server, if there still is one."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps(message).encode() + b"\n")

    def refuse(self, attempt: int, error: BaseException) -> None:
        """Say why an attempt could not be started."""
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
        self.tell(id=attempt, event="refused", message=message)

    def close(self) -> None:
        """Give up this process' end."""
        os.close(self._descriptor)
