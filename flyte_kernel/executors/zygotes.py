"""The warm processes as the server sees them: started when needed, chosen by what imports may depend on.

A zygote serves all attempts that share the variables which code may read while it is imported. It holds the SDK and the
libraries that attempts on the same user module were seen to import before. A zygote with more libraries is started
beside the one in use and takes over once it is ready, so that a library which hangs, crashes or starts threads while it
is imported costs nothing but that process. Where many attempts would import the same module of the user's, a zygote is
asked to fork a branch, which has imported it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import logging
import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flyte_kernel.executors import zygote
from flyte_kernel.executors.zygote.claims import MARK
from flyte_kernel.executors.zygote.files import write_json

__all__ = ["PROGRAM", "ModuleUse", "UserModule", "ZygoteKey", "ZygotePool", "ZygoteProcess", "environment_in"]

logger = logging.getLogger(__name__)

_BRANCH_AFTER = 16  # attempts that agree in all that a module may see; a branch costs as much as two of them
_BRANCH_IDLE_S = 30.0
_ALIKE_MAX = 1000  # kinds of attempts that are counted
_ZYGOTES_MAX = 8  # each holds the SDK and libraries, some 100 MB
_IDLE_S = 600.0
_READY_WITHIN_S = 60.0  # the SDK takes half a second, heavy libraries ten
_DEATHS_MAX = 2  # before a kind of zygote is given up
_LESSONS_MAX = 4  # zygotes are not replaced for ever by ones that know a little more
# What differs from attempt to attempt, or is read by the SDK at run time only, and so cannot matter to imports.
_RUN_TIME_PREFIXES = ("FLYTE_INTERNAL_", "_F_", "BATCH_JOB_ARRAY_", "FLYTE_K8S_ARRAY_")
_RUN_TIME_NAMES = frozenset(
    {"FLYTE_ATTEMPT_NUMBER", "FLYTE_EXECUTION_URL", "FLYTE_MAX_ATTEMPTS", "FLYTE_START_TIME", "HOME", "TMPDIR"}
)
# Those of them that differ from attempt to attempt even where task and execution are the same.
_OWN_NAMES = frozenset(
    {
        *("BATCH_JOB_ARRAY_INDEX_VAR_NAME", "FLYTE_K8S_ARRAY_INDEX", MARK, "HOME", "TMPDIR"),
        *("FLYTE_ATTEMPT_NUMBER", "FLYTE_EXECUTION_URL", "FLYTE_MAX_ATTEMPTS", "FLYTE_START_TIME"),
    }
)
# The library with which the SDK reaches a store, by the variable that says where it is.
_STORE_LIBRARIES = {"FLYTE_AWS_ENDPOINT": "s3fs"}
PROGRAM = str(Path(zygote.__file__).with_name("__main__.py"))
_SPAWN_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True, slots=True)
class UserModule:
    """A module by name and the folder of the registered code that has it."""

    name: str
    code: str


@dataclass(frozen=True, slots=True)
class ModuleUse:
    """What attempts agree in that could share a branch: the module and all variables but those of their own."""

    environment: frozenset[tuple[str, str]]
    module: UserModule

    @classmethod
    def of(cls, environment: Mapping[str, str], module: UserModule) -> ModuleUse:
        """Return it for an attempt with all its variables."""
        return cls(frozenset(item for item in environment.items() if not _is_own(item[0], environment)), module)


@dataclass(frozen=True, slots=True)
class ZygoteKey:
    """What attempts must share to be forked from one process; `libraries` is None for one that only runs programs.

    With a `module` it is that of a branch, whose environment is a ModuleUse's.
    """

    environment: frozenset[tuple[str, str]]
    libraries: tuple[str, ...] | None
    module: UserModule | None = None


def environment_in(folder: Path, shared: Mapping[str, str], *, has_code: bool) -> dict[str, str]:
    """Return what code that is at home in `folder` sees, with `has_code` also of itself on the path."""
    work = str(folder / "work")
    environment = {**shared, "HOME": work, "TMPDIR": str(folder / "tmp")}
    if has_code:
        # After what is there, as the SDK's own fast entrypoint does.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), work)))
    return environment


@dataclass(eq=False, slots=True)
class ZygoteProcess:
    """A running zygote; `attempts` are those that were given to it and have not ended, by number.

    `pid` is None for a branch, which is a child of another zygote.
    """

    key: ZygoteKey
    pid: int | None
    folder: Path
    control: socket.socket
    reports: int
    attempts: dict[int, Any] = field(default_factory=dict)
    is_ready: bool = False
    used_at: float = field(default_factory=time.monotonic)
    outgoing: bytearray = field(default_factory=bytearray)
    _incoming: bytes = b""

    @classmethod
    def start(cls, key: ZygoteKey, python: Path, folder: Path, log: Path) -> ZygoteProcess:
        """Start one that outlives this process for as long as it has children; OSError if it cannot be started."""
        (folder / "tmp").mkdir(parents=True)
        (folder / "preload.json").write_text(json.dumps(key.libraries or ()))
        environment = {**dict(key.environment), "HOME": str(folder), "TMPDIR": str(folder / "tmp")}
        mode = "plain" if key.libraries is None else "sdk"
        with _channels() as (control, reports, control_theirs, reports_theirs):
            pid = os.posix_spawn(
                python,
                [str(python), PROGRAM, str(folder), mode],
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, control_theirs, 0),
                    (os.POSIX_SPAWN_DUP2, reports_theirs, 1),
                    (os.POSIX_SPAWN_OPEN, 2, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_SPAWN_SIGNALS,
            )
        return cls(key, pid, folder, control, reports)

    def branch(self, key: ZygoteKey, folder: Path, command: Sequence[str]) -> ZygoteProcess | None:
        """Have this zygote fork one for the module of `key` and commands like `command`; None if that cannot be now."""
        assert key.module is not None
        self.flush()
        if self.outgoing:
            return None
        (folder / "tmp").mkdir(parents=True)
        try:
            with _channels() as (control, reports, *theirs):
                socket.send_fds(self.control, [b"\n"], theirs)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        self.leave(
            {
                "do": "branch",
                "folder": str(folder),
                "code": key.module.code,
                "module": key.module.name,
                "command": command,
                "environment": environment_in(folder, dict(key.environment), has_code=True),
                "varying": sorted(_OWN_NAMES),
            }
        )
        self.flush()
        return ZygoteProcess(key, None, folder, control, reports)

    def leave(self, request: Mapping[str, Any]) -> None:
        """Leave a request, which goes out with the next `flush`es."""
        self.outgoing += json.dumps(request).encode() + b"\n"

    def flush(self) -> None:
        """Send what the zygote can take now; a zygote that is gone is noticed where its reports are read."""
        with contextlib.suppress(OSError):
            while self.outgoing:
                del self.outgoing[: self.control.send(self.outgoing)]

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the reports that have arrived, and whether there may be more."""
        try:
            data = os.read(self.reports, 1 << 16)
        except BlockingIOError:
            return [], True
        *lines, self._incoming = (self._incoming + data).split(b"\n")
        return [json.loads(line) for line in lines], bool(data)

    def let_go(self) -> None:
        """Tell it that there is no more work: it sees its children to their end and goes."""
        self.control.close()

    def bury(self) -> None:
        """Free what a zygote that has closed its reports had."""
        self.let_go()
        os.close(self.reports)
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)


