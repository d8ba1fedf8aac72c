"""Runs attempts as isolated processes on this machine, forked from warm ones.

One manager thread owns everything; the protocol's methods only leave it notes. Processes outlive this server: their
supervisors (zygote.py) write down how they end, and `reconcile` adopts what still runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import selectors
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, ReportKind
from flyte_kernel.errors import KernelError, PluginError
from flyte_kernel.executors.attempt_folder import AttemptFolder
from flyte_kernel.executors.commands import TaskCommand, parse_command
from flyte_kernel.executors.distributions import Distributions
from flyte_kernel.executors.zygotes import ZygoteKey, ZygoteProcess
from flyte_kernel.ids import AttemptKey

__all__ = ["LocalExecutor"]

logger = logging.getLogger(__name__)

_ZYGOTES_MAX = 8  # each holds the SDK and the user's imports, some 100 MB
_ZYGOTE_IDLE_S = 600.0
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH")


@dataclass(eq=False, slots=True)
class _Attempt:
    """An attempt from `launch` to its last report."""

    launch: AttemptLaunch
    folder: AttemptFolder
    zygote: ZygoteProcess | None = None
    pid: int | None = None
    holds_slot: bool = False
    aborted: bool = False
    kill_at: float | None = None


class LocalExecutor:
    """An `engine.ports.Executor`; `folder` holds attempts and unpacked code, `python` is the tasks' interpreter.

    `fetch` reads a blob by URI. At most `concurrency` processes run at once, the rest wait in order. `environment` is
    given to every task. An aborted process gets SIGTERM and, `grace_s` later, SIGKILL.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: Path,
        fetch: Callable[[str], bytes],
        concurrency: int,
        environment: Mapping[str, str] | None = None,
        grace_s: float = 2.0,
    ) -> None:
        self._folder = folder
        self._python = python
        self._distributions = Distributions(folder / "distributions", fetch)
        self._concurrency = concurrency
        self._environment = _base_environment(python, environment or {})
        self._grace_s = grace_s
        self._attempts: dict[AttemptKey, _Attempt] = {}
        self._by_name: dict[str, _Attempt] = {}
        self._waiting: deque[_Attempt] = deque()
        self._slots_used = 0
        self._zygotes: dict[ZygoteKey, ZygoteProcess] = {}
        self._notes: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._unpackers = ThreadPoolExecutor(1, thread_name_prefix="flyte-kernel-unpack")
        self._closing = False
        self._report: Callable[[AttemptReport], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="flyte-kernel-executor", daemon=True)

    # The protocol

    def start(self, report: Callable[[AttemptReport], None]) -> None:
        """Begin work."""
        (self._folder / "attempts").mkdir(parents=True, exist_ok=True)
        self._report = report
        self._thread.start()

    def launch(self, launches: Sequence[AttemptLaunch]) -> None:
        """Queue attempts in order; known ones are left alone."""
        self._note(self._on_launch, tuple(launches))

    def abort(self, keys: Sequence[AttemptKey]) -> None:
        """End attempts with all their processes, then report ABORTED."""
        self._note(self._on_abort, tuple(keys))

    def reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        """Adopt what runs, report what ended, run the rest."""
        self._note(self._on_reconcile, tuple(launches))

    def forget(self, names: Sequence[str]) -> None:
        """Remove what ended attempts left behind, but for their logs."""
        for name in names:
            AttemptFolder(self._folder / "attempts" / name).remove_scratch()

    def close(self) -> None:
        """Take no more work; running attempts go on under their supervisors."""
        self._note(self._on_close)
        if self._thread.is_alive():
            self._thread.join()
        self._unpackers.shutdown(wait=True)

    # The manager thread

    def _note(self, what: Callable[..., None], *arguments: Any) -> None:
        self._notes.put((what, arguments))
        with contextlib.suppress(BlockingIOError, OSError):
            os.write(self._wake_write, b"\0")

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 65536)
                else:
                    self._guard(self._on_zygote, key.data)
            self._take_notes()
            self._guard(self._kill_overdue)
            self._guard(self._start_waiting)
            self._guard(self._retire_zygotes)

    def _take_notes(self) -> None:
        while True:
            try:
                what, arguments = self._notes.get_nowait()
            except queue.Empty:
                return
            self._guard(what, *arguments)

    def _guard(self, what: Callable[..., None], *arguments: Any) -> None:
        try:
            what(*arguments)
        except Exception:
            logger.exception("the local executor went on after a failure of its own")

    def _patience(self) -> float | None:
        now = time.monotonic()
        moments = [attempt.kill_at for attempt in self._attempts.values() if attempt.kill_at is not None]
        moments += [zygote.used_at + _ZYGOTE_IDLE_S for zygote in self._zygotes.values() if not zygote.names]
        return max(0.0, min(moments) - now) if moments else None

    def _on_close(self) -> None:
        self._closing = True
        for zygote in self._zygotes.values():
            zygote.let_go()

    # Starting

    def _on_launch(self, launches: Sequence[AttemptLaunch]) -> None:
        for launch in launches:
            if launch.key not in self._attempts:
                self._waiting.append(self._add(launch))

    def _on_reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        for launch in launches:
            if launch.key in self._attempts:
                continue
            attempt = self._add(launch)
            if attempt.folder.exit() is not None:
                self._tell(attempt, ReportKind.STARTED)
                self._ended(attempt)
            elif attempt.folder.is_claimed():
                self._adopt(attempt)
            else:
                self._waiting.append(attempt)

    def _add(self, launch: AttemptLaunch) -> _Attempt:
        attempt = _Attempt(launch, AttemptFolder(self._folder / "attempts" / launch.name))
        self._attempts[launch.key] = attempt
        self._by_name[launch.name] = attempt
        return attempt

    def _start_waiting(self) -> None:
        while self._waiting and self._slots_used < self._concurrency:
            attempt = self._waiting.popleft()
            attempt.holds_slot = True
            self._slots_used += 1
            command = parse_command(attempt.launch.command, str(attempt.folder.path / "work"))
            if command.distribution:
                self._unpackers.submit(self._unpack, attempt, command)
            else:
                self._start(attempt, command, None)

    def _unpack(self, attempt: _Attempt, command: TaskCommand) -> None:
        """On the unpacker's thread, since fetching may take long."""
        try:
            code = self._distributions.unpacked(command.distribution)
        except Exception as error:
            self._note(self._refuse, attempt, error)
        else:
            self._note(self._start, attempt, command, code)

    def _start(self, attempt: _Attempt, command: TaskCommand, code: Path | None) -> None:
        if attempt.aborted:
            self._finish(attempt, ReportKind.ABORTED)
            return
        try:
            if not command.command:
                raise PluginError("the task's container has neither command nor arguments")
            work = attempt.folder.prepare(code)
            environment = self._attempt_environment(attempt, code)
            zygote = self._zygote_for(attempt.launch, code)
            attempt.zygote = zygote
            zygote.names.add(attempt.launch.name)
            zygote.ask(
                {
                    "name": attempt.launch.name,
                    "folder": str(attempt.folder.path),
                    "cwd": str(work),
                    "environment": environment,
                    "command": command.command,
                    "entrypoint": command.entrypoint,
                    "arguments": command.arguments,
                    "module": command.module,
                }
            )
        except (OSError, KernelError) as error:
            self._refuse(attempt, error)

    def _attempt_environment(self, attempt: _Attempt, code: Path | None) -> dict[str, str]:
        folder = attempt.folder.path
        environment = {
            **self._environment,
            **attempt.launch.environment,
            "HOME": str(folder / "work"),
            "TMPDIR": str(folder / "tmp"),
            "FLYTE_KERNEL_ATTEMPT": attempt.launch.name,
        }
        if code is not None:
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(code), environment.get("PYTHONPATH"))))
        return environment

    def _zygote_for(self, launch: AttemptLaunch, code: Path | None) -> ZygoteProcess:
        # What differs from attempt to attempt cannot matter to imports; the rest may, so it selects the process.
        stable = {name: value for name, value in launch.environment.items() if not name.startswith("FLYTE_")}
        key = ZygoteKey(str(code or ""), frozenset(stable.items()))
        zygote = self._zygotes.get(key)
        if zygote is None:
            log = self._folder / "zygotes.log"
            zygote = ZygoteProcess.start(key, self._python, {**self._environment, **stable}, log)
            self._zygotes[key] = zygote
            self._selector.register(zygote.control, selectors.EVENT_READ, zygote)
        zygote.used_at = time.monotonic()
        return zygote

    def _refuse(self, attempt: _Attempt, error: Exception) -> None:
        if attempt.zygote is not None:
            attempt.zygote.names.discard(attempt.launch.name)
        permanent = isinstance(error, PluginError)
        self._finish(attempt, ReportKind.REFUSED, message=str(error) or repr(error), recoverable=not permanent)

    # What zygotes say

    def _on_zygote(self, zygote: ZygoteProcess) -> None:
        message = zygote.receive()
        if message is None:
            self._lose(zygote)
            return
        attempt = self._by_name.get(message["name"])
        if message["event"] != "started":
            zygote.names.discard(message["name"])
            zygote.used_at = time.monotonic()
        if attempt is None:
            return
        if message["event"] == "started":
            attempt.pid = message["pid"]
            self._tell(attempt, ReportKind.STARTED)
            if attempt.aborted:
                self._terminate(attempt)
        elif message["event"] == "busy":
            self._adopt(attempt)
        elif message["event"] == "failed":
            self._finish(attempt, ReportKind.REFUSED, message=message["message"], recoverable=True)
        else:
            self._ended(attempt)

    def _lose(self, zygote: ZygoteProcess) -> None:
        """A zygote died: its children may live on, and their claims tell when they are gone."""
        self._selector.unregister(zygote.control)
        self._zygotes.pop(zygote.key, None)
        zygote.let_go()
        zygote.process.wait()
        for name in zygote.names:
            attempt = self._by_name.get(name)
            if attempt is not None:
                self._adopt(attempt)

    def _retire_zygotes(self) -> None:
        now = time.monotonic()
        idle = sorted((z for z in self._zygotes.values() if not z.names), key=lambda z: z.used_at)
        surplus = len(self._zygotes) - _ZYGOTES_MAX
        for position, zygote in enumerate(idle):
            if position < surplus or now - zygote.used_at >= _ZYGOTE_IDLE_S:
                self._lose(zygote)

    # Adopting

    def _adopt(self, attempt: _Attempt) -> None:
        """Wait for the end of a process that somebody else started; on a thread, since locks cannot be selected."""
        attempt.zygote = None
        attempt.pid = attempt.folder.process()
        if attempt.pid is not None:
            self._tell(attempt, ReportKind.STARTED)
        if not attempt.holds_slot:
            attempt.holds_slot = True
            self._slots_used += 1
        threading.Thread(target=self._watch, args=(attempt,), name="flyte-kernel-adopted", daemon=True).start()
        if attempt.aborted:
            self._terminate(attempt)

    def _watch(self, attempt: _Attempt) -> None:
        attempt.folder.wait_until_unclaimed()
        self._note(self._on_unclaimed, attempt)

    def _on_unclaimed(self, attempt: _Attempt) -> None:
        if attempt.aborted or attempt.folder.exit() is not None:
            self._ended(attempt)
            return
        # Its supervisor is gone and left no word: nothing of it runs, so it may run again.
        self._release_slot(attempt)
        attempt.pid = None
        self._waiting.appendleft(attempt)

    # Ending

    def _on_abort(self, keys: Sequence[AttemptKey]) -> None:
        for key in keys:
            attempt = self._attempts.get(key)
            if attempt is None:
                self._report(AttemptReport(key, ReportKind.ABORTED))
            elif not attempt.aborted:
                attempt.aborted = True
                if attempt in self._waiting:
                    self._waiting.remove(attempt)
                    self._finish(attempt, ReportKind.ABORTED)
                else:
                    self._terminate(attempt)

    def _terminate(self, attempt: _Attempt) -> None:
        """Ask the process to go; a process that is not there yet is asked once it reports."""
        if attempt.pid is not None:
            _signal_group(attempt.pid, signal.SIGTERM)
            attempt.kill_at = time.monotonic() + self._grace_s

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.kill_at is not None and attempt.kill_at <= now and attempt.pid is not None:
                attempt.kill_at = None
                _signal_group(attempt.pid, signal.SIGKILL)

    def _ended(self, attempt: _Attempt) -> None:
        if attempt.aborted:
            self._finish(attempt, ReportKind.ABORTED)
            return
        end = attempt.folder.exit()
        if end is None:
            self._finish(
                attempt, ReportKind.REFUSED, message="its supervisor could not write exit.json", recoverable=True
            )
        else:
            self._finish(attempt, ReportKind.EXITED, exit_code=end.exit_code, signal=end.signal)

    def _finish(self, attempt: _Attempt, kind: ReportKind, **details: Any) -> None:
        self._release_slot(attempt)
        self._attempts.pop(attempt.launch.key, None)
        self._by_name.pop(attempt.launch.name, None)
        self._tell(attempt, kind, **details)

    def _release_slot(self, attempt: _Attempt) -> None:
        if attempt.holds_slot:
            attempt.holds_slot = False
            self._slots_used -= 1

    def _tell(self, attempt: _Attempt, kind: ReportKind, **details: Any) -> None:
        log_uri = attempt.folder.log_uri if kind in (ReportKind.STARTED, ReportKind.EXITED) else ""
        self._report(AttemptReport(attempt.launch.key, kind, log_uri=log_uri, **details))


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _base_environment(python: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return what every task sees of this machine: where programs are, language, certificates, and what was given."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = environment.get("PATH", os.defpath)
    # The interpreter's own folder comes first: `pyflyte-execute` and `python` are the ones beside it.
    environment["PATH"] = os.pathsep.join((str(python.parent), path))
    environment.setdefault("LANG", "C.UTF-8")
    environment["PYTHONUNBUFFERED"] = "1"
    return {**environment, **given}
