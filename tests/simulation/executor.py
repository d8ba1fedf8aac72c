"""An executor in which processes are entries of a table: they outlive the server, die, and are reported badly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, ReportKind
from flyte_kernel.ids import AttemptKey
from tests.simulation.disk import SimulatedBlobs

__all__ = ["Compute", "SimulatedExecutor"]

Compute = Callable[[AttemptLaunch], dict[str, bytes]]
"""What a process that succeeds writes into its output folder, by file name."""


@dataclass
class Process:
    """One process."""

    launch: AttemptLaunch
    is_stopping: bool = False


class SimulatedExecutor:
    """The port, with a world's hand on every process; `violations` lists what must never happen."""

    def __init__(self, blobs: SimulatedBlobs, compute: Compute) -> None:
        self.processes: dict[AttemptKey, Process] = {}
        self.ended: dict[AttemptKey, AttemptReport] = {}
        self.reports: list[AttemptReport] = []  # on their way to the server
        self.violations: list[str] = []
        self.ran = 0
        self._blobs = blobs
        self._compute = compute
        self._tell: Callable[[AttemptReport], None] | None = None

    # The port

    def start(self, report: Callable[[AttemptReport], None]) -> None:
        """A server is there."""
        self._tell = report

    def launch(self, launches: Sequence[AttemptLaunch]) -> None:
        """Run attempts that are not known."""
        for launch in launches:
            if launch.key not in self.processes and launch.key not in self.ended:
                self._run(launch)

    def abort(self, keys: Sequence[AttemptKey]) -> None:
        """Ask processes to go; they go when the world lets them."""
        for key in keys:
            if key in self.processes:
                self.processes[key].is_stopping = True
            elif key in self.ended:
                self.reports.append(self.ended[key])
            else:
                self._end(key, AttemptReport(key, ReportKind.ABORTED))

    def reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        """Adopt, report or run."""
        for launch in launches:
            if launch.key in self.processes:
                self.reports.append(AttemptReport(launch.key, ReportKind.STARTED))
            elif launch.key in self.ended:
                self.reports.append(self.ended[launch.key])
            else:
                self._run(launch)

    def close(self) -> None:
        """The server is gone, and what was on its way to it."""
        self._tell = None
        self.reports.clear()

    def _run(self, launch: AttemptLaunch) -> None:
        key = launch.key
        for other in self.processes:
            if (other.run, other.node, other.element) == (key.run, key.node, key.element):
                self.violations.append(f"{key} runs while {other} does")
        self.ran += 1
        self.processes[key] = Process(launch)
        self.reports.append(AttemptReport(key, ReportKind.STARTED))

    # The world's hand

    def deliver(self, random: Random) -> None:
        """Let one report arrive, maybe out of order, maybe to be seen again."""
        report = self.reports[random.randrange(len(self.reports))]
        if random.randrange(10):
            self.reports.remove(report)
        if self._tell is not None:
            self._tell(report)

    def finish(self, key: AttemptKey) -> None:
        """A process succeeds; one that was asked to go may still do so."""
        launch = self.processes[key].launch
        for name, data in self._compute(launch).items():
            self._blobs.put(f"{launch.output_prefix}/{name}", data)
        self._end(key, AttemptReport(key, ReportKind.EXITED, exit_code=0))

    def fail(self, key: AttemptKey, *, killed: bool) -> None:
        """A process fails, or is killed by the system."""
        if killed:
            self._end(key, AttemptReport(key, ReportKind.EXITED, signal=9))
        else:
            self._end(key, AttemptReport(key, ReportKind.EXITED, exit_code=1))

    def go(self, key: AttemptKey) -> None:
        """A process that was asked to go is gone."""
        self._end(key, AttemptReport(key, ReportKind.ABORTED))

    def lose(self, key: AttemptKey) -> None:
        """A process is gone and left no trace, as after a power cut of its machine."""
        del self.processes[key]

    def _end(self, key: AttemptKey, report: AttemptReport) -> None:
        self.processes.pop(key, None)
        self.ended[key] = report
        self.reports.append(report)
