"""Digests of messages: the reference's hash for cache keys, and one for telling re-registrations apart."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

from google.protobuf.message import Message

from flyte_kernel.compile.text import message_json

__all__ = ["json_hash", "pbhash", "structural_digest"]

_UNORDERED = "upstreamNodeIds"  # a set in all but name: clients send it in the order of memory addresses


def pbhash(message: Message) -> bytes:
    """Return the 32 bytes flyteadmin and the data catalog use: objecthash over the message's proto-JSON.

    Raises InvalidArgumentError for a message that JSON cannot express.
    """
    return json_hash(message_json(message))


def structural_digest(message: Message) -> bytes:
    """Return 32 bytes that are equal for messages that mean the same, whatever order set-like fields came in.

    Raises InvalidArgumentError for a message that JSON cannot express.
    """
    return json_hash(_with_sets_sorted(message_json(message)))


def json_hash(value: object) -> bytes:
    """Return the objecthash of a JSON value, all of its numbers taken as floats; ValueError for an infinite one."""
    if value is None:
        return _tagged(b"n", b"")
    if isinstance(value, bool):
        return _tagged(b"b", b"1" if value else b"0")
    if isinstance(value, str):
        return _tagged(b"u", value.encode())
    if isinstance(value, (int, float)):
        return _tagged(b"f", _normal_form(float(value)).encode())
    if isinstance(value, Mapping):
        entries = sorted(json_hash(key) + json_hash(item) for key, item in value.items())
        return _tagged(b"d", b"".join(entries))
    if isinstance(value, Sequence):
        return _tagged(b"l", b"".join(json_hash(item) for item in value))
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _tagged(tag: bytes, data: bytes) -> bytes:
    return hashlib.sha256(tag + data).digest()


def _normal_form(number: float) -> str:
    """Sign, binary exponent of a mantissa in (0.5, 1], mantissa bits; objecthash's text for floats."""
    if number == 0:
        return "+0:"
    if not math.isfinite(number):
        raise ValueError(f"{number} is no JSON number")
    sign, mantissa, exponent = ("-" if number < 0 else "+"), abs(number), 0
    while mantissa > 1:
        mantissa /= 2
        exponent += 1
    while mantissa <= 0.5:
        mantissa *= 2
        exponent -= 1
    bits = []
    while mantissa != 0:
        bits.append("1" if mantissa >= 1 else "0")
        mantissa = (mantissa - 1 if mantissa >= 1 else mantissa) * 2
    return f"{sign}{exponent}:{''.join(bits)}"


def _with_sets_sorted(value: object) -> object:
    if isinstance(value, Mapping):
        return {
            key: sorted(item) if key == _UNORDERED and isinstance(item, list) else _with_sets_sorted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_with_sets_sorted(item) for item in value]
    return value
