"""The SDK's own temporary folders in the process of an attempt, under one root that can be emptied and used again.

The SDK makes some when it is imported, which here was in the warm process, and others for each attempt. Making and
removing folders is a good part of what a small attempt costs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "empty", "give_folders"]

ROOT = "flyte"
_MODE = 0o700
_SANDBOX = f"{ROOT}/sandbox"
_WORKSPACE = f"{_SANDBOX}/workspace"
_ACCESS = f"{ROOT}/access"
# Of the provider of files that the SDK makes for each attempt; what is below them is the attempt's.
_KEPT = (ROOT, _SANDBOX, _WORKSPACE, _ACCESS, f"{_ACCESS}/local_flytekit", f"{_ACCESS}/local_flytekit/engine_dir")


class _Tempfile:
    """The module tempfile as the SDK's entry point sees it: the folder it asks for first is the one kept for it."""

    def __init__(self, folder: str) -> None:
        self._folder: str | None = folder

    def mkdtemp(self, *arguments: Any, **options: Any) -> str:
        """Return the kept folder once; later, or if something else is asked for, a new one."""
        folder, wants = self._folder, (arguments, options)
        if folder is None or wants != ((), {"prefix": "flyte"}):
            return str(tempfile.mkdtemp(*arguments, **options))
        self._folder = None
        return folder

    def __getattr__(self, name: str) -> Any:
        return getattr(tempfile, name)


def give_folders() -> None:
    """Give the SDK folders of this attempt in place of those it made when it was imported; an unknown SDK gets none."""
    scratch = os.environ.get("TMPDIR") or tempfile.gettempdir()
    for folder in (_WORKSPACE, _ACCESS):
        if not os.path.isdir(f"{scratch}/{folder}"):  # noqa: PTH112
            os.makedirs(f"{scratch}/{folder}", _MODE)  # noqa: PTH103
    with contextlib.suppress(KeyError, AttributeError):
        data: Any = sys.modules["flytekit.core.data_persistence"]
        data.flyte_tmp_dir = f"{scratch}/{ROOT}"
        access = data.default_local_file_access_provider
        access._local_sandbox_dir = Path(scratch, _SANDBOX)
        access._raw_output_prefix = f"{scratch}/{ROOT}/raw/"
        _give_first(access, "get_random_local_directory", f"{scratch}/{_WORKSPACE}")
        entrypoint: Any = sys.modules["flytekit.bin.entrypoint"]
        assert entrypoint.tempfile
        entrypoint.tempfile = _Tempfile(f"{scratch}/{_ACCESS}")


def _give_first(provider: Any, name: str, folder: str) -> None:
    """Have the provider's method return `folder` once: to the SDK's entry point, which makes the user's workspace."""
    assert callable(getattr(type(provider), name))

    def give() -> str:
        del provider.__dict__[name]
        return folder

    provider.__dict__[name] = give


def empty(scratch: str, *, others: bool) -> None:
    """Remove what the SDK's folders in `scratch` hold, with `others` also what is beside them; OSError if not all.

    The folders themselves stay, for the next attempt.
    """
    _empty(scratch, "", others=others)


def _empty(folder: str, below: str, *, others: bool) -> None:
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name = f"{below}{entry.name}"
        if name in _KEPT:
            if not entry.is_dir(follow_symlinks=False) or not _is_ours(entry):
                raise PermissionError(f"the SDK's folder {entry.path} was changed")
            _empty(entry.path, f"{name}/", others=True)
        elif not others:
            continue
        elif entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108


def _is_ours(entry: os.DirEntry[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    return status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) & _MODE == _MODE
