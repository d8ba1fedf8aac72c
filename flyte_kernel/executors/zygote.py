"""The warm process that attempts are forked from and supervised by; a plain script for the interpreter of the tasks.

It imports the SDK once, and the libraries that earlier attempts needed, then forks a child for each attempt: some 13 ms
instead of 0.5 s. Any other command is run by exec. User code is imported by the child alone: an attempt starts from the
registered code, its own environment and a copy of its own, and what an import breaks stays in that attempt. Where many
attempts of one environment want the same module, a branch does better: a zygote, forked of this one, that has imported
that module too, if attempts cannot tell (see user_module). Nothing of flyte_kernel is imported, since that interpreter
need not have it.

A zygote outlives the server if it must. An attempt's folder holds

    claim       locked (flock) from before the fork until its end is written down, by zygote and attempt; holds lines of
                {"launch": which process it is and which its zygote}, added by that process before user code can run,
                {"exit": {"exit_code", "signal", "aborted"}}, added when it and all that it left behind are gone
    log.txt     what it printed
    work/ tmp/  where it ran, removed or handed on when it ends by itself

so whoever holds the claim is the only one who may run the attempt, and whoever finds an exit there knows how it ended.
One file, since making one is the dearest thing that an attempt asks of a disk. When the server closes the control
socket (standard input), no new work is taken, the children are seen to their end, and then the zygote ends too. Reports
go to a pipe (standard output) as lines of at most PIPE_BUF bytes, which children and zygote may write side by side.
"""

from __future__ import annotations

import atexit
import collections
import contextlib
import ctypes
import fcntl
import gc
import importlib
import importlib.util
import inspect
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

__all__ = ["MARK", "Process", "add_to_claim", "process_table", "read_claim", "start_time", "write_json"]

MARK = "FLYTE_KERNEL_ATTEMPT"
SDK = "flytekit.bin.entrypoint"
MAP_COMMAND = "pyflyte-map-execute"
ENTRYPOINTS = {"pyflyte-execute": "execute_task_cmd", MAP_COMMAND: "map_execute_task_cmd"}
SHORTCUTS = ("inline_loop", "transfers", "lazy_store", "lazy_checkpoint", "stack_frames")
# Below this many new modules another warm process, which costs half a second to start, would not pay.
IMPORTS_WORTH_REPORTING = 5
# Threads that may live on through a fork: jemalloc prepares for forks by itself. BLAS ends its threads before one.
THREADS_MADE_FOR_FORKS = frozenset({"jemalloc_bg_thd"})
# The kernel's victim under memory pressure shall be a task, not a server: half of the scale of 1000.
OOM_SCORE = 500
MESSAGE_CHARACTERS_MAX = 600
CLAIM_BYTES_MAX = 1 << 16
RECHECK_S = 0.02
UNTOLD_S = 0.05
IMPORTED_WITHIN_S = 60.0
# After this time process ids may have wrapped around, so that younger processes may have smaller ones.
YOUNG_S = 10.0
LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


class Process(NamedTuple):
    """A line of the process table."""

    state: str
    parent: int
    session: int
    start_time: int


def read_process(pid: int) -> Process | None:
    """Return what /proc says about a process, None if it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return Process(fields[0], int(fields[1]), int(fields[3]), int(fields[19]))


def process_table(pid_min: int = 0) -> dict[int, Process]:
    """Return the processes of this machine whose id is at least `pid_min`."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208
    found = ((pid, read_process(pid)) for pid in pids if pid >= pid_min)
    return {pid: process for pid, process in found if process is not None}


def children() -> set[int]:
    """Return the child processes of this process, {0} if this machine does not list them.

    While nobody else waits for them, none that is there is left out.
    """
    try:
        return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
    except OSError:
        return {0}


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot, 0 if it is gone: with pid and boot it names a process."""
    process = read_process(pid)
    return 0 if process is None or process.state in "ZX" else process.start_time


def boot_id() -> str:
    """Return what names the time since the machine started."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def bears_mark(pid: int, folder: Path) -> bool:
    """Say whether a process holds the claim of the attempt in `folder` or carries its mark in the environment."""
    root = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if f"{MARK}={folder.name}".encode() in root.joinpath("environ").read_bytes().split(b"\0"):
            return True
        claim = str(folder / "claim")
        return any(os.readlink(entry) == claim for entry in root.joinpath("fd").iterdir())  # noqa: PTH115
    return False


