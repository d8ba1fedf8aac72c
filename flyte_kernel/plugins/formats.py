"""How literals look in a command line: the reference's formats, which are those of Go's default formatting."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
from flyteidl.core import literals_pb2
from google.protobuf import duration_pb2, timestamp_pb2

__all__ = ["literal_text"]

# Outside of these powers of ten floats are written with an exponent.
_PLAIN_EXPONENT_MIN = -4
_PLAIN_EXPONENT_MAX = 20


def literal_text(literal: literals_pb2.Literal) -> str:
    """Return the text for a literal; ValueError names the kinds that have none (maps, unions, dataframes, ...)."""
    match literal.WhichOneof("value"):
        case "collection":
            return f"[{','.join(literal_text(element) for element in literal.collection.literals)}]"
        case "scalar":
            return _scalar_text(literal.scalar)
        case other:
            raise ValueError(f"a {other or 'literal without a value'} cannot be written into a command")


def _scalar_text(scalar: literals_pb2.Scalar) -> str:
    match scalar.WhichOneof("value"):
        case "primitive":
            return _primitive_text(scalar.primitive)
        case "blob":
            return str(scalar.blob.uri)
        case "schema":
            return str(scalar.schema.uri)
        case "binary":
            return _binary_text(scalar.binary)
        case other:
            raise ValueError(f"a {other or 'scalar without a value'} cannot be written into a command")


def _primitive_text(primitive: literals_pb2.Primitive) -> str:
    match primitive.WhichOneof("value"):
        case "integer":
            return str(primitive.integer)
        case "float_value":
            return _float_text(primitive.float_value)
        case "boolean":
            return str(primitive.boolean).lower()
        case "string_value":
            return str(primitive.string_value)
        case "datetime":
            return _datetime_text(primitive.datetime)
        case "duration":
            return _duration_text(primitive.duration)
        case _:
            raise ValueError("a primitive without a value cannot be written into a command")


def _float_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    decimal = Decimal(repr(value)).normalize()
    exponent = decimal.adjusted()
    if decimal.is_zero() or _PLAIN_EXPONENT_MIN <= exponent <= _PLAIN_EXPONENT_MAX:
        return f"{decimal:f}"
    mantissa = decimal.scaleb(-exponent)
    return f"{mantissa:f}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _datetime_text(moment: timestamp_pb2.Timestamp) -> str:
    """RFC 3339 in UTC with as many digits of the second as there are."""
    try:
        second = datetime(1970, 1, 1) + timedelta(seconds=moment.seconds)
    except OverflowError as error:
        raise ValueError(f"{moment.seconds} s since 1970 is no date") from error
    fraction = f".{moment.nanos:09d}".rstrip("0") if moment.nanos else ""
    return f"{second.isoformat()}{fraction}Z"


def _duration_text(duration: duration_pb2.Duration) -> str:
    """A protobuf message in text form, fields that are zero left out."""
    fields = (("seconds", duration.seconds), ("nanos", duration.nanos))
    return " ".join(f"{name}:{value}" for name, value in fields if value)


def _binary_text(binary: literals_pb2.Binary) -> str:
    if binary.tag != "msgpack":
        raise ValueError(f"a binary with the tag {binary.tag!r} cannot be written into a command")
    try:
        return _value_text(msgspec.msgpack.decode(binary.value))
    except (msgspec.DecodeError, TypeError) as error:
        raise ValueError(f"the msgpack binary is malformed: {error}") from error


def _value_text(value: object) -> str:
    match value:
        case None:
            return "<nil>"
        case bool():
            return str(value).lower()
        case int() | str():
            return str(value)
        case float():
            return _float_text(value)
        case bytes() | list():
            return f"[{' '.join(_value_text(element) for element in value)}]"
        case dict():
            members = sorted(value.items(), key=lambda member: (type(member[0]).__name__, member[0]))
            return f"map[{' '.join(f'{_value_text(key)}:{_value_text(member)}' for key, member in members)}]"
        case _:
            raise ValueError(f"a {type(value).__name__} in a msgpack binary cannot be written into a command")
