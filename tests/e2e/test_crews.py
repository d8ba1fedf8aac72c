"""Workers that run one element after the other, where the server was told to reuse them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from flyteidl.core import execution_pb2

from tests.support.client import Client
from tests.support.parity import is_gone, until
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(200)]

ELEMENTS = 24


@pytest.fixture
def crew_server(tmp_path: Path) -> Iterator[ServerProcess]:
    server = ServerProcess(tmp_path / "data", ("--reuse-workers", "--concurrency", "2")).start()
    yield server
    assert server.stop() == 0, server.log_path.read_text()


@pytest.fixture
def client(crew_server: ServerProcess) -> Client:
    client = Client(crew_server.config)
    client.register("crews.py")
    return client


def attempts(server: ServerProcess) -> list[Path]:
    return sorted((server.data / "tasks" / "attempts").iterdir())


def pids(folder: Path) -> list[int]:
    return [int(line) for mark in folder.glob("ran-*") for line in mark.read_text().split()]


def test_few_processes_run_many_elements(crew_server: ServerProcess, client: Client) -> None:
    numbers = list(range(ELEMENTS))
    execution = client.run("crews.everybody", {"numbers": numbers})
    told = execution.outputs["o0"]
    assert [n for _, _, n in told] == numbers
    processes = {pid for pid, _, _ in told}
    assert len(processes) <= 2
    for process in processes:  # one element after the other, each once
        assert sorted(count for pid, count, _ in told if pid == process) == list(
            range(1, 1 + sum(pid == process for pid, _, _ in told))
        )
    logs = [(folder / "log.txt").read_text().splitlines() for folder in attempts(crew_server)]
    assert sorted(logs) == sorted([f"element {n}", f"warning {n}"] for n in numbers)
    until(lambda: all(map(is_gone, processes)), "workers that nobody needs end")
    assert not [folder for folder in attempts(crew_server) if (folder / "work").exists() or (folder / "tmp").exists()]


def test_another_run_gets_processes_of_its_own(client: Client) -> None:
    first, second = (client.run("crews.everybody", {"numbers": [1, 2]}).outputs["o0"] for _ in range(2))
    assert not {pid for pid, _, _ in first} & {pid for pid, _, _ in second}


def test_what_the_sdk_leaves_of_an_element_does_not_pile_up(client: Client) -> None:
    told = client.run("crews.stocktaking", {"numbers": list(range(ELEMENTS))}).outputs["o0"]
    counts = {process: [count for other, count in told if other == process] for process, _ in told}
    assert all(min(found) == max(found) > 0 for found in counts.values()), counts


def test_a_process_that_dies_costs_one_attempt(client: Client, tmp_path: Path) -> None:
    numbers = list(range(8))
    execution = client.run("crews.breaking", {"numbers": numbers, "folders": [str(tmp_path)] * 8})
    assert [n for _, n in execution.outputs["o0"]] == numbers


def test_elements_of_a_terminated_execution_end(client: Client, tmp_path: Path) -> None:
    execution = client.execute("crews.lingering", {"numbers": list(range(6)), "folders": [str(tmp_path)] * 6})
    until(lambda: len(pids(tmp_path)) >= 4, "two elements that succeed and two that linger")
    client.remote.terminate(execution, "enough")
    ended = client.finish(execution)
    assert ended.closure.phase == execution_pb2.WorkflowExecution.ABORTED
    until(lambda: all(map(is_gone, pids(tmp_path))), "the workers are gone")


def test_a_killed_server_finds_the_elements_that_went_on(
    crew_server: ServerProcess, client: Client, tmp_path: Path
) -> None:
    execution = client.execute("crews.lingering", {"numbers": list(range(6)), "folders": [str(tmp_path)] * 6})
    until(lambda: len(pids(tmp_path)) >= 4, "two elements that succeed and two that linger")
    crew_server.kill()
    (tmp_path / "go").touch()
    crew_server.start()
    assert client.finish(execution).outputs["o0"] == list(range(6))
    ran = {mark.name: mark.read_text().split() for mark in tmp_path.glob("ran-*")}
    assert all(len(processes) == 1 for processes in ran.values()), ran
    assert os.getpid() not in pids(tmp_path)
