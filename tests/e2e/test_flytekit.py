"""Unmodified flytekit 1.16: what it registers runs here and comes out as it does locally."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest
from flytekit.models.core.execution import NodeExecutionPhase, WorkflowExecutionPhase

from tests.e2e.workflows import basics
from tests.support.client import DOMAIN, PROJECT, WORKFLOWS, Client, pyflyte
from tests.support.server import ServerProcess

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Client:
    """A client whose workflows are registered."""
    client = Client(server.config)
    client.register()
    return client


def until(condition: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Whether no live process has this id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_workflow_with_subworkflows_gives_the_local_result(client: Client) -> None:
    execution = client.run("basics.basic", {"a": 3})
    local = basics.basic(a=3)
    assert execution.outputs["total"] == local.total == 5
    assert execution.outputs["text"] == local.text == "sum=7"
    nodes = execution.node_executions
    assert {name: NodeExecutionPhase.enum_to_string(node.closure.phase) for name, node in nodes.items()} == {
        "start-node": "SUCCEEDED",
        "n0": "SUCCEEDED",
        "n1": "SUCCEEDED",
        "n2": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    } or set(nodes) == {"n0", "n1", "n2"}
    below = nodes["n1"].subworkflow_node_executions
    assert {"n1-0-n0", "n1-0-n1"} <= set(below)
    assert below["n1-0-n1"].outputs["o0"] == 7


def test_subworkflows_in_subworkflows(client: Client) -> None:
    assert client.run("basics.nested", {"a": 1}).outputs["o0"] == basics.nested(a=1) == 5


def test_every_simple_type_comes_back_as_it_went(client: Client) -> None:
    inputs = {
        "i": -(2**40),
        "f": 0.1,
        "s": "ünïcode {{.input}} \n",
        "t": True,
        "when": datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=timezone.utc),
        "span": timedelta(days=1, microseconds=7),
        "points": [basics.Point(1, "a"), basics.Point(2, "b")],
        "table": {"x": 1, "y z": 2},
    }
    execution = client.run("basics.every_type", inputs)
    types = (int, float, str, bool, datetime, timedelta, list[basics.Point], dict[str, int])
    outputs = [execution.outputs.get(f"o{index}", kind) for index, kind in enumerate(types)]
    assert [outputs[k] for k in (0, 1, 2, 3, 4, 5, 7)] == [v for k, v in inputs.items() if k != "points"]
    assert [(point.x, point.label) for point in outputs[6]] == [(1, "a"), (2, "b")]


def test_files_folders_tables_and_pickles(client: Client) -> None:
    execution = client.run("basics.data", {"text": "hello", "rows": 5})
    assert [execution.outputs[f"o{index}"] for index in range(4)] == ["hello", "helloolleh", 30, 5]
    with client.remote.remote_context():
        assert Path(execution.outputs.get("o4").download()).read_text() == "hello"
        table = execution.outputs.get("o5", pd.DataFrame)
    assert table["square"].tolist() == [0, 1, 4, 9, 16]


def test_a_failed_task_tells_the_users_traceback(client: Client) -> None:
    execution = client.run("basics.failing", {"message": "boom 42"})
    assert execution.closure.phase == WorkflowExecutionPhase.FAILED
    assert "ValueError: boom 42" in execution.error.message
    assert execution.error.code == "USER:RuntimeError"
    assert execution.node_executions["n0"].closure.phase == NodeExecutionPhase.FAILED
    assert "n1" not in execution.node_executions


def test_recoverable_failures_are_retried(client: Client) -> None:
    execution = client.run("basics.recovering", {"failures": 2})
    assert execution.outputs["o0"] == 2
    attempts = execution.node_executions["n0"].task_executions
    assert [attempt.id.retry_attempt for attempt in attempts] == [0, 1, 2]


def test_retries_end(client: Client) -> None:
    execution = client.run("basics.recovering", {"failures": 9})
    assert execution.closure.phase == WorkflowExecutionPhase.FAILED
    assert execution.error.code == "RetriesExhausted|USER:Recoverable"
    assert execution.error.message.startswith("[4/4] currentAttempt done. Last Error: USER::")


def test_a_crashed_process_fails_its_node_and_nothing_else(client: Client) -> None:
    execution = client.run("basics.crashing", {})
    assert execution.closure.phase == WorkflowExecutionPhase.FAILED
    assert "SIGSEGV" in execution.error.message
    assert client.run("basics.inner", {"a": 1}).outputs["o0"] == 3


def test_terminate_kills_the_process(client: Client, tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    execution = client.execute("basics.waiting", {"path": str(mark)})
    until(lambda: mark.exists() and mark.read_text() != "", "the task started")
    client.remote.terminate(execution, "enough")
    execution = client.finish(execution)
    assert execution.closure.phase == WorkflowExecutionPhase.ABORTED
    assert execution.closure.abort_metadata.cause == "enough"
    assert execution.node_executions["n0"].closure.phase == NodeExecutionPhase.ABORTED
    assert is_gone(int(mark.read_text()))


def test_timeouts_are_retried_and_then_fail(client: Client, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    execution = client.run("basics.timing_out", {"path": str(mark)})
    assert execution.closure.phase == WorkflowExecutionPhase.FAILED
    assert "time" in execution.error.message.lower()
    assert all(is_gone(int(pid)) for pid in mark.read_text().split())


def test_register_twice_changes_nothing(client: Client) -> None:
    before = client.remote.fetch_workflow(name="basics.basic", version="v1")
    client.register()
    again = client.remote.fetch_workflow(name="basics.basic", version="v1")
    assert before.id == again.id
    assert [node.id for node in before.flyte_nodes] == [node.id for node in again.flyte_nodes]


def test_fetch_without_version_gives_the_latest(server: ServerProcess, client: Client) -> None:
    later = Client(server.config, version="v2")
    later.register()
    assert client.remote.fetch_launch_plan(name="basics.basic").id.version == "v2"
    assert client.remote.fetch_task(name="basics.add").id.version == "v2"
    assert client.remote.fetch_workflow(name="basics.basic").id.version == "v2"


def test_pyflyte_run_remote_wait(server: ServerProcess, client: Client) -> None:
    arguments = ("--a", "20", "--b", "22")
    result = pyflyte(
        server.config,
        "run",
        "--remote",
        "--wait",
        "--poll-interval",
        "1",
        str(WORKFLOWS / "basics.py"),
        "basic",
        *arguments,
    )
    name = re.search(r"Execution (\w+) has succeeded", result.stdout)
    assert name, result.stdout
    fetched = client.remote.sync(client.remote.fetch_execution(PROJECT, DOMAIN, name.group(1)))
    assert fetched.outputs["total"] == 42


def test_a_single_task_runs_alone(server: ServerProcess, client: Client) -> None:
    task = client.remote.fetch_task(name="basics.add", version="v1")
    execution = client.finish(client.remote.execute(task, inputs={"a": 1, "b": 2}))
    assert execution.outputs["o0"] == 3
    pyflyte(
        server.config,
        "run",
        "--remote",
        "--wait",
        "--poll-interval",
        "1",
        str(WORKFLOWS / "basics.py"),
        "add",
        "--a",
        "1",
        "--b",
        "1",
    )


def test_recent_executions_and_sync(client: Client) -> None:
    first = client.run("basics.inner", {"a": 5})
    second = client.run("basics.inner", {"a": 6})
    recent = client.remote.recent_executions(PROJECT, DOMAIN, limit=2)
    assert [execution.id.name for execution in recent] == [second.id.name, first.id.name]
    fetched = client.remote.sync(client.remote.fetch_execution(PROJECT, DOMAIN, first.id.name), sync_nodes=True)
    assert fetched.outputs["o0"] == 7
    assert fetched.inputs["a"] == 5


def test_register_script(client: Client) -> None:
    client.remote.register_script(
        basics.nested,
        source_path=str(WORKFLOWS),
        module_name="basics",
        version="script",
        destination_dir="/root",
    )
    assert client.remote.fetch_workflow(name=f"{basics.nested.name}", version="script").id.version == "script"
