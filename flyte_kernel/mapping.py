"""`map`: a function over many items, with an outcome for each: a byte of phase and the result, never an object more."""

from __future__ import annotations

import builtins
import os
import pickle
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flyte_kernel._core import Journal
from flyte_kernel.errors import AdapterError, CorruptRecordError, InvalidArgumentError, StateError, WorkerDiedError
from flyte_kernel.phases import NodePhase
from flyte_kernel.pools import broken_pool, check_count, check_errors, check_portable, opened
from flyte_kernel.process_pool import portable
from flyte_kernel.progress import Progress, progress_of

__all__ = ["Mapped", "map"]

_CHUNK_S = 0.05  # how long a chunk should take: what a kill costs at most, and often enough to watch
_CHUNK_MAX = 16_384
_SUCCEEDED, _FAILED = int(NodePhase.SUCCEEDED), int(NodePhase.FAILED)


@dataclass
class Mapped:
    """How the items of a map ended; an item that failed is data, not an exception.

    `phases` has a phases.NodePhase for every item: SUCCEEDED, FAILED, or UNDEFINED for what was not tried any more.
    `results` are by item, None where there is none, or empty if they were not to be kept; `errors` are what the items
    that failed for good have raised last.
    """

    phases: NDArray[np.uint8]
    results: list[Any]
    errors: dict[int, BaseException]
    min_successes: int

    @property
    def succeeded(self) -> bool:
        """Whether enough items have succeeded."""
        return int((self.phases == _SUCCEEDED).sum()) >= self.min_successes

    def raise_for_failure(self) -> None:
        """Raise what the first item that failed has raised, if too many have."""
        if not self.succeeded and self.errors:
            raise self.errors[min(self.errors)]


class _Chunk(NamedTuple):
    """Items from `first` on that were tried: results in order, errors by place within the chunk."""

    first: int
    size: int
    results: list[Any] | bytes  # pickled where they had to travel
    errors: dict[int, BaseException]
    seconds: float


def map(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    executor: str | Executor = "inline",
    workers: int | None = None,
    attempts_max: int = 1,
    min_success_ratio: float | None = None,
    retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
    keep_results: bool = True,
    progress: Progress = False,
    folder: str | os.PathLike[str] | None = None,
) -> Mapped:
    """Call `function(item)` for every item and return each outcome.

    `executor` is "inline", "threads", "processes" or a concurrent.futures pool; items go there in chunks that take
    about 50 ms. An error of type `retry_on` is tried again until `attempts_max` calls have been made. The outcome of an
    item that ends its process is a WorkerDiedError; others that were under way in that pool are called again. Every
    item is called, unless there is a `min_success_ratio`: once fewer than that can succeed, nothing more is begun. With
    a `folder` the outcomes of each chunk are durable as soon as it has ended, results included (pickled, if they are
    kept): the same call with items of the same number continues behind them, whatever killed the one before.
    InvalidArgumentError names an argument that means nothing, StateError a folder of another map, AdapterError a pool
    that was shut down or broke.
    """
    if isinstance(items, Mapping) or not (hasattr(items, "__getitem__") and hasattr(items, "__len__")):
        raise InvalidArgumentError(f"items must be a sequence, a list for example, not a {type(items).__name__}")
    check_count("attempts_max", attempts_max)
    check_errors("retry_on", retry_on)
    if min_success_ratio is not None and not 0 <= min_success_ratio <= 1:
        raise InvalidArgumentError(f"min_success_ratio must be from 0 to 1, not {min_success_ratio}")
    if executor == "asyncio":
        raise InvalidArgumentError("map calls plain functions: for coroutine functions use execute")
    check_portable(executor, function)
    travels = executor not in ("inline", "threads")
    work = _Work(function, attempts_max, retry_on, keep_results, travels)
    outcome = _Outcome(len(items), min_success_ratio, keep_results)
    with _Diary(folder, outcome) as diary, opened(executor, workers) as (pool, at_once):
        _Drive(work, items, outcome, diary, pool).run(at_once, progress_of(progress))
    return outcome.mapped()


