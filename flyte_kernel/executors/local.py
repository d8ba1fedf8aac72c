"""Runs attempts as isolated processes on this machine, forked from warm ones.

One manager thread owns everything; the protocol's methods only leave it notes. Processes outlive this server: their
zygotes write down how they end, and `reconcile` adopts what still runs.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import queue
import selectors
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, ReportKind
from flyte_kernel.errors import AdapterError, PluginError
from flyte_kernel.executors.attempt_folder import AttemptFolder, Exit, LaunchedProcess
from flyte_kernel.executors.commands import TaskCommand, parse_command
from flyte_kernel.executors.distributions import Distributions
from flyte_kernel.executors.slots import Slots
from flyte_kernel.executors.zygote.claims import MARK
from flyte_kernel.executors.zygote.processes import signal_group
from flyte_kernel.executors.zygotes import ModuleUse, UserModule, ZygotePool, ZygoteProcess, environment_in
from flyte_kernel.ids import NO_ELEMENT, AttemptKey, ExecutionId

__all__ = ["LocalExecutor"]

logger = logging.getLogger(__name__)

_TRIES_MAX = 3  # of an attempt whose zygotes died before its process could start
_AHEAD = 5  # elements that a warm process is given for each that it runs, lest it waits for the server in between
_RETIRE_EVERY_S = 10.0
_ENDED_MAX = 100_000  # keys that are remembered; an older attempt's folder still says that it has ended
_LOOK_AGAIN_S = (0.01, 0.5)  # first and longest pause while somebody else's record of an end is awaited
_INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "PYTHONPATH")


@dataclass(eq=False, slots=True)
class _Attempt:
    """An attempt from `launch` to its last report; `number` is its place in the queue."""

    launch: AttemptLaunch
    folder: AttemptFolder
    number: int
    command: TaskCommand
    code: Path | None = None
    zygote: ZygoteProcess | None = None
    is_started: bool = False
    is_aborted: bool = False
    is_finished: bool = False
    may_run_again: bool = True
    tries: int = 0
    refusal: str = ""
    adopted: LaunchedProcess | None = None
    pidfd: int | None = None
    pause_s: float = _LOOK_AGAIN_S[0]


class LocalExecutor:
    """An `engine.ports.Executor`; `folder` holds attempts and unpacked code, `python` is the tasks' interpreter.

    `fetch` reads a blob by URI. At most `concurrency` attempts run at once, the rest wait in order. `environment` is
    given to every task. An aborted process gets SIGTERM and, `grace_s` later, SIGKILL. With `reuse_workers` a process
    runs one element of a map after the other while they succeed: far faster, but what an element changes in its process
    the next one finds, and what it leaves running lives on until the process ends.
    """

    def __init__(
        self,
        folder: Path,
        *,
        python: Path,
        fetch: Callable[[str], bytes],
        concurrency: int | None = None,
        environment: Mapping[str, str] | None = None,
        grace_s: float = 2.0,
        reuse_workers: bool = False,
    ) -> None:
        self._folder = folder.absolute()
        python = python.absolute()  # not resolved: the link's own place says which environment it is of
        self._distributions = Distributions(self._folder / "distributions", fetch, python)
        self._environment = _base_environment(python, environment or {})
        self._grace_s = grace_s
        self._reuse_workers = reuse_workers
        self._attempts: dict[AttemptKey, _Attempt] = {}
        self._ended: dict[AttemptKey, str] = {}
        self._ready: list[tuple[int, _Attempt]] = []
        self._awaiting_code: dict[str, list[_Attempt]] = {}
        self._slots: Slots[_Attempt] = Slots(concurrency or os.cpu_count() or 1, _AHEAD)
        self._numbers = itertools.count(1)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._asked: set[ZygoteProcess] = set()
        self._notes: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._pool = ZygotePool(self._folder, python, self._environment, self._selector)
        self._unpackers = ThreadPoolExecutor(1, thread_name_prefix="flyte-kernel-unpack")
        self._is_closing = False
        self._report: Callable[[AttemptReport], None] = lambda _: None
        self._thread = threading.Thread(target=self._run, name="flyte-kernel-executor", daemon=True)

    # The protocol

    def start(self, report: Callable[[AttemptReport], None]) -> None:
        """Begin work; reports come from one thread."""
        (self._folder / "attempts").mkdir(parents=True, exist_ok=True)
        self._pool.open()
        self._report = report
        self._at(_RETIRE_EVERY_S, self._retire)
        self._thread.start()

    def launch(self, launches: Sequence[AttemptLaunch]) -> None:
        """Queue attempts in order; known ones are left alone."""
        launches = tuple(launches)
        self._note(lambda: self._on_launch(launches))

    def abort(self, keys: Sequence[AttemptKey]) -> None:
        """End attempts with all their processes, then report ABORTED."""
        keys = tuple(keys)
        self._note(lambda: self._on_abort(keys))

    def reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        """Adopt what runs, report what ended, run the rest: what `launch` does with attempts whose folders exist."""
        self.launch(launches)

    def forget(self, names: Sequence[str]) -> None:
        """Remove what ended attempts left behind, but for their logs; launching one of them again reports its end."""
        names = tuple(names)
        self._note(lambda: self._on_forget(names))

    def close(self) -> None:
        """Take no more work; running attempts go on under their supervisors."""
        if self._is_closing:
            return
        self._note(self._on_close)
        if self._thread.is_alive():
            self._thread.join()
        self._unpackers.shutdown(wait=True)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # The manager thread

    def _note(self, what: Callable[[], None]) -> None:
        self._notes.put(what)
        with contextlib.suppress(OSError):  # full is fine: it will wake; closed is fine: nobody is left to wake
            os.write(self._wake_write, b"\0")

    def _at(self, delay_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), what))

    def _run(self) -> None:
        while not self._is_closing:
            patience = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(patience):
                if key.data is None:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wake_read, 65536)
                else:
                    self._guard(partial(self._on_event, key.data))
            self._take_notes()
            self._ring_timers()
            self._guard(self._start_ready)
            self._flush()

    def _on_event(self, source: ZygoteProcess | _Attempt) -> None:
        if isinstance(source, _Attempt):
            self._watch(source)
        elif source in self._pool:
            self._on_zygote(source)

    def _take_notes(self) -> None:
        while not self._is_closing:
            try:
                note = self._notes.get_nowait()
            except queue.Empty:
                return
            self._guard(note)

    def _ring_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            self._guard(heapq.heappop(self._timers)[2])

    def _guard(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception:
            logger.exception("the local executor went on after a failure of its own")

    def _retire(self) -> None:
        self._pool.retire()
        self._at(_RETIRE_EVERY_S, self._retire)

    def _on_close(self) -> None:
        self._is_closing = True
        self._flush()
        self._pool.close()
        for attempt in self._attempts.values():
            if attempt.pidfd is not None:
                os.close(attempt.pidfd)

    def _on_forget(self, names: Sequence[str]) -> None:
        gone = set(names)
        for key in [key for key, name in self._ended.items() if name in gone]:
            del self._ended[key]
        folders = [AttemptFolder.of(self._folder / "attempts", name) for name in gone]
        for folder in folders:
            self._unpackers.submit(folder.remove_scratch)

    # Starting

    def _on_launch(self, launches: Sequence[AttemptLaunch]) -> None:
        for launch in launches:
            if launch.key not in self._attempts and launch.key not in self._ended:
                attempt = self._add(launch)
                try:
                    if attempt.folder.create():
                        self._prepare(attempt)
                    else:
                        self._watch(attempt)
                except OSError as error:
                    self._refuse(attempt, error)

    def _add(self, launch: AttemptLaunch) -> _Attempt:
        folder = AttemptFolder.of(self._folder / "attempts", launch.name)
        attempt = _Attempt(launch, folder, next(self._numbers), parse_command(launch.command))
        self._attempts[launch.key] = attempt
        return attempt

    def _prepare(self, attempt: _Attempt) -> None:
        """Queue an attempt once its code is there."""
        uri = attempt.command.distribution
        attempt.code = self._distributions.find(uri) if uri else None
        if not attempt.command.command:
            self._refuse(attempt, PluginError("the task's container has neither command nor arguments"))
        elif not uri or attempt.code is not None:
            heapq.heappush(self._ready, (attempt.number, attempt))
        elif uri in self._awaiting_code:
            self._awaiting_code[uri].append(attempt)
        else:
            self._awaiting_code[uri] = [attempt]
            self._unpackers.submit(self._unpack, uri)

    def _unpack(self, uri: str) -> None:
        """On the unpacker's thread, since fetching may take long."""
        problem: Exception | None = None
        try:
            self._distributions.unpacked(uri)
        except Exception as error:
            problem = error
        self._note(lambda: self._on_unpacked(uri, problem))

    def _on_unpacked(self, uri: str, problem: Exception | None) -> None:
        for attempt in self._awaiting_code.pop(uri, ()):
            if attempt.is_finished:
                continue
            if problem is not None:
                self._refuse(attempt, problem)
            else:
                self._prepare(attempt)

    def _start_ready(self) -> None:
        """Let attempts run in the order of their numbers; then give some ahead."""
        while (attempt := self._next_ready()) is not None and self._start(attempt):
            heapq.heappop(self._ready)
        self._let_waiting_run()

    def _next_ready(self) -> _Attempt | None:
        while self._ready and self._ready[0][1].is_finished:
            heapq.heappop(self._ready)
        return self._ready[0][1] if self._ready else None

    def _let_waiting_run(self) -> None:
        """Let attempts that wait behind others have the free slots."""
        while self._slots.has_free() and (waiting := self._slots.waiting()):
            attempt = min(waiting, key=lambda attempt: attempt.number)
            assert attempt.zygote is not None
            self._ask(attempt.zygote, {"do": "move", "id": attempt.number, "slot": self._slots.move(attempt)})

    def _start(self, attempt: _Attempt) -> bool:
        """Give an attempt to a warm process, to be run in a free slot or behind others; False if there is no room."""
        self._let_waiting_run()  # these came before it
        is_element = attempt.launch.key.element != NO_ELEMENT
        if not (self._slots.has_free() or (is_element and self._slots.has_room())):
            return False
        attempt.refusal = ""
        command = attempt.command
        environment = {**self._environment, **attempt.launch.environment}
        use = None
        if command.module and attempt.code is not None and not self._crew_of(attempt):
            use = ModuleUse.of(environment, UserModule(command.module, str(attempt.code)))
        try:
            process = self._pool.choose(environment, command.module, uses_sdk=command.uses_sdk)
            if use is not None:
                process = self._pool.branch_of(process, use, command.command)
        except OSError as error:
            self._refuse(attempt, error)
            return True
        slot = self._slot_for(attempt, process)
        if slot is None:
            return False
        if use is not None:
            self._pool.count(use)
        attempt.zygote = process
        process.attempts[attempt.number] = attempt
        self._ask(
            process,
            {
                "do": "launch",
                "id": attempt.number,
                "slot": slot,
                "key": attempt.launch.key,
                "folder": str(attempt.folder.path),
                "code": str(attempt.code or ""),
                "module": command.module,
                "crew": self._crew_of(attempt),
                "brief": attempt.launch.key.element != NO_ELEMENT,
                "command": command.command,
                "environment": _attempt_environment(environment, attempt),
            },
        )
        return True

    def _slot_for(self, attempt: _Attempt, process: ZygoteProcess) -> int | None:
        """Enter an attempt where it is to run; None if that must wait."""
        key = attempt.launch.key
        # Only elements wait behind others, of their own map: who waits there is overtaken while the first takes long,
        # which no other attempt may be, since its deadline runs.
        line = None if key.element == NO_ELEMENT else (process, key.run, key.node)
        if self._slots.has_free():
            return self._slots.take(attempt, line)
        slot = None if line is None else self._slots.shortest(line)
        if slot is not None:
            self._slots.join(attempt, slot)
        return slot

    def _crew_of(self, attempt: _Attempt) -> str:
        """Return what attempts must share to be run by one process, empty for a process of its own."""
        key = attempt.launch.key
        if not (self._reuse_workers and attempt.command.uses_sdk) or key.element == NO_ELEMENT:
            return ""
        return f"{key.run}-{key.node}"

    def _ask(self, process: ZygoteProcess, request: Mapping[str, Any]) -> None:
        """Leave a request that goes out with others at the end of this round."""
        process.leave(request)
        self._asked.add(process)

    def _flush(self) -> None:
        """Send what is left to send, and the rest as soon as its zygote takes it."""
        asked, self._asked = self._asked, set()
        for process in asked:
            process.flush()
            if process.outgoing and process in self._pool:
                self._at(_LOOK_AGAIN_S[0], partial(self._asked.add, process))

    def _refuse(self, attempt: _Attempt, error: Exception) -> None:
        permanent = isinstance(error, PluginError) or (isinstance(error, AdapterError) and not error.retryable)
        self._finish(attempt, ReportKind.REFUSED, message=str(error) or repr(error), recoverable=not permanent)

    # What zygotes say

    def _on_zygote(self, process: ZygoteProcess) -> None:
        messages, is_open = process.receive()
        for message in messages:
            if message["event"] == "ready":
                self._pool.on_ready(process, fit=message["fit"])
            elif message["id"] in process.attempts:
                self._on_message(process, process.attempts[message["id"]], message)
        if not is_open:
            self._pool.on_end(process)
            lost = list(process.attempts.values())
            for attempt in lost:
                if self._slots.runs(attempt):
                    attempt.tries += 1
                else:
                    self._slots.leave(attempt)
            for attempt in lost:
                self._on_zygote_lost(attempt)

    def _on_message(self, process: ZygoteProcess, attempt: _Attempt, message: Mapping[str, Any]) -> None:
        event = message["event"]
        if event == "started":
            self._tell_started(attempt)
        elif event == "imports":
            self._pool.learn(message["module"], attempt.folder.imports())
        elif event == "refused":
            attempt.refusal = message["message"]
        else:
            del process.attempts[attempt.number]
            process.used_at = time.monotonic()
            attempt.zygote = None
            if event == "exited":
                attempt.is_started = True
                self._finish_exited(attempt, Exit(message["exit_code"], message["signal"], message["aborted"]))
            elif event == "lost":
                self._slots.leave(attempt)  # the next in line runs; this one may be found running elsewhere
                self._watch(attempt)
            elif attempt.is_aborted:
                self._finish(attempt, ReportKind.ABORTED)
            else:
                reason = attempt.refusal or "its process was killed before it could start"
                self._finish(attempt, ReportKind.REFUSED, message=reason, recoverable=True)

    def _on_zygote_lost(self, attempt: _Attempt) -> None:
        """Its children die with a zygote; an attempt whose user code did not run yet is given to another."""
        attempt.zygote = None
        attempt.may_run_again = attempt.folder.process() is None
        self._watch(attempt)

    # Watching what no zygote of this server runs

    def _watch(self, attempt: _Attempt) -> None:
        """See what became of an attempt by its folder, and look again when that may have changed."""
        if attempt.is_finished:
            return
        self._stop_watching(attempt)
        end = attempt.folder.exit()
        if end is not None:
            self._tell_started(attempt)
            self._finish_exited(attempt, end)
            return
        process = attempt.folder.process()
        if process is not None and self._adopt(attempt, process):
            return
        has_strays = process is not None and _is_orphaned(process) and attempt.folder.kill_strays()
        if has_strays or attempt.folder.is_claimed():
            self._at(attempt.pause_s, lambda: self._watch(attempt))
            attempt.pause_s = min(2 * attempt.pause_s, _LOOK_AGAIN_S[1])
            return
        end = attempt.folder.exit()  # it may have been written just before the claim was given up
        if end is not None:
            self._finish_exited(attempt, end)
        else:
            self._on_gone(attempt)

    def _adopt(self, attempt: _Attempt, process: LaunchedProcess) -> bool:
        """Wait for the end of a process if it runs."""
        try:
            pidfd = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return False
        if not process.is_alive():
            os.close(pidfd)
            return False
        attempt.pidfd = pidfd
        self._selector.register(pidfd, selectors.EVENT_READ, attempt)
        attempt.adopted = process
        attempt.may_run_again = False  # it was told to have started; its end, even unseen, is told too
        if not self._slots.runs(attempt):
            self._slots.take(attempt)
        self._tell_started(attempt)
        if attempt.is_aborted:
            self._terminate(attempt)
        return True

    def _stop_watching(self, attempt: _Attempt) -> None:
        if attempt.pidfd is not None:
            self._selector.unregister(attempt.pidfd)
            os.close(attempt.pidfd)
            attempt.pidfd = None

    def _on_gone(self, attempt: _Attempt) -> None:
        """Nothing of the attempt runs and nobody wrote down how it ended."""
        if attempt.is_aborted:
            self._finish(attempt, ReportKind.ABORTED)
        elif not attempt.may_run_again:
            end = Exit(signal=signal.SIGKILL)
            attempt.folder.write_exit(end)
            self._finish_exited(attempt, end)
        elif attempt.tries >= _TRIES_MAX:
            message = "the processes that should start it died; see zygotes.log"
            self._finish(attempt, ReportKind.REFUSED, message=message, recoverable=True)
        else:
            self._slots.leave(attempt)
            attempt.folder.reset()
            attempt.adopted = None
            self._prepare(attempt)

    # Ending

    def _on_abort(self, keys: Sequence[AttemptKey]) -> None:
        for key in keys:
            attempt = self._attempts.get(key)
            if attempt is None and key not in self._ended:
                attempt = self._find_stranger(key)
            if attempt is None:
                self._remember_end(key, self._ended.get(key, ""))
                self._report(AttemptReport(key, ReportKind.ABORTED))
            elif not attempt.is_aborted:
                attempt.is_aborted = True
                self._end(attempt)

    def _find_stranger(self, key: AttemptKey) -> _Attempt | None:
        """Return an attempt of an earlier server that still runs and that nobody named since."""
        for path in (self._folder / "attempts").iterdir():
            folder = AttemptFolder(path)
            process = None if folder.exit() is not None else folder.process()
            if process is not None and process.key == key and folder.is_claimed():
                return self._add(AttemptLaunch(key, ExecutionId("", "", ""), "", path.name, ()))
        return None

    def _end(self, attempt: _Attempt) -> None:
        if attempt.zygote is not None:
            self._ask(attempt.zygote, {"do": "abort", "id": attempt.number, "grace_s": self._grace_s})
        elif attempt.adopted is not None:
            self._terminate(attempt)
        elif attempt.folder.is_claimed():
            self._watch(attempt)
        else:
            self._finish(attempt, ReportKind.ABORTED)

    def _terminate(self, attempt: _Attempt) -> None:
        """Ask an adopted process to go, and see to it that it goes."""
        process = attempt.adopted
        if process is not None and process.is_alive():
            signal_group(process.pid, signal.SIGTERM)
            self._at(self._grace_s, lambda: self._kill(attempt, process))

    def _kill(self, attempt: _Attempt, process: LaunchedProcess) -> None:
        if not attempt.is_finished and process.is_alive():
            signal_group(process.pid, signal.SIGKILL)

    def _finish_exited(self, attempt: _Attempt, end: Exit) -> None:
        if attempt.is_aborted or end.aborted:
            self._finish(attempt, ReportKind.ABORTED)
        else:
            self._finish(attempt, ReportKind.EXITED, exit_code=end.exit_code, signal=end.signal)

    def _finish(self, attempt: _Attempt, kind: ReportKind, **details: Any) -> None:
        attempt.is_finished = True
        self._stop_watching(attempt)
        self._slots.leave(attempt)
        self._attempts.pop(attempt.launch.key, None)
        self._remember_end(attempt.launch.key, attempt.launch.name)
        self._tell(attempt, kind, **details)

    def _remember_end(self, key: AttemptKey, name: str) -> None:
        self._ended[key] = name
        if len(self._ended) > _ENDED_MAX:
            del self._ended[next(iter(self._ended))]

    def _tell_started(self, attempt: _Attempt) -> None:
        if not attempt.is_started:
            attempt.is_started = True
            self._tell(attempt, ReportKind.STARTED)

    def _tell(self, attempt: _Attempt, kind: ReportKind, **details: Any) -> None:
        report = AttemptReport(attempt.launch.key, kind, **details)
        self._report(replace(report, log_uri=attempt.folder.log_uri) if attempt.is_started else report)


def _is_orphaned(process: LaunchedProcess) -> bool:
    return process.is_of_this_boot() and not process.is_supervised()


def _attempt_environment(shared: Mapping[str, str], attempt: _Attempt) -> dict[str, str]:
    folder = attempt.folder.path
    return {**environment_in(folder, shared, has_code=attempt.code is not None), MARK: folder.name}


def _base_environment(python: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return what every task sees of this machine: where programs are, language, certificates, and what was given."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.setdefault("LANG", "C.UTF-8")
    environment["PYTHONUNBUFFERED"] = "1"  # what a task printed before it crashed is worth the system calls
    environment.update(given)
    # The interpreter's own folder comes first: `pyflyte-execute` and `python` are the ones beside it.
    environment["PATH"] = os.pathsep.join((str(python.parent), environment.get("PATH", os.defpath)))
    return environment
