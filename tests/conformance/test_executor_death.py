"""Does nothing get lost or run twice when the server dies and another adopts its attempts?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from flyte_kernel.engine.ports import AttemptLaunch, ReportKind
from flyte_kernel.executors import LocalExecutor
from flyte_kernel.executors.zygote.processes import start_time
from tests.support.attempts import INTERPRETER, Reports, files, launch_of, python_of, wait_until

SERVER = """
import json, sys, time
from pathlib import Path
from flyte_kernel.executors import LocalExecutor
from tests.support.attempts import INTERPRETER, files, launch_of

folder, commands, concurrency = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
told = open(folder / "told", "a", buffering=1)
executor = LocalExecutor(folder / "tasks", python=INTERPRETER, fetch=files({}), concurrency=concurrency, grace_s=0.2)
executor.start(lambda report: told.write(f"{report.kind.value} {report.key.node}\\n"))
executor.launch([launch_of(number, tuple(command)) for number, command in enumerate(commands)])
time.sleep(1000)
"""
# Appends one line, then waits for a file to appear, so that the test says when it ends.
WAITING = """
import os, sys, time
folder, number = sys.argv[1:]
with open(f"{folder}/ran-{number}", "a") as file:
    file.write(f"{os.getpid()}\\n")
while not os.path.exists(f"{folder}/go"):
    time.sleep(0.01)
print("went on")
sys.exit(3)
"""


class House:
    """A folder with a server process that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports = Reports()
        self.executors: list[LocalExecutor] = []
        self.server: subprocess.Popen[bytes] | None = None

    def waiting(self, number: int) -> AttemptLaunch:
        """Return a launch of the waiting program."""
        return launch_of(number, ("python", "-c", WAITING, str(self.folder), str(number)))

    def serve(self, launches: list[AttemptLaunch], concurrency: int = 4) -> None:
        """Start a server process that launches these."""
        commands = json.dumps([launch.command for launch in launches])
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.folder), commands, str(concurrency)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def kill(self) -> None:
        """Kill the server process."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def told(self) -> list[str]:
        """Return what the server process reported."""
        path = self.folder / "told"
        return path.read_text().splitlines() if path.exists() else []

    def successor(self) -> LocalExecutor:
        """Return an executor of this process on the same folder."""
        executor = LocalExecutor(self.folder / "tasks", python=INTERPRETER, fetch=files({}), concurrency=4, grace_s=0.2)
        executor.start(self.reports)
        self.executors.append(executor)
        return executor

    def runs(self, number: int) -> list[int]:
        """Return the processes that ran an attempt."""
        path = self.folder / f"ran-{number}"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def let_go_on(self) -> None:
        """Let the waiting programs end."""
        (self.folder / "go").touch()

    def supervisor_of(self, launch: AttemptLaunch) -> int:
        """Return the zygote of an attempt."""
        return int(self.claim(launch)["launch"]["supervisor"])

    def claim(self, launch: AttemptLaunch) -> dict[str, Any]:
        """Return what an attempt's claim says, by kind of line."""
        lines = (self.folder / "tasks" / "attempts" / launch.name / "claim").read_text().splitlines()
        return {kind: content for line in lines for kind, content in json.loads(line).items()}


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.let_go_on()
    if house.server is not None:
        house.kill()
    for executor in house.executors:
        executor.close()


def test_running_attempts_are_adopted(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: house.told() == ["started 0"], "the first server to start it")
    house.kill()
    executor = house.successor()
    executor.reconcile([launch])
    house.reports.wait_for(launch, ReportKind.STARTED)
    house.let_go_on()
    report = house.reports.end_of(launch)
    assert (report.kind, report.exit_code) == (ReportKind.EXITED, 3)
    assert len(house.runs(0)) == 1
    assert Path(urlparse(report.log_uri).path).read_text() == "went on\n"


def test_attempts_that_ended_meanwhile_are_reported(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 1, "the program to run")
    house.kill()
    house.let_go_on()
    wait_until(lambda: "exit" in house.claim(launch), "its end to be written down")
    house.successor().reconcile([launch])
    assert house.reports.end_of(launch).exit_code == 3
    assert house.reports.kinds_of(launch) == [ReportKind.STARTED, ReportKind.EXITED]
    assert len(house.runs(0)) == 1