def with_descendants(roots: set[int], table: dict[int, Process]) -> set[int]:
    """Return `roots` and all processes below them."""
    found, size = set(roots), -1
    while size != len(found):
        size = len(found)
        found |= {pid for pid, process in table.items() if process.parent in found}
    return found


def write_json(path: Path, content: Any) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def add_to_claim(claim: int, kind: str, content: Any) -> None:
    """Add a line to an open claim, in one system call."""
    os.write(claim, json.dumps({kind: content}).encode() + b"\n")


def read_claim(claim: int) -> dict[str, Any]:
    """Return what the lines of an open claim say, by kind; user code that has the descriptor may have added others."""
    said: dict[str, Any] = {}
    for line in os.pread(claim, CLAIM_BYTES_MAX, 0).splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            said.update(json.loads(line).items())
    return said


class Attempt:
    """An attempt from its fork until its end is written down; `status` is what waitpid said."""

    def __init__(self, request: dict[str, Any], claim: int) -> None:
        self.id: int = request["id"]
        self.slot: int = request["slot"]
        self.folder = Path(request["folder"])
        self.claim = claim
        self.pid = 0
        self.forked_at = time.monotonic()
        self.aborted = False
        self.code: str = request["code"]
        # None once it was told that it has started; elements may end before it is worth telling.
        self.tell_at: float | None = self.forked_at + UNTOLD_S if request["brief"] else None
        self.shares_folder = bool(request["crew"])  # work/ goes on to be used by others
        self.has_copy = False  # of the code, handed on by another attempt
        self.has_scratch = False  # likewise
        self.uses_sdk = request["command"][0] in ENTRYPOINTS
        self.began_ns = 0  # in its own process: when its launch was written down
        self.left_processes = False
        self.kill_at: float | None = None
        self.status: int | None = None


