"""The thread that brings appended rows to the file, and never gives up.

Rows wait in memory until a flush is due, asked for, or possible again. A failed flush is retried with growing pauses:
what it would write is derived from the journal, so nothing is lost while it waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.views import TurnRows
from flyte_kernel.errors import StorageError
from flyte_kernel.ids import ExecutionId
from flyte_kernel.store.batches import Batch

__all__ = ["Writer"]

logger = logging.getLogger(__name__)

_RETRY_S = 0.1
_RETRY_MAX_S = 30.0


class Writer:
    """Collects rows and calls `write(batch)` on its own thread; safe to use from any thread.

    `write` must make a batch durable in whole or raise.
    """

    def __init__(
        self, write: Callable[[Batch], None], *, sequence: int, interval_s: float = 0.2, batch_rows: int = 10_000
    ) -> None:
        self._write = write
        self._interval_s = interval_s
        self._batch_rows = batch_rows
        self._durable = self._appended = sequence
        self._pending = Batch(sequence)
        self._writing: Batch | None = None
        self._due_at: float | None = None
        self._wanted = 0  # flushes asked for, and those that were answered by success or failure
        self._answered = 0
        self._failure: StorageError | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="views-writer", daemon=True)
        self._thread.start()

    @property
    def sequence(self) -> int:
        """The sequence that is durable."""
        return self._durable

    @property
    def failure(self) -> StorageError | None:
        """Why the latest flush failed, None if it did not."""
        return self._failure

    def append(self, sequence: int, rows: TurnRows) -> None:
        """Queue the rows of a turn; a turn that was seen before is ignored."""
        with self._changed:
            if sequence <= self._appended:
                return
            self._appended = sequence
            had_rows = self._pending.row_count
            self._pending.add(sequence, rows)
            # A turn without rows has nothing to be late with: it is written with the next one that has.
            if self._pending.row_count and self._due_at is None:
                self._due_at = time.monotonic() + self._interval_s
                self._changed.notify_all()
            elif had_rows < self._batch_rows <= self._pending.row_count:
                self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything appended is durable; StorageError if an attempt to write it fails."""
        with self._changed:
            wanted = self._appended
            if self._durable >= wanted:
                return
            self._wanted += 1
            ticket = self._wanted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._durable >= wanted or self._answered >= ticket)
            if self._durable < wanted:
                assert self._failure is not None
                raise self._failure

    def waiting(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return a finished execution that is not durable yet."""
        with self._changed:
            record = self._pending.executions.get(id)
            if record is None and self._writing is not None:
                record = self._writing.executions.get(id)
            return record

    def close(self) -> None:
        """Try once more to write what is left, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._durable < self._appended:
            logger.warning("rows of turns %d to %d were not written: %s", self._durable, self._appended, self._failure)

    def _run(self) -> None:
        pause_s = _RETRY_S
        while True:
            with self._changed:
                while not self._has_work():
                    self._changed.wait(self._timeout())
                if self._durable >= self._appended:
                    self._answered = self._wanted
                    self._changed.notify_all()
                    if self._closing:
                        return
                    continue
                asked = self._wanted
                batch = self._writing = self._pending
                self._pending = Batch(batch.sequence)
                self._due_at = None
            failure = self._attempt(batch)
            with self._changed:
                self._settle(batch, failure, asked)
                if failure is None:
                    pause_s = _RETRY_S
                    continue
                if self._closing:
                    return
                self._due_at = time.monotonic() + pause_s
                pause_s = min(2 * pause_s, _RETRY_MAX_S)

    def _has_work(self) -> bool:
        if self._closing or self._wanted > self._answered:
            return True
        if self._due_at is None:
            return False
        # After a failure the pause is kept however many rows have come.
        is_full = self._failure is None and self._pending.row_count >= self._batch_rows
        return is_full or time.monotonic() >= self._due_at

    def _timeout(self) -> float | None:
        return None if self._due_at is None else max(0.0, self._due_at - time.monotonic())

    def _attempt(self, batch: Batch) -> StorageError | None:
        try:
            self._write(batch)
        except StorageError as error:
            return error
        except Exception as error:  # our bug; a dead thread would hide it for ever
            logger.exception("the views cannot be written")
            return StorageError(f"the views cannot be written: {type(error).__name__}: {error}")
        return None

    def _settle(self, batch: Batch, failure: StorageError | None, asked: int) -> None:
        self._writing = None
        if failure is None:
            self._durable = batch.sequence
        else:
            if self._failure is None:
                logger.warning("the views fall behind until they can be written again: %s", failure)
            batch.absorb(self._pending)
            self._pending = batch
        self._failure = failure
        self._answered = max(self._answered, asked)
        self._changed.notify_all()
