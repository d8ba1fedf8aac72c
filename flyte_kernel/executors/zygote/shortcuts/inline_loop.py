"""Has the SDK run its coroutines in the thread that waits for them, until one of them has to wait itself.

The SDK gives each thread an event loop in another thread. Most conversions of values never wait for anything, so that
the second thread, its selector and its pipe only cost. Here a loop begins without them. The first coroutine that waits
for a timer, a file descriptor or another thread makes the selector; from the end of that call on, and whenever there is
something to do for a loop that nobody runs, it has a thread of its own as the SDK meant it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import os
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from .known import expect

__all__ = ["InlineLoop", "inherit", "take"]


class _LateSelector:
    """Stands for a loop's selector until there is something to select from."""

    def __init__(self, open_selector: Callable[[], selectors.BaseSelector]) -> None:
        self._open_selector = open_selector

    def select(self, timeout: float | None = None) -> list[Any]:
        """Return nothing at once if that is what is asked for."""
        if timeout is not None and timeout <= 0:
            return []
        selector = self._open_selector()
        return selector.select(timeout)

    def close(self) -> None:
        """Nothing was opened."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._open_selector(), name)


class InlineLoop(asyncio.SelectorEventLoop):
    """A loop that whoever calls `begin` may run, and that is given a thread by `start_thread` once it must wait."""

    _selector: Any
    _ready: Any
    _scheduled: Any
    _ssock: Any
    _csock: Any

    def __init__(self, start_thread: Callable[[], None]) -> None:
        self._start_thread = start_thread
        self._state_lock = threading.Lock()
        self._runs_inline = False
        self._has_thread = False
        super().__init__(_LateSelector(self._open_selector))  # type: ignore[arg-type]

    def is_unused(self) -> bool:
        """Say whether nothing of the process that made it is in it, so that a fork of that process may use it."""
        return self._is_selectorless() and not (self._runs_inline or self._has_thread or self.is_closed())

    def begin(self) -> bool:
        """Take the loop to run it in this thread; False if it runs elsewhere."""
        with self._state_lock:
            is_free = not (self._runs_inline or self._has_thread)
            self._runs_inline |= is_free
        return is_free

    def end(self) -> None:
        """Give the loop back; if anything is left that it may have to wait for, it goes on in a thread."""
        with self._state_lock:
            self._runs_inline = False
            if self._ready or self._scheduled or not self._is_selectorless():
                self._give_thread()

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Any, *arguments: Any, context: Any = None
    ) -> asyncio.Handle:
        """See asyncio; a loop that nobody runs is given a thread, for somebody counts on its running."""
        handle = super().call_soon_threadsafe(callback, *arguments, context=context)
        with self._state_lock:
            if not self._runs_inline:
                self._give_thread()
        return handle

    def add_signal_handler(self, sig: int, callback: Any, *arguments: Any) -> None:  # type: ignore[override]
        """See asyncio; signals are told through the pipe."""
        self._open_selector()
        super().add_signal_handler(sig, callback, *arguments)

    def _give_thread(self) -> None:
        if not self._has_thread:
            self._has_thread = True
            self._start_thread()

    def _is_selectorless(self) -> bool:
        return isinstance(self._selector, _LateSelector)

    def _open_selector(self) -> selectors.BaseSelector:
        """Make the selector and the pipe by which other threads wake it, unless they are there."""
        if self._is_selectorless():
            self._selector = selectors.DefaultSelector()
            self._make_self_pipe()
            if self._ready:
                self._write_to_self()  # type: ignore[attr-defined]  # what another thread left while there was no pipe
        selector: selectors.BaseSelector = self._selector
        return selector

    def _make_self_pipe(self) -> None:
        if self._is_selectorless():
            self._ssock = self._csock = None
        else:
            super()._make_self_pipe()  # type: ignore[misc]

    def _close_self_pipe(self) -> None:
        if self._ssock is not None:
            super()._close_self_pipe()  # type: ignore[misc]


def take() -> None:
    """Have the SDK's runners of coroutines use inline loops; TypeError if a function is not what it was."""
    module: Any = importlib.import_module("flytekit.utils.asyn")
    runner_class: Any = module._TaskRunner
    in_thread = runner_class.run
    expect(in_thread, "self", "coro")
    expect(runner_class._execute, "self")

    def run(self: Any, coro: Coroutine[Any, Any, Any]) -> Any:
        running = asyncio._get_running_loop()
        loop = self._TaskRunner__loop
        if running is not None:
            # A coroutine waits for another: that one needs a thread.
            return in_thread(_nested(self) if running is loop else self, coro)
        if loop is None:
            loop = _give_loop(self)
        if isinstance(loop, InlineLoop) and loop.begin():
            try:
                return loop.run_until_complete(coro)
            except asyncio.CancelledError:
                raise concurrent.futures.CancelledError from None  # as a future of another thread would
            finally:
                loop.end()
        return in_thread(self, coro)

    runner_class.run = run


def inherit() -> None:
    """In a forked process: let this thread have the loop that the thread it was forked from had made and not used up.

    The SDK looks for runners by thread and process.
    """
    runners = importlib.import_module("flytekit.utils.asyn").loop_manager._runner_map
    own = f"{threading.current_thread().name}PID:{os.getpid()}"
    for name, runner in list(runners.items()):
        loop = runner._TaskRunner__loop
        if own not in runners and isinstance(loop, InlineLoop) and loop.is_unused():
            runners[own] = runners.pop(name)


def _give_loop(runner: Any) -> asyncio.AbstractEventLoop | None:
    """Return the runner's loop, made inline unless the user chose another kind."""
    with runner._TaskRunner__lock:
        is_plain = type(asyncio.get_event_loop_policy()).__module__ == "asyncio.unix_events"
        if runner._TaskRunner__loop is None and is_plain:
            loop = InlineLoop(lambda: _start_thread(runner))
            loop.set_exception_handler(runner.get_exc_handler())
            runner._TaskRunner__loop = loop
        made: asyncio.AbstractEventLoop | None = runner._TaskRunner__loop
        return made


def _start_thread(runner: Any) -> None:
    name = f"{threading.current_thread().name} : loop-runner"
    thread = threading.Thread(target=runner._execute, daemon=True, name=name)
    runner._TaskRunner__runner_thread = thread
    thread.start()


def _nested(runner: Any) -> Any:
    """Return the runner, with a thread, for coroutines that a coroutine of this one's waits for."""
    if "nested" not in runner.__dict__:
        runner.nested = type(runner)()
    return runner.nested