@dataclass(frozen=True)
class _Work:
    """What is done with a chunk, wherever that is."""

    function: Callable[[Any], Any]
    attempts_max: int
    retry_on: type[Exception] | tuple[type[Exception], ...]
    keep_results: bool
    travels: bool  # to another process and back

    def __call__(self, first: int, items: Sequence[Any]) -> _Chunk:
        began = time.perf_counter()
        results: list[Any] = []
        errors: dict[int, BaseException] = {}
        rest = iter(items)
        while True:
            try:
                # Extending by an iterator that raises keeps what came before: its length tells which item it was.
                results.extend(self._calls(rest))
                if len(results) >= len(items):
                    break
                error: Exception = StopIteration("the function raised StopIteration")  # which ends any iterator
            except Exception as raised:
                error = raised
            place = len(results)
            results.append(self._again(items[place], error, place, errors))
        size = len(results)
        kept = _packed(results, errors) if self.keep_results and self.travels else results if self.keep_results else []
        return _Chunk(first, size, kept, errors, time.perf_counter() - began)

    def _calls(self, items: Iterator[Any]) -> Iterator[Any]:
        return _builtin_map(self.function, items)

    def _again(self, item: Any, error: Exception, place: int, errors: dict[int, BaseException]) -> Any:
        for _ in range(self.attempts_max - 1):
            if not isinstance(error, self.retry_on):
                break
            try:
                return self.function(item)
            except Exception as later:
                error = later
        errors[place] = portable(error) if self.travels else error
        return None


_builtin_map = builtins.map


class _Outcome:
    """What is known so far."""

    def __init__(self, count: int, min_success_ratio: float | None, keep_results: bool) -> None:
        self.phases = np.zeros(count, np.uint8)
        self.results: list[Any] = [None] * count if keep_results else []
        self.errors: dict[int, BaseException] = {}
        self.min_successes = count if min_success_ratio is None else int(np.ceil(min_success_ratio * count))
        self._stops_early = min_success_ratio is not None
        self.done = 0

    def take(self, chunk: _Chunk) -> None:
        last = chunk.first + chunk.size
        self.phases[chunk.first : last] = _SUCCEEDED
        if self.results:
            packed = chunk.results
            self.results[chunk.first : last] = pickle.loads(packed) if isinstance(packed, bytes) else packed
        for place, error in chunk.errors.items():
            self.phases[chunk.first + place] = _FAILED
            self.errors[chunk.first + place] = error
        self.done += chunk.size

    @property
    def can_succeed(self) -> bool:
        return not self._stops_early or len(self.phases) - len(self.errors) >= self.min_successes

    def mapped(self) -> Mapped:
        return Mapped(self.phases, self.results, self.errors, self.min_successes)


