"""What a forked process does to be that of an attempt, and of others of its crew."""

from __future__ import annotations

import atexit
import contextlib
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import types
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from .attempt import Attempt
from .claims import add_to_claim
from .crew import Worker
from .entrypoints import ENTRYPOINTS, call_entrypoint
from .files import write_json
from .processes import die_with_parent, start_time
from .reports import MESSAGE_CHARACTERS_MAX, Reports
from .shortcuts import remembered_inputs, remembered_tasks
from .spares import leave, make_folders
from .user_module import move_modules

__all__ = ["Child", "Heritage"]

# Below this many new modules another warm process, which costs half a second to start, would not pay.
_IMPORTS_WORTH_REPORTING = 5
# The kernel's victim under memory pressure shall be a task, not a server: half of the scale of 1000.
_OOM_SCORE = 500


class Heritage(NamedTuple):
    """What attempts need to know of their zygote."""

    identity: dict[str, Any]
    """Its process id and start time as `supervisor` and `supervisor_start_time`, and the `boot`."""
    warm: bool
    """Whether it has the SDK."""
    modules: int
    """How many it had imported."""
    work: str
    """Where it imported the user's modules from."""
    own_modules: frozenset[str]
    """Their names."""


class Child:
    """The process of one attempt, or of one after the other."""

    def __init__(self, heritage: Heritage, reports: Reports) -> None:
        self._heritage = heritage
        self._reports = reports
        self._own = {"pid": os.getpid(), "start_time": start_time(os.getpid())}

    def live(self, attempt: Attempt, request: dict[str, Any], server: socket.socket | None) -> NoReturn:
        """Be the attempt's process from here on, and with a socket those of others of its crew."""
        try:
            os.setsid()
            die_with_parent(signal.SIGKILL)
            if os.getppid() != self._heritage.identity["supervisor"]:
                os._exit(1)
            _become_task(attempt, request)
            self._note_start(attempt, request)
        except BaseException as error:
            self._reports.refuse(attempt.id, error)
            os._exit(1)
        code = 1
        try:
            code = self._run(attempt, request, server)
        except BaseException:
            traceback.print_exc()
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)

    def _note_start(self, attempt: Attempt, request: dict[str, Any]) -> None:
        """Write down which process this is, then say that it begins, unless the zygote does if it takes a while."""
        add_to_claim(attempt.claim, "launch", {**self._own, "key": request["key"], **self._heritage.identity})
        attempt.began_ns = os.fstat(attempt.claim).st_ctime_ns
        if attempt.tell_at is None:
            self._reports.tell(id=attempt.id, event="started", pid=self._own["pid"])

    def _run(self, attempt: Attempt, request: dict[str, Any], server: socket.socket | None) -> int:
        """Run the attempt's command, and what others of its crew are to do; return the last exit code."""
        command, own_modules = request["command"], self._heritage.own_modules
        work = attempt.folder / "work"
        move_modules(own_modules, self._heritage.work, str(work))
        if not self._heritage.warm or command[0] not in ENTRYPOINTS or _hides_imported(work, own_modules):
            return _replace_process(command, request["environment"])
        code = call_entrypoint(command)
        self._report_imports(attempt, request["module"])
        if server is not None:
            code = self._work_on(attempt, server, code)
        _end_interpreter()
        self._reports.close()
        if code == 0:
            os.chdir("/")
            leave(attempt)
        return code

    def _work_on(self, first: Attempt, server: socket.socket, code: int) -> int:
        """Run attempts for as long as they succeed and there are any."""
        remembered_tasks.remember()
        with contextlib.suppress(Exception):
            remembered_inputs.remember()
        worker, attempt = Worker(server, first.folder), first
        while code == 0 and (given := worker.next(attempt.claim)) is not None:
            request, claim = given
            attempt = Attempt(request, claim)
            try:
                worker.begin(request, claim)
                self._note_start(attempt, request)
            except BaseException as error:
                self._reports.refuse(attempt.id, error)
                os._exit(1)
            code = call_entrypoint(request["command"])
        return code

    def _report_imports(self, attempt: Attempt, module: str) -> None:
        """Tell the server which libraries the attempt had to import, if they are many."""
        if len(sys.modules) - self._heritage.modules < _IMPORTS_WORTH_REPORTING:
            return
        # Modules are kept in the order in which they were imported.
        fresh = [*sys.modules][self._heritage.modules :]
        libraries = [name for name in fresh if _is_library(sys.modules[name])]
        if len(libraries) >= _IMPORTS_WORTH_REPORTING:
            with contextlib.suppress(OSError):
                write_json(attempt.folder / "imports.json", libraries)
                self._reports.tell(id=attempt.id, event="imports", module=module[:MESSAGE_CHARACTERS_MAX])


def _become_task(attempt: Attempt, request: dict[str, Any]) -> None:
    """Give the forked process output, environment, folders, code and randomness of its own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    log = os.open(attempt.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, null), (1, log), (2, log)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    make_folders(attempt)
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


def _replace_process(command: list[str], environment: dict[str, str]) -> int:
    """Run a program in place of this process; if that fails, return the exit code that a shell would."""
    try:
        os.execvpe(command[0], command, environment)
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126


def _hides_imported(work: Path, own: frozenset[str]) -> bool:
    """Say whether registered code has modules of the same name as ones imported here before that are not its `own`."""
    for entry in work.iterdir():
        if (
            entry.stem in sys.modules
            and entry.stem not in own
            and (entry.suffix == ".py" or (entry / "__init__.py").exists())
        ):
            return True
    return False


def _end_interpreter() -> None:
    """Do what matters of an interpreter's end: join threads and child processes, call what user code registered."""
    getattr(threading, "_shutdown", bool)()
    processes = sys.modules.get("multiprocessing.util")
    if processes is not None:
        getattr(processes, "_exit_function", bool)()
    getattr(atexit, "_run_exitfuncs", bool)()


def _is_library(module: types.ModuleType) -> bool:
    """Say whether a module belongs to the interpreter's environment rather than to the user's code."""
    origin = getattr(module, "__file__", None)
    return isinstance(origin, str) and origin.startswith((sys.prefix + os.sep, sys.base_prefix + os.sep))
