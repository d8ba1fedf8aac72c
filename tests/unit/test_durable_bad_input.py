"""What a durable kernel refuses leaves its folder as it was: nothing is written that could not be applied."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flyte_kernel import DurableKernel, EventKind, Graph
from flyte_kernel.errors import GraphError, InvalidArgumentError, KernelError, StateError

LINE = Graph.from_edges(2, np.array([0], np.uint32), np.array([1], np.uint32))
NAMES = ("kind", "run", "node", "attempt", "element", "argument")
DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)


def columns(rows: int = 1) -> dict[str, Any]:
    """Return the columns of a run that is created, or of several."""
    zeros = {name: np.zeros(rows, dtype) for name, dtype in zip(NAMES, DTYPES, strict=True)}
    return {**zeros, "kind": np.full(rows, int(EventKind.RUN_CREATED), np.uint8)}


def shape_of(changed: str, change: Callable[[Any], Any]) -> dict[str, Any]:
    given = columns(2)
    return {**given, changed: change(given[changed])}


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another dtype": lambda column: column.astype(np.float32),
    "another byte order": lambda column: column.astype(column.dtype.newbyteorder(">")) if column.itemsize > 1 else [1],
    "two dimensions": lambda column: column.reshape(1, 2),
    "a list": list,
    "nothing": lambda _: None,
    "strides": lambda column: np.repeat(column, 2)[::2],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", CHANGES)
def test_columns_are_looked_at_before_they_are_written(tmp_path: Path, name: str, change: str) -> None:
    refused(tmp_path, lambda kernel: kernel.step(0, **shape_of(name, CHANGES[change])), GraphError, name)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_columns_of_another_length_are_not_written(tmp_path: Path, name: str, rows: int) -> None:
    given = {**columns(2), name: columns(rows)[name]}
    refused(tmp_path, lambda kernel: kernel.step(0, **given), GraphError, f"{name} has {rows} rows, expected 2")


@pytest.mark.parametrize("now", [2**63, -(2**63) - 1, 1.5, None])
def test_times_that_are_none_are_not_written(tmp_path: Path, now: Any) -> None:
    refused(tmp_path, lambda kernel: kernel.step(now, **columns()), InvalidArgumentError, f"not {now}")


def test_notes_and_graphs_that_are_none_are_not_written(tmp_path: Path) -> None:
    text: Any = "text"
    refused(tmp_path, lambda kernel: kernel.step(0, **columns(), note=text), InvalidArgumentError, "bytes, not a str")
    refused(tmp_path, lambda kernel: kernel.add_graph(text), InvalidArgumentError, "a Graph, not a str")


def refused(folder: Path, call: Callable[[DurableKernel], object], error: type[KernelError], words: str) -> None:
    """A call is refused, the next one is taken, and both are so after the folder is opened again."""
    with DurableKernel(folder) as kernel:
        kernel.add_graph(LINE)
        with pytest.raises(error, match=words):
            call(kernel)
        created = columns()
        created["run"][:] = before = kernel.kernel.run_count
        assert kernel.step(1, **created).refused_event.size == 0
    with DurableKernel(folder) as kernel:
        assert kernel.kernel.run_count == before + 1


def test_a_fork_must_not_write(tmp_path: Path) -> None:
    with DurableKernel(tmp_path) as kernel:
        child = os.fork()
        if child == 0:
            try:
                kernel.add_graph(LINE)
            except StateError as error:
                os._exit(3 if f"opened by process {os.getppid()}" in str(error) else 4)
            os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        assert kernel.add_graph(LINE) == 0
    with DurableKernel(tmp_path) as kernel:
        assert kernel.add_graph(LINE) == 1
