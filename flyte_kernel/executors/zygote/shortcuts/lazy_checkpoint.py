"""Has the SDK make the folder of an attempt's checkpoints when the attempt first restores or saves one."""

from __future__ import annotations

import importlib
import tempfile
from typing import Any

from .known import expect

__all__ = ["take"]


class _Folder:
    """A temporary folder that is made when its name is asked for."""

    def __init__(self) -> None:
        self._made: tempfile.TemporaryDirectory[str] | None = None

    @property
    def name(self) -> str:
        """Return its path."""
        if self._made is None:
            self._made = tempfile.TemporaryDirectory()
        return self._made.name

    def cleanup(self) -> None:
        """Remove it, if it was made."""
        if self._made is not None:
            self._made.cleanup()


class _Tempfile:
    """The module tempfile as the SDK's checkpoints see it."""

    TemporaryDirectory = _Folder

    def __getattr__(self, name: str) -> Any:
        return getattr(tempfile, name)


def take() -> None:
    """Have the SDK do so; TypeError if a function is not what it was."""
    module: Any = importlib.import_module("flytekit.core.checkpointer")
    expect(module.SyncCheckpoint.__init__, "self", "checkpoint_dest", "checkpoint_src")
    if module.tempfile is not tempfile:
        raise TypeError("the SDK's checkpoints do not use the module tempfile")
    module.tempfile = _Tempfile()