def test_attempts_that_never_started_are_run(house: House) -> None:
    launches = [house.waiting(0), house.waiting(1)]
    house.serve(launches, concurrency=1)
    wait_until(lambda: len(house.runs(0)) == 1, "the first program to run")
    house.kill()
    house.successor().reconcile([*launches, house.waiting(2)])
    wait_until(lambda: len(house.runs(1)) + len(house.runs(2)) == 2, "the others to run")
    house.let_go_on()
    assert [house.reports.end_of(house.waiting(n)).exit_code for n in range(3)] == [3, 3, 3]
    assert [len(house.runs(n)) for n in range(3)] == [1, 1, 1]


def test_attempts_whose_processes_are_gone_without_a_word_run_again(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 1, "the program to run")
    supervisor = house.supervisor_of(launch)
    house.kill()
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: start_time(house.runs(0)[0]) == 0, "the program to die with its supervisor")
    house.successor().reconcile([launch])
    wait_until(lambda: len(house.runs(0)) == 2, "the program to run again")
    house.let_go_on()
    assert house.reports.end_of(launch).exit_code == 3


def test_supervisor_that_dies_after_adoption_ends_the_attempt(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 1, "the program to run")
    supervisor = house.supervisor_of(launch)
    house.kill()
    house.successor().reconcile([launch])
    house.reports.wait_for(launch, ReportKind.STARTED)
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: len(house.runs(0)) == 2 or ReportKind.EXITED in house.reports.kinds_of(launch))
    assert len(house.runs(0)) == 1
    assert house.reports.end_of(launch).signal == signal.SIGKILL


def test_adopted_attempt_is_aborted_with_all_it_started(house: House) -> None:
    program = (
        "import os, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "daemon = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)'], start_new_session=True)\n"
        f"open({str(house.folder / 'ran-0')!r}, 'w').write(f'{{os.getpid()}} {{daemon.pid}}')\n"
        "time.sleep(1000)\n"
    )
    launch = python_of(0, program)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 2, "the program to run")
    house.kill()
    executor = house.successor()
    executor.reconcile([launch])
    executor.abort([launch.key])
    assert house.reports.end_of(launch).kind is ReportKind.ABORTED
    assert [start_time(pid) for pid in house.runs(0)] == [0, 0]


def test_attempt_of_an_earlier_server_that_nobody_named_is_aborted(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 1, "the program to run")
    house.kill()
    house.successor().abort([launch.key])
    assert house.reports.end_of(launch).kind is ReportKind.ABORTED
    assert start_time(house.runs(0)[0]) == 0


def test_close_leaves_running_attempts_to_the_next_server(house: House) -> None:
    launch = house.waiting(0)
    first = house.successor()
    first.launch([launch])
    house.reports.wait_for(launch, ReportKind.STARTED)
    first.close()
    house.successor().reconcile([launch])
    house.let_go_on()
    assert house.reports.end_of(launch).exit_code == 3
    assert len(house.runs(0)) == 1


def test_warm_processes_go_when_the_server_has_died(house: House) -> None:
    launch = house.waiting(0)
    house.serve([launch])
    wait_until(lambda: len(house.runs(0)) == 1, "the program to run")
    supervisor = house.supervisor_of(launch)
    house.kill()
    assert start_time(supervisor) != 0
    house.let_go_on()
    wait_until(lambda: start_time(supervisor) == 0, "the supervisor to go")
    assert list((house.folder / "tasks" / "zygotes").iterdir()) == []


def test_no_attempt_runs_twice_whenever_the_server_dies(house: House) -> None:
    """Kill servers at various moments after the start; what each left is picked up by the next."""
    launches = [house.waiting(number) for number in range(6)]
    for moment in range(8):
        house.serve(launches, concurrency=2 + moment % 3)
        count = len(house.told())
        wait_until(lambda seen=count, more=moment % 4: len(house.told()) >= min(seen + more, 6), "reports")
        house.kill()
    executor = house.successor()
    executor.reconcile(launches)
    house.let_go_on()
    assert [house.reports.end_of(launch).exit_code for launch in launches] == [3] * 6
    assert [len(house.runs(number)) for number in range(6)] == [1] * 6