class ZygotePool:
    """Starts, chooses and retires zygotes; its owner reads their reports where `selector` says that there are some."""

    def __init__(
        self, folder: Path, python: Path, environment: Mapping[str, str], selector: selectors.BaseSelector
    ) -> None:
        self._folder = folder
        self._python = python
        self._plain = ZygoteKey(frozenset(environment.items()), None)
        self._selector = selector
        self._zygotes: dict[ZygoteKey, ZygoteProcess] = {}
        self._retired: set[ZygoteProcess] = set()
        self._numbers = itertools.count(1)
        self._libraries: dict[str, tuple[str, ...]] = {}
        self._lessons: dict[str, int] = {}
        self._deaths: dict[ZygoteKey, int] = {}
        self._alike: dict[ModuleUse, int] = {}

    def open(self) -> None:
        """Make the folders and remove those of zygotes that are gone."""
        for name in ("zygotes", "libraries"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        for folder in (self._folder / "zygotes").iterdir():
            if not _is_locked(folder / "lock"):
                shutil.rmtree(folder, ignore_errors=True)

    def choose(self, environment: Mapping[str, str], module: str, *, uses_sdk: bool) -> ZygoteProcess:
        """Return the zygote for an attempt, the best of those that are ready if there is any; OSError if none starts.

        `module` is the user's module or empty; without `uses_sdk` any program can be run.
        """
        wishes = [self._plain]
        if uses_sdk:
            stable = frozenset((name, value) for name, value in environment.items() if not _is_run_time(name))
            base = tuple(library for name, library in _STORE_LIBRARIES.items() if name in environment)
            known = self._libraries_of(module)
            learned = (*base, *(library for library in known if library not in base))
            wishes = [ZygoteKey(stable, learned), ZygoteKey(stable, base), *wishes]
        key = next((key for key in wishes if not self._is_given_up(key)), wishes[-1])
        wanted = self._zygotes.get(key) or self._start(key)
        chosen = wanted if wanted.is_ready else self._substitute(key) or wanted
        chosen.used_at = time.monotonic()
        return chosen

    def branch_of(self, process: ZygoteProcess, use: ModuleUse, command: Sequence[str]) -> ZygoteProcess:
        """Return the branch of a zygote for many attempts on one module, or `process` where there is none to use.

        `command` is that of one of these attempts.
        """
        key = ZygoteKey(use.environment, process.key.libraries, use.module)
        branch = self._zygotes.get(key)
        if branch is None and self._alike.get(use, 0) >= _BRANCH_AFTER and process.is_ready:
            branch = self._branch(process, key, command)
        if branch is None or not branch.is_ready:
            return process
        branch.used_at = time.monotonic()
        return branch

    def count(self, use: ModuleUse) -> None:
        """Count an attempt that was given to a zygote."""
        self._alike[use] = self._alike.pop(use, 0) + 1
        if len(self._alike) > _ALIKE_MAX:
            del self._alike[next(iter(self._alike))]

    def _branch(self, process: ZygoteProcess, key: ZygoteKey, command: Sequence[str]) -> ZygoteProcess | None:
        if self._is_given_up(key) or len(self._zygotes) >= _ZYGOTES_MAX:
            return None
        branch = process.branch(key, self._new_folder(), command)
        if branch is not None:
            self._enter(branch)
        return branch

    def learn(self, module: str, libraries: Sequence[str]) -> None:
        """Remember libraries that an attempt on a module had to import."""
        known = self._libraries_of(module)
        fresh = [library for library in libraries if library not in known]
        if fresh and self._lessons.get(module, 0) < _LESSONS_MAX:
            self._lessons[module] = self._lessons.get(module, 0) + 1
            self._libraries[module] = (*known, *fresh)
            with contextlib.suppress(OSError):
                write_json(self._libraries_path(module), self._libraries[module])

    def on_ready(self, process: ZygoteProcess, *, fit: bool) -> None:
        """Note that a zygote serves now, or that it must not fork and goes away."""
        process.is_ready = fit
        if not fit:
            self._deaths[_kind_of(process.key)] = _DEATHS_MAX

    def on_end(self, process: ZygoteProcess) -> None:
        """Forget a zygote that has closed its reports; the attempts it still had are the owner's to look after."""
        if not process.is_ready and not self._is_given_up(process.key):
            kind = _kind_of(process.key)
            self._deaths[kind] = self._deaths.get(kind, 0) + 1
            logger.warning("a warm process ended before it was ready; see %s", self._folder / "zygotes.log")
        self._forget(process)

    def retire(self) -> None:
        """Let go of idle zygotes that are too many or too old, and kill those that never got ready."""
        now = time.monotonic()
        for process in list(self._zygotes.values()):
            if not process.is_ready and process.pid is not None and now - process.used_at > _READY_WITHIN_S:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        idle = sorted((z for z in self._zygotes.values() if z.is_ready and not z.attempts), key=lambda z: z.used_at)
        surplus = len(self._zygotes) - _ZYGOTES_MAX
        for position, process in enumerate(idle):
            patience_s = _IDLE_S if process.key.module is None else _BRANCH_IDLE_S
            if position < surplus or now - process.used_at >= patience_s:
                del self._zygotes[process.key]
                self._retired.add(process)
                process.let_go()

    def __len__(self) -> int:
        return len(self._zygotes)

    def __contains__(self, process: ZygoteProcess) -> bool:
        return process in self._retired or self._zygotes.get(process.key) is process

    def close(self) -> None:
        """Let all go and wait for the idle ones to end."""
        processes = [*self._zygotes.values(), *self._retired]
        for process in processes:
            process.let_go()
        for process in processes:
            if process.attempts or not process.is_ready:
                self._selector.unregister(process.reports)
                os.close(process.reports)
            else:
                os.set_blocking(process.reports, True)
                while process.receive()[1]:
                    pass
                self._forget(process)

    def _start(self, key: ZygoteKey) -> ZygoteProcess:
        process = ZygoteProcess.start(key, self._python, self._new_folder(), self._folder / "zygotes.log")
        self._enter(process)
        return process

    def _is_given_up(self, key: ZygoteKey) -> bool:
        return self._deaths.get(_kind_of(key), 0) >= _DEATHS_MAX

    def _new_folder(self) -> Path:
        return self._folder / "zygotes" / f"{os.getpid()}-{next(self._numbers)}"

    def _enter(self, process: ZygoteProcess) -> None:
        self._zygotes[process.key] = process
        self._selector.register(process.reports, selectors.EVENT_READ, process)

    def _substitute(self, key: ZygoteKey) -> ZygoteProcess | None:
        """Return the ready zygote that lacks the fewest libraries of the wanted one."""
        wanted = set(key.libraries or ())
        fit = [
            process
            for process in self._zygotes.values()
            if process.is_ready
            and process.key.environment == key.environment
            and process.key.module is None
            and process.key.libraries is not None
            and wanted.issuperset(process.key.libraries)
        ]
        return max(fit, key=lambda process: len(process.key.libraries or ()), default=None)

    def _forget(self, process: ZygoteProcess) -> None:
        self._selector.unregister(process.reports)
        if self._zygotes.get(process.key) is process:
            del self._zygotes[process.key]
        self._retired.discard(process)
        process.bury()

    def _libraries_of(self, module: str) -> tuple[str, ...]:
        if module not in self._libraries:
            try:
                known = json.loads(self._libraries_path(module).read_text())
            except (OSError, ValueError):
                known = ()
            self._libraries[module] = tuple(str(name) for name in known)
        return self._libraries[module]

    def _libraries_path(self, module: str) -> Path:
        return self._folder / "libraries" / f"{hashlib.sha256(module.encode()).hexdigest()[:32]}.json"


def _is_run_time(name: str) -> bool:
    return name in _RUN_TIME_NAMES or name == MARK or name.startswith(_RUN_TIME_PREFIXES)


def _kind_of(key: ZygoteKey) -> ZygoteKey:
    """Return what a zygote's fate is remembered by: the next execution of a module would share a branch's."""
    return key if key.module is None else replace(key, environment=frozenset())


@contextlib.contextmanager
def _channels() -> Iterator[tuple[socket.socket, int, int, int]]:
    """Make a control socket and a reports pipe: our ends, which stay open unless this fails, and then theirs."""
    ours, theirs = socket.socketpair()
    reports, reports_theirs = os.pipe2(os.O_CLOEXEC)
    ours.setblocking(False)
    os.set_blocking(reports, False)
    try:
        yield ours, reports, theirs.fileno(), reports_theirs
    except BaseException:
        ours.close()
        os.close(reports)
        raise
    finally:
        theirs.close()
        os.close(reports_theirs)


def _is_own(name: str, environment: Mapping[str, str]) -> bool:
    return name in _OWN_NAMES or name == environment.get("BATCH_JOB_ARRAY_INDEX_VAR_NAME")


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return error.errno != errno.ENOENT
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
