"""The hash of a protobuf message that cache keys are made of: objecthash over the message's canonical JSON.

The reference marshals to proto3 JSON and hashes that as "common JSON": SHA-256 of a type tag and the value, where dicts
are sorted by the hashes of their keys. Here the message is walked directly and the JSON never written; the rules of
proto3 JSON that matter (64-bit integers as text, enums by name, defaults left out, well-known types) are applied on the
way. Field hashes are the same for every message, so they are computed once.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any, TypeAlias

from google.protobuf import duration_pb2, struct_pb2, timestamp_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from flyte_kernel.errors import InternalError, InvalidArgumentError

__all__ = ["normalised", "object_hash"]

_Hash: TypeAlias = Callable[[Any], bytes]


def object_hash(message: Message) -> bytes:
    """Return the 32 bytes; InvalidArgumentError for what has no canonical JSON, such as NaN within a Struct."""
    special = _SPECIAL.get(message.DESCRIPTOR.full_name)
    if special is not None:
        return special(message)
    pairs = []
    for field, value in message.ListFields():
        key, hash_value = _field(field)
        pairs.append(key + hash_value(value))
    return _hash_pairs(pairs)


def _hash_pairs(pairs: list[bytes]) -> bytes:
    # All keys have the length of a hash, so sorting pairs is sorting by key.
    pairs.sort()
    return sha256(b"d" + b"".join(pairs)).digest()


def _hash_list(hashes: Iterable[bytes]) -> bytes:
    return sha256(b"l" + b"".join(hashes)).digest()


def _hash_text(text: str) -> bytes:
    return sha256(b"u" + text.encode()).digest()


def _hash_bool(value: bool) -> bytes:
    return sha256(b"b1" if value else b"b0").digest()


def _hash_number(value: float) -> bytes:
    return sha256(b"f" + normalised(value)).digest()


def normalised(value: float) -> bytes:
    """Return sign, exponent and the bits of the mantissa in (0.5, 1]: objecthash's own notation of a number."""
    if value == 0:
        return b"+0:"
    sign = b"-" if value < 0 else b"+"
    mantissa, exponent = math.frexp(abs(value))
    if mantissa == 0.5:  # frexp gives [0.5, 1)
        mantissa, exponent = 1.0, exponent - 1
    if mantissa == 1.0:
        bits = b"1"
    else:
        whole = int(mantissa * (1 << 53))
        bits = b"0" + format(whole, "053b").rstrip("0").encode()
    return b"%s%d:%s" % (sign, exponent, bits)


def _hash_double(value: float) -> bytes:
    """A double field: what is no number has a name in JSON."""
    if math.isnan(value):
        return _hash_text("NaN")
    if math.isinf(value):
        return _hash_text("Infinity" if value > 0 else "-Infinity")
    return _hash_number(value)


def _hash_integer(value: int) -> bytes:
    return sha256(b"u%d" % value).digest()


def _hash_bytes(value: bytes) -> bytes:
    return sha256(b"u" + b64encode(value)).digest()


def _hash_enum(descriptor: EnumDescriptor) -> _Hash:
    names = {number: _hash_text(value.name) for number, value in descriptor.values_by_number.items()}
    return lambda number: names.get(number) or _hash_number(number)


_HASH_OF_TYPE: Mapping[int, _Hash] = {
    FieldDescriptor.TYPE_STRING: _hash_text,
    FieldDescriptor.TYPE_BYTES: _hash_bytes,
    FieldDescriptor.TYPE_BOOL: _hash_bool,
    FieldDescriptor.TYPE_DOUBLE: _hash_double,
    FieldDescriptor.TYPE_INT64: _hash_integer,
    FieldDescriptor.TYPE_UINT64: _hash_integer,
    FieldDescriptor.TYPE_INT32: _hash_number,
    FieldDescriptor.TYPE_UINT32: _hash_number,
}


@cache
def _field(field: FieldDescriptor) -> tuple[bytes, _Hash]:
    """Return the hash of the field's JSON name and what hashes its value."""
    return _hash_text(field.json_name), _hash_of_field(field)


def _hash_of_field(field: FieldDescriptor) -> _Hash:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
        if key.type != FieldDescriptor.TYPE_STRING:
            raise InternalError(f"{field.full_name}: only maps with text keys are hashed")
        hash_value = _hash_of_one(value)
        return lambda items: _hash_pairs([_hash_text(name) + hash_value(item) for name, item in items.items()])
    hash_one = _hash_of_one(field)
    if _is_repeated(field):
        return lambda items: _hash_list([hash_one(item) for item in items])
    return hash_one


def _is_repeated(field: FieldDescriptor) -> bool:
    """Old protobuf runtimes know labels only, new ones no longer do."""
    is_repeated = getattr(field, "is_repeated", None)
    return bool(getattr(field, "label", 0) == FieldDescriptor.LABEL_REPEATED if is_repeated is None else is_repeated)


def _hash_of_one(field: FieldDescriptor) -> _Hash:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return object_hash
    if field.enum_type is not None:
        return _hash_enum(field.enum_type)
    hash_one = _HASH_OF_TYPE.get(field.type)
    if hash_one is None:
        raise InternalError(f"{field.full_name}: fields of type {field.type} are not hashed")
    return hash_one


# Well-known types


def _hash_timestamp(message: timestamp_pb2.Timestamp | duration_pb2.Duration) -> bytes:
    try:
        return _hash_text(message.ToJsonString())
    except ValueError as error:
        raise InvalidArgumentError(f"a time cannot be a part of a cache key: {error}") from error


def _hash_struct(message: struct_pb2.Struct) -> bytes:
    return _hash_pairs([_hash_text(name) + _hash_struct_value(value) for name, value in message.fields.items()])


def _hash_struct_list(message: struct_pb2.ListValue) -> bytes:
    return _hash_list([_hash_struct_value(value) for value in message.values])


def _hash_struct_value(message: struct_pb2.Value) -> bytes:
    kind = message.WhichOneof("kind")
    if kind == "null_value":
        return _NULL
    if kind == "number_value":
        if not math.isfinite(message.number_value):
            raise InvalidArgumentError("NaN and infinity within a Struct cannot be a part of a cache key")
        return _hash_number(message.number_value)
    if kind is None:
        raise InvalidArgumentError("a Struct holds a value of no kind: it cannot be a part of a cache key")
    return _HASH_OF_KIND[kind](getattr(message, kind))


_NULL = sha256(b"n").digest()
_HASH_OF_KIND: Mapping[str, _Hash] = {
    "string_value": _hash_text,
    "bool_value": _hash_bool,
    "struct_value": _hash_struct,
    "list_value": _hash_struct_list,
}
_SPECIAL: Mapping[str, _Hash] = {
    "google.protobuf.Timestamp": _hash_timestamp,
    "google.protobuf.Duration": _hash_timestamp,
    "google.protobuf.Struct": _hash_struct,
    "google.protobuf.ListValue": _hash_struct_list,
    "google.protobuf.Value": _hash_struct_value,
}
