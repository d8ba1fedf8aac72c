"""Where functions run: in the caller's thread, in threads, in processes, in an event loop, or in anybody's pool."""

from __future__ import annotations

import asyncio
import os
import pickle
import threading
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import numpy as np

from flyte_kernel.errors import AdapterError, InvalidArgumentError
from flyte_kernel.process_pool import ProcessExecutor

__all__ = ["InlineExecutor", "broken_pool", "check_callable", "check_count", "check_errors", "check_portable", "opened"]


class InlineExecutor(Executor):
    """Calls functions at once, in the thread of the caller."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call the function; the future is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class LoopExecutor(Executor):
    """Runs coroutine functions in an event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flyte-kernel-asyncio", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the coroutine that the function makes; whatever it raises is its own, as in a thread."""
        future: Future[Any] = Future()

        async def awaited() -> tuple[Any, BaseException | None]:
            try:
                return await fn(*args, **kwargs), None
            except (KeyboardInterrupt, SystemExit) as error:
                return None, error  # raised, it would end the loop and with it all other calls

        def settle(ended: Future[tuple[Any, BaseException | None]]) -> None:
            if ended.cancelled():
                future.cancel()
            if not future.set_running_or_notify_cancel():
                return
            result, error = (None, ended.exception()) if ended.exception() else ended.result()
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        task = asyncio.run_coroutine_threadsafe(awaited(), self._loop)
        future.add_done_callback(lambda future: task.cancel() if future.cancelled() else None)
        task.add_done_callback(settle)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the loop, and with it whatever still runs there if `cancel_futures`."""
        if cancel_futures:
            asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        if wait:
            self._thread.join()
            self._loop.close()

    async def _cancel_all(self) -> None:
        """Cancel all others and wait until they have cleaned up behind themselves."""
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


_COROUTINES_MAX = 1024

_KINDS: dict[str, Callable[[int], Executor]] = {
    "inline": lambda _: InlineExecutor(),
    "threads": lambda workers: ThreadPoolExecutor(workers, thread_name_prefix="flyte-kernel"),
    "processes": ProcessExecutor,
    "asyncio": lambda _: LoopExecutor(),
}


def _at_once(executor: str, workers: int | None, count: int) -> int:
    if executor == "asyncio":
        return workers or _COROUTINES_MAX
    return 1 if executor == "inline" else count


def check_count(name: str, value: object) -> None:
    """Raise InvalidArgumentError for what is no whole number from 1 on."""
    if not isinstance(value, (int, np.integer)):
        raise InvalidArgumentError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise InvalidArgumentError(f"{name} must be at least 1, not {value}")


def check_errors(name: str, value: object) -> None:
    """Raise InvalidArgumentError for what an except clause would not take."""
    kinds = cast(tuple[object, ...], value) if isinstance(value, tuple) else (value,)
    if not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
        raise InvalidArgumentError(f"{name} must be a type of exceptions or a tuple of them, not {value!r}")


def check_callable(function: object) -> None:
    """Raise InvalidArgumentError for what is no function: it is the caller's mistake, not a failure of each item."""
    if not callable(function):
        raise InvalidArgumentError(f"function must be callable, not {function!r}")


def check_portable(executor: str | Executor, function: Callable[..., Any]) -> None:
    """Raise InvalidArgumentError for a function that cannot get into another process; pools know what they take."""
    check_callable(function)
    if executor != "processes":
        return
    try:
        pickle.dumps(function)
    except Exception as error:
        raise InvalidArgumentError(
            f"{function!r} cannot be sent to another process ({error}): define it at the top of a module, "
            'or use executor="threads"'
        ) from error


def broken_pool(error: BrokenExecutor) -> AdapterError:
    """Return what is said of a pool of the caller's own that broke."""
    return AdapterError(f"the pool is broken and takes no more calls: {error}", retryable=True)


@contextmanager
def opened(
    executor: str | Executor, workers: int | None, *, calls_a_worker: int = 1
) -> Generator[tuple[Executor, int], None, None]:
    """Give an executor and how many calls it is worth having out at once; one of the caller's own stays open.

    With more than one of the `calls_a_worker` none waits for this thread, but some have been handed out that wait.

    An exception, Ctrl-C among them, cancels what has not begun and waits for what has.
    """
    if workers is not None:
        check_count("workers", workers)
    count = workers or os.cpu_count() or 1
    if isinstance(executor, Executor):
        yield executor, count
        return
    if executor not in _KINDS:
        raise InvalidArgumentError(f"executor must be one of {', '.join(_KINDS)} or a pool, not {executor!r}")
    pool = _KINDS[executor](count)
    try:
        yield pool, _at_once(executor, workers, count * calls_a_worker)
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)
