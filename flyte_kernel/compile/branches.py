"""Conditional nodes: their cases, the ids of the nodes in them, and their conditions.

The rules are flytepropeller's (validators/branch.go and condition.go).
"""

from __future__ import annotations

from collections.abc import Iterator

from flyteidl.core import condition_pb2, literals_pb2, types_pb2, workflow_pb2

from flyte_kernel.compile.scope import Scope, ScopeNode
from flyte_kernel.compile.types import scalar_type, type_text

__all__ = ["adopt_children", "case_nodes", "check_branch"]


def case_nodes(branch: workflow_pb2.BranchNode) -> Iterator[workflow_pb2.Node]:
    """Yield the then nodes and the else node of a branch, in the order they are tried."""
    for block in _blocks(branch):
        if block.HasField("then_node"):
            yield block.then_node
    if branch.if_else.HasField("else_node"):
        yield branch.if_else.else_node


def _blocks(branch: workflow_pb2.BranchNode) -> Iterator[workflow_pb2.IfBlock]:
    if branch.if_else.HasField("case"):
        yield branch.if_else.case
    yield from branch.if_else.other


def adopt_children(node: ScopeNode) -> None:
    """Prefix the ids of all nodes in a branch with the branch's own: clients count every branch from n0."""
    if not node.proto.HasField("branch_node"):
        return
    for proto in case_nodes(node.proto.branch_node):
        proto.id = f"{node.id}-{proto.id}"
        child = ScopeNode(proto)
        node.children.append(child)
        adopt_children(child)


def check_branch(scope: Scope, node: ScopeNode) -> None:
    """Check that every case has a condition and a node, and that there is something to do when none holds."""
    branch = node.proto.branch_node
    if not branch.HasField("if_else"):
        return
    findings = scope.findings
    if not branch.if_else.HasField("case"):
        _add_no_condition(scope, node)
    for block in _blocks(branch):
        if block.HasField("condition"):
            _check_condition(scope, node, block.condition)
        else:
            _add_no_condition(scope, node)
        if not block.HasField("then_node"):
            findings.add("BranchNodeIdNotFound", node.id, "BranchNode not assigned")
    if branch.if_else.WhichOneof("default") is None:
        description = "Branch Node must have either the else case set or a default error."
        findings.add("BranchNodeHasNoDefault", node.id, description)


def _add_no_condition(scope: Scope, node: ScopeNode) -> None:
    description = "One of the branches on the node doesn't have a condition."
    scope.findings.add("BranchNodeHasNoCondition", node.id, description)


def _check_condition(scope: Scope, node: ScopeNode, expression: condition_pb2.BooleanExpression) -> None:
    kind = expression.WhichOneof("expr")
    if kind == "conjunction":
        for side in ("left_expression", "right_expression"):
            if expression.conjunction.HasField(side):
                _check_condition(scope, node, getattr(expression.conjunction, side))
            else:
                _add_no_condition(scope, node)
    elif kind == "comparison":
        _check_comparison(scope, node, expression.comparison)
    else:
        scope.findings.value_required(node.id, "Expr")


def _check_comparison(scope: Scope, node: ScopeNode, comparison: condition_pb2.ComparisonExpression) -> None:
    right = _operand_type(scope, node, comparison, "right_value", "RightValue")
    left = _operand_type(scope, node, comparison, "left_value", "LeftValue")
    if right is not None and left is not None and right != left:
        description = (
            f"Variable [RightValue] (type [{type_text(right)}]) doesn't match expected type [{type_text(left)}]."
        )
        scope.findings.add("MismatchingTypes", node.id, description)


def _operand_type(
    scope: Scope, node: ScopeNode, comparison: condition_pb2.ComparisonExpression, field: str, label: str
) -> types_pb2.LiteralType | None:
    """Return the type of an operand, or None if it is unknown; unknown types are not compared.

    The reference does not know scalars as operands, which is what flytekit makes of `is_none()`.
    """
    if not comparison.HasField(field):
        scope.findings.value_required(node.id, label)
        return None
    operand = getattr(comparison, field)
    kind = operand.WhichOneof("val")
    if kind == "primitive":
        return scalar_type(literals_pb2.Scalar(primitive=operand.primitive))
    if kind == "scalar" or not operand.var:
        scope.findings.value_required(node.id, f"{label}.Val")
        return None
    return _variable_type(scope, node, operand.var)


def _variable_type(scope: Scope, node: ScopeNode, name: str) -> types_pb2.LiteralType | None:
    bindings = [binding for binding in node.proto.inputs if binding.var == name]
    if node.interface is None:
        scope.findings.value_required(node.id, name)
        return None
    if not bindings:
        scope.findings.variable_not_found(node.id, name)
        return None
    kind = node.interface.inputs.variables[name].type
    if bindings[0].binding.promise.attr_path and kind.simple == types_pb2.STRUCT and kind.HasField("simple"):
        return None  # the path ends inside a structure whose fields the type does not tell
    return kind
