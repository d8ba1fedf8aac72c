"""What warm processes rehearse must work, and must leave nothing behind that attempts could notice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_kernel.executors.zygotes import PROGRAM, ZygoteKey, ZygoteProcess

_PROBE = """
import faulthandler, json, os, runpy, signal, sys, threading

runpy.run_path(sys.argv[1])["make_package"]()
from flyte_kernel_zygote import entrypoints, warming
warming.import_all([entrypoints.SDK])
def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    return dict(os.environ), list(sys.path), os.getcwd(), sys.argv, sys.modules["__main__"], handlers


before = state()
calls = []
call = entrypoints.call_entrypoint
warming.call_entrypoint = lambda command: calls.append((command[0], call(command))) or calls[-1][1]
warming.rehearse()
from flytekit.core.context_manager import FlyteEntities
print(json.dumps({
    "calls": calls,
    "same": before == state(),
    "threads": threading.active_count(),
    "quiet": warming.quiet_after_fork(),
    "entities": len(FlyteEntities.entities),
    "prints_on_signal": faulthandler.unregister(signal.SIGUSR1),
    "module": "flyte_kernel_rehearsal" in sys.modules,
}))
"""


def test_the_sdk_rehearses_and_all_is_as_before(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "did not rehearse" not in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {
        "calls": [["pyflyte-execute", 0], ["pyflyte-execute", 0], ["pyflyte-map-execute", 0]],
        "same": True,
        "threads": 1,
        "quiet": True,
        "entities": 0,
        "prints_on_signal": False,
        "module": False,
    }


_THREAD = """
import pathlib, threading, time

mark = pathlib.Path(__file__).with_name("imports")
count = len(mark.read_text()) if mark.exists() else 0
mark.write_text("x" * (count + 1))
if count < {times}:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""


@pytest.mark.parametrize(("times", "imports", "is_fit"), [(1, 2, True), (2, 2, False)])
def test_a_thread_that_remains_makes_it_begin_anew_without_a_rehearsal(
    tmp_path: Path, times: int, imports: int, is_fit: bool
) -> None:
    """A library that starts a thread is found out: at first the rehearsal may have done it, then it did itself."""
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "threaded.py").write_text(_THREAD.format(times=times))
    environment = frozenset({("PATH", "/usr/bin:/bin"), ("PYTHONPATH", str(libraries))})
    log = tmp_path / "log.txt"
    process = ZygoteProcess.start(ZygoteKey(environment, ("threaded",)), Path(sys.executable), tmp_path / "z", log)
    try:
        os.set_blocking(process.reports, True)
        messages, _ = process.receive()
        assert messages == [{"event": "ready", "fit": is_fit}]
        assert (libraries / "imports").read_text() == "x" * imports
        assert "threads remained, it begins anew without shortcuts and rehearsal" in log.read_text()
    finally:
        process.bury()
