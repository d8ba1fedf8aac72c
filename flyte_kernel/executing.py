"""`execute`: run a function for every node of a graph, in an order that the graph allows."""

from __future__ import annotations

import hashlib
import os
import pickle
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flyte_kernel._core import Graph, Journal, Run
from flyte_kernel.errors import AdapterError, CorruptRecordError, StateError
from flyte_kernel.phases import RunPhase
from flyte_kernel.pools import InlineExecutor, broken_pool, check_errors, check_portable, opened
from flyte_kernel.progress import Progress, progress_of

__all__ = ["Execution", "execute"]

_CALLS_A_WORKER = 3  # a guess: one that runs and two that wait


@dataclass
class Execution:
    """How a graph's nodes ended; a failed node is data, not an exception.

    `phases` has a phases.NodePhase for every node, `attempts` how often each was called (uint32). `results` are what
    the function returned, `errors` what it raised last, by node.
    """

    phase: RunPhase
    phases: NDArray[np.uint8]
    attempts: NDArray[np.uint32]
    results: dict[int, Any]
    errors: dict[int, BaseException]

    @property
    def succeeded(self) -> bool:
        """Whether every node that had to has succeeded."""
        return self.phase == RunPhase.SUCCEEDED

    def raise_for_failure(self) -> None:
        """Raise what the first node that failed for good has raised."""
        if not self.succeeded and self.errors:
            raise self.errors[min(self.errors)]


def execute(
    graph: Graph,
    function: Callable[..., Any],
    *,
    executor: str | Executor = "threads",
    workers: int | None = None,
    pass_results: bool = False,
    max_parallelism: int = 0,
    fails_late: bool = False,
    priority: NDArray[np.int64] | None = None,
    retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
    progress: Progress = False,
    folder: str | os.PathLike[str] | None = None,
) -> Execution:
    """Call `function(node)` for every node, each after those it waits for; return how all ended.

    `executor` is "inline", "threads", "processes", "asyncio" (`function` is a coroutine function then) or a
    concurrent.futures pool; `workers` how many calls run at once. With `pass_results` the function also gets a
    mapping of the results of the nodes that it waits for. Errors of type `retry_on` are tried again as often as the
    graph's attempts_max allows, others end the node. A call that ends its process has failed with a WorkerDiedError;
    others that were under way in that pool are made again and not counted. With a `folder` every end is durable before
    anything follows from it, results included (pickled); the same call continues where it was, StateError if the folder
    is another graph's. AdapterError tells of a pool of the caller's own that broke. Ctrl-C calls everything off and
    raises KeyboardInterrupt once what runs has ended.
    """
    check_portable(executor, function)
    check_errors("retry_on", retry_on)
    run = Run(graph, max_parallelism=max_parallelism, fails_late=fails_late, priority=priority)
    with (
        _Diary(folder, graph) as diary,
        opened(executor, workers, calls_a_worker=_CALLS_A_WORKER) as (
            pool,
            at_once,
        ),
    ):
        driver = _Driver(run, diary, function, pool, retry_on, upstream=_upstream(graph) if pass_results else None)
        try:
            driver.drive(at_once, progress_of(progress))
        except BaseException:
            run.abort()
            raise
    return driver.execution()


