"""Processes that call functions: what one of them takes with it when it dies is called again, all but the culprit.

A `concurrent.futures.ProcessPoolExecutor` is of no use any more once one of its processes has died, and does not know
which call that was: all that were under way are lost. Here they are made again one by one, in a process of their own.
The one whose process dies then too is to blame for it; the others have their results, at the price of a second call.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import select
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any

from flyte_kernel.errors import WorkerDiedError

__all__ = ["ProcessExecutor", "portable"]


class _Call(Future[Any]):
    """A call from its submission to its end, whichever processes take part; `inner` is the attempt at it."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        super().__init__()
        self.work = (function, arguments, named)
        self.inner: Future[bytes] | None = None

    def cancel(self) -> bool:
        """Cancel the call unless it has begun."""
        return self.inner is not None and self.inner.cancel()

    def give_up(self) -> None:
        """Let it be cancelled although it had begun."""
        super().cancel()
        self.set_running_or_notify_cancel()

    def settle(self, inner: Future[bytes]) -> None:
        """Have the result of an attempt."""
        error = inner.exception()
        if error is not None:
            self.set_exception(error)
            return
        try:
            result = pickle.loads(inner.result())  # what our own process has pickled
        except Exception as unreadable:
            self.set_exception(unreadable)
        else:
            self.set_result(result)


class ProcessExecutor(Executor):
    """A pool of `workers` processes that outlives them; a call that ends its process has a WorkerDiedError."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._pool = _started(workers)
        self._is_closed = False
        self._lane = ThreadPoolExecutor(1, thread_name_prefix="flyte-kernel-suspects")
        self._alone: ProcessPoolExecutor | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function in one of the processes; both must be what pickle takes."""
        call = _Call(fn, args, kwargs)
        while True:
            pool = self._pool
            try:
                call.inner = pool.submit(_called, *call.work)
                break
            except BrokenProcessPool:
                self._replace(pool)
        call.inner.add_done_callback(partial(self._on_done, call, pool))
        return call

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes once they have made the calls that are left, or those that have begun if told so."""
        with self._lock:
            self._is_closed = True
        self._pool.shutdown(wait, cancel_futures=cancel_futures)
        self._lane.shutdown(wait, cancel_futures=cancel_futures)
        if self._alone is not None:
            self._alone.shutdown(wait)

    def _on_done(self, call: _Call, pool: ProcessPoolExecutor, inner: Future[bytes]) -> None:
        if inner.cancelled():
            call.give_up()
        elif _is_lost(inner, pool):
            try:
                self._replace(pool)
                again = self._lane.submit(self._call_alone, call)
            except RuntimeError:  # all is shut
                call.give_up()
            else:
                again.add_done_callback(lambda again: call.give_up() if again.cancelled() else None)
        else:
            call.settle(inner)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("no calls are taken after shutdown")
            if self._pool is broken:
                self._pool = _started(self._workers)

    def _call_alone(self, call: _Call) -> None:
        """On the lane's thread: make a call that was lost again, while no other is made in the same process."""
        while True:
            pool = self._alone = self._alone or _started(1)
            try:
                call.inner = pool.submit(_called, *call.work)
                break
            except BrokenProcessPool:  # while it had nothing to do
                self._alone = None
        wait([call.inner])
        if call.inner.cancelled():
            call.give_up()
            return
        if not _is_lost(call.inner, pool):
            call.settle(call.inner)
            return
        self._alone = None
        name = getattr(call.work[0], "__qualname__", None) or type(call.work[0]).__qualname__
        died = WorkerDiedError(
            f"the process that called {name} died, and so did the one that called it alone: code that crashes, or a "
            f"lack of memory, is the usual reason ({call.inner.exception()})"
        )
        died.__cause__ = call.inner.exception()
        call.set_exception(died)


_forking = threading.Lock()


def _started(workers: int) -> ProcessPoolExecutor:
    """Return a pool whose processes have been forked.

    One thread at a time: a process forked beside another holds the pipe open by whose end that one's death is seen.
    """
    with _forking:
        pool = ProcessPoolExecutor(workers, initializer=_end_with, initargs=(os.getpid(),))
        pool.submit(int)
    return pool


def _end_with(parent: int) -> None:
    """In the other process: end when the one that called has, however that was, and with it whatever is being done."""
    try:
        watched: int | None = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(1)
    except (AttributeError, OSError):  # not this machine's
        watched = None
    threading.Thread(target=_end_after, args=(watched,), name="flyte-kernel-parent", daemon=True).start()


def _end_after(watched: int | None) -> None:
    if watched is not None:
        poll = select.poll()  # select knows no descriptors from 1024 on
        poll.register(watched, select.POLLIN)
        poll.poll()
    elif (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    else:
        return
    os._exit(1)


def _is_lost(inner: Future[bytes], pool: ProcessPoolExecutor) -> bool:
    """Say whether a call ended with its pool; functions may raise the same error for a pool of their own."""
    if not isinstance(inner.exception(), BrokenProcessPool):
        return False
    try:
        pool.submit(int)
    except (BrokenProcessPool, RuntimeError):
        return True
    return False


def _called(function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> bytes:
    """In the other process: return the result as bytes, since a pool breaks of what it cannot unpickle."""
    try:
        return pickle.dumps(function(*arguments, **named), protocol=5)
    except BaseException as error:
        told = portable(error)
        if told is error:
            raise
        told.__traceback__ = error.__traceback__
    # Not within the block above: there it would have a context, which tblib, and so Dask, teaches pickle to take along.
    raise told


def portable(error: BaseException) -> BaseException:
    """Return an error, or its words if it holds what cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))  # just written
    except Exception:
        return RuntimeError(repr(error))
    return error
