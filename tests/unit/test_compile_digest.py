"""Digests against vectors of the Go implementations, and what re-registration may change."""

from __future__ import annotations

import base64

import pytest
from flyteidl.core import interface_pb2, literals_pb2
from google.protobuf.message import Message

from flyte_kernel.compile.differences import differences
from flyte_kernel.compile.digest import json_hash, pbhash, structural_digest
from flyte_kernel.errors import InvalidArgumentError
from tests.support.templates import (
    INT,
    STR,
    integer,
    interface,
    literal,
    literal_map,
    string,
    task,
    task_node,
    variables,
    workflow,
)

UNDESCRIBED = interface_pb2.VariableMap(variables={name: interface_pb2.Variable(type=INT) for name in "12"})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (UNDESCRIBED, "UxVtPm0k"),
        (interface_pb2.VariableMap(), "GKw-c0PwFokMUQ6T-TUmEWnZ4_VlQ2Qpgw-vCTT0-OQ"),
        (variables({"a": INT}), "OyKgSd3b"),
        (literal_map({"out1": literal(string("output1-stringval"))}), "BE6CZsMk6N3ExR_4X9EuwBgj2Jh2UwasXK3a_pM9xlY"),
        (literal_map({"a": literal(integer(5))}), "7DZYDp81RLki9G-U-HC1ScLkDQ6M6Fi7QaV5ahFZCkw"),
        (literal_map({"a": literal(integer(0))}), "twQmhh9sFdLtBWGKRq4LtOZuFlwROR2qj0MZ0cr-noY"),
        (literal_map({"a": literals_pb2.Literal(hash="h")}), "8RHzq7pdGVSj3d8vfi-94-ZdyPCza-FZJ4xsCQCZ_HQ"),
    ],
)
def test_pbhash_vectors(message: Message, expected: str) -> None:
    assert base64.urlsafe_b64encode(pbhash(message)).decode().startswith(expected)


def test_json_hash_vectors() -> None:
    value: dict[str, object] = {
        "integer": "18",
        "floatValue": 1.3,
        "stringValue": "lets test this",
        "boolean": True,
    }
    assert base64.b64encode(json_hash(value)).decode() == "GhPMTKvJfUPHK8U3vEmoi/wdVBx7IQSPqyjGXAZzquI="
    value.update(
        datetime="2019-03-29T12:00:00Z",
        duration="0.001s",
        mapValue={"z": "last", "a": "first"},
        collections=["1", "2", "3"],
    )
    assert base64.b64encode(json_hash(value)).decode() == "YpWyLCP1NW0DVk3Hj64tK70H/9t+5fQlj7yyDK2lSEQ="


def test_json_hash_tells_kinds_apart() -> None:
    values: list[object] = [
        None,
        True,
        False,
        0,
        1,
        -1,
        0.5,
        "",
        "0",
        [],
        {},
        [[]],
        {"a": None},
        ["a", "b"],
        ["b", "a"],
    ]
    assert len({json_hash(value) for value in values}) == len(values)
    assert json_hash(2) == json_hash(2.0)
    with pytest.raises(TypeError, match="object is no JSON value"):
        json_hash(object())
    with pytest.raises(ValueError, match="inf is no JSON number"):
        json_hash(float("inf"))


def test_messages_that_json_cannot_express_are_refused() -> None:
    value = literals_pb2.Literal()
    value.scalar.generic.update({"x": float("inf")})
    for digest in (pbhash, structural_digest):
        with pytest.raises(InvalidArgumentError, match="Literal cannot be written as JSON"):
            digest(value)
    value.scalar.primitive.float_value = float("nan")
    assert len(pbhash(value)) == 32


def test_structural_digest_forgets_the_order_of_upstream_ids() -> None:
    one = workflow("wf", [task_node("n2", "t", upstream=["n0", "n1"])])
    other = workflow("wf", [task_node("n2", "t", upstream=["n1", "n0"])])
    assert structural_digest(one) == structural_digest(other)
    assert pbhash(one) != pbhash(other)
    assert structural_digest(one) != structural_digest(workflow("wf", [task_node("n2", "t", upstream=["n1"])]))


def test_structural_digest_keeps_the_order_of_commands() -> None:
    one, other = task("t"), task("t")
    one.template.container.args[:] = ["a", "b"]
    other.template.container.args[:] = ["b", "a"]
    assert structural_digest(one) != structural_digest(other)


def test_differences_read_as_the_reference_writes_them() -> None:
    old, new = task("t", {}, {"o0": INT}), task("t", {}, {"o0": STR})
    new.template.container.image = "other:1"
    assert differences(old, new) == (
        "/template/Target/Container/image:\n\t- image \n\t+ other:1\n"
        "/template/interface/outputs/variables/o0/type/Type/Simple:\n\t- 1 \n\t+ 3"
    )


def test_differences_of_things_that_came_or_went() -> None:
    old, new = interface({"a/b": INT}), interface({}, {"c": INT})
    new.inputs.variables["x"].description = "new"
    assert differences(old, new) == (
        "/inputs/variables/a~1b:\n\t- map[description:a/b type:map[Type:map[Simple:1]]] \n\t+ <nil>\n"
        "/inputs/variables/x:\n\t- <nil> \n\t+ map[description:new]\n"
        "/outputs/variables:\n\t- <nil> \n\t+ map[c:map[description:c type:map[Type:map[Simple:1]]]]"
    )


def test_differences_in_lists_and_bytes() -> None:
    old, new = task("t"), task("t")
    old.template.container.args[:] = ["a", "b"]
    new.template.container.args[:] = ["a", "c", "d"]
    new.template.metadata.discoverable = True
    assert differences(old, new) == (
        "/template/Target/Container/args/1:\n\t- b \n\t+ c\n"
        "/template/Target/Container/args/2:\n\t- <nil> \n\t+ d\n"
        "/template/metadata/discoverable:\n\t- <nil> \n\t+ true"
    )
    binary = literal(literals_pb2.Scalar(binary=literals_pb2.Binary(value=b"\x00\x01")))
    assert differences(literals_pb2.Literal(), binary).endswith("+ map[Scalar:map[Value:map[Binary:map[value:AAE=]]]]")


def test_equal_messages_do_not_differ() -> None:
    assert differences(task("t", {"a": INT}), task("t", {"a": INT})) == ""