class Zygote:
    """Takes requests, forks, waits, ends what attempts leave behind and writes down how they ended."""

    def __init__(self, folder: Path, control: int, reports: int, lock: int, *, warm: bool) -> None:
        self.control: socket.socket | None = socket.socket(fileno=control)
        self.received_descriptors: collections.deque[int] = collections.deque()
        self.reports = reports
        self.lock = lock
        self.identity = {"supervisor": os.getpid(), "supervisor_start_time": start_time(os.getpid()), "boot": boot_id()}
        self.warm = warm
        self.modules = len(sys.modules)
        self.received = b""
        self.attempts: dict[int, Attempt] = {}  # by process id
        self.lines: dict[int, collections.deque[dict[str, Any]]] = {}  # requests that wait for the end of another's
        self.crews = sibling("crew").Crews()
        self.spares = sibling("spares").Spares(folder)
        self.branches: set[int] = set()  # zygotes that were forked of this one
        self.work = ""  # where modules of the user's were imported from
        self.own_modules: frozenset[str] = frozenset()  # their names
        self.orphans: dict[int, set[int]] = {}  # of unknown attempt: the attempts that ran when they were seen first
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Work until the server is gone and the last child has ended."""
        while self.control is not None or self.attempts:
            poll = select.poll()
            workers = {worker.fileno(): pid for pid, worker in self.crews.sockets.items()}
            control = None if self.control is None else self.control.fileno()
            for descriptor in (self.wake_read, control, *workers):
                if descriptor is not None:
                    poll.register(descriptor, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(self.patience_ms())}
            if self.wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 4096)
            for descriptor in ready & workers.keys():
                self.on_worker(workers[descriptor])
            if control in ready:
                self.receive()
            self.crews.dismiss(everybody=self.control is None)
            self.reap()
            self.kill_overdue()
            self.clear()
            self.tell_started()

    def patience_ms(self) -> float | None:
        """Return how long nothing need be looked at unless something happens."""
        running = self.attempts.values()
        moments = [at for attempt in running for at in (attempt.kill_at, attempt.tell_at) if at is not None]
        if any(attempt.status is not None for attempt in self.attempts.values()):
            moments.append(time.monotonic() + RECHECK_S)
        if (dismissal := self.crews.next_dismissal()) is not None:
            moments.append(dismissal)
        return max(0.0, min(moments) - time.monotonic()) * 1000 if moments else None

    def receive(self) -> None:
        """Take the requests that have arrived; none is taken of a server that is gone."""
        assert self.control is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self.control, 1 << 20, 16, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            data, descriptors = b"", []
        self.received_descriptors += descriptors
        if not data:
            self.control.close()
            self.control = None
            self.lines.clear()
            return
        *lines, self.received = (self.received + data).split(b"\n")
        for line in filter(None, lines):  # an empty one carries descriptors
            request = json.loads(line)
            if request["do"] == "abort":
                self.abort(request["id"], request["grace_s"])
            elif request["do"] == "move":
                self.move(request["id"], request["slot"])
            elif request["do"] == "branch":
                self.branch(request)
            else:
                self.lines.setdefault(request["slot"], collections.deque()).append(request)
                self.advance(request["slot"])

    def branch(self, request: dict[str, Any]) -> None:
        """Fork another zygote, which imports a user's module and serves the server by descriptors of its own."""
        control, reports = (self.received_descriptors.popleft() for _ in range(2))
        try:
            pid = fork()
        except OSError as error:
            print(f"zygote: no other one could be forked: {error}", file=sys.stderr)
            pid = -1
        if pid == 0:
            self.become_zygote(request, control, reports)
        os.close(control)
        os.close(reports)
        self.branches.add(pid)

    def become_zygote(self, request: dict[str, Any], control: int, reports: int) -> NoReturn:
        """Be the zygote for one module of the user's from here on."""
        try:
            self.leave_zygote()
            os.close(self.reports)
            os.setsid()
            serve_module(request, control, reports)
        except BaseException:
            traceback.print_exc()
        os._exit(0)

    def report(self, **message: Any) -> None:
        """Tell the server, if there still is one."""
        with contextlib.suppress(OSError):
            os.write(self.reports, json.dumps(message).encode() + b"\n")

    def advance(self, slot: int) -> None:
        """Launch the next attempt of a line, unless one of it runs."""
        line = self.lines.get(slot)
        while line and not any(attempt.slot == slot for attempt in self.attempts.values()):
            self.launch(line.popleft())
        if not line:
            self.lines.pop(slot, None)

    def withdraw(self, id_: int) -> dict[str, Any] | None:
        """Take a waiting request out of its line and return it."""
        for line in self.lines.values():
            for request in line:
                if request["id"] == id_:
                    line.remove(request)
                    return request
        return None

    def move(self, id_: int, slot: int) -> None:
        """Let an attempt have another, free slot, whether it waits or has come to run meanwhile."""
        request = self.withdraw(id_)
        if request is not None:
            self.lines[slot] = collections.deque([{**request, "slot": slot}])
            self.advance(slot)
        for attempt in self.attempts.values():
            if request is None and attempt.id == id_:
                left, attempt.slot = attempt.slot, slot
                self.advance(left)
                return

    def launch(self, request: dict[str, Any]) -> None:
        """Claim the attempt and fork its process, unless another has it or it has ended already."""
        try:
            claim = claim_attempt(Path(request["folder"]))
        except OSError as error:
            self.refuse(request["id"], error)
            self.report(id=request["id"], event="gone")
            return
        if claim is None:
            self.report(id=request["id"], event="lost")
            return
        attempt = Attempt(request, claim)
        worker = self.crews.hand_over(request, claim) if request["crew"] else None
        if worker is not None:
            attempt.pid = worker
            self.attempts[worker] = attempt
            return
        self.spares.furnish(attempt)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) if request["crew"] else (None, None)
        try:
            attempt.pid = fork()
        except OSError as error:
            os.close(claim)
            self.refuse(attempt.id, error)
            self.report(id=attempt.id, event="gone")
            return
        if attempt.pid == 0:
            if ours is not None:
                ours.close()
            self.become_attempt(attempt, request, theirs)
        if ours is not None and theirs is not None:
            theirs.close()
            self.crews.add(attempt.pid, request["crew"], ours)
        self.attempts[attempt.pid] = attempt

    def on_worker(self, pid: int) -> None:
        """Write down that a worker's attempt has succeeded; it may have another, unless it was asked to go."""
        if not self.crews.finished(pid):
            return
        attempt = self.attempts[pid]
        attempt.status = 0
        self.finish(attempt)
        if attempt.aborted:
            signal_group(pid, signal.SIGKILL)  # its signal must not reach another attempt
            self.crews.forget(pid)
        else:
            self.crews.rest(pid)
        self.advance(attempt.slot)

    def refuse(self, attempt: int, error: BaseException) -> None:
        """Say why an attempt could not be started."""
        message = f"{type(error).__name__}: {error}"[:MESSAGE_CHARACTERS_MAX]
        self.report(id=attempt, event="refused", message=message)

    # Ending

    def abort(self, id_: int, grace_s: float) -> None:
        """Ask an attempt's processes to go, and see to it that they have gone after `grace_s`."""
        if self.withdraw(id_) is not None:
            self.report(id=id_, event="gone")
            return
        for attempt in self.attempts.values():
            if attempt.id == id_ and not attempt.aborted:
                attempt.aborted = True
                attempt.kill_at = time.monotonic() + grace_s
                signal_group(attempt.pid, signal.SIGTERM)

    def kill_overdue(self) -> None:
        """End what did not go when it was asked to."""
        now = time.monotonic()
        for attempt in self.attempts.values():
            if attempt.kill_at is not None and attempt.kill_at <= now:
                attempt.kill_at = None
                if attempt.status is None:
                    signal_group(attempt.pid, signal.SIGKILL)

    def tell_started(self) -> None:
        """Tell of the attempts that run for a while now and were not told of."""
        now = time.monotonic()
        for attempt in self.attempts.values():
            if attempt.tell_at is not None and attempt.tell_at <= now:
                attempt.tell_at = None if is_started(attempt) else now + UNTOLD_S
                if attempt.tell_at is None:
                    self.report(id=attempt.id, event="started", pid=attempt.pid)

    def reap(self) -> None:
        """Collect every child that has ended, the orphans of attempts included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.orphans.pop(pid, None)
            self.branches.discard(pid)
            if pid in self.crews.sockets:
                self.on_worker(pid)  # it may have said that it has finished before it went
                self.crews.forget(pid)
            if pid in self.attempts:
                self.attempts[pid].status = status
                self.attempts[pid].kill_at = None

    def clear(self) -> None:
        """Kill what ended attempts left behind; finish those of which nothing is left."""
        ended = [attempt for attempt in self.attempts.values() if attempt.status is not None]
        if not ended:
            return
        table = self.strangers(ended)
        self.find_orphans(table)
        for attempt in ended:
            left = self.left_behind(attempt, table)
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            attempt.left_processes |= bool(left)
            if not left:
                self.finish(attempt)
                self.advance(attempt.slot)

    def strangers(self, ended: list[Attempt]) -> dict[int, Process]:
        """Return the processes that may be of attempts that have ended: none if all children here are known."""
        # Whoever lost its parent is a child of this process, its reaper; only who has such children can be below them.
        if children() <= {*self.attempts, *self.branches, *self.crews.sockets}:
            return {}
        return process_table(0 if any(map(may_have_wrapped, ended)) else min(attempt.pid for attempt in ended))

    def find_orphans(self, table: dict[int, Process]) -> None:
        """Note children of attempts that lost their parents, left the session and are not known yet."""
        own, sessions = os.getpid(), {*self.attempts, *self.crews.sockets}
        for pid, process in table.items():
            is_known = pid in self.attempts or pid in self.branches
            if process.parent == own and not is_known and process.session not in sessions:
                marked = {a.pid for a in self.attempts.values() if bears_mark(pid, a.folder)}
                self.orphans.setdefault(pid, marked or sessions)

    def left_behind(self, attempt: Attempt, table: dict[int, Process]) -> set[int]:
        """Return the processes that only an attempt that has ended can have started."""
        roots = {pid for pid, process in table.items() if process.session == attempt.pid}
        running = {pid for pid, other in self.attempts.items() if other.status is None}
        roots |= {pid for pid, owners in self.orphans.items() if attempt.pid in owners and not owners & running}
        return with_descendants(roots, table) - set(self.attempts)

    def finish(self, attempt: Attempt) -> None:
        """Write down how an attempt ended, give up its claim, tell the server."""
        status = attempt.status
        assert status is not None
        del self.attempts[attempt.pid]
        end: dict[str, Any] = {"exit_code": None, "signal": None, "aborted": attempt.aborted}
        if os.WIFSIGNALED(status):
            end["signal"] = os.WTERMSIG(status)
        else:
            end["exit_code"] = os.WEXITSTATUS(status)
        started = is_started(attempt)
        if started:
            with contextlib.suppress(OSError):
                add_to_claim(attempt.claim, "exit", end)
        if status == 0 and not attempt.shares_folder and not attempt.left_processes:
            self.spares.collect(attempt)
        os.close(attempt.claim)
        self.report(id=attempt.id, event="exited" if started else "gone", **end)

    # In the child

    def become_attempt(
        self, attempt: Attempt, request: dict[str, Any], server: socket.socket | None = None
    ) -> NoReturn:
        """Be the attempt's process from here on, and with a socket those of others of its crew."""
        try:
            self.leave_zygote()
            os.setsid()
            prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != self.identity["supervisor"]:
                os._exit(1)
            become_task(attempt, request)
            self.note_start(attempt, request)
        except BaseException as error:
            self.refuse(attempt.id, error)
            os._exit(1)
        code = 1
        try:
            code = self.run(attempt, request, server)
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    def note_start(self, attempt: Attempt, request: dict[str, Any]) -> None:
        """Write down which process this is, then say that it begins, unless the zygote does if it takes a while."""
        own = os.getpid()
        process = {"pid": own, "start_time": start_time(own), "key": request["key"]}
        add_to_claim(attempt.claim, "launch", {**process, **self.identity})
        attempt.began_ns = os.fstat(attempt.claim).st_ctime_ns
        if attempt.tell_at is None:
            self.report(id=attempt.id, event="started", pid=own)

    def leave_zygote(self) -> None:
        """Give up what belongs to the zygote and to other attempts."""
        signal.set_wakeup_fd(-1)
        for descriptor in (self.wake_read, self.wake_write, self.lock, *self.received_descriptors):
            os.close(descriptor)
        if self.control is not None:
            self.control.close()
        for other in self.attempts.values():
            os.close(other.claim)
        self.crews.leave()
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        getattr(atexit, "_clear", bool)()  # what the zygote's imports registered is the zygote's to clean up

    def run(self, attempt: Attempt, request: dict[str, Any], server: socket.socket | None) -> int:
        """Run the attempt's command, and what others of its crew are to do; return the last exit code."""
        command = request["command"]
        work = attempt.folder / "work"
        sibling("user_module").move_modules(self.own_modules, self.work, str(work))
        if not self.warm or command[0] not in ENTRYPOINTS or hides_imported(work, self.own_modules):
            return replace_process(command, request["environment"])
        code = call_entrypoint(command)
        self.report_imports(attempt, request["module"])
        if server is not None:
            code = self.work_on(attempt, server, code)
        end_interpreter()
        os.close(self.reports)
        if code == 0:
            os.chdir("/")
            sibling("spares").leave(attempt, sibling("code_copies"), sibling("sdk_folders"))
        return code

    def work_on(self, first: Attempt, server: socket.socket, code: int) -> int:
        """Run attempts for as long as they succeed and there are any."""
        sibling("shortcuts/remembered_tasks").remember()
        with contextlib.suppress(Exception):
            sibling("shortcuts/remembered_inputs").remember(expect)
        worker, attempt = sibling("crew").Worker(server, first.folder, sibling("sdk_folders").empty), first
        while code == 0 and (given := worker.next(attempt.claim)) is not None:
            request, claim = given
            attempt = Attempt(request, claim)
            try:
                worker.begin(request, claim)
                self.note_start(attempt, request)
            except BaseException as error:
                self.refuse(attempt.id, error)
                os._exit(1)
            code = call_entrypoint(request["command"])
        return code

    def report_imports(self, attempt: Attempt, module: str) -> None:
        """Tell the server which libraries the attempt had to import, if they are many."""
        if len(sys.modules) - self.modules < IMPORTS_WORTH_REPORTING:
            return
        # Modules are kept in the order in which they were imported.
        libraries = [name for name in [*sys.modules][self.modules :] if is_library(sys.modules[name])]
        if len(libraries) >= IMPORTS_WORTH_REPORTING:
            with contextlib.suppress(OSError):
                write_json(attempt.folder / "imports.json", libraries)
                self.report(id=attempt.id, event="imports", module=module[:MESSAGE_CHARACTERS_MAX])


