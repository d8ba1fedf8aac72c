"""Blobs as files: whole reads and atomic writes, with the filesystem's errors as ours."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from pathlib import Path

from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.errors import AdapterError, StorageFullError

__all__ = ["exists_file", "read_file", "write_file"]

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_FULL = (errno.ENOSPC, errno.EDQUOT)

_PLACE_TRIES = 16
"""How often a folder is made again that somebody removed because it was empty."""

_counter = itertools.count()


def read_file(path: Path, uri: str) -> bytes:
    """Return the content; BlobNotFoundError names the URI."""
    try:
        return path.read_bytes()
    except _ABSENT:
        raise BlobNotFoundError(uri) from None
    except OSError as error:
        raise _failed(uri, error) from error


def exists_file(path: Path, uri: str) -> bool:
    """Say whether there is a file of this name; a folder is none."""
    try:
        return path.is_file()
    except OSError as error:
        raise _failed(uri, error) from error


def write_file(path: Path, data: bytes, uri: str, *, staging: Path, sync: bool) -> None:
    """Put a file in place by renaming one from `staging`, which must be on the same filesystem.

    `sync` waits until the content is on the disk. Raises StorageFullError or AdapterError; nothing is left then.
    """
    staged = staging / f"{os.getpid()}-py-{next(_counter)}"
    try:
        try:
            _write(staged, data, sync=sync)
            _place(staged, path)
        except BaseException:
            with contextlib.suppress(OSError):
                staged.unlink()
            raise
    except OSError as error:
        raise _failed(uri, error) from error


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    try:
        file = path.open("wb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    with file:
        file.write(data)
        if sync:
            file.flush()
            os.fdatasync(file.fileno())


def _place(staged: Path, path: Path) -> None:
    for _ in range(_PLACE_TRIES):
        # Made only when missing: most blobs go into a folder that is there.
        with contextlib.suppress(FileNotFoundError):
            staged.replace(path)
            return
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(path)


def _failed(uri: str, error: OSError) -> AdapterError | StorageFullError:
    if error.errno in _FULL:
        return StorageFullError(f"no space is left for the blob {uri}: {error.strerror}")
    return AdapterError(f"the blob {uri} cannot be used: {error}", retryable=not isinstance(error, PermissionError))
