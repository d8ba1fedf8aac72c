"""The warm process that task processes are forked from; run as a plain script by the interpreter that tasks run in.

It imports the SDK and the user's code once, then forks a child for each attempt: about 13 ms instead of 0.5 s. It also
runs any other command, by exec. It imports nothing of flyte_kernel, since that interpreter need not have it.

It is the supervisor of its children and outlives the server if it must. An attempt's folder holds

    claim        locked (flock) from before the fork until exit.json is written, by this process and the attempt's
    launch.json  {"pid", "start_time"}, written before user code can run
    exit.json    {"exit_code"} or {"signal"}, written when the process and all it left behind are gone
    log.txt      what it printed
    work/ tmp/   where it ran, removed when it ends by itself

so whoever holds the claim is the only one who may run the attempt, and whoever finds exit.json knows how it ended. When
the control socket closes, no new work is taken, the children are seen to their end, and then it ends itself.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import importlib
import json
import os
import random
import select
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

MESSAGE_BYTES_MAX = 192 * 1024
IMPORT_TIMEOUT_S = 60
SDK = "flytekit.bin.entrypoint"
# What the SDK imports late in every task when its raw data lives in an S3-compatible store.
OPTIONAL = ("s3fs",)
PRELOADED = (SDK, *OPTIONAL)
UNSAFE_THREADS = ("grpc", "event_engine")
ENTRYPOINTS = {"pyflyte-execute": "execute_task_cmd", "pyflyte-map-execute": "map_execute_task_cmd"}
_PR_SET_CHILD_SUBREAPER = 36
_BUSY, _ENDED, _STARTED, _EXITED = "busy", "ended", "started", "exited"


class Child:
    """A running attempt."""

    def __init__(self, name: str, folder: Path, claim: int) -> None:
        self.name = name
        self.folder = folder
        self.claim = claim


class Zygote:
    """Takes requests from the control socket, forks, waits, writes down how it ended."""

    def __init__(self, control: socket.socket) -> None:
        self.control: socket.socket | None = control
        self.children: dict[int, Child] = {}
        self.imported: set[str] = set()
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Work until the server is gone and the last child has ended."""
        while self.control is not None or self.children:
            watched: list[Any] = [self.wake_read]
            if self.control is not None:
                watched.append(self.control)
            ready, _, _ = select.select(watched, [], [])
            if self.wake_read in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self.wake_read, 4096)
                self.reap()
            if self.control is not None and self.control in ready:
                self.receive()

    def receive(self) -> None:
        """Take one request."""
        assert self.control is not None
        try:
            data = self.control.recv(MESSAGE_BYTES_MAX)
        except ConnectionError:
            data = b""
        if not data:
            self.control.close()
            self.control = None
            return
        request = json.loads(data)
        try:
            self.launch(request)
        except Exception as error:
            self.send({"name": request["name"], "event": "failed", "message": f"{type(error).__name__}: {error}"})

    def send(self, message: dict[str, Any]) -> None:
        """Tell the server, if there still is one."""
        if self.control is not None:
            with contextlib.suppress(OSError):
                self.control.send(json.dumps(message).encode())

    def launch(self, request: dict[str, Any]) -> None:
        """Claim the attempt and fork its process, unless another has it or it has ended already."""
        folder = Path(request["folder"])
        claim = os.open(folder / "claim", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
            self.send({"name": request["name"], "event": _BUSY})
            return
        if (folder / "exit.json").exists():
            os.close(claim)
            self.send({"name": request["name"], "event": _ENDED})
            return
        in_process = request["entrypoint"] in ENTRYPOINTS and self.is_warm(request.get("module"))
        go_read, go_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(go_write)
            self.be_child(request, folder, go_read, claim, in_process=in_process)
        os.close(go_read)
        self.children[pid] = Child(request["name"], folder, claim)
        write_json(folder / "launch.json", {"pid": pid, "start_time": start_time(pid)})
        os.close(go_write)
        self.send({"name": request["name"], "event": _STARTED, "pid": pid, "start_time": start_time(pid)})

    def is_warm(self, module: str | None) -> bool:
        """Import SDK and user code once; False if forking would be unsafe because something started threads."""
        for name in (*PRELOADED, module):
            if name and name not in self.imported:
                self.imported.add(name)
                import_within_limit(name, quiet=name in OPTIONAL)
        return SDK in sys.modules and not has_unsafe_threads()

    def be_child(self, request: dict[str, Any], folder: Path, go: int, claim: int, *, in_process: bool) -> None:
        """In the child: become the attempt's process; never returns."""
        code = 1
        try:
            os.setsid()
            become_task(request, folder)
            os.set_inheritable(claim, True)  # whatever the attempt leaves running keeps it claimed
            os.read(go, 1)  # returns when launch.json is written
            os.close(go)
            if in_process:
                code = run_entrypoint(request["entrypoint"], request["arguments"])
            else:
                os.execvpe(request["command"][0], request["command"], request["environment"])
        except FileNotFoundError as error:
            print(f"cannot run {request['command'][0]}: {error}", file=sys.stderr)
            code = 127
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
                remove_scratch(folder)
            os._exit(code)

    def reap(self) -> None:
        """Collect every child that has ended, orphans of attempts included."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = self.children.pop(pid, None)
            if child is not None:
                self.end(pid, child, status)

    def end(self, pid: int, child: Child, status: int) -> None:
        """Make sure that nothing of the attempt is left, write down how it ended, give up the claim."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        end_stragglers(child, {pid, *self.children})
        result = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"exit_code": os.WEXITSTATUS(status)}
        with contextlib.suppress(OSError):
            write_json(child.folder / "exit.json", result)
        os.close(child.claim)
        self.send({"name": child.name, "event": _EXITED, **result})


