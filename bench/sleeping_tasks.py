"""Tasks that only sleep, through the whole server over gRPC, in the shapes that others publish: fan-out, chain, swarm.

Then a kill -9 of the server with many live runs, and how long it takes to serve again.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import grpc
from flyteidl.admin import execution_pb2, task_pb2, workflow_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import literals_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2
from flyteidl.service import admin_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from bench.records import Record
from tests.support import flows
from tests.support.server import ServerProcess

FAN, CHAIN, SWARM, LEAVES, LIVE = 6_000, 500, 10, 1_000, 1_000
SMOKE = (30, 10, 2, 10, 3)
SLEEP_S, LONG_S = 1, 100_000
_ENDED = (
    core_execution_pb2.WorkflowExecution.SUCCEEDED,
    core_execution_pb2.WorkflowExecution.FAILED,
    core_execution_pb2.WorkflowExecution.ABORTED,
)


def say(workload: str, name: str, value: float, goal: str) -> None:
    """Print a record as a line of JSON."""
    print(json.dumps(asdict(Record(workload, name, "ours", value, "s", goal=goal))), flush=True)


class Sleeper:
    """A server, and workflows of tasks that sleep."""

    def __init__(self, server: ServerProcess) -> None:
        channel = grpc.insecure_channel(server.grpc, options=[("grpc.use_local_subchannel_pool", 1)])
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)
        request = task_pb2.TaskCreateRequest(id=flows.identifier(flows.TASK, "bench.sleep"))
        template = request.spec.template
        template.id.CopyFrom(request.id)
        template.type = "core-sleep"
        template.metadata.retries.SetInParent()
        template.metadata.runtime.version = "1"
        template.interface.inputs.variables["duration"].type.simple = types_pb2.DURATION
        template.interface.outputs.SetInParent()
        self.admin.CreateTask(request)

    def register(self, name: str, count: int, seconds: int, *, is_chain: bool = False) -> None:
        """Register a workflow of `count` sleeps."""
        request = workflow_pb2.WorkflowCreateRequest(id=flows.identifier(flows.WORKFLOW, name))
        request.spec.template.id.CopyFrom(request.id)
        literal = literals_pb2.Scalar(primitive=literals_pb2.Primitive(duration=Duration(seconds=seconds)))
        binding = literals_pb2.Binding(var="duration", binding=literals_pb2.BindingData(scalar=literal))
        for index in range(count):
            node = core_workflow_pb2.Node(id=f"n{index}", inputs=[binding])
            node.task_node.reference_id.CopyFrom(flows.identifier(flows.TASK, "bench.sleep"))
            if is_chain and index:
                node.upstream_node_ids.append(f"n{index - 1}")
            request.spec.template.nodes.append(node)
        self.admin.CreateWorkflow(request)
        self.admin.CreateLaunchPlan(flows.plan_request(name, name))

    def start(self, plan: str, name: str) -> object:
        """Start an execution without a limit on what runs at once."""
        request = flows.execution_request(name, plan)
        request.spec.max_parallelism = 1_000_000
        return self.admin.CreateExecution(request).id

    def run(self, plan: str, names: Sequence[str]) -> float:
        """Return the seconds from the first request to the end of the last execution."""
        began = time.perf_counter()
        for id_ in [self.start(plan, name) for name in names]:
            request = execution_pb2.WorkflowExecutionGetRequest(id=id_)
            while (phase := self.admin.GetExecution(request).closure.phase) not in _ENDED:
                time.sleep(0.005)
            if phase != core_execution_pb2.WorkflowExecution.SUCCEEDED:
                raise RuntimeError(f"{plan} ended in phase {phase}")
        return time.perf_counter() - began


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for sizes that a test can afford."""
    fan, chain, swarm, leaves, live = SMOKE if "--smoke" in arguments else (FAN, CHAIN, SWARM, LEAVES, LIVE)
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data").start()
        sleeper = Sleeper(server)
        sleeper.register("bench.fan", fan, SLEEP_S)
        sleeper.register("bench.chain", chain, 0, is_chain=True)
        sleeper.register("bench.leaves", leaves, SLEEP_S)
        sleeper.register("bench.long", leaves, LONG_S)
        beyond = "beyond the sleep"
        say(f"{fan:,} sleeps side by side", beyond, sleeper.run("bench.fan", ["fan"]) - SLEEP_S, "< 5 s")
        say(f"chain of {chain:,} sleeps", beyond, sleeper.run("bench.chain", ["chain"]), "< 5 s")
        names = [f"swarm{index}" for index in range(swarm)]
        say(f"{swarm} workflows of {leaves:,} sleeps", beyond, sleeper.run("bench.leaves", names) - SLEEP_S, "< 15 s")
        for index in range(live):
            sleeper.start("bench.long", f"long{index}")
        server.kill()
        began = time.perf_counter()
        server.start()
        workload = f"restart after kill -9, {live:,} live runs of {leaves:,} nodes"
        say(workload, "to serving", time.perf_counter() - began, "< 2 s for a million nodes")
        server.kill()


if __name__ == "__main__":
    main(sys.argv[1:])
