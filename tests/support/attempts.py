"""Drives an executor in tests: launches commands, collects reports, waits on conditions."""

from __future__ import annotations

import io
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from flyteidl.core import errors_pb2, literals_pb2

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, BlobNotFoundError, ReportKind
from flyte_kernel.ids import AttemptKey, ExecutionId

WAIT_S = 60.0  # far more than anything takes; waiting ends with the condition


def wait_until(condition: Callable[[], bool], what: str = "condition") -> None:
    """Return once the condition holds."""
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.005)


def files(blobs: Mapping[str, bytes]) -> Callable[[str], bytes]:
    """Return a fetch function over a mapping."""

    def fetch(uri: str) -> bytes:
        try:
            return blobs[uri]
        except KeyError:
            raise BlobNotFoundError(uri) from None

    return fetch


def tarball(contents: Mapping[str, str], mode: str = "w:gz") -> bytes:
    """Return an archive of text files."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:  # type: ignore[call-overload]
        for name, text in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def launch_of(
    number: int, command: tuple[str, ...], environment: Mapping[str, str] | None = None, name: str = ""
) -> AttemptLaunch:
    """Return a launch of attempt 0 of node `number` of run 0."""
    key = AttemptKey(0, number, 0)
    execution = ExecutionId("flytesnacks", "development", "run")
    return AttemptLaunch(key, execution, f"n{number}", name or f"run-n{number}-0", command, environment or {})


def as_element(launch: AttemptLaunch, element: int) -> AttemptLaunch:
    """Return the launch as that of an element of one map: only those wait behind others at warm processes."""
    return replace(launch, key=AttemptKey(0, 0, 0, element))


def python_of(number: int, program: str, environment: Mapping[str, str] | None = None) -> AttemptLaunch:
    """Return a launch of a Python program, as a raw container would have it."""
    return launch_of(number, ("python", "-c", program), environment)


class Reports:
    """What an executor told, by key; use it as the report function."""

    def __init__(self) -> None:
        self.all: list[AttemptReport] = []
        self._changed = threading.Condition()

    def __call__(self, report: AttemptReport) -> None:
        with self._changed:
            self.all.append(report)
            self._changed.notify_all()

    def of(self, launch: AttemptLaunch) -> list[AttemptReport]:
        """Return the reports about one attempt so far."""
        with self._changed:
            return [report for report in self.all if report.key == launch.key]

    def wait_for(self, launch: AttemptLaunch, *kinds: ReportKind) -> AttemptReport:
        """Return the first report of one of these kinds about an attempt, waiting for it."""

        def found() -> AttemptReport | None:
            return next((r for r in self.all if r.key == launch.key and r.kind in kinds), None)

        with self._changed:
            assert self._changed.wait_for(lambda: found() is not None, WAIT_S), f"{kinds} of {launch.key}: {self.all}"
            report = found()
        assert report is not None
        return report

    def end_of(self, launch: AttemptLaunch) -> AttemptReport:
        """Return the last report about an attempt, waiting for it."""
        return self.wait_for(launch, ReportKind.EXITED, ReportKind.ABORTED, ReportKind.REFUSED)

    def kinds_of(self, launch: AttemptLaunch) -> list[ReportKind]:
        """Return the kinds of the reports about an attempt so far."""
        return [report.kind for report in self.of(launch)]


class TaskFiles:
    """Where a flytekit task reads its inputs and leaves its results, all local."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def command(self, module: str, task: str, **inputs: int) -> tuple[str, ...]:
        """Write the inputs and return the command that the SDK puts into a container."""
        literals = literals_pb2.LiteralMap()
        for name, value in inputs.items():
            literals.literals[name].scalar.primitive.integer = value
        (self.folder / "inputs.pb").write_bytes(literals.SerializeToString())
        return (
            *(
                "pyflyte-execute",
                "--inputs",
                str(self.folder / "inputs.pb"),
                "--output-prefix",
                str(self.folder / "out"),
            ),
            *("--raw-output-data-prefix", str(self.folder / "raw"), "--checkpoint-path", str(self.folder / "check")),
            *("--prev-checkpoint", '""', "--resolver", "flytekit.core.python_auto_container.default_task_resolver"),
            *("--", "task-module", module, "task-name", task),
        )

    def outputs(self) -> Mapping[str, literals_pb2.Literal]:
        """Return what the task returned."""
        return literals_pb2.LiteralMap.FromString((self.folder / "out" / "outputs.pb").read_bytes()).literals

    def result(self) -> int:
        """Return the one integer that the task returned."""
        return self.outputs()["o0"].scalar.primitive.integer

    def error(self) -> errors_pb2.ContainerError:
        """Return the error document."""
        return errors_pb2.ErrorDocument.FromString((self.folder / "out" / "error.pb").read_bytes()).error


def fast(uri: str, command: tuple[str, ...], folder: str = "/root") -> tuple[str, ...]:
    """Return a command as fast registration makes it."""
    return ("pyflyte-fast-execute", "--additional-distribution", uri, "--dest-dir", folder, "--", *command)


INTERPRETER = Path(sys.executable)