def claim_attempt(folder: Path) -> int | None:
    """Return a descriptor that holds the attempt's claim, None if another has it or the attempt was run."""
    claim = os.open(folder / "claim", os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_fresh = os.fstat(claim).st_size == 0
    except BlockingIOError:
        is_fresh = False
    if not is_fresh:
        os.close(claim)
        return None
    return claim


def is_started(attempt: Attempt) -> bool:
    """Say whether the attempt's process came as far as user code."""
    launch = read_claim(attempt.claim).get("launch")
    return isinstance(launch, dict) and launch.get("pid") == attempt.pid


def may_have_wrapped(attempt: Attempt) -> bool:
    """Say whether an attempt's descendants may have smaller process ids than it has."""
    newest = int(Path("/proc/loadavg").read_text().split()[-1])
    return newest < attempt.pid or time.monotonic() - attempt.forked_at > YOUNG_S


def signal_group(pid: int, number: int) -> None:
    """Send a signal to an attempt's process group, or to its process if that has not made its group yet."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def prctl(option: int, argument: int) -> None:
    """Set an attribute of this process; OSError if the kernel refuses."""
    if LIBC.prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")


def fork() -> int:
    """Fork without the interpreter's warning about threads: `quiet_after_fork` has looked at them."""
    if sys.version_info < (3, 12):
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return os.fork()


def become_task(attempt: Attempt, request: dict[str, Any]) -> None:
    """Give the forked process output, environment, folders, code and randomness of its own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE))
    log = os.open(attempt.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    sibling("spares").make_folders(attempt, sibling("code_copies"))
    os.chdir(attempt.folder / "work")
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = os.environ.get("TMPDIR")  # what the module finds out by making a file there
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    os.set_inheritable(attempt.claim, True)  # whatever the attempt leaves running keeps it claimed


def replace_process(command: list[str], environment: dict[str, str]) -> int:
    """Run a program in place of this process; if that fails, return the exit code that a shell would."""
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def hides_imported(work: Path, own: frozenset[str]) -> bool:
    """Say whether registered code has modules of the same name as ones imported here before that are not its `own`."""
    for entry in work.iterdir():
        if (
            entry.stem in sys.modules
            and entry.stem not in own
            and (entry.suffix == ".py" or (entry / "__init__.py").exists())
        ):
            return True
    return False


def call_entrypoint(command: list[str]) -> int:
    """Call the SDK's own command; return the exit code."""
    sibling("user_module").extend_path()
    sys.argv = list(command)
    sys.modules["__main__"] = types.ModuleType("__main__")
    entrypoint = getattr(importlib.import_module(SDK), ENTRYPOINTS[command[0]])
    sibling("sdk_folders").give_folders()
    sibling("shortcuts/inline_loop").inherit()
    lazily = (
        sibling("shortcuts/lazy_literals").lazily_converted if command[0] == MAP_COMMAND else contextlib.nullcontext
    )
    code: Any = 0
    try:
        with lazily():
            sibling("shortcuts/remembered_options").call(entrypoint, command[1:], command[0])
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0) & 0xFF


