"""Has the SDK bring an attempt's inputs and outputs from and to local folders by links, moves and plain copies.

Without a file system object and an event loop, that is, and with no file made that is removed soon after. What is not a
plain local file, or a folder of plain files, is left to the SDK, and so is every error.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
from typing import Any

from .known import expect

__all__ = ["take"]

_INPUTS = "inputs.pb"


def take() -> None:
    """Have the SDK's provider of files do without; TypeError if a function is not what it was."""
    module: Any = importlib.import_module("flytekit.core.data_persistence")
    manager: Any = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    provider: Any = module.FileAccessProvider
    get_data, put_data = provider.get_data, provider.put_data
    expect(get_data, "self", "remote_path", "local_path", "is_multipart", "kwargs")
    expect(put_data, "self", "local_path", "remote_path", "is_multipart", "kwargs")

    def get(self: Any, remote_path: str, local_path: str, is_multipart: bool = False, **kwargs: Any) -> Any:
        if not (is_multipart or kwargs) and _are_local(remote_path, local_path) and os.path.isfile(remote_path):  # noqa: PTH113
            with contextlib.suppress(OSError), module.timeit(f"Download data to local from {remote_path}"):
                folder, name = os.path.split(local_path)
                os.makedirs(folder, exist_ok=True)  # noqa: PTH103
                # Only the SDK itself has to do with its copy of the inputs, which it reads.
                is_own = name == _INPUTS and folder == os.fspath(manager.current_context().execution_state.working_dir)
                (_link if is_own else shutil.copyfile)(remote_path, local_path)
                return None
        return get_data(self, remote_path, local_path, is_multipart, **kwargs)

    def put(self: Any, local_path: Any, remote_path: str, is_multipart: bool = False, **kwargs: Any) -> Any:
        source = str(local_path)
        if is_multipart and not kwargs and _are_local(source, remote_path) and _is_flat(source):
            # The SDK has no further use for what is in its own folder of results.
            is_own = source == os.fspath(manager.current_context().execution_state.engine_dir)
            with contextlib.suppress(OSError), module.timeit(f"Upload data to {remote_path}"):
                (_move if is_own else _copy)(source, remote_path)
                return remote_path
        return put_data(self, local_path, remote_path, is_multipart, **kwargs)

    provider.get_data, provider.put_data = get, put


def _are_local(*paths: object) -> bool:
    return all(isinstance(path, str) and path.startswith("/") for path in paths)


def _is_flat(folder: str) -> bool:
    """Say whether a folder holds plain files only."""
    try:
        with os.scandir(folder) as entries:
            return all(entry.is_file(follow_symlinks=False) for entry in entries)
    except OSError:
        return False


def _link(source: str, target: str) -> None:
    """Give a file another name; copy it if that cannot be.

    What has that name is removed, not written to: it may be another name of a file that others read.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)  # noqa: PTH108
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _copy(folder: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    for name in os.listdir(folder):  # noqa: PTH208
        shutil.copyfile(f"{folder}/{name}", f"{target}/{name}")


def _move(folder: str, target: str) -> None:
    """Move the files of a folder; those on another file system are copied."""
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    for name in os.listdir(folder):  # noqa: PTH208
        try:
            os.rename(f"{folder}/{name}", f"{target}/{name}")  # noqa: PTH104
        except OSError:
            shutil.copyfile(f"{folder}/{name}", f"{target}/{name}")
