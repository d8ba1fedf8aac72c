"""Listens for gRPC: admin, data proxy, signals, the catalog, health and reflection on one port."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from flyteidl.datacatalog import datacatalog_pb2
from flyteidl.service import admin_pb2, dataproxy_pb2, signal_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from flyte_kernel.adapters.grpc.admin import AdminService
from flyte_kernel.adapters.grpc.catalog import DataCatalog
from flyte_kernel.adapters.grpc.data_proxy import DataProxyService
from flyte_kernel.adapters.grpc.services import UnknownServices, service_handler
from flyte_kernel.adapters.grpc.signals import SignalService
from flyte_kernel.engine.backend import Backend
from flyte_kernel.errors import AdapterError

__all__ = ["GrpcServer"]

_WORKERS = 64  # more than cores: those who write wait for the disk together
_DRAIN_S = 10.0
_HEALTH_NAMES = ("", "flyteadmin")


class GrpcServer:
    """Serves an engine on HOST:PORT (port 0: any free one); bound once made, answering once started."""

    def __init__(self, engine: Backend, host: str, port: int) -> None:
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="flyte-kernel-rpc")
        self._server = grpc.server(self._pool, options=_options(engine.settings.request_bytes_max))
        self._health = health.HealthServicer(experimental_non_blocking=True, experimental_thread_pool=self._pool)
        served = [
            (admin_pb2.DESCRIPTOR.services_by_name["AdminService"], AdminService(engine)),
            (dataproxy_pb2.DESCRIPTOR.services_by_name["DataProxyService"], DataProxyService(engine)),
            (datacatalog_pb2.DESCRIPTOR.services_by_name["DataCatalog"], DataCatalog(engine)),
            (signal_pb2.DESCRIPTOR.services_by_name["SignalService"], SignalService(engine)),
        ]
        self._server.add_generic_rpc_handlers([service_handler(descriptor, service) for descriptor, service in served])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (
            *(descriptor.full_name for descriptor, _ in served),
            health.SERVICE_NAME,
            reflection.SERVICE_NAME,
        )
        reflection.enable_server_reflection(names, self._server)
        self._server.add_generic_rpc_handlers([UnknownServices(names)])
        host = f"[{host}]" if ":" in host else host
        self.address = f"{host}:{self._bind(host, port)}"

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()
        for name in _HEALTH_NAMES:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def close(self) -> None:
        """Take no new calls, let those in flight end."""
        self._health.enter_graceful_shutdown()
        self._server.stop(_DRAIN_S).wait()
        self._pool.shutdown()

    def _bind(self, host: str, port: int) -> int:
        try:
            bound = int(self._server.add_insecure_port(f"{host}:{port}"))
        except RuntimeError as error:
            raise _cannot_listen(host, port) from error
        if not bound:
            raise _cannot_listen(host, port)
        return bound


def _cannot_listen(host: str, port: int) -> AdapterError:
    return AdapterError(
        f"cannot listen for gRPC on {host}:{port}: the port is in use or the address is not this machine's; "
        "choose another with --grpc HOST:PORT",
        retryable=False,
    )


def _options(request_bytes_max: int) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a port in use is an error, not a second server
        ("grpc.max_receive_message_length", request_bytes_max),
        ("grpc.max_send_message_length", -1),
        # flytekit pings every 30 s without calls; grpc's defaults would end its connection for that.
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ]