def has_unsafe_threads() -> bool:
    """Whether threads run that a fork would tear from their locks.

    Native pools of BLAS and memory allocators prepare for forks by themselves; Python's threads and gRPC's do not.
    """
    if threading.active_count() > 1:
        return True
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            if task.joinpath("comm").read_text().startswith(UNSAFE_THREADS):
                return True
    return False


def import_within_limit(module: str, *, quiet: bool) -> None:
    """Import a module; if it fails or hangs, leave it to the child to say so in its own words."""

    def give_up(*_: object) -> None:
        raise TimeoutError(f"importing {module} took more than {IMPORT_TIMEOUT_S} s")

    previous = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(IMPORT_TIMEOUT_S)
    try:
        importlib.import_module(module)
    except BaseException as error:
        if not quiet:
            print(f"zygote: {module} was not imported: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def become_task(request: dict[str, Any], folder: Path) -> None:
    """Give the forked process signals, output, environment, folder and randomness of its own."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    if "" not in sys.path:
        sys.path.insert(0, "")
    random.seed()
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


def run_entrypoint(entrypoint: str, arguments: list[str]) -> int:
    """Call the SDK's own command in this process; return its exit code."""
    command = getattr(importlib.import_module(SDK), ENTRYPOINTS[entrypoint])
    sys.argv = [entrypoint, *arguments]
    code: Any = 0
    try:
        command.main(args=arguments, prog_name=entrypoint)
    except SystemExit as leave:
        code = leave.code
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0)


def remove_scratch(folder: Path) -> None:
    """Remove what an attempt had for itself."""
    os.chdir("/")
    for name in ("work", "tmp"):
        shutil.rmtree(folder / name, ignore_errors=True)


def start_time(pid: int) -> int:
    """Return when a process started, in ticks since boot: with the pid it names a process for ever. 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def end_stragglers(child: Child, known: set[int]) -> None:
    """Kill what left the attempt's process group: as subreaper this process became its parent, or an ancestor."""
    claim = str(child.folder / "claim")
    marker = f"FLYTE_KERNEL_ATTEMPT={child.name}".encode()
    while True:
        found = [pid for pid in descendants(os.getpid(), known) if belongs(pid, claim, marker)]
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def descendants(pid: int, known: set[int]) -> list[int]:
    """Return the processes below one, without those below the running attempts in `known`."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                if child not in known:
                    found += [child, *descendants(child, known)]
    return found


def belongs(pid: int, claim: str, marker: bytes) -> bool:
    """Whether a live process holds an attempt's claim or carries its mark in the environment."""
    root = Path(f"/proc/{pid}")
    try:
        if root.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "ZX":
            return False
        if marker in root.joinpath("environ").read_bytes().split(b"\0"):
            return True
        return any(os.readlink(entry) == claim for entry in root.joinpath("fd").iterdir())  # noqa: PTH115
    except (OSError, IndexError):
        return False


def main() -> None:
    """Serve the control socket whose descriptor is the first argument; the second is the folder of the user's code."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    if len(sys.argv) > 2 and sys.argv[2]:
        sys.path.insert(0, sys.argv[2])
        os.chdir(sys.argv[2])
    # This file's own folder came first on the path and must not shadow anything of the user's.
    own = str(Path(__file__).parent)
    sys.path[:] = [entry for entry in sys.path if entry != own]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Zygote(control).serve()


if __name__ == "__main__":
    main()
