"""Takes requests, forks, waits, ends what attempts leave behind and writes down how they ended."""

from __future__ import annotations

import atexit
import collections
import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from .attempt import UNTOLD_S, Attempt, end_of
from .child import Child, Heritage
from .claims import add_to_claim, claim_attempt
from .crew import Crews
from .leftovers import Leftovers
from .lines import Lines
from .processes import boot_id, fork, signal_group, start_time
from .reports import Reports
from .spares import Spares
from .user_module import modules_below

__all__ = ["Supervisor"]

_RECHECK_S = 0.02
_AT_HAND_MIN = 2  # requests that wait in a slot: with fewer the server is told of an end there at once
ServeBranch = Callable[[dict[str, Any], int, int], None]


class Supervisor:
    """The zygote's work once it is warm; `serve_branch` is what a fork does to become a zygote for one module.

    `lock` says that the folder is in use, `warm` that the SDK is imported, `work` where modules of the user's were
    imported from, if any were.
    """

    def __init__(
        self,
        folder: Path,
        control: int,
        reports: Reports,
        lock: int,
        serve_branch: ServeBranch,
        *,
        warm: bool,
        work: str = "",
    ) -> None:
        self.reports = reports
        self._work = work
        self._own_modules = modules_below(work) if work else frozenset()
        self._control: socket.socket | None = socket.socket(fileno=control)
        self._received_descriptors: collections.deque[int] = collections.deque()
        self._received = b""
        self._lock = lock
        self._serve_branch = serve_branch
        self._warm = warm
        self._identity = {
            "supervisor": os.getpid(),
            "supervisor_start_time": start_time(os.getpid()),
            "boot": boot_id(),
        }
        self._modules = len(sys.modules)
        self._attempts: dict[int, Attempt] = {}  # by process id
        self._lines = Lines()
        self._crews = Crews()
        self._spares = Spares(folder)
        self._leftovers = Leftovers()
        self._branches: set[int] = set()  # zygotes that were forked of this one
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Work until the server is gone and the last child has ended."""
        while self._control is not None or self._attempts:
            poll = select.poll()
            workers = {worker.fileno(): pid for pid, worker in self._crews.sockets.items()}
            control = None if self._control is None else self._control.fileno()
            for descriptor in (self._wake_read, control, *workers):
                if descriptor is not None:
                    poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(self._patience_ms())}
            if self._wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            for descriptor in ready & workers.keys():
                self._on_worker(workers[descriptor])
            if control in ready:
                self._receive()
            self._crews.dismiss(everybody=self._control is None)
            self._reap()
            self._kill_overdue()
            self._clear()
            self._tell_started()
            self._tell_ends()
        self.reports.flush()

    def _patience_ms(self) -> float | None:
        """Return how long nothing need be looked at unless something happens."""
        moments = [
            at for attempt in self._attempts.values() for at in (attempt.kill_at, attempt.tell_at) if at is not None
        ]
        if any(attempt.status is not None for attempt in self._attempts.values()):
            moments.append(time.monotonic() + _RECHECK_S)
        moments += [at for at in (self._crews.next_dismissal(), self.reports.due_at()) if at is not None]
        return max(0.0, min(moments) - time.monotonic()) * 1000 if moments else None

    # Requests

    def _receive(self) -> None:
        """Take the requests that have arrived; none is taken of a server that is gone."""
        assert self._control is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._control, 1 << 20, 16, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            data, descriptors = b"", []
        self._received_descriptors += descriptors
        if not data:
            self._control.close()
            self._control = None
            self._lines.clear()
            return
        *lines, self._received = (self._received + data).split(b"\n")
        for line in filter(None, lines):  # an empty one carries descriptors
            self._obey(json.loads(line))

    def _obey(self, request: dict[str, Any]) -> None:
        match request["do"]:
            case "abort":
                self._abort(request["id"], request["grace_s"])
            case "move":
                self._move(request["id"], request["slot"])
            case "branch":
                self._branch(request)
            case _:
                self._lines.join(request)
                self._advance(request["slot"])

    def _branch(self, request: dict[str, Any]) -> None:
        """Fork another zygote, which imports a user's module and serves the server by descriptors of its own."""
        control, reports = (self._received_descriptors.popleft() for _ in range(2))
        try:
            pid = fork()
        except OSError as error:
            print(f"zygote: no other one could be forked: {error}", file=sys.stderr)
            pid = -1
        if pid == 0:
            self._become_zygote(request, control, reports)
        os.close(control)
        os.close(reports)
        self._branches.add(pid)

    def _become_zygote(self, request: dict[str, Any], control: int, reports: int) -> NoReturn:
        """Be the zygote for one module of the user's from here on."""
        try:
            self._leave_zygote()
            self.reports.close()
            os.setsid()
            self._serve_branch(request, control, reports)
        except BaseException:
            traceback.print_exc()
        os._exit(0)

    def _advance(self, slot: int) -> None:
        """Launch the next attempt of a line, unless one of it runs."""
        while not any(attempt.slot == slot for attempt in self._attempts.values()):
            request = self._lines.next(slot)
            if request is None:
                return
            self._launch(request)

    def _move(self, id_: int, slot: int) -> None:
        """Let an attempt have another, free slot, whether it waits or has come to run meanwhile."""
        request = self._lines.withdraw(id_)
        if request is not None:
            self._lines.join({**request, "slot": slot})
            self._advance(slot)
            return
        for attempt in self._of_id(id_):
            left, attempt.slot = attempt.slot, slot
            self._advance(left)
            return

    def _of_id(self, id_: int) -> Iterator[Attempt]:
        return (attempt for attempt in self._attempts.values() if attempt.id == id_)

    # Launching

    def _launch(self, request: dict[str, Any]) -> None:
        """Claim the attempt and have a process run it, unless another has it or it has ended already."""
        try:
            claim = claim_attempt(Path(request["folder"]))
        except OSError as error:
            self._give_up(request["id"], error)
            return
        if claim is None:
            self.reports.tell(id=request["id"], event="lost")
            return
        attempt = Attempt(request, claim)
        worker = self._crews.hand_over(request, claim) if request["crew"] else None
        if worker is not None:
            attempt.pid = worker
            self._attempts[worker] = attempt
            return
        try:
            self._fork(attempt, request)
        except OSError as error:
            os.close(claim)
            self._give_up(attempt.id, error)

    def _give_up(self, id_: int, error: OSError) -> None:
        self.reports.refuse(id_, error)
        self.reports.tell(id=id_, event="gone")

    def _fork(self, attempt: Attempt, request: dict[str, Any]) -> None:
        """Fork the process of an attempt, and with a crew of those to come; OSError if that cannot be now."""
        self._spares.furnish(attempt)
        crew: str = request["crew"]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if crew else (None, None)
        attempt.pid = fork()
        if attempt.pid == 0:
            if ours is not None:
                ours.close()
            self._become_attempt(attempt, request, theirs)
        if ours is not None and theirs is not None:
            theirs.close()
            self._crews.add(attempt.pid, crew, ours)
        self._attempts[attempt.pid] = attempt

    def _become_attempt(self, attempt: Attempt, request: dict[str, Any], server: socket.socket | None) -> NoReturn:
        reports = self.reports.inherit()
        try:
            self._leave_zygote()
        except BaseException as error:
            reports.refuse(attempt.id, error)
            os._exit(1)
        heritage = Heritage(self._identity, self._warm, self._modules, self._work, self._own_modules)
        Child(heritage, reports).live(attempt, request, server)

    def _leave_zygote(self) -> None:
        """In a forked process: give up what belongs to the zygote and to other attempts."""
        signal.set_wakeup_fd(-1)
        for descriptor in (self._wake_read, self._wake_write, self._lock, *self._received_descriptors):
            os.close(descriptor)
        if self._control is not None:
            self._control.close()
        for other in self._attempts.values():
            os.close(other.claim)
        self._crews.leave()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        getattr(atexit, "_clear", bool)()  # what the zygote's imports registered is the zygote's to clean up

    # Ending

    def _on_worker(self, pid: int) -> None:
        """Write down that a worker's attempt has succeeded; it may have another, unless it was asked to go."""
        if not self._crews.finished(pid):
            return
        attempt = self._attempts[pid]
        attempt.status = 0
        self._finish(attempt)
        if attempt.aborted:
            signal_group(pid, signal.SIGKILL)  # its signal must not reach another attempt
            self._crews.forget(pid)
        else:
            self._crews.rest(pid)
        self._advance(attempt.slot)

    def _abort(self, id_: int, grace_s: float) -> None:
        """Ask an attempt's processes to go, and see to it that they have gone after `grace_s`."""
        if self._lines.withdraw(id_) is not None:
            self.reports.tell(id=id_, event="gone")
            return
        for attempt in self._of_id(id_):
            if not attempt.aborted:
                attempt.aborted = True
                attempt.kill_at = time.monotonic() + grace_s
                signal_group(attempt.pid, signal.SIGTERM)

    def _kill_overdue(self) -> None:
        """End what did not go when it was asked to."""
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.kill_at is not None and attempt.kill_at <= now:
                attempt.kill_at = None
                if attempt.status is None:
                    signal_group(attempt.pid, signal.SIGKILL)

    def _tell_started(self) -> None:
        """Tell of the attempts that run for a while now and were not told of."""
        now = time.monotonic()
        for attempt in self._attempts.values():
            if attempt.tell_at is not None and attempt.tell_at <= now:
                attempt.tell_at = None if attempt.is_started() else now + UNTOLD_S
                if attempt.tell_at is None:
                    self.reports.tell(id=attempt.id, event="started", pid=attempt.pid)

    def _tell_ends(self) -> None:
        """Tell of the ends that were not told of for long enough."""
        due_at = self.reports.due_at()
        if due_at is not None and due_at <= time.monotonic():
            self.reports.flush()

    def _reap(self) -> None:
        """Collect every child that has ended, the orphans of attempts included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._leftovers.forget(pid)
            self._branches.discard(pid)
            if pid in self._crews.sockets:
                self._on_worker(pid)  # it may have said that it has finished before it went
                self._crews.forget(pid)
            if pid in self._attempts:
                self._attempts[pid].status = status
                self._attempts[pid].kill_at = None

    def _clear(self) -> None:
        """Kill what ended attempts left behind; finish those of which nothing is left."""
        ended = [attempt for attempt in self._attempts.values() if attempt.status is not None]
        if not ended:
            return
        workers = set(self._crews.sockets)
        table = self._leftovers.look(ended, self._attempts, self._branches | workers)
        self._leftovers.note_orphans(table, self._attempts, self._branches, workers)
        for attempt in ended:
            left = self._leftovers.of(attempt, table, self._attempts)
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            attempt.left_processes |= bool(left)
            if not left:
                self._finish(attempt)
                self._advance(attempt.slot)

    def _finish(self, attempt: Attempt) -> None:
        """Write down how an attempt ended, give up its claim, tell the server."""
        del self._attempts[attempt.pid]
        end, started = end_of(attempt), attempt.is_started()
        if started:
            with contextlib.suppress(OSError):
                add_to_claim(attempt.claim, "exit", end)
        if attempt.status == 0 and not attempt.shares_folder and not attempt.left_processes:
            self._spares.collect(attempt)
        os.close(attempt.claim)
        can_wait = attempt.is_brief and attempt.status == 0 and self._lines.length(attempt.slot) >= _AT_HAND_MIN
        tell = self.reports.tell_soon if can_wait else self.reports.tell
        tell(id=attempt.id, event="exited" if started else "gone", **end)
