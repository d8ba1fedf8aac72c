"""flytekit's own local runs, in a process of their own: pickled calls on stdin, JSON on stdout."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.support.plain import plain

MODULES = "tests.e2e.workflows"


class Call(NamedTuple):
    """One local run: `module.workflow`, its inputs, and what is typed at its gates."""

    name: str
    inputs: Mapping[str, object]
    answers: Sequence[str] = ()


def start_local_runs(calls: Mapping[str, Call], folder: Path) -> subprocess.Popen[bytes]:
    """Start the process; `outcomes_of` waits for it."""
    (folder / "calls").write_bytes(pickle.dumps(dict(calls)))
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "FLYTE_LOCAL_CACHE_ENABLED": "false"}  # noqa: PTH109
    with (folder / "calls").open("rb") as stdin, (folder / "log").open("wb") as log:
        command = [sys.executable, "-W", "ignore", "-m", "tests.support.local_runs", str(folder / "outcomes")]
        return subprocess.Popen(command, stdin=stdin, stdout=log, stderr=log, env=environment)


def outcomes_of(process: subprocess.Popen[bytes], folder: Path) -> dict[str, dict[str, object]]:
    """Return for each call `{"outputs": plain values by name}` or `{"error": text}`."""
    assert process.wait(90) == 0, (folder / "log").read_text()
    outcomes: dict[str, dict[str, object]] = json.loads((folder / "outcomes").read_text())
    return outcomes


def outcome(call: Call) -> dict[str, object]:
    """Run one workflow here and now."""
    module, _, name = call.name.partition(".")
    workflow = getattr(importlib.import_module(f"{MODULES}.{module}"), name)
    sys.stdin = io.StringIO("".join(f"{answer}\n" for answer in call.answers))
    try:
        result = workflow(**call.inputs)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    names = list(workflow.python_interface.outputs)
    values = [result] if len(names) == 1 else list(result or ())
    return {"outputs": {name: plain(value) for name, value in zip(names, values, strict=True)}}


def main() -> None:
    """Answer every call."""
    calls = pickle.load(sys.stdin.buffer)
    with contextlib.redirect_stdout(sys.stderr):
        outcomes = {key: outcome(call) for key, call in calls.items()}
    Path(sys.argv[1]).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()
