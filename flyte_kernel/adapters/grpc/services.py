"""Handlers for every RPC of a service, made from its descriptor once.

A service is an object with a method for each RPC it serves, from request message to response message or serialised
response. RPCs it lacks answer UNIMPLEMENTED with their name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from flyte_kernel.adapters.grpc.errors import end, refuse
from flyte_kernel.errors import InvalidArgumentError

__all__ = ["UnknownServices", "service_handler"]


def service_handler(descriptor: ServiceDescriptor, service: object) -> grpc.GenericRpcHandler:
    """Return the handler of a whole service."""
    handlers = {
        method.name: _method_handler(method, getattr(service, method.name, None)) for method in descriptor.methods
    }
    return grpc.method_handlers_generic_handler(descriptor.full_name, handlers)


def _method_handler(
    method: MethodDescriptor, serve: Callable[[Message], Message | bytes] | None
) -> grpc.RpcMethodHandler:
    """Parse and serialise here: grpcio itself would answer UNKNOWN or INTERNAL to bytes that are no message."""
    if serve is None:
        return _unimplemented(f"{method.full_name} is not implemented by this version of flyte-kernel")
    name = method.name
    request_name = method.input_type.full_name
    parse = GetMessageClass(method.input_type).FromString

    def answer(data: bytes, context: grpc.ServicerContext) -> bytes:
        try:
            request = parse(data)
        except DecodeError:
            refuse(context, name, InvalidArgumentError(f"the request is not a valid {request_name}"))
        try:
            response = serve(request)
            return response if isinstance(response, bytes) else response.SerializeToString()
        except Exception as error:
            refuse(context, name, error)

    return grpc.unary_unary_rpc_method_handler(answer)


def _unimplemented(text: str) -> grpc.RpcMethodHandler:
    """A handler that reads nothing, whatever kind of call it is."""

    def answer(_: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        end(context, grpc.StatusCode.UNIMPLEMENTED, text)

    return grpc.stream_stream_rpc_method_handler(answer)


class UnknownServices(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """Answers for what nobody serves, in the words of Go's gRPC; must be the last handler of a server.

    A Flyte without authentication does not serve AuthMetadataService and IdentityService, and clients rely on it.
    """

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = frozenset(known)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return a handler for any method."""
        method: str = handler_call_details.method
        service, slash, name = method.removeprefix("/").rpartition("/")
        if not slash:
            return _unimplemented(f"malformed method name: {method!r}")
        if service in self._known:
            return _unimplemented(f"unknown method {name} for service {service}")
        return _unimplemented(f"unknown service {service}")
