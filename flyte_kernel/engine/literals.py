"""Bindings to literals: what a node's inputs are, given what its upstream nodes put out.

The rules, odd ones included, are the reference engine's. Nothing is read here: outputs, and literals that were too
large to be kept in place, come through callables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec
from flyteidl.core import literals_pb2, types_pb2
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError

from flyte_kernel.engine.ports import BlobNotFoundError

__all__ = ["BindingError", "resolve_bindings"]

_BINDING = "BindingResolutionFailure"
_ATTRIBUTE = "PromiseAttributeResolveError"
_MSGPACK = "msgpack"
_START_NODE = "start-node"
_INTEGER_MAX = 2**63 - 1
_NO_ALIASES: Mapping[str, Mapping[str, str]] = MappingProxyType({})

# `o0`, or `[3].o0` for one element of the collection that an array task puts out. Names with other characters cannot be
# bound in the reference either.
_VARIABLE = re.compile(r"(?:\[(\d+)\]\.)?(\w+)", re.ASCII)

_msgpack_map = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw])
_msgpack_list = msgspec.msgpack.Decoder(list[msgspec.Raw])


class BindingError(Exception):
    """An input cannot be resolved: data, not a fault of ours. `code` is the one of the node's core.ExecutionError."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def resolve_bindings(
    bindings: Iterable[literals_pb2.Binding],
    outputs_of: Callable[[str], literals_pb2.LiteralMap],
    *,
    aliases: Mapping[str, Mapping[str, str]] = _NO_ALIASES,
    read: Callable[[str], bytes] | None = None,
) -> literals_pb2.LiteralMap:
    """Resolve a node's input bindings; BindingError if one of them cannot be.

    `outputs_of` takes the id of a node ("start-node" where a promise names none), `aliases` maps node id and alias to
    the output variable it stands for, `read` fetches a blob when an attribute of an offloaded literal is asked for.
    """
    resolver = _Resolver(outputs_of, aliases, read)
    inputs = literals_pb2.LiteralMap()
    for binding in bindings:
        target = inputs.literals[binding.var]
        target.Clear()  # the last of two bindings of one name counts
        try:
            resolver.resolve(binding.binding, target)
        except BindingError as error:
            raise BindingError(error.code, f"input {binding.var!r} cannot be bound: {error.message}") from error
    return inputs


class _Resolver:
    def __init__(
        self,
        outputs_of: Callable[[str], literals_pb2.LiteralMap],
        aliases: Mapping[str, Mapping[str, str]],
        read: Callable[[str], bytes] | None,
    ) -> None:
        self._outputs_of = outputs_of
        self._aliases = aliases
        self._read = read

    def resolve(self, data: literals_pb2.BindingData, target: literals_pb2.Literal) -> None:
        """Put the literal for `data` into the empty `target`; a binding without a value leaves it empty."""
        match data.WhichOneof("value"):
            case "scalar":
                target.scalar.CopyFrom(data.scalar)
            case "offloaded_metadata":
                target.offloaded_metadata.CopyFrom(data.offloaded_metadata)
            case "promise":
                target.CopyFrom(self._promised(data.promise))
            case "collection":
                target.collection.SetInParent()
                for item in data.collection.bindings:
                    self.resolve(item, target.collection.literals.add())
            case "map":
                target.map.SetInParent()
                for key, item in data.map.bindings.items():
                    self.resolve(item, target.map.literals[key])

    def _promised(self, promise: types_pb2.OutputReference) -> literals_pb2.Literal:
        node_id = promise.node_id or _START_NODE
        parsed = _VARIABLE.fullmatch(promise.var)
        if parsed is None:
            raise BindingError(_BINDING, f"{promise.var!r} is not the name of an output variable")
        index, name = parsed.groups()
        name = self._aliases.get(node_id, {}).get(name, name)
        outputs = self._outputs_of(node_id).literals
        if name not in outputs:
            raise BindingError(_BINDING, f"node {node_id!r} has no output {name!r}")
        literal = outputs[name]
        if index is not None:
            literal = _array_element(literal, int(index), f"output {name!r} of node {node_id!r}")
        if not promise.attr_path:
            return literal
        try:
            return self._attribute(literal, promise.attr_path)
        except BindingError as error:
            raise BindingError(error.code, f"output {name!r} of node {node_id!r}: {error.message}") from error

    def _attribute(
        self, literal: literals_pb2.Literal, path: Sequence[types_pb2.PromiseAttribute]
    ) -> literals_pb2.Literal:
        """Walk maps and collections, then what is left of the path inside a dataclass.

        A path that goes on below any other scalar is ignored, as the reference does.
        """
        taken = 0
        for step in path:
            literal = self._fetched(literal)
            kind = literal.WhichOneof("value")
            if kind == "map":
                literal = literal.map.literals[_key(step, literal.map.literals)]
            elif kind == "collection":
                literal = literal.collection.literals[_index(step, len(literal.collection.literals))]
            else:
                break
            taken += 1
        if literal.WhichOneof("value") == "scalar":
            scalar = literal.scalar.WhichOneof("value")
            if scalar == "binary":
                return _attribute_of_binary(literal.scalar.binary, path[taken:])
            if scalar == "generic":
                return _attribute_of_struct(literal.scalar.generic, path[taken:])
        return literal

    def _fetched(self, literal: literals_pb2.Literal) -> literals_pb2.Literal:
        if literal.WhichOneof("value") != "offloaded_metadata":
            return literal
        uri = literal.offloaded_metadata.uri
        if self._read is None:
            raise BindingError(_ATTRIBUTE, f"the literal is offloaded to {uri} and there is no store to read it from")
        try:
            return literals_pb2.Literal.FromString(self._read(uri))
        except BlobNotFoundError as error:
            raise BindingError(_ATTRIBUTE, f"the offloaded literal {uri} is gone") from error
        except DecodeError as error:
            raise BindingError(_ATTRIBUTE, f"the offloaded literal {uri} is malformed: {error}") from error


