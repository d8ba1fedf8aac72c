"""SIGKILL at many moments: what was acknowledged is there afterwards, ends right, and never ran twice at once."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import grpc
import pytest
from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2, literals_pb2
from flyteidl.service import admin_pb2_grpc

from tests.support.client import DOMAIN, PROJECT, WAIT_S, Client
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(400), pytest.mark.slow]

KILLS = int(os.environ.get("FLYTE_KERNEL_KILLS", "50"))
SEED = int(os.environ.get("FLYTE_KERNEL_SEED", "20261126"))


class Submitter(threading.Thread):
    """Keeps asking for executions and remembers those that were acknowledged."""

    def __init__(self, address: str, folder: Path) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.enough = threading.Event()
        self._address = address
        self._request = execution_pb2.ExecutionCreateRequest(
            project=PROJECT,
            domain=DOMAIN,
            spec=execution_pb2.ExecutionSpec(
                launch_plan=identifier_pb2.Identifier(
                    resource_type=identifier_pb2.LAUNCH_PLAN,
                    project=PROJECT,
                    domain=DOMAIN,
                    name="basics.recorded_chain",
                    version="v1",
                )
            ),
            inputs=literals_pb2.LiteralMap(
                literals={
                    "folder": literals_pb2.Literal(
                        scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=str(folder)))
                    )
                }
            ),
        )

    def run(self) -> None:
        number = 0
        backoff = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 50)]
        backoff.append(("grpc.min_reconnect_backoff_ms", 20))
        with grpc.insecure_channel(self._address, options=backoff) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            while not self.enough.is_set():
                number += 1
                self._request.name = f"k{number:05d}"
                try:
                    stub.CreateExecution(self._request, timeout=5)
                    self.acknowledged.append(self._request.name)
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                        self.acknowledged.append(self._request.name)
                self.enough.wait(0.15)


def wait_for(stub: admin_pb2_grpc.AdminServiceStub, name: str) -> execution_pb2.Execution:
    """Return the execution once it has ended."""
    terminal = {
        core_execution_pb2.WorkflowExecution.SUCCEEDED,
        core_execution_pb2.WorkflowExecution.FAILED,
        core_execution_pb2.WorkflowExecution.ABORTED,
    }
    deadline = time.monotonic() + WAIT_S
    request = execution_pb2.WorkflowExecutionGetRequest(
        id=identifier_pb2.WorkflowExecutionIdentifier(project=PROJECT, domain=DOMAIN, name=name)
    )
    while True:
        execution = stub.GetExecution(request)
        if execution.closure.phase in terminal:
            return execution
        assert time.monotonic() < deadline, f"{name} never ended: {execution.closure}"
        time.sleep(0.02)


def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    chooser = random.Random(SEED)
    server = ServerProcess(tmp_path / "data").start()
    Client(server.config).register()
    submitter = Submitter(server.grpc, marks)
    submitter.start()
    for _ in range(KILLS):
        time.sleep(chooser.uniform(0.0, 0.5))  # the moment of the kill is what is random here
        server.kill()
        server.start()
    submitter.enough.set()
    submitter.join()
    assert len(submitter.acknowledged) >= KILLS // 2
    with grpc.insecure_channel(server.grpc) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        for name in submitter.acknowledged:
            execution = wait_for(stub, name)
            phase = core_execution_pb2.WorkflowExecution.Phase.Name(execution.closure.phase)
            assert phase == "SUCCEEDED", f"{name} (seed {SEED}): {execution.closure}"
            data = stub.GetExecutionData(execution_pb2.WorkflowExecutionGetDataRequest(id=execution.id))
            assert data.full_outputs.literals["o0"].scalar.primitive.integer == 7, name
    assert_no_overlap(marks)
    assert server.stop() == 0


def assert_no_overlap(marks: Path) -> None:
    """Every process that began an attempt ended it or was gone before the next began: marks never interleave."""
    for mark in marks.iterdir():
        lines = [line.split() for line in mark.read_text().splitlines()]
        running: str | None = None
        for what, pid in lines:
            if what == "end":
                assert running == pid, f"{mark.name}: {lines}"
                running = None
            else:
                running = pid
        assert sum(what == "end" for what, _ in lines) <= 1, f"{mark.name} ran to its end twice: {lines}"
