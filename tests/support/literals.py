"""Short ways to write literals, bindings and attribute paths."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

Literal = literals_pb2.Literal
BindingData = literals_pb2.BindingData


def primitive(value: float | str) -> Literal:
    """A primitive literal of the Python value's type."""
    match value:
        case bool():
            content = literals_pb2.Primitive(boolean=value)
        case int():
            content = literals_pb2.Primitive(integer=value)
        case float():
            content = literals_pb2.Primitive(float_value=value)
        case str():
            content = literals_pb2.Primitive(string_value=value)
    return Literal(scalar=literals_pb2.Scalar(primitive=content))


def collection(*elements: Literal) -> Literal:
    """A collection literal."""
    return Literal(collection=literals_pb2.LiteralCollection(literals=elements))


def mapping(**members: Literal) -> Literal:
    """A map literal."""
    return Literal(map=literals_pb2.LiteralMap(literals=members))


def packed(value: object, tag: str = "msgpack") -> Literal:
    """A binary literal that holds the value as MessagePack."""
    binary = literals_pb2.Binary(value=msgspec.msgpack.encode(value), tag=tag)
    return Literal(scalar=literals_pb2.Scalar(binary=binary))


def generic(value: dict[str, object]) -> Literal:
    """A protobuf struct literal."""
    return Literal(scalar=literals_pb2.Scalar(generic=ParseDict(value, struct_pb2.Struct())))


def literal_map(**members: Literal) -> literals_pb2.LiteralMap:
    """A LiteralMap message."""
    return literals_pb2.LiteralMap(literals=members)


def promise(node_id: str, var: str, path: Sequence[str | int] = ()) -> BindingData:
    """A binding to an output of a node."""
    steps = [
        types_pb2.PromiseAttribute(string_value=step)
        if isinstance(step, str)
        else types_pb2.PromiseAttribute(int_value=step)
        for step in path
    ]
    return BindingData(promise=types_pb2.OutputReference(node_id=node_id, var=var, attr_path=steps))


def bound(var: str, data: BindingData | None = None) -> literals_pb2.Binding:
    """A binding of one input."""
    return literals_pb2.Binding(var=var, binding=data)
