"""What an execution runs on: the caller's inputs, the defaults of the launch plan and its fixed inputs.

The rules and texts are flyteadmin's (validation.go, execution_validator.go).
"""

from __future__ import annotations

from flyteidl.core import interface_pb2, literals_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from flyte_kernel.compile.text import message_text
from flyte_kernel.compile.types import are_types_castable, literal_type
from flyte_kernel.errors import InvalidArgumentError

__all__ = ["check_datetime", "check_literals", "required_parameters", "resolve_inputs"]

_SECONDS_MIN, _SECONDS_MAX = -62_135_596_800, 253_402_300_799  # the years 1 to 9999, as in protobuf's Timestamp


def resolve_inputs(
    expected: interface_pb2.ParameterMap, fixed: literals_pb2.LiteralMap, given: literals_pb2.LiteralMap
) -> literals_pb2.LiteralMap:
    """Return the inputs an execution runs on; InvalidArgumentError if `given` is not what `expected` asks for.

    Of several faults the first by name is told. Fixed inputs are no part of `expected`, so they cannot be given.
    """
    check_literals(given, "inputs")
    resolved = literals_pb2.LiteralMap()
    for name in sorted(given.literals):
        if name not in expected.parameters:
            raise InvalidArgumentError(f"invalid input {name}")
        resolved.literals[name].CopyFrom(given.literals[name])
    for name in sorted(expected.parameters):
        parameter = expected.parameters[name]
        if name in given.literals:
            _check_type(name, given.literals[name], parameter)
        elif parameter.HasField("default"):
            resolved.literals[name].CopyFrom(parameter.default)
        else:
            raise InvalidArgumentError(f"expected_inputs {name} missing")
    for name in sorted(fixed.literals):
        if name in resolved.literals:
            raise InvalidArgumentError(f"fixed_inputs {name} cannot be overridden")
        resolved.literals[name].CopyFrom(fixed.literals[name])
    return resolved


def _check_type(name: str, literal: literals_pb2.Literal, parameter: interface_pb2.Parameter) -> None:
    kind = literal_type(literal)
    if kind is None:
        raise InvalidArgumentError(
            f"Failed to validate literal type for [{name}] with err: the value of the literal does not tell its type"
        )
    wanted = parameter.var.type
    if not are_types_castable(kind, wanted):
        raise InvalidArgumentError(
            f"invalid {name} input wrong type. Expected {message_text(wanted)}, but got {message_text(kind)}"
        )


def check_literals(literals: literals_pb2.LiteralMap, field: str) -> None:
    """Require a name and a value for each literal and times within protobuf's range; `field` is for the texts."""
    for name in sorted(literals.literals):
        literal = literals.literals[name]
        if not name:
            raise InvalidArgumentError(f"missing key in {field}")
        if literal.WhichOneof("value") is None:
            raise InvalidArgumentError(f"missing valid literal in {field} {name}")
        check_datetime(literal)


def check_datetime(literal: literals_pb2.Literal) -> None:
    """Require that a literal that is a point in time lies in the years 1 to 9999."""
    if not literal.scalar.primitive.HasField("datetime"):
        return
    timestamp: Timestamp = literal.scalar.primitive.datetime
    text = f"proto: timestamp ({message_text(timestamp)})"
    if timestamp.seconds < _SECONDS_MIN:
        raise InvalidArgumentError(f"{text} before 0001-01-01")
    if timestamp.seconds > _SECONDS_MAX:
        raise InvalidArgumentError(f"{text} after 9999-12-31")
    if not 0 <= timestamp.nanos < 10**9:
        raise InvalidArgumentError(f"{text} has out-of-range nanos")


def required_parameters(variables: interface_pb2.VariableMap) -> interface_pb2.ParameterMap:
    """Return the expected inputs of a task run on its own: all of them, none with a default."""
    parameters = interface_pb2.ParameterMap()
    for name, variable in variables.variables.items():
        parameters.parameters[name].var.CopyFrom(variable)
        parameters.parameters[name].required = True
    return parameters
