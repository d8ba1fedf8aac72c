"""Attribute paths into random nested values give what a plain walk over the Python values gives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from flyteidl.core import literals_pb2
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from flyte_kernel.engine.literals import BindingError, resolve_bindings
from tests.support.literals import Literal, bound, collection, generic, literal_map, mapping, packed, primitive, promise

Path = list[str | int]

KEYS = st.text("ab é.", max_size=3)
LEAVES = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=5), st.booleans(), st.none()
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
STRUCT_LEAVES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=5), st.booleans(), st.none()
)
STRUCT_VALUES = st.recursive(
    STRUCT_LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
STEPS = st.lists(st.one_of(st.integers(-1, 4), KEYS), max_size=4)


def steps_within(draw: st.DrawFn, value: Any) -> Path:
    """Draw a path that exists in the value."""
    path: Path = []
    while value and isinstance(value, (dict, list)) and draw(st.booleans()):
        step = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        path.append(step)
        value = value[step]
    return path


def walk(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def resolve(output: Literal, path: Path) -> Literal:
    bindings = [bound("x", promise("n0", "o0", path))]
    return resolve_bindings(bindings, {"n0": literal_map(o0=output)}.__getitem__).literals["x"]


def is_packed(literal: Literal, value: Any) -> bool:
    binary = literal.scalar.binary
    return bool(binary.tag == "msgpack" and msgspec.msgpack.decode(binary.value) == value)


def holds_unpacked(literal: Literal, value: Any) -> bool:
    """Whether the literal is what a msgpack value becomes at the end of a path."""
    if isinstance(value, list):
        elements = literal.collection.literals
        return len(elements) == len(value) and all(map(is_packed, elements, value))
    if isinstance(value, dict) or value is None:
        return is_packed(literal, value)
    return bool(literal == primitive(value))


def struct_literal(value: Any) -> Literal:
    match value:
        case dict():
            return generic(value)
        case list():
            return collection(*map(struct_literal, value))
        case None:
            return Literal()
    return primitive(value)


def nested_literal(value: Any, depth: int) -> Literal:
    """Spread a value over literal maps and collections, with msgpack from `depth` on."""
    if depth > 0 and isinstance(value, dict):
        return mapping(**{key: nested_literal(member, depth - 1) for key, member in value.items()})
    if depth > 0 and isinstance(value, list):
        return collection(*(nested_literal(element, depth - 1) for element in value))
    return packed(value)


def holds_nested(literal: Literal, value: Any, depth: int) -> bool:
    if depth > 0 and isinstance(value, (dict, list)):
        return bool(literal == nested_literal(value, depth))
    return holds_unpacked(literal, value)


@given(st.data(), VALUES, st.integers(0, 3))
def test_paths_over_literals_and_msgpack(data: st.DataObject, value: Any, depth: int) -> None:
    path = steps_within(data.draw, [value])
    if not path:
        return
    result = resolve(nested_literal([value], depth + 1), path)
    assert holds_nested(result, walk([value], path), depth + 1 - len(path))


@given(st.data(), st.dictionaries(KEYS, STRUCT_VALUES, max_size=4))
def test_paths_over_structs(data: st.DataObject, value: dict[str, Any]) -> None:
    path = steps_within(data.draw, value)
    if path:
        assert resolve(generic(value), path) == struct_literal(walk(value, path))


@given(VALUES, STEPS, st.integers(0, 3))
def test_any_path_resolves_to_the_walk_or_fails(value: Any, path: Path, depth: int) -> None:
    output = nested_literal(value, depth)
    before = MessageToDict(output)
    try:
        expected = naive(value, path)
    except LookupError:
        with pytest.raises(BindingError) as caught:
            resolve(output, path)
        assert caught.value.code == "PromiseAttributeResolveError"
    else:
        if path:
            assert holds_nested(resolve(output, path), expected, depth - len(path))
        else:
            assert resolve(output, path) == output
    assert MessageToDict(output) == before


def naive(value: Any, path: Path) -> Any:
    for step in path:
        if not isinstance(value, list if isinstance(step, int) else dict) or step == -1:
            raise LookupError(step)
        value = value[step]
    return value


@given(
    st.recursive(LEAVES.filter(lambda leaf: leaf is not None), lambda inner: st.lists(inner, max_size=4), max_leaves=9)
)
def test_bindings_mirror_the_literals_they_resolve_to(value: Any) -> None:
    def data_of(part: Any) -> literals_pb2.BindingData:
        if isinstance(part, list):
            return literals_pb2.BindingData(
                collection=literals_pb2.BindingDataCollection(bindings=[data_of(element) for element in part])
            )
        return promise("n0", "o0", ["k"]) if part == "" else literals_pb2.BindingData(scalar=primitive(part).scalar)

    def literal_of(part: Any) -> Literal:
        return collection(*map(literal_of, part)) if isinstance(part, list) else primitive(part)

    outputs = {"n0": literal_map(o0=mapping(k=primitive("")))}
    assert resolve_bindings([bound("x", data_of(value))], outputs.__getitem__).literals["x"] == literal_of(value)