def _array_element(literal: literals_pb2.Literal, index: int, what: str) -> literals_pb2.Literal:
    if literal.WhichOneof("value") != "collection":
        raise BindingError(_BINDING, f"{what} is not a collection, so it has no element {index}")
    elements = literal.collection.literals
    if index >= len(elements):
        raise BindingError(_BINDING, f"{what} has {len(elements)} elements, so there is no element {index}")
    return elements[index]


# Steps of attribute paths


def _key(step: types_pb2.PromiseAttribute, keys: Mapping[Any, object]) -> str:
    if step.WhichOneof("value") != "string_value":
        raise BindingError(_ATTRIBUTE, f"a map has no element [{step.int_value}]: its keys are strings")
    if step.string_value not in keys:
        raise BindingError(_ATTRIBUTE, f"there is no key {step.string_value!r}")
    return str(step.string_value)


def _index(step: types_pb2.PromiseAttribute, length: int) -> int:
    if step.WhichOneof("value") != "int_value":
        raise BindingError(_ATTRIBUTE, f"a list has no attribute {step.string_value!r}")
    if not 0 <= step.int_value < length:
        raise BindingError(_ATTRIBUTE, f"index {step.int_value} is out of range: the list has {length} elements")
    return int(step.int_value)


# Dataclasses as MessagePack


def _attribute_of_binary(
    binary: literals_pb2.Binary, path: Sequence[types_pb2.PromiseAttribute]
) -> literals_pb2.Literal:
    if binary.tag != _MSGPACK:
        raise BindingError(_ATTRIBUTE, f"a binary with the tag {binary.tag!r} has no attributes: only msgpack has")
    data = binary.value
    try:
        for step in path:
            data = _msgpack_step(data, step)
        return _literal_of_msgpack(data)
    except (msgspec.DecodeError, TypeError) as error:
        raise BindingError(_ATTRIBUTE, f"the msgpack binary is malformed: {error}") from error


def _msgpack_step(data: bytes, step: types_pb2.PromiseAttribute) -> bytes:
    if _is_msgpack_map(data):
        members = _msgpack_map.decode(data)
        return bytes(members[_key(step, members)])
    if _is_msgpack_list(data):
        elements = _msgpack_list.decode(data)
        return bytes(elements[_index(step, len(elements))])
    name = step.string_value if step.WhichOneof("value") == "string_value" else f"[{step.int_value}]"
    raise BindingError(_ATTRIBUTE, f"there is no {name!r} in a value that is neither a map nor a list")


def _literal_of_msgpack(data: bytes) -> literals_pb2.Literal:
    """Primitives come out as such, lists as collections of binaries (also of primitives), the rest stays binary."""
    if _is_msgpack_list(data):
        elements = (_binary_literal(bytes(element)) for element in _msgpack_list.decode(data))
        return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=elements))
    if _is_msgpack_map(data):
        return _binary_literal(data)
    value = msgspec.msgpack.decode(data)
    if isinstance(value, int) and value > _INTEGER_MAX:
        raise BindingError(_ATTRIBUTE, f"{value} does not fit into a 64-bit signed integer")
    primitive = _primitive(value)
    if primitive is None:
        return _binary_literal(data)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))


def _primitive(value: object) -> literals_pb2.Primitive | None:
    match value:
        case bool():
            return literals_pb2.Primitive(boolean=value)
        case int():
            return literals_pb2.Primitive(integer=value)
        case float():
            return literals_pb2.Primitive(float_value=value)
        case str():
            return literals_pb2.Primitive(string_value=value)
    return None


def _binary_literal(data: bytes) -> literals_pb2.Literal:
    binary = literals_pb2.Binary(value=data, tag=_MSGPACK)
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(binary=binary))


def _is_msgpack_map(data: bytes) -> bool:
    first = data[0] if data else 0
    return 0x80 <= first <= 0x8F or first in (0xDE, 0xDF)


def _is_msgpack_list(data: bytes) -> bool:
    first = data[0] if data else 0
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)


# Dataclasses as protobuf structs


def _attribute_of_struct(struct: struct_pb2.Struct, path: Sequence[types_pb2.PromiseAttribute]) -> literals_pb2.Literal:
    value = struct_pb2.Value(struct_value=struct)
    for step in path:
        match value.WhichOneof("kind"):
            case "struct_value":
                fields = value.struct_value.fields
                value = fields[_key(step, fields)]
            case "list_value":
                values = value.list_value.values
                value = values[_index(step, len(values))]
            case _:
                break  # the reference ignores what follows a primitive
    return _literal_of_value(value)


def _literal_of_value(value: struct_pb2.Value) -> literals_pb2.Literal:
    """All numbers become floats, since a struct knows no others; null becomes a literal without a value."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return literals_pb2.Literal(scalar=literals_pb2.Scalar(generic=value.struct_value))
        case "list_value":
            elements = [_literal_of_value(element) for element in value.list_value.values]
            return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=elements))
        case "number_value":
            primitive = literals_pb2.Primitive(float_value=value.number_value)
        case "string_value":
            primitive = literals_pb2.Primitive(string_value=value.string_value)
        case "bool_value":
            primitive = literals_pb2.Primitive(boolean=value.bool_value)
        case _:
            return literals_pb2.Literal()
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=primitive))
