"""Folders that an attempt left fit for another: its copy of the code if it is untouched, its scratch emptied.

Making and removing them costs a dozen system calls a file, and file systems slow down where many files were removed.
The process of an attempt says at its end which of them are fit, by renaming them; its zygote moves them to the next
attempt.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from . import sdk_folders
from .attempt import Attempt
from .code_copies import copy_folder, is_untouched

__all__ = ["Spares", "leave", "make_folders"]

_SPARES_MAX = 64
_SCRATCH = ""  # in the place of the code that a copy is of
_FIT = {"work": "work.fit", "tmp": "tmp.fit"}


class Spares:
    """The zygote's side: folders for attempts to come, kept in `folder`, by the code they are a copy of."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: dict[str, list[str]] = {}
        self._number = 0

    def collect(self, attempt: Attempt) -> None:
        """Take what an attempt that has ended left fit."""
        self._keep(attempt.code, attempt.folder / _FIT["work"])
        self._keep(_SCRATCH, attempt.folder / _FIT["tmp"])

    def furnish(self, attempt: Attempt) -> None:
        """Give an attempt that is about to be forked what there is for it."""
        attempt.has_copy = bool(attempt.code) and self._give(attempt.code, attempt.folder / "work")
        attempt.has_scratch = attempt.uses_sdk and self._give(_SCRATCH, attempt.folder / "tmp")

    def _keep(self, code: str, folder: Path) -> None:
        """Take a folder, if it is there; one too many is removed."""
        self._number += 1
        kept = f"{self._folder}/spare-{self._number}"
        with contextlib.suppress(OSError):
            os.rename(folder, kept)  # noqa: PTH104
            self._kept.setdefault(code, []).append(kept)
        if sum(map(len, self._kept.values())) > _SPARES_MAX:
            oldest = next(iter(self._kept))  # of the code that was asked for longest ago
            shutil.rmtree(self._kept[oldest].pop(0), ignore_errors=True)
            if not self._kept[oldest]:
                del self._kept[oldest]

    def _give(self, code: str, target: Path) -> bool:
        """Move a folder to `target`; False if there is none, or something is there already."""
        kept = self._kept.pop(code, [])
        if not kept:
            return False
        spare = kept.pop()
        if kept:
            self._kept[code] = kept
        try:
            os.rename(spare, target)  # noqa: PTH104
        except OSError:
            shutil.rmtree(spare, ignore_errors=True)
            return False
        return True


def make_folders(attempt: Attempt) -> None:
    """Make those of an attempt's folders that it was not given, in place of what an earlier try left there."""
    work, scratch = attempt.folder / "work", attempt.folder / "tmp"
    if not attempt.has_scratch:
        _remove(scratch)
        os.mkdir(scratch)  # noqa: PTH102
    if attempt.has_copy:
        return
    _remove(work)
    if attempt.code:
        copy_folder(attempt.code, str(work))
    else:
        os.mkdir(work)  # noqa: PTH102


def leave(attempt: Attempt) -> None:
    """At the end of an attempt that has succeeded: say which of its folders are fit for another, remove the others."""
    work, scratch = attempt.folder / "work", attempt.folder / "tmp"
    with contextlib.suppress(OSError):
        if not attempt.shares_folder:
            sdk_folders.empty(str(scratch), others=True)
            os.rename(scratch, attempt.folder / _FIT["tmp"])  # noqa: PTH104
    with contextlib.suppress(OSError):
        if attempt.code and not attempt.shares_folder and is_untouched(attempt.code, str(work), attempt.began_ns):
            os.rename(work, attempt.folder / _FIT["work"])  # noqa: PTH104
    _remove(work)
    _remove(scratch)


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
