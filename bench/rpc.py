"""RPCs of a real server beside a bare grpcio echo, client in another process, in the same run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import asdict
from pathlib import Path

import grpc
from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc

from bench.records import Record
from tests.support.client import DOMAIN, PROJECT, Client
from tests.support.server import ServerProcess

ECHO = "/bench.Echo/Echo"
ABORTED = core_execution_pb2.WorkflowExecution.ABORTED


def serve_echo() -> None:
    """Serve a bare echo until the standard input closes; print the port."""

    handler = grpc.unary_unary_rpc_method_handler(lambda request, _: request)

    class Echo(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:  # noqa: ARG002
            return handler

    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([Echo()])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()


def rate(address: str, call: Callable[[grpc.Channel], Callable[[], object]], clients: int, seconds: float) -> float:
    """Return calls a second of `clients` threads over one channel each."""
    counts = [0] * clients
    start, stop = threading.Barrier(clients + 1), threading.Event()

    def work(index: int) -> None:
        with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            one = call(channel)
            one()
            start.wait()
            while not stop.is_set():
                one()
                counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(clients)]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    time.sleep(seconds)
    total = sum(counts)
    elapsed = time.perf_counter() - began
    stop.set()
    for thread in threads:
        thread.join()
    return total / elapsed


def create_latencies(address: str, count: int) -> list[float]:
    """Return the seconds each of `count` CreateExecution calls took, one after the other."""
    request = execution_pb2.ExecutionCreateRequest(project=PROJECT, domain=DOMAIN)
    plan = request.spec.launch_plan
    plan.resource_type, plan.project, plan.domain = identifier_pb2.LAUNCH_PLAN, PROJECT, DOMAIN
    plan.name, plan.version = "basics.recorded_chain", "v1"
    request.inputs.literals["folder"].scalar.primitive.string_value = "/nonexistent"
    latencies = []
    with grpc.insecure_channel(address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        for index in range(count):
            request.name = f"c{index}"
            began = time.perf_counter()
            created = stub.CreateExecution(request)
            latencies.append(time.perf_counter() - began)
            stub.TerminateExecution(execution_pb2.ExecutionTerminateRequest(id=created.id, cause="bench"))
            # What the last one started must be gone before the next is timed.
            while stub.GetExecution(execution_pb2.WorkflowExecutionGetRequest(id=created.id)).closure.phase != ABORTED:
                time.sleep(0.005)
    return latencies


def main(seconds: float = 3.0, creations: int = 200) -> None:
    """Print the records."""
    echo = subprocess.Popen([sys.executable, "-m", "bench.rpc", "echo"], stdout=-1, stdin=-1, text=True)
    assert echo.stdout is not None
    echo_address = f"127.0.0.1:{int(echo.stdout.readline())}"
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder) / "data").start()
        client = Client(server.config)
        client.register()
        execution = client.run("basics.inner", {"a": 1})
        request = execution_pb2.WorkflowExecutionGetRequest(id=execution.id.to_flyte_idl())

        def get(channel: grpc.Channel) -> Callable[[], object]:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            return lambda: stub.GetExecution(request)

        def ping(channel: grpc.Channel) -> Callable[[], object]:
            one = channel.unary_unary(ECHO)
            payload = bytes(100)
            return lambda: one(payload)

        for clients in (1, 32):
            ours = rate(server.grpc, get, clients, seconds)
            limit = rate(echo_address, ping, clients, seconds)
            name = f"RPC, {clients} in flight"
            goal = ">= 0.6x the echo" if clients == 32 else ""
            print(json.dumps(asdict(Record(name, "GetExecution", "ours", ours, "a second", goal=goal))))
            print(json.dumps(asdict(Record(name, "bare grpcio echo", "limit", limit, "a second"))))
        latencies = [s * 1e3 for s in create_latencies(server.grpc, creations)]
        p50, p99 = statistics.median(latencies), sorted(latencies)[int(len(latencies) * 0.99)]
        goal = "p50 < 2 ms"
        record = Record("CreateExecution, durable", "p50", "ours", p50, "ms", goal=goal, details={"p99_ms": p99})
        print(json.dumps(asdict(record)))
        server.stop()
    echo.communicate()


if __name__ == "__main__":
    serve_echo() if sys.argv[1:] == ["echo"] else main()
