"""A kernel with a journal folder: every step is durable before its effects are seen; opening the folder continues."""

# Callers may not use a type checker.
# pyright: reportUnnecessaryIsInstance=false

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from flyte_kernel._core import Graph, Journal, Kernel, Turn
from flyte_kernel.errors import CorruptRecordError, GraphError, InvalidArgumentError, StateError

__all__ = ["DurableKernel"]

_HEAD = struct.Struct("<cqII")  # what it is, now, events, bytes of the note
_GRAPH, _STEP = b"G", b"S"
_NAMES = ("kind", "run", "node", "attempt", "element", "argument")
_DTYPES = (np.uint8, np.uint32, np.uint32, np.uint32, np.uint32, np.int64)
_TIME_MAX = 2**63 - 1
_SNAPSHOT_BYTES = 64 * 1024 * 1024


class DurableKernel:
    """A Kernel whose graphs and steps are written to a folder first; a context manager.

    `kernel` answers questions and must not be stepped by itself. One process at a time may open a folder
    (FolderLockedError). Effects that were seen before a crash are not given again: after opening, `kernel.phases` says
    which nodes are QUEUED or RUNNING, and whoever obeys effects asks the outside what became of them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        system_attempts_extra: int = 3,
        snapshot_bytes: int | None = _SNAPSHOT_BYTES,
        on_note: Callable[[bytes], object] | None = None,
    ) -> None:
        """Open or create a folder and replay what is in it.

        A snapshot is written after every `snapshot_bytes` of journal, None for never. `on_note` is called with the
        notes of the steps that are replayed, in order: a snapshot keeps none of those before it.
        """
        self._journal = Journal.open(os.fspath(folder))
        self._snapshot_bytes = snapshot_bytes
        self._bytes = 0
        self._is_closed = False
        self._process = os.getpid()
        try:
            self.kernel: Kernel = self._recover(system_attempts_extra, on_note)
        except BaseException:
            self._journal.close()
            raise

    def _recover(self, system_attempts_extra: int, on_note: Callable[[bytes], object] | None) -> Kernel:
        snapshot = self._journal.load_snapshot()
        after = 0
        kernel = Kernel(system_attempts_extra=system_attempts_extra, record_transitions=False)
        if snapshot is not None:
            after, kernel = snapshot[0], Kernel.restore(snapshot[1])
        for sequence, payload in self._journal.replay(after):
            try:
                note = _replay(kernel, payload)
            except (struct.error, ValueError, pickle.UnpicklingError) as error:
                raise CorruptRecordError(f"record {sequence} cannot be read: {error}") from error
            self._bytes += len(payload)
            if note and on_note is not None:
                on_note(note)
        return kernel

    def add_graph(self, graph: Graph) -> int:
        """Add a graph that runs may name; return its index."""
        if not isinstance(graph, Graph):
            raise InvalidArgumentError(f"graph must be a Graph, not a {type(graph).__name__}")
        columns = pickle.dumps(graph, protocol=5)
        self._write(_HEAD.pack(_GRAPH, 0, 0, len(columns)) + columns)
        return self.kernel.add_graph(graph)

    def step(
        self,
        now: int,
        kind: NDArray[np.uint8],
        run: NDArray[np.uint32],
        node: NDArray[np.uint32],
        attempt: NDArray[np.uint32],
        element: NDArray[np.uint32],
        argument: NDArray[np.int64],
        *,
        note: bytes = b"",
    ) -> Turn:
        """Make events, and a note beside them, durable, then apply them; see Kernel.step.

        StorageFullError means that nothing was written and nothing applied, and so do the errors about arguments.
        """
        columns = (kind, run, node, attempt, element, argument)
        _check_step(now, columns, note)
        body = b"".join(column.tobytes() for column in columns)
        self._write(_HEAD.pack(_STEP, now, len(kind), len(note)) + body + note)
        turn = self.kernel.step(now, kind, run, node, attempt, element, argument)
        if self._snapshot_bytes is not None and self._bytes >= self._snapshot_bytes:
            self.write_snapshot()
        return turn

    def write_snapshot(self) -> None:
        """Keep the kernel as it is, so that the next start replays only what follows."""
        self._journal.write_snapshot(self._journal.last_sequence, self.kernel.snapshot())
        self._bytes = 0

    def _write(self, payload: bytes) -> None:
        if self._is_closed:
            raise StateError("the kernel's folder is closed: open it again")
        if os.getpid() != self._process:
            raise StateError(
                f"the folder was opened by process {self._process}, of which this is a fork: two must not write to it"
            )
        try:
            self._journal.append(payload)
            self._journal.commit()
        except BaseException:
            self._journal.rollback()
            raise
        self._bytes += len(payload)

    def close(self) -> None:
        """Release the folder."""
        if not self._is_closed:
            self._is_closed = True
            self._journal.close()

    def __enter__(self) -> DurableKernel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_step(now: int, columns: Sequence[NDArray[Any]], note: bytes) -> None:
    """Refuse what the kernel would refuse, before it is written: a record that is there is applied."""
    if not isinstance(now, (int, np.integer)) or not -_TIME_MAX - 1 <= now <= _TIME_MAX:
        raise InvalidArgumentError(f"now must be a whole number of nanoseconds of 64 bits, not {now!r}")
    if not isinstance(note, bytes):
        raise InvalidArgumentError(f"note must be bytes, not a {type(note).__name__}")
    for name, column, dtype in zip(_NAMES, columns, _DTYPES, strict=True):
        if not (isinstance(column, np.ndarray) and column.ndim == 1 and column.dtype == dtype):
            raise GraphError(f"{name} must be a 1-d array of {np.dtype(dtype)}, not {_described(column)}")
        if not column.flags.c_contiguous:
            raise GraphError(f"{name} must be contiguous (numpy.ascontiguousarray)")
        if len(column) != len(columns[0]):
            raise GraphError(f"column {name} has {len(column)} rows, expected {len(columns[0])}")


def _described(value: Any) -> str:
    if isinstance(value, np.ndarray):
        array = cast(NDArray[Any], value)
        return f"an array of {array.dtype} and shape {array.shape}"
    return f"a {type(value)}"


def _replay(kernel: Kernel, payload: bytes) -> bytes:
    """Apply one record; return its note."""
    what, now, events, note_bytes = _HEAD.unpack_from(payload)
    place = _HEAD.size
    if what == _GRAPH:
        kernel.add_graph(pickle.loads(payload[place : place + note_bytes]))  # our own folder
        return b""
    if what != _STEP:
        raise ValueError(f"a record of kind {what!r}")
    columns: list[NDArray[Any]] = []
    for dtype in _DTYPES:
        columns.append(np.array(np.frombuffer(payload, dtype, events, place)))  # aligned
        place += events * np.dtype(dtype).itemsize
    kernel.step(now, *columns)
    return payload[place : place + note_bytes]