def end_interpreter() -> None:
    """Do what matters of an interpreter's end: join threads and child processes, call what user code registered."""
    getattr(threading, "_shutdown", bool)()
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        getattr(processes, "_exit_function", bool)()
    getattr(atexit, "_run_exitfuncs", bool)()


def is_library(module: types.ModuleType) -> bool:
    """Say whether a module belongs to the interpreter's environment rather than to the user's code."""
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and origin.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep))


def import_all(modules: list[str]) -> None:
    """Import what can be imported; the rest is left to the attempts, which say in their own words what is wrong."""
    for name in modules:
        import_if_possible(name)


def import_if_possible(name: str) -> None:
    """Import a module or print why not."""
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"zygote: {name} was not imported: {type(error).__name__}: {error}", file=sys.stderr)


def sibling(name: str) -> Any:
    """Return the module in the file of that name beside this one, by its path: no package need be importable here."""
    full = f"flyte_kernel_zygote_{name.replace('/', '_')}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


def take_shortcuts() -> None:
    """Have the SDK do with less what it does for each attempt, as far as it is one that this is known of."""
    for name in SHORTCUTS:
        try:
            sibling(f"shortcuts/{name}").take(expect)
        except Exception as error:
            print(f"zygote: {name} was not taken: {type(error).__name__}: {error}", file=sys.stderr)


