"""What an execution runs on, and the refusals a running Flyte 1 was seen to give."""

from __future__ import annotations

import pytest
from flyteidl.core import interface_pb2, literals_pb2

from flyte_kernel.compile.inputs import required_parameters, resolve_inputs
from flyte_kernel.errors import InvalidArgumentError
from tests.support.templates import INT, STR, integer, literal, literal_map, optional, string, variables

NOTHING = literals_pb2.LiteralMap()


def parameters(**defaults: literals_pb2.Literal | None) -> interface_pb2.ParameterMap:
    """Integer parameters; None for one that is required."""
    result = interface_pb2.ParameterMap()
    for name, default in defaults.items():
        result.parameters[name].var.type.CopyFrom(INT)
        if default is None:
            result.parameters[name].required = True
        else:
            result.parameters[name].default.CopyFrom(default)
    return result


def one(value: int) -> literals_pb2.Literal:
    return literal(integer(value))


def test_given_defaults_and_fixed_come_together() -> None:
    resolved = resolve_inputs(
        parameters(x=None, y=one(5), z=one(6)), literal_map({"f": one(7)}), literal_map({"x": one(1), "y": one(2)})
    )
    assert resolved == literal_map({"x": one(1), "y": one(2), "z": one(6), "f": one(7)})


def test_arguments_are_left_alone() -> None:
    expected, given = parameters(x=one(0)), literal_map({})
    resolve_inputs(expected, NOTHING, given)
    assert given == NOTHING
    assert expected == parameters(x=one(0))


def refusal(
    expected: interface_pb2.ParameterMap, given: literals_pb2.LiteralMap, fixed: literals_pb2.LiteralMap = NOTHING
) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        resolve_inputs(expected, fixed, given)
    return caught.value.message


def test_observed_refusals() -> None:
    assert refusal(parameters(x=None), NOTHING) == "expected_inputs x missing"
    assert refusal(parameters(x=None), literal_map({"x": one(1), "zz": one(1)})) == "invalid input zz"
    assert refusal(parameters(x=None), literal_map({"x": literal(string("a"))})) == (
        "invalid x input wrong type. Expected simple:INTEGER, but got simple:STRING"
    )
    assert (
        refusal(parameters(x=None), literal_map({"x": literals_pb2.Literal()})) == "missing valid literal in inputs x"
    )
    assert refusal(parameters(x=None), literal_map({"a": one(1), "x": one(1)}), literal_map({"a": one(2)})) == (
        "invalid input a"
    )


def test_other_refusals() -> None:
    assert refusal(parameters(x=None), literal_map({"": one(1)})) == "missing key in inputs"
    unknown = literal(literals_pb2.Scalar(blob=literals_pb2.Blob(uri="x")))
    assert refusal(parameters(x=None), literal_map({"x": unknown})).startswith(
        "Failed to validate literal type for [x] with err: "
    )
    assert refusal(parameters(x=one(1)), NOTHING, literal_map({"x": one(2)})) == "fixed_inputs x cannot be overridden"


@pytest.mark.parametrize(
    ("seconds", "nanos", "end"),
    [
        (-62_135_596_801, 0, "before 0001-01-01"),
        (253_402_300_800, 0, "after 9999-12-31"),
        (0, -1, "has out-of-range nanos"),
        (0, 1_000_000_000, "has out-of-range nanos"),
    ],
)
def test_times_must_be_ones(seconds: int, nanos: int, end: str) -> None:
    value = literals_pb2.Literal()
    value.scalar.primitive.datetime.seconds = seconds
    value.scalar.primitive.datetime.nanos = nanos
    assert refusal(parameters(x=None), literal_map({"x": value})).endswith(end)


def test_all_inputs_of_a_task_are_required() -> None:
    expected = required_parameters(variables({"a": INT, "b": optional(STR)}))
    assert {name: item.required for name, item in expected.parameters.items()} == {"a": True, "b": True}
    assert expected.parameters["b"].var == variables({"b": optional(STR)}).variables["b"]
    assert refusal(expected, literal_map({"a": one(1)})) == "expected_inputs b missing"
