"""Exceptions as gRPC statuses, with typed details where Flyte has them.

UNKNOWN is never answered: SDKs take it for a demand to log in.
"""

from __future__ import annotations

import logging
from typing import NoReturn
from urllib.parse import quote

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import status_pb2

from flyte_kernel import errors

__all__ = ["refuse"]

logger = logging.getLogger(__name__)

# Clients built on gRPC's C core refuse trailers above 8 KiB: a longer text would reach nobody.
_TRAILER_BYTES_MAX = 7 * 1024
_DETAILS_KEY = "grpc-status-details-bin"
_CUT_MARK = "… (cut)"

_CODES: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
    (errors.InvalidArgumentError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFoundError, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExistsError, grpc.StatusCode.ALREADY_EXISTS),
    (errors.FailedPreconditionError, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.UnsupportedError, grpc.StatusCode.UNIMPLEMENTED),
    (errors.CompileError, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (errors.StorageFullError, grpc.StatusCode.RESOURCE_EXHAUSTED),
)


def refuse(context: grpc.ServicerContext, method: str, error: Exception) -> NoReturn:
    """End the call with the status that `error` stands for; what is nobody's fault but ours goes to the log."""
    code = _code_of(error)
    if code is None:
        logger.error("%s failed", method, exc_info=error)
        end(context, grpc.StatusCode.INTERNAL, f"{method} failed inside the server: {type(error).__name__}: {error}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        end(context, code, f"{error}. Nothing was written; try again when there is space")
    detail = getattr(error, "detail", None)
    end(context, code, str(error), detail if isinstance(detail, Message) else None)


def end(context: grpc.ServicerContext, code: grpc.StatusCode, text: str, detail: Message | None = None) -> NoReturn:
    """End the call; a text too long for trailers is cut, and then the detail is lost, as in the reference."""
    message = _cut(text)
    if detail is not None and message == text:
        status = status_pb2.Status(code=code.value[0], message=message, details=[_any(detail)])
        trailer = status.SerializeToString()
        if _encoded_length(message) + len(trailer) * 4 // 3 <= _TRAILER_BYTES_MAX:
            context.set_trailing_metadata(((_DETAILS_KEY, trailer),))
    context.abort(code, message)
    raise AssertionError("abort raises")


def _code_of(error: Exception) -> grpc.StatusCode | None:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, errors.AdapterError) and error.retryable:
        return grpc.StatusCode.UNAVAILABLE
    return None


def _any(detail: Message) -> Any:
    packed = Any()
    packed.Pack(detail)
    return packed


def _cut(text: str) -> str:
    text = text.encode(errors="replace").decode()
    if _encoded_length(text) <= _TRAILER_BYTES_MAX:
        return text
    room = _TRAILER_BYTES_MAX - _encoded_length(_CUT_MARK)
    kept = []
    for character in text:
        room -= _encoded_length(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + _CUT_MARK


def _encoded_length(text: str) -> int:
    """The length of a status message on the wire, where all but printable ASCII is percent-encoded."""
    return len(quote(text, safe=_UNQUOTED))


_UNQUOTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
