"""The interface of every kind of node: what it needs and what it gives.

The rules are flytepropeller's (validators/interface.go and branch.go). Branches and approval gates take their inputs
from what is bound to them, so the nodes they refer to must have been resolved before.
"""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.core import interface_pb2, workflow_pb2
from flyteidl.core.interface_pb2 import TypedInterface

from flyte_kernel.compile.bindings import discover_bindings
from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.scope import Scope, ScopeNode
from flyte_kernel.compile.text import message_text
from flyte_kernel.compile.types import type_text

__all__ = ["check_interface", "discovers_inputs", "resolve_interface"]


def check_interface(node_id: str, interface: TypedInterface, findings: Findings) -> None:
    """Make absent variable maps empty ones and require a name and a type for every variable."""
    for variables in (interface.inputs, interface.outputs):
        variables.SetInParent()
        for name, variable in variables.variables.items():
            if not name:
                findings.value_required(node_id, "paramName")
            if not variable.HasField("type"):
                findings.value_required(node_id, "param.Type")


def discovers_inputs(node: workflow_pb2.Node) -> bool:
    """Say whether the inputs of a node are whatever is bound to it."""
    return bool(node.HasField("branch_node") or node.gate_node.HasField("approve"))


def resolve_interface(scope: Scope, node: ScopeNode) -> None:
    """Set the interface of `node`, and of the nodes in its branches; what is wrong goes to the scope's findings."""
    before = scope.findings.count
    target = node.proto.WhichOneof("target")
    rule = _RULES.get(target) if target is not None else None
    if rule is None:
        scope.findings.value_required(node.id, "Target")
        return
    interface = rule(scope, node)
    if interface is None:
        return
    check_interface(node.id, interface, scope.findings)
    if scope.findings.count == before:
        node.interface = interface


def _task_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    if not node.proto.task_node.HasField("reference_id"):
        scope.findings.value_required(node.id, "TaskNode.ReferenceId")
        return None
    reference = node.proto.task_node.reference_id
    task = scope.world.tasks.get(entity_id(reference))
    if task is None:
        scope.findings.task_not_found(node.id, message_text(reference))
        return None
    return task.interface


def _workflow_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    workflow_node = node.proto.workflow_node
    reference = workflow_node.WhichOneof("reference")
    if reference == "launchplan_ref":
        if workflow_node.launchplan_ref == scope.template.id:
            return scope.template.interface
        return _launch_plan_interface(scope, node)
    if reference == "sub_workflow_ref":
        template = scope.world.sub_workflows.get(entity_id(workflow_node.sub_workflow_ref))
        if template is None:
            scope.findings.workflow_not_found(node.id, message_text(workflow_node.sub_workflow_ref))
            return None
        if not template.HasField("interface"):
            scope.findings.value_required(node.id, "WorkflowNode.Template.Interface")
            return None
        return template.interface
    scope.findings.workflow_not_found(node.id, "<nil>/<nil>")
    return None


def _launch_plan_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    """Required parameters and those the node binds; the others have defaults and need no attention."""
    reference = node.proto.workflow_node.launchplan_ref
    found = scope.world.launch_plans.get(entity_id(reference))
    if found is None:
        scope.findings.workflow_not_found(node.id, message_text(reference))
        return None
    expected_inputs, expected_outputs = found
    bound = {binding.var for binding in node.proto.inputs}
    interface = TypedInterface(outputs=expected_outputs)
    for name, parameter in expected_inputs.parameters.items():
        if parameter.required or name in bound:
            interface.inputs.variables[name].CopyFrom(parameter.var)
    return interface


def _gate_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    gate = node.proto.gate_node
    condition = gate.WhichOneof("condition")
    if condition == "approve":
        variables = discover_bindings(scope, node).variables
        return TypedInterface(inputs=variables, outputs=variables)
    if condition == "sleep":
        return TypedInterface()
    if condition != "signal":
        scope.findings.add("NoConditionFound", node.id, f"Can't find any condition in gate node [{node.id}].")
        return None
    if not gate.signal.HasField("type"):
        scope.findings.value_required(node.id, "GateNode.Signal.Type")
        return None
    if not gate.signal.output_variable_name:
        scope.findings.value_required(node.id, "GateNode.Signal.OutputVariableName")
        return None
    interface = TypedInterface()
    interface.outputs.variables[gate.signal.output_variable_name].type.CopyFrom(gate.signal.type)
    return interface


def _array_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    """The inner node's, as it is: SDKs wrap the variables of a mapped task in lists themselves."""
    inner = ScopeNode(node.proto.array_node.node)
    resolve_interface(scope, inner)
    return inner.interface


def _branch_interface(scope: Scope, node: ScopeNode) -> TypedInterface | None:
    if not _has_first_case(node, scope.findings):
        return None
    before = scope.findings.count
    outputs: interface_pb2.VariableMap | None = None
    for child in node.children:
        resolve_interface(scope, child)
        if child.interface is not None:
            outputs = _common_outputs(outputs, child.id, child.interface.outputs, scope.findings)
    inputs = discover_bindings(scope, node).variables
    if outputs is None or scope.findings.count > before:
        return None
    return TypedInterface(inputs=inputs, outputs=outputs)


def _has_first_case(node: ScopeNode, findings: Findings) -> bool:
    branch = node.proto.branch_node
    if not branch.HasField("if_else"):
        findings.value_required(node.id, "Branch.IfElse")
    elif not branch.if_else.HasField("case"):
        findings.value_required(node.id, "Branch.IfElse.Case")
    elif not branch.if_else.case.HasField("then_node"):
        findings.value_required(node.id, "Branch.IfElse.Case.ThenNode")
    else:
        return True
    return False


def _common_outputs(
    outputs: interface_pb2.VariableMap | None,
    child_id: str,
    others: interface_pb2.VariableMap,
    findings: Findings,
) -> interface_pb2.VariableMap:
    """Keep the outputs that all cases have; where they meet, their types must be the same."""
    if outputs is None:
        return interface_pb2.VariableMap(variables=others.variables)
    common = interface_pb2.VariableMap()
    for name in sorted(outputs.variables):
        if name not in others.variables:
            continue
        common.variables[name].CopyFrom(outputs.variables[name])
        kind, other = outputs.variables[name].type, others.variables[name].type
        if kind != other:
            description = (
                f"Variable [{name}] (type [{type_text(kind)}]) doesn't match expected type [{type_text(other)}]."
            )
            findings.add("MismatchingTypes", child_id, description)
    return common


_RULES: dict[str, Callable[[Scope, ScopeNode], TypedInterface | None]] = {
    "task_node": _task_interface,
    "workflow_node": _workflow_interface,
    "branch_node": _branch_interface,
    "gate_node": _gate_interface,
    "array_node": _array_interface,
}
