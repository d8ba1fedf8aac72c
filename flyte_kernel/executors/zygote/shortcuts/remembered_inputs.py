"""Has the SDK read a map's inputs once in a process that runs many elements, of which each needs one value."""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

from .known import expect

__all__ = ["remember"]


def remember() -> None:
    """Have the SDK do so; TypeError if a function is not what it was."""
    utils: Any = importlib.import_module("flytekit.core.utils")
    load = utils.load_proto_from_file
    expect(load, "pb2_type", "path")
    known: dict[Any, tuple[tuple[int, ...], Any]] = {}

    @functools.wraps(load)
    def load_once(pb2_type: Any, path: str) -> Any:
        status = os.stat(path)  # noqa: PTH116
        # Another name of the same file, which its owner does not write to again.
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        if pb2_type not in known or known[pb2_type][0] != file:
            known[pb2_type] = file, load(pb2_type, path)
        return known[pb2_type][1]

    utils.load_proto_from_file = load_once