class _Driver:
    """Between a run and a pool; only the thread that called `execute` touches it."""

    def __init__(
        self,
        run: Run,
        diary: _Diary,
        function: Callable[..., Any],
        pool: Executor,
        retry_on: type[Exception] | tuple[type[Exception], ...],
        upstream: list[list[int]] | None,
    ) -> None:
        self._run = run
        self._diary = diary
        self._function = function
        self._pool = pool
        self._retry_on = retry_on
        self._upstream = upstream
        self._results: dict[int, Any] = {}
        self._errors: dict[int, BaseException] = {}
        self._calls = np.zeros(len(run.graph), np.uint32)
        self._out: dict[Future[Any], int] = {}
        self._ended: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()

    def drive(self, at_once: int, tell: Callable[[int, int], object]) -> None:
        if isinstance(self._pool, InlineExecutor):
            self._drive_inline(tell)
            return
        total = len(self._run.graph)
        while True:
            self._launch(at_once)
            if not self._out:
                break
            self._take(self._ended.get())
            while not self._ended.empty():
                self._take(self._ended.get())
            tell(len(self._results), total)

    def _drive_inline(self, tell: Callable[[int, int], object]) -> None:
        """Nothing is ever under way beside the call itself, so no future is needed."""
        total, run = len(self._run.graph), self._run
        known, results, calls = self._diary.results, self._results, self._calls
        while (node := run.take_one()) is not None:
            if node in known:
                results[node] = known[node]
                run.succeed(node)
                continue
            calls[node] += 1
            try:
                result = self._function(*self._arguments(node))
            except Exception as error:
                self._on_error(node, error)
            else:
                self._on_result(node, result)
            tell(len(results), total)

    def _launch(self, at_once: int) -> None:
        while len(self._out) < at_once:
            nodes = self._run.take(at_once - len(self._out)).tolist()
            if not nodes:
                return
            for node in nodes:
                if node in self._diary.results:
                    self._results[node] = self._diary.results[node]
                    self._run.succeed(node)
                else:
                    self._submit(node)

    def _submit(self, node: int) -> None:
        self._calls[node] += 1
        try:
            future = self._pool.submit(self._function, *self._arguments(node))
        except BrokenExecutor as error:
            raise broken_pool(error) from error
        self._out[future] = node
        future.add_done_callback(self._ended.put)

    def _arguments(self, node: int) -> tuple[Any, ...]:
        if self._upstream is None:
            return (node,)
        return node, {other: self._results[other] for other in self._upstream[node]}

    def _take(self, future: Future[Any]) -> None:
        node = self._out.pop(future)
        if future.cancelled() and node in self._run.cancelled():
            self._run.gone(node)
            return
        if future.cancelled():
            self._on_error(node, AdapterError("the pool cancelled the call: it was shut down", retryable=True))
            return
        error = future.exception()
        if error is None:
            self._on_result(node, future.result())
        else:
            self._on_error(node, error)

    def _on_result(self, node: int, result: Any) -> None:
        try:
            self._diary.write(node, result)
        except _NotKeptError as error:
            self._on_error(node, error.__cause__ or error, is_final=True)
            return
        self._results[node] = result
        self._errors.pop(node, None)
        self._run.succeed(node)

    def _on_error(self, node: int, error: BaseException, *, is_final: bool = False) -> None:
        self._errors[node] = error
        self._run.fail(node, recoverable=not is_final and isinstance(error, self._retry_on))
        called_off = set(self._run.cancelled().tolist())
        for future in [future for future, other in self._out.items() if other in called_off]:
            future.cancel()  # unless it runs already

    def execution(self) -> Execution:
        return Execution(
            RunPhase(self._run.phase), self._run.phases(), self._calls, dict(self._results), dict(self._errors)
        )


def _upstream(graph: Graph) -> list[list[int]]:
    upstream: list[list[int]] = [[] for _ in range(len(graph))]
    sources, targets = graph.edges()
    source: int
    target: int
    for source, target in zip(sources.tolist(), targets.tolist(), strict=True):
        upstream[target].append(source)
    return upstream


class _NotKeptError(Exception):
    """A result cannot be pickled; the cause says why."""


@dataclass
class _Diary:
    """The nodes that have succeeded, in a journal if there is a folder; `results` are those of earlier calls."""

    folder: str | os.PathLike[str] | None
    graph: Graph
    results: Mapping[int, Any] = field(default_factory=dict[int, Any])
    journal: Journal | None = None

    def __enter__(self) -> _Diary:
        if self.folder is None:
            return self
        digest = graph_digest(self.graph)
        self.journal = Journal.open(os.fspath(self.folder))
        found: dict[int, Any] = {}
        try:
            for sequence, payload in self.journal.replay(0):
                self._read(sequence, payload, digest, found)
            if self.journal.last_sequence == 0:
                self._append(digest)
        except BaseException:
            self.journal.close()
            raise
        self.results = MappingProxyType(found)
        return self

    def _read(self, sequence: int, payload: bytes, digest: bytes, found: dict[int, Any]) -> None:
        if sequence == 1:
            if payload != digest:
                raise StateError(f"the folder {self.folder} holds results of another graph: choose another folder")
            return
        try:
            node, result = pickle.loads(payload)  # our own folder
        except Exception as error:
            raise CorruptRecordError(f"record {sequence} of {self.folder} cannot be read: {error}") from error
        found[node] = result

    def write(self, node: int, result: Any) -> None:
        """Make a result durable; _NotKeptError if it cannot be pickled."""
        if self.journal is None:
            return
        try:
            payload = pickle.dumps((node, result), protocol=5)
        except Exception as error:
            raise _NotKeptError from error
        self._append(payload)

    def _append(self, payload: bytes) -> None:
        assert self.journal is not None
        self.journal.append(payload)
        self.journal.commit()

    def __exit__(self, *_: object) -> None:
        if self.journal is not None:
            self.journal.close()


def graph_digest(graph: Graph) -> bytes:
    """Return what tells a graph from others: nodes and edges."""
    digest = hashlib.sha256(b"execute %d " % len(graph))
    for column in graph.edges():
        digest.update(column.tobytes())
    return digest.digest()
