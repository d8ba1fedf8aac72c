"""Bindings to literals, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from flyteidl.core import literals_pb2

from flyte_kernel.engine.literals import BindingError, resolve_bindings
from flyte_kernel.testing import MemoryBlobs
from tests.support.literals import (
    BindingData,
    Literal,
    bound,
    collection,
    generic,
    literal_map,
    mapping,
    packed,
    primitive,
    promise,
)


def resolve(data: BindingData | None, outputs: dict[str, literals_pb2.LiteralMap] | None = None) -> Literal:
    """Resolve one binding against the outputs of some nodes."""
    return resolve_bindings([bound("x", data)], (outputs or {}).__getitem__).literals["x"]


def attribute(value: Literal, *path: str | int) -> Literal:
    """Resolve an attribute of an output."""
    return resolve(promise("n0", "o0", path), {"n0": literal_map(o0=value)})


def attribute_error(value: Literal, *path: str | int) -> str:
    with pytest.raises(BindingError) as caught:
        attribute(value, *path)
    assert caught.value.code == "PromiseAttributeResolveError"
    return caught.value.message


def binding_error(data: BindingData, outputs: dict[str, literals_pb2.LiteralMap]) -> str:
    with pytest.raises(BindingError) as caught:
        resolve(data, outputs)
    assert caught.value.code == "BindingResolutionFailure"
    return caught.value.message


# Bindings


def test_no_bindings_give_an_empty_map() -> None:
    assert resolve_bindings([], {}.__getitem__) == literals_pb2.LiteralMap()


def test_scalars_are_taken_as_they_are() -> None:
    assert resolve(BindingData(scalar=primitive(7).scalar)) == primitive(7)


def test_collections_and_maps_are_resolved_inside() -> None:
    data = BindingData(
        collection=literals_pb2.BindingDataCollection(
            bindings=[
                BindingData(scalar=primitive("a").scalar),
                BindingData(map=literals_pb2.BindingDataMap(bindings={"k": promise("n0", "o0")})),
            ]
        )
    )
    resolved = resolve(data, {"n0": literal_map(o0=primitive(3))})
    assert resolved == collection(primitive("a"), mapping(k=primitive(3)))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (BindingData(collection=literals_pb2.BindingDataCollection()), "collection"),
        (BindingData(map=literals_pb2.BindingDataMap()), "map"),
    ],
)
def test_empty_collections_and_maps_keep_their_kind(data: BindingData, kind: str) -> None:
    assert resolve(data).WhichOneof("value") == kind


@pytest.mark.parametrize("data", [None, BindingData(), BindingData(union=literals_pb2.UnionInfo())])
def test_a_binding_without_a_value_gives_an_empty_literal(data: BindingData | None) -> None:
    inputs = resolve_bindings([bound("x", data)], {}.__getitem__)
    assert list(inputs.literals) == ["x"]
    assert inputs.literals["x"] == Literal()


def test_offloaded_bindings_are_passed_on() -> None:
    offloaded = literals_pb2.LiteralOffloadedMetadata(uri="s3://b/k", size_bytes=5)
    assert resolve(BindingData(offloaded_metadata=offloaded)) == Literal(offloaded_metadata=offloaded)


def test_promises_give_the_whole_output_with_its_hash() -> None:
    output = packed([1, 2])
    output.hash = "h"
    assert resolve(promise("n0", "o0"), {"n0": literal_map(o0=output)}) == output


def test_a_promise_without_node_means_the_start_node() -> None:
    assert resolve(promise("", "a"), {"start-node": literal_map(a=primitive(1))}) == primitive(1)


def test_aliases_stand_for_variables_of_their_node_only() -> None:
    outputs = {"n0": literal_map(o0=primitive(1), o1=primitive(2)), "n1": literal_map(total=primitive(3))}
    bindings = [bound("a", promise("n0", "total")), bound("b", promise("n1", "total")), bound("c", promise("n0", "o1"))]
    inputs = resolve_bindings(bindings, outputs.__getitem__, aliases={"n0": {"total": "o0"}})
    assert inputs == literal_map(a=primitive(1), b=primitive(3), c=primitive(2))


def test_the_last_binding_of_a_name_counts() -> None:
    first = BindingData(collection=literals_pb2.BindingDataCollection(bindings=[BindingData()]))
    inputs = resolve_bindings([bound("x", first), bound("x", BindingData(scalar=primitive(2).scalar))], {}.__getitem__)
    assert inputs == literal_map(x=primitive(2))


def test_an_index_before_the_variable_takes_one_element() -> None:
    outputs = {"n0": literal_map(array=collection(primitive(5), mapping(k=primitive(6))))}
    assert resolve(promise("n0", "[0].array"), outputs) == primitive(5)
    assert resolve(promise("n0", "[1].array", ["k"]), outputs) == primitive(6)
    assert "no element 2" in binding_error(promise("n0", "[2].array"), outputs)
    message = binding_error(promise("n0", "[0].x"), {"n0": literal_map(x=primitive(1))})
    assert "not a collection" in message


@pytest.mark.parametrize("var", ["a-b", "a.b", "", "[x].a", "[0]a", "[-1].a", "a b", "ä"])
def test_variables_with_other_characters_cannot_be_bound(var: str) -> None:
    assert repr(var) in binding_error(promise("n0", var), {"n0": literal_map(**{var: primitive(1)})})


def test_a_missing_output_fails_the_binding_and_names_it() -> None:
    message = binding_error(promise("n0", "o1"), {"n0": literal_map(o0=primitive(1))})
    assert message == "input 'x' cannot be bound: node 'n0' has no output 'o1'"


# Attributes of literals


def test_paths_go_through_maps_and_collections() -> None:
    value = mapping(rows=collection(primitive(1), mapping(name=primitive("b"))))
    assert attribute(value, "rows", 0) == primitive(1)
    assert attribute(value, "rows", 1, "name") == primitive("b")
    assert attribute(value, "rows") == collection(primitive(1), mapping(name=primitive("b")))


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (["nope"], "no key 'nope'"),
        ([0], "its keys are strings"),
        (["rows", 2], "index 2 is out of range: the list has 2 elements"),
        (["rows", -1], "index -1 is out of range"),
        (["rows", "0"], "no attribute '0'"),
    ],
)
def test_steps_that_lead_nowhere_fail(path: Sequence[str | int], told: str) -> None:
    value = mapping(rows=collection(primitive(1), primitive(2)))
    message = attribute_error(value, *path)
    assert told in message
    assert "output 'o0' of node 'n0'" in message


def test_what_follows_a_primitive_or_union_is_ignored() -> None:
    union = Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=packed({"a": 1}))))
    assert attribute(mapping(k=primitive(1)), "k", "more", 3) == primitive(1)
    assert attribute(union, "a") == union


def test_offloaded_literals_are_fetched_to_step_into_them() -> None:
    blobs = MemoryBlobs("s3://b")
    blobs.write("s3://b/k", mapping(a=primitive(4)).SerializeToString())
    offloaded = Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(uri="s3://b/k"))
    lost = Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(uri="s3://b/lost"))
    outputs = {"n0": literal_map(o0=offloaded, o1=lost, o2=collection(offloaded))}

    def resolve_with_store(data: BindingData) -> Literal:
        return resolve_bindings([bound("x", data)], outputs.__getitem__, read=blobs.read).literals["x"]

    assert resolve_with_store(promise("n0", "o0", ["a"])) == primitive(4)
    assert resolve_with_store(promise("n0", "o2", [0])) == offloaded
    with pytest.raises(BindingError, match="s3://b/lost is gone"):
        resolve_with_store(promise("n0", "o1", ["a"]))
    blobs.write("s3://b/lost", b"\xff")
    with pytest.raises(BindingError, match="s3://b/lost is malformed"):
        resolve_with_store(promise("n0", "o1", ["a"]))
    assert "no store" in attribute_error(offloaded, "a")


# Attributes of MessagePack


@pytest.mark.parametrize("value", [3, -3, 2**63 - 1, 0.1, 4.0, "text", True, False])
def test_primitives_in_msgpack_become_primitives(value: float | str) -> None:
    assert attribute(packed({"a": {"b": value}}), "a", "b") == primitive(value)


def test_lists_in_msgpack_become_collections_of_binaries() -> None:
    assert attribute(packed({"a": [1, "x", [2], {"k": None}]}), "a") == collection(
        packed(1), packed("x"), packed([2]), packed({"k": None})
    )


@pytest.mark.parametrize("value", [{"k": [1]}, {}, None, b"bytes"])
def test_maps_nothing_and_bytes_in_msgpack_stay_binary(value: object) -> None:
    assert attribute(packed({"a": value}), "a") == packed(value)


def test_elements_of_literal_lists_are_unpacked_where_the_path_ends() -> None:
    assert attribute(collection(packed(5)), 0) == primitive(5)
    assert attribute(collection(packed([5])), 0, 0) == primitive(5)
    assert resolve(promise("n0", "o0"), {"n0": literal_map(o0=packed(5))}) == packed(5)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (["nope"], "no key 'nope'"),
        ([0], "its keys are strings"),
        (["list", 1], "out of range"),
        (["list", -1], "out of range"),
        (["list", "k"], "no attribute 'k'"),
        (["number", "k"], "neither a map nor a list"),
        (["number", 0], "'[0]'"),
        (["large"], "18446744073709551615 does not fit"),
    ],
)
def test_wrong_steps_in_msgpack_fail(path: Sequence[str | int], told: str) -> None:
    value = packed({"list": [1], "number": 1, "large": 2**64 - 1, 0: 0})
    assert told in attribute_error(value, *path)


def test_only_sound_msgpack_is_walked() -> None:
    assert "tag 'pickle'" in attribute_error(packed({"a": 1}, tag="pickle"), "a")
    broken = Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=b"\x81\xa1", tag="msgpack")))
    assert "malformed" in attribute_error(broken, "a")
    empty = Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=b"", tag="msgpack")))
    assert "malformed" in attribute_error(collection(empty), 0)


@pytest.mark.parametrize("length", [15, 16, 2**16])
def test_msgpack_containers_of_every_header_size(length: int) -> None:
    assert attribute(packed(list(range(length))), length - 1) == primitive(length - 1)
    assert attribute(packed({str(i): i for i in range(length)}), str(length - 1)) == primitive(length - 1)


def test_what_stays_packed_keeps_its_bytes() -> None:
    five = bytes.fromhex("d30000000000000005")  # 5 in more bytes than it needs
    data = b"\x81\xa1a\x91" + five
    value = Literal(scalar=literals_pb2.Scalar(binary=literals_pb2.Binary(value=data, tag="msgpack")))
    element = attribute(value, "a").collection.literals[0]
    assert element.scalar.binary.value == five
    assert msgspec.msgpack.decode(five) == 5


# Attributes of structs


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["n"], primitive(3.0)),
        (["s"], primitive("t")),
        (["b"], primitive(True)),
        (["nothing"], Literal()),
        (["m"], generic({"k": [1]})),
        (["m", "k", 0], primitive(1.0)),
        (["l"], collection(primitive(1.0), collection(primitive("x")), generic({"y": 2}))),
        (["n", "ignored", 4], primitive(3.0)),
    ],
)
def test_attributes_of_structs(path: Sequence[str | int], expected: Literal) -> None:
    value = generic({"n": 3, "s": "t", "b": True, "nothing": None, "m": {"k": [1]}, "l": [1, ["x"], {"y": 2}]})
    assert attribute(value, *path) == expected


@pytest.mark.parametrize(
    ("path", "told"),
    [(["nope"], "no key 'nope'"), ([0], "keys are strings"), (["l", 1], "out of range"), (["l", "k"], "attribute 'k'")],
)
def test_wrong_steps_in_structs_fail(path: Sequence[str | int], told: str) -> None:
    assert told in attribute_error(generic({"l": [1]}), *path)


def test_upstream_outputs_are_left_as_they_were() -> None:
    outputs = literal_map(o0=mapping(a=generic({"k": 1})))
    before = outputs.SerializeToString(deterministic=True)
    inputs = resolve_bindings([bound("x", promise("n0", "o0", ["a", "k"]))], lambda _: outputs)
    inputs.literals["x"].Clear()
    assert outputs.SerializeToString(deterministic=True) == before
