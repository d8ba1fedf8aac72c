"""How a zygote comes to serve: started as a program, or forked of another one for the sake of a module."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from .code_copies import copy_folder
from .entrypoints import SDK
from .processes import become_reaper
from .reports import Reports
from .shortcuts import remembered_tasks
from .supervisor import Supervisor
from .user_module import import_module
from .warming import import_all, quiet_after_fork, rehearse, take_shortcuts

__all__ = ["main"]

_IMPORTED_WITHIN_S = 60.0


def main() -> None:
    """Serve; arguments are this zygote's folder and a mode.

    `plain` runs programs, `sdk` also attempts in forks after importing the libraries in preload.json, taking shortcuts
    and a rehearsal, `unrehearsed` does without these two.
    """
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    control, reports = _take_descriptors()
    lock = _take_lock(folder)
    become_reaper()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if mode != "plain":
        import_all([SDK, *json.loads((folder / "preload.json").read_text())])
    if SDK in sys.modules and mode == "sdk":
        take_shortcuts()
        if not rehearse():
            _begin_unrehearsed(control, reports, "the rehearsal failed")
    quiet = mode == "plain" or quiet_after_fork()
    if not quiet and mode == "sdk":
        _begin_unrehearsed(control, reports, "threads remained")
    _serve(folder, control, reports, lock, warm=SDK in sys.modules, fit=quiet)


def _serve(folder: Path, control: int, reports: int, lock: int, *, warm: bool, fit: bool, work: str = "") -> None:
    gc.collect()
    gc.freeze()
    supervisor = Supervisor(folder, control, Reports(reports), lock, serve_branch, warm=warm, work=work)
    supervisor.reports.tell(event="ready", fit=fit)
    if fit:
        supervisor.serve()
    shutil.rmtree(folder, ignore_errors=True)


def serve_branch(request: dict[str, Any], control: int, reports: int) -> None:
    """In a fork of another zygote: import the module, if nobody can tell, and serve attempts on it."""
    folder = Path(request["folder"])
    lock = _take_lock(folder)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    become_reaper()
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    tempfile.tempdir = os.environ["TMPDIR"]
    work = folder / "work"
    copy_folder(request["code"], str(work))
    signal.setitimer(signal.ITIMER_REAL, _IMPORTED_WITHIN_S)  # ends this process
    against = import_module(request["module"], request["code"], folder, set(request["varying"]))
    if not against:
        remembered_tasks.remember()
        remembered_tasks.load(request["command"])
    signal.setitimer(signal.ITIMER_REAL, 0)
    if not against and not quiet_after_fork():
        against = "it started threads"
    if against:
        print(f"zygote: {request['module']} is imported by each attempt, since {against}", file=sys.stderr)
    _serve(folder, control, reports, lock, warm=True, fit=not against, work=str(work))


def _take_descriptors() -> tuple[int, int]:
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


def _take_lock(folder: Path) -> int:
    """Return a descriptor that holds the lock which says that a zygote's folder is in use."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def _begin_unrehearsed(control: int, reports: int, reason: str) -> NoReturn:
    """Begin anew as the same process, which the rehearsal made unfit or showed to be so."""
    print(f"zygote: {reason}, it begins anew without shortcuts and rehearsal", file=sys.stderr)
    os.dup2(control, 0)
    os.dup2(reports, 1)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:-1], "unrehearsed"])
