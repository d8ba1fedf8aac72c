"""Conditions of branches: which case a branch takes, given its inputs.

The rules are the reference's (flytepropeller, nodes/branch): both sides are primitives of the same type, dates and
durations are compared by whole seconds, "less" is the negation of "greater or equal", so that comparisons with NaN come
out as there, and both sides of a conjunction are always evaluated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, cast

from flyteidl.core import condition_pb2, execution_pb2, literals_pb2, workflow_pb2

__all__ = ["BranchError", "decide"]

_Comparison = condition_pb2.ComparisonExpression
_Conjunction = condition_pb2.ConjunctionExpression
_Value: TypeAlias = "bool | int | float | str"

_MALFORMED = "MalformedBranchUserError"
_ORDERINGS = frozenset({_Comparison.GT, _Comparison.GTE, _Comparison.LT, _Comparison.LTE})


class BranchError(Exception):
    """A branch cannot be decided, or its last case is a failure; the parts are those of a core.ExecutionError."""

    def __init__(
        self,
        message: str,
        code: str = _MALFORMED,
        kind: execution_pb2.ExecutionError.ErrorKind = execution_pb2.ExecutionError.USER,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind


def decide(branch: workflow_pb2.BranchNode, inputs: literals_pb2.LiteralMap) -> str:
    """Return the id of the node that a branch goes on with: the first case that holds, or the one for all else."""
    block = branch.if_else
    for case in (block.case, *block.other):
        if _holds(case.condition, inputs.literals):
            return str(case.then_node.id)
    match block.WhichOneof("default"):
        case "else_node":
            return str(block.else_node.id)
        case "error":
            raise BranchError(block.error.message, "UserProvidedError")
    raise BranchError("No branch satisfied")


def _holds(expression: condition_pb2.BooleanExpression, inputs: Mapping[str, literals_pb2.Literal]) -> bool:
    match expression.WhichOneof("expr"):
        case "conjunction":
            left = _holds(expression.conjunction.left_expression, inputs)
            right = _holds(expression.conjunction.right_expression, inputs)
            return left or right if expression.conjunction.operator == _Conjunction.OR else left and right
        case "comparison":
            return _compares(expression.comparison, inputs)
    raise BranchError("a condition is neither a comparison nor a conjunction")


def _compares(comparison: condition_pb2.ComparisonExpression, inputs: Mapping[str, literals_pb2.Literal]) -> bool:
    left, right = (_primitive(side, inputs) for side in (comparison.left_value, comparison.right_value))
    kinds = left.WhichOneof("value"), right.WhichOneof("value")
    if kinds[0] is None or kinds[0] != kinds[1]:
        raise BranchError(f"Comparison between different primitives types. lVal[{kinds[0]}]:rVal[{kinds[1]}]")
    if kinds[0] == "boolean" and comparison.operator in _ORDERINGS:
        raise BranchError("booleans can be compared for equality only")
    return _compared(comparison.operator, _value(left), _value(right))


def _compared(operator: condition_pb2.ComparisonExpression.Operator, left: _Value, right: _Value) -> bool:
    equal = bool(left == right)
    greater = bool(left > right)  # type: ignore[operator]  # pyright: ignore[reportOperatorIssue]
    match operator:
        case _Comparison.EQ:
            return equal
        case _Comparison.NEQ:
            return not equal
        case _Comparison.GT:
            return greater
        case _Comparison.GTE:
            return equal or greater
        case _Comparison.LT:
            return not (greater or equal)
        case _Comparison.LTE:
            return not greater
    raise BranchError(f"unknown operator {operator}")


def _primitive(operand: condition_pb2.Operand, inputs: Mapping[str, literals_pb2.Literal]) -> literals_pb2.Primitive:
    match operand.WhichOneof("val"):
        case "primitive":
            return operand.primitive
        case "var" if operand.var in inputs:
            literal = inputs[operand.var]
            if literal.WhichOneof("value") != "scalar" or literal.scalar.WhichOneof("value") != "primitive":
                raise BranchError(f"input {operand.var!r} of the branch is no primitive, only those can be compared")
            return literal.scalar.primitive
    raise BranchError(f"the branch has no input {operand.var!r} to compare")


def _value(primitive: literals_pb2.Primitive) -> _Value:
    match primitive.WhichOneof("value"):
        case "datetime":
            return int(primitive.datetime.seconds)
        case "duration":
            return int(primitive.duration.seconds)
        case "string_value":
            # Compared by bytes.
            return str(primitive.string_value.encode("utf-8", "surrogatepass").decode("latin-1"))
        case kind:
            return cast("_Value", getattr(primitive, str(kind)))
