"""Copies of registered code for attempts to run in.

A copy, not links: what user code writes beside its modules must not reach other attempts.
"""

from __future__ import annotations

import os
import shutil

__all__ = ["copy_folder", "is_untouched"]


def copy_folder(source: str, target: str) -> None:
    """Copy a folder with modes and times, which bytecode depends on; shutil.copytree takes three times as long."""
    os.mkdir(target)  # noqa: PTH102
    with os.scandir(source) as entries:
        for entry in entries:
            copied = f"{target}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), copied)  # noqa: PTH115, PTH211
            elif entry.is_dir():
                copy_folder(entry.path, copied)
            else:
                shutil.copyfile(entry.path, copied)
                status = entry.stat()
                os.chmod(copied, status.st_mode & 0o7777)  # noqa: PTH101
                os.utime(copied, ns=(status.st_atime_ns, status.st_mtime_ns))


def is_untouched(source: str, copy: str, since_ns: int) -> bool:
    """Say whether a copy is what `copy_folder` made of `source` and no file in it has changed after `since_ns`.

    The time of the last change of a file's or folder's content or attributes (ctime) is the kernel's and cannot be set.
    """
    if os.lstat(copy).st_ctime_ns > since_ns:
        return False
    with os.scandir(source) as entries:
        originals = {entry.name: entry for entry in entries}
    with os.scandir(copy) as entries:
        copies = {entry.name: entry for entry in entries}
    return originals.keys() == copies.keys() and all(
        _is_same(originals[name], copies[name], since_ns) for name in originals
    )


def _is_same(original: os.DirEntry[str], copy: os.DirEntry[str], since_ns: int) -> bool:
    if original.is_symlink() or copy.is_symlink():
        both = original.is_symlink() and copy.is_symlink()
        return both and os.readlink(original.path) == os.readlink(copy.path)  # noqa: PTH115
    if original.is_dir():
        return copy.is_dir(follow_symlinks=False) and is_untouched(original.path, copy.path, since_ns)
    ours, theirs = original.stat(), copy.stat(follow_symlinks=False)
    return (
        (ours.st_size, ours.st_mtime_ns, ours.st_mode) == (theirs.st_size, theirs.st_mtime_ns, theirs.st_mode)
        and theirs.st_ctime_ns <= since_ns
        and theirs.st_nlink == 1
    )
