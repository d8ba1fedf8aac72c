"""What warm processes rehearse must work, and must leave nothing behind that attempts could notice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from flyte_kernel.executors import zygote

_PROBE = """
import faulthandler, importlib.util, json, os, signal, sys, threading

spec = importlib.util.spec_from_file_location("zygote", sys.argv[1])
zygote = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zygote)
zygote.import_all([zygote.SDK])
def state():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    return dict(os.environ), list(sys.path), os.getcwd(), sys.argv, sys.modules["__main__"], handlers


before = state()
calls = []
call = zygote.call_entrypoint
zygote.call_entrypoint = lambda command: calls.append((command[0], call(command))) or calls[-1][1]
zygote.rehearse()
from flytekit.core.context_manager import FlyteEntities
print(json.dumps({
    "calls": calls,
    "same": before == state(),
    "threads": threading.active_count(),
    "quiet": zygote.quiet_after_fork(),
    "entities": len(FlyteEntities.entities),
    "prints_on_signal": faulthandler.unregister(signal.SIGUSR1),
    "module": "flyte_kernel_rehearsal" in sys.modules,
}))
"""


def test_the_sdk_rehearses_and_all_is_as_before(tmp_path: Path) -> None:
    environment = {"TMPDIR": str(tmp_path), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, zygote.__file__],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "did not rehearse" not in done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {
        "calls": [["pyflyte-execute", 0], ["pyflyte-map-execute", 0]],
        "same": True,
        "threads": 1,
        "quiet": True,
        "entities": 0,
        "prints_on_signal": False,
        "module": False,
    }