def expect(function: Any, *names: str) -> None:
    """Raise TypeError if a function does not take parameters of these names."""
    found = tuple(inspect.signature(function).parameters)
    if found != names:
        raise TypeError(f"{function.__qualname__} takes {', '.join(found)} and not {', '.join(names)}")


def rehearse() -> bool:
    """Let the SDK run attempts of no consequence, so that what it keeps from then on is there for real ones.

    Return whether they came to their ends.
    """
    try:
        return bool(sibling("rehearsal").rehearse(call_entrypoint))
    except BaseException as error:
        print(f"zygote: the SDK did not rehearse: {type(error).__name__}: {error}", file=sys.stderr)
        return False


def quiet_after_fork() -> bool:
    """Say whether no thread remains that a fork would tear from its locks; handlers that end threads have run."""
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    strange = [name for name in names if name not in THREADS_MADE_FOR_FORKS]
    return threading.active_count() == 1 and len(strange) == 1


def take_descriptors() -> tuple[int, int]:
    """Move control socket and reports pipe away from the standard descriptors, which user code may print to."""
    control, reports = (fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3) for descriptor in (0, 1))
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        if int(name) > 2 and int(name) not in (control, reports):
            with contextlib.suppress(OSError):
                os.close(int(name))
    return control, reports


def serve_module(request: dict[str, Any], control: int, reports: int) -> None:
    """In a fork of another zygote: import the module, if nobody can tell, and serve attempts on it."""
    folder = Path(request["folder"])
    lock = take_lock(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = os.environ["TMPDIR"]
    copies = sibling("code_copies")
    copies.copy_folder(request["code"], str(folder / "work"))
    signal.setitimer(signal.ITIMER_REAL, IMPORTED_WITHIN_S)  # ends this process
    against = sibling("user_module").import_module(
        request["module"], request["code"], folder, copies, set(request["varying"])
    )
    if not against:
        tasks = sibling("shortcuts/remembered_tasks")
        tasks.remember()
        tasks.load(request["command"])
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not against and not quiet_after_fork():
        against = "it started threads"
    if against:
        print(f"zygote: {request['module']} is imported by each attempt, since {against}", file=sys.stderr)
    gc.collect()
    gc.freeze()
    zygote = Zygote(folder, control, reports, lock, warm=True)
    zygote.work = str(folder / "work")
    zygote.own_modules = sibling("user_module").modules_below(zygote.work)
    zygote.report(event="ready", fit=not against)
    if not against:
        zygote.serve()
    shutil.rmtree(folder, ignore_errors=True)


def take_lock(folder: Path) -> int:
    """Return a descriptor that holds the lock which says that a zygote's folder is in use."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def begin_unrehearsed(control: int, reports: int, reason: str) -> NoReturn:
    """Begin anew as the same process, which the rehearsal made unfit or showed to be so."""
    print(f"zygote: {reason}, it begins anew without shortcuts and rehearsal", file=sys.stderr)
    os.dup2(control, 0)
    os.dup2(reports, 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:-1], "unrehearsed"])


def main() -> None:
    """Serve; arguments are this zygote's folder and a mode.

    `plain` runs programs, `sdk` also attempts in forks after importing the libraries in preload.json, taking shortcuts
    and a rehearsal, `unrehearsed` does without these two.
    """
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    # This file's own folder came first on the path and must not hide anything of the user's.
    own = str(Path(__file__).parent)
    sys.path[:] = [entry for entry in sys.path if entry != own]
    control, reports = take_descriptors()
    lock = take_lock(folder)
    prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if mode != "plain":
        import_all([SDK, *json.loads((folder / "preload.json").read_text())])
    if SDK in sys.modules and mode == "sdk":
        take_shortcuts()
        if not rehearse():
            begin_unrehearsed(control, reports, "the rehearsal failed")
    quiet = mode == "plain" or quiet_after_fork()
    if not quiet and mode == "sdk":
        begin_unrehearsed(control, reports, "threads remained")
    gc.collect()
    gc.freeze()
    zygote = Zygote(folder, control, reports, lock, warm=SDK in sys.modules)
    zygote.report(event="ready", fit=quiet)
    if quiet:
        zygote.serve()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