class _Drive:
    """Hands chunks of items to a pool and takes their outcomes; only the thread that called `map` touches it."""

    def __init__(self, work: _Work, items: Sequence[Any], outcome: _Outcome, diary: _Diary, pool: Executor) -> None:
        self._work = work
        self._items = items
        self._outcome = outcome
        self._diary = diary
        self._pool = pool
        self._gaps = _gaps(outcome.phases)
        self._again: list[tuple[int, int]] = []  # parts of chunks that were lost
        self._deaths: dict[int, int] = {}  # by item, how often its process died
        self._out: dict[Future[_Chunk], tuple[int, int]] = {}
        self._ended: queue.SimpleQueue[Future[_Chunk]] = queue.SimpleQueue()
        self._size = 1

    def run(self, at_once: int, tell: Callable[[int, int], object]) -> None:
        """Work until nothing is left to do, or nothing can help any more."""
        while True:
            while len(self._out) < at_once and self._outcome.can_succeed and self._submit_next():
                pass
            if not self._out:
                return
            chunk = self._take(self._ended.get())
            if chunk is not None:
                self._outcome.take(self._diary.write(chunk))
                tell(self._outcome.done, len(self._items))

    def _submit_next(self) -> bool:
        first, count = self._again.pop() if self._again else self._gaps.take(self._size)
        if not count:
            return False
        try:
            future = self._pool.submit(self._work, first, _slice(self._items, first, count))
        except BrokenExecutor as error:
            raise broken_pool(error) from error
        self._out[future] = first, count
        future.add_done_callback(self._ended.put)
        return True

    def _take(self, future: Future[_Chunk]) -> _Chunk | None:
        """Return a chunk that has ended, None for one whose parts are to be tried again."""
        first, count = self._out.pop(future)
        if future.cancelled():
            raise AdapterError("the pool cancelled calls: it was shut down while the map went on", retryable=True)
        error = future.exception()
        if isinstance(error, WorkerDiedError):
            return self._on_death(first, count, error)
        if isinstance(error, BrokenExecutor):
            raise broken_pool(error) from error
        if isinstance(error, Exception):  # on the way: those of the function are outcomes
            raise _unsendable(self._items[first : first + count]) or error
        chunk = future.result()
        self._adapt(chunk)
        return chunk

    def _on_death(self, first: int, count: int, error: WorkerDiedError) -> _Chunk | None:
        """Close in on the item that ends its process: that one has used up an attempt, its neighbours have not."""
        if count > 1:
            half = count // 2
            self._again += [(first + half, count - half), (first, half)]
            return None
        self._deaths[first] = self._deaths.get(first, 0) + 1
        if self._deaths[first] < self._work.attempts_max and isinstance(error, self._work.retry_on):
            self._again.append((first, 1))
            return None
        return _Chunk(first, 1, [None], {0: error}, _CHUNK_S)

    def _adapt(self, chunk: _Chunk) -> None:
        """Let chunks grow and shrink to what takes the time that they should."""
        if chunk.seconds < _CHUNK_S / 2 and chunk.size >= self._size:
            self._size = min(2 * self._size, _CHUNK_MAX)
        elif chunk.seconds > 2 * _CHUNK_S:
            self._size = max(1, self._size // 2)


def _unsendable(items: Sequence[Any]) -> InvalidArgumentError | None:
    """Return what is said of the first item that cannot get into another process."""
    for item in items:
        try:
            pickle.dumps(item)
        except Exception as error:
            return InvalidArgumentError(f"{item!r} cannot be sent to another process: {error}")
    return None


def _slice(items: Sequence[Any], first: int, count: int) -> Sequence[Any]:
    found = items[first : first + count]
    if len(found) != count:
        raise InvalidArgumentError(
            f"items {first} to {first + count - 1} were asked for and {len(found)} came: items must not change while "
            "they are mapped, and slices of them must be whole"
        )
    return found


class _Gaps:
    """What is still to do, as stretches of items."""

    def __init__(self, stretches: Iterator[tuple[int, int]]) -> None:
        self._stretches = stretches
        self._first: int = 0
        self._last: int = 0

    def take(self, size: int) -> tuple[int, int]:
        """Return the next items, `size` at most, as first and count; count 0 if there are none."""
        if self._first == self._last:
            self._first, self._last = next(self._stretches, (0, 0))
        first = self._first
        count = min(size, self._last - first)
        self._first += count
        return first, count


def _gaps(phases: NDArray[np.uint8]) -> _Gaps:
    edges: list[int] = np.flatnonzero(np.diff(np.concatenate([[0], phases == 0, [0]]).astype(np.int8))).tolist()
    return _Gaps(zip(islice(edges, 0, None, 2), islice(edges, 1, None, 2), strict=True))


def _packed(results: list[Any], errors: dict[int, BaseException]) -> bytes:
    """Pickle results; one that cannot be is an error of its item, not of the whole chunk."""
    try:
        return pickle.dumps(results, protocol=5)
    except Exception:
        for place, result in enumerate(results):
            try:
                pickle.dumps(result, protocol=5)
            except Exception as error:
                errors[place], results[place] = portable(error), None
        return pickle.dumps(results, protocol=5)


def _pickled(chunk: _Chunk) -> tuple[bytes, _Chunk]:
    """Return a chunk's bytes and the chunk as it comes out of them: what cannot be kept is the error of its item."""
    try:
        return pickle.dumps(tuple(chunk), protocol=5), chunk
    except Exception:
        errors = {place: portable(error) for place, error in chunk.errors.items()}
        results = chunk.results if isinstance(chunk.results, bytes) else _packed(chunk.results, errors)
        kept = chunk._replace(results=results, errors=errors)
        return pickle.dumps(tuple(kept), protocol=5), kept


class _Diary:
    """The chunks that have ended, in a journal if there is a folder."""

    def __init__(self, folder: str | os.PathLike[str] | None, outcome: _Outcome) -> None:
        self._folder = folder
        self._outcome = outcome
        self._journal: Journal | None = None

    def __enter__(self) -> _Diary:
        if self._folder is None:
            return self
        self._journal = Journal.open(os.fspath(self._folder))
        head = b"map of %d" % len(self._outcome.phases)
        try:
            for sequence, payload in self._journal.replay(0):
                self._read(sequence, payload, head)
            if self._journal.last_sequence == 0:
                self._append(head)
        except BaseException:
            self._journal.close()
            raise
        return self

    def _read(self, sequence: int, payload: bytes, head: bytes) -> None:
        if sequence == 1:
            if payload != head:
                found = (
                    f"a {payload[:60].decode()} items"
                    if payload.startswith(b"map of ")
                    else "something other than a map"
                )
                raise StateError(
                    f"the folder {self._folder} holds {found}, not a {head.decode()} items: choose another folder"
                )
            return
        try:
            chunk = _Chunk(*pickle.loads(payload))  # our own folder
            self._outcome.take(chunk)
        except Exception as error:
            raise CorruptRecordError(f"record {sequence} of {self._folder} cannot be read: {error}") from error

    def write(self, chunk: _Chunk) -> _Chunk:
        """Make the outcomes of a chunk durable; return what was kept."""
        if self._journal is None:
            return chunk
        payload, kept = _pickled(chunk)
        self._append(payload)
        return kept

    def _append(self, payload: bytes) -> None:
        assert self._journal is not None
        self._journal.append(payload)
        self._journal.commit()

    def __exit__(self, *_: object) -> None:
        if self._journal is not None:
            self._journal.close()
