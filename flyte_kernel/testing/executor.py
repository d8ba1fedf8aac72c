"""An executor without processes: a script says how each attempt ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flyteidl.core import errors_pb2, literals_pb2

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, Blobs, ReportKind
from flyte_kernel.ids import AttemptKey

__all__ = ["FakeEnd", "FakeExecutor"]


@dataclass(frozen=True)
class FakeEnd:
    """How an attempt ends: what it writes into its output folder, then its exit status.

    A `refusal` means that it never starts; `recoverable` belongs to it.
    """

    outputs: literals_pb2.LiteralMap | None = None
    error: errors_pb2.ContainerError | None = None
    exit_code: int | None = 0
    signal: int | None = None
    message: str = ""
    refusal: str = ""
    recoverable: bool = False


class FakeExecutor:
    """Reports in the caller's thread, before `launch` or `finish` returns, unless `hold_reports` keeps reports back.

    `script` is asked once per launch; None lets the attempt run until `finish` or `abort`. Without a script every
    attempt succeeds with empty outputs. `launched` and `aborted` list what was asked for, first to last; `overlaps`
    lists attempts that were started while an earlier one of the same node was running, which must never happen.
    """

    def __init__(self, blobs: Blobs, script: Callable[[AttemptLaunch], FakeEnd | None] | None = None) -> None:
        self.launched: list[AttemptLaunch] = []
        self.aborted: list[AttemptKey] = []
        self.overlaps: list[AttemptKey] = []
        self.hold_reports: bool = False
        self.held: list[AttemptReport] = []
        self._blobs = blobs
        self._script = script or (lambda _: FakeEnd(outputs=literals_pb2.LiteralMap()))
        self._report: Callable[[AttemptReport], None] | None = None
        self._running: dict[AttemptKey, AttemptLaunch] = {}
        self._ended: dict[AttemptKey, AttemptReport] = {}
        self._lock = threading.RLock()

    @property
    def running(self) -> list[AttemptKey]:
        """The attempts that have started and not ended, oldest first."""
        with self._lock:
            return list(self._running)

    def start(self, report: Callable[[AttemptReport], None]) -> None:
        """Send reports to `report` from now on."""
        self._report = report

    def launch(self, launches: Sequence[AttemptLaunch]) -> None:
        """Start attempts, and end those whose script says how."""
        for launch in launches:
            self._launch(launch)

    def finish(self, key: AttemptKey, end: FakeEnd) -> None:
        """End a running attempt; KeyError if it is not running."""
        with self._lock:
            launch = self._running[key]
        self._end(launch, end)

    def abort(self, keys: Sequence[AttemptKey]) -> None:
        """End attempts and report them gone."""
        for key in keys:
            with self._lock:
                self.aborted.append(key)
                self._running.pop(key, None)
                report = self._ended[key] = AttemptReport(key, ReportKind.ABORTED)
            self._tell(report)

    def reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        """Leave alone what runs, report the ended ones again, start the others."""
        for launch in launches:
            with self._lock:
                ended = self._ended.get(launch.key)
            if ended is None:
                self._launch(launch)
            else:
                self._tell(ended)

    def release_reports(self) -> None:
        """Send the reports that were kept back, in order, and keep no more back."""
        with self._lock:
            self.hold_reports = False
            held, self.held = self.held, []
        for report in held:
            self._tell(report)

    def close(self) -> None:
        """Send nothing more."""
        self._report = None

    def _launch(self, launch: AttemptLaunch) -> None:
        with self._lock:
            if launch.key in self._running or launch.key in self._ended:
                return
            self.launched.append(launch)
            end = self._script(launch)
            if end is None or not end.refusal:
                if any(key[:2] == launch.key[:2] for key in self._running):
                    self.overlaps.append(launch.key)
                self._running[launch.key] = launch
        if end is None or not end.refusal:
            self._tell(AttemptReport(launch.key, ReportKind.STARTED))
        if end is not None:
            self._end(launch, end)

    def _end(self, launch: AttemptLaunch, end: FakeEnd) -> None:
        report = self._write(launch, end)
        with self._lock:
            self._running.pop(launch.key, None)
            self._ended[launch.key] = report
        self._tell(report)

    def _write(self, launch: AttemptLaunch, end: FakeEnd) -> AttemptReport:
        if end.refusal:
            return AttemptReport(launch.key, ReportKind.REFUSED, message=end.refusal, recoverable=end.recoverable)
        if end.outputs is not None:
            self._blobs.write(f"{launch.output_prefix}/outputs.pb", end.outputs.SerializeToString())
        if end.error is not None:
            document = errors_pb2.ErrorDocument(error=end.error)
            self._blobs.write(f"{launch.output_prefix}/error.pb", document.SerializeToString())
        return AttemptReport(
            launch.key, ReportKind.EXITED, exit_code=end.exit_code, signal=end.signal, message=end.message
        )

    def _tell(self, report: AttemptReport) -> None:
        with self._lock:
            if self.hold_reports:
                self.held.append(report)
                return
            tell = self._report
        if tell is not None:
            tell(report)
