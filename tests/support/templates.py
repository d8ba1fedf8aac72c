"""Short ways to write FlyteIDL templates: types, tasks, nodes, bindings, workflows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flyteidl.core import (
    compiler_pb2,
    condition_pb2,
    identifier_pb2,
    interface_pb2,
    literals_pb2,
    tasks_pb2,
    types_pb2,
    workflow_pb2,
)

from flyte_kernel.compile.identifiers import LAUNCH_PLAN, TASK, WORKFLOW, identifier
from flyte_kernel.compile.scope import LaunchPlanInterface
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.errors import CompileError
from flyte_kernel.ids import EntityId

LiteralType = types_pb2.LiteralType

INT = LiteralType(simple="INTEGER")
FLOAT = LiteralType(simple="FLOAT")
STR = LiteralType(simple="STRING")
BOOL = LiteralType(simple="BOOLEAN")
NONE = LiteralType(simple="NONE")
DATETIME = LiteralType(simple="DATETIME")
STRUCT = LiteralType(simple="STRUCT")


def list_of(kind: LiteralType) -> LiteralType:
    return LiteralType(collection_type=kind)


def map_of(kind: LiteralType) -> LiteralType:
    return LiteralType(map_value_type=kind)


def union(*kinds: LiteralType) -> LiteralType:
    return LiteralType(union_type=types_pb2.UnionType(variants=kinds))


def enum(*values: str) -> LiteralType:
    return LiteralType(enum_type=types_pb2.EnumType(values=values))


def optional(kind: LiteralType) -> LiteralType:
    return union(kind, NONE)


def task_id(name: str) -> EntityId:
    return EntityId(TASK, "p", "d", name, "v")


def workflow_id(name: str) -> EntityId:
    return EntityId(WORKFLOW, "p", "d", name, "v")


def launch_plan_id(name: str) -> EntityId:
    return EntityId(LAUNCH_PLAN, "p", "d", name, "v")


def variables(types: Mapping[str, LiteralType]) -> interface_pb2.VariableMap:
    return interface_pb2.VariableMap(
        variables={name: interface_pb2.Variable(type=kind, description=name) for name, kind in types.items()}
    )


def interface(
    inputs: Mapping[str, LiteralType] | None = None, outputs: Mapping[str, LiteralType] | None = None
) -> interface_pb2.TypedInterface:
    return interface_pb2.TypedInterface(inputs=variables(inputs or {}), outputs=variables(outputs or {}))


def task(
    name: str, inputs: Mapping[str, LiteralType] | None = None, outputs: Mapping[str, LiteralType] | None = None
) -> compiler_pb2.CompiledTask:
    template = tasks_pb2.TaskTemplate(id=identifier(task_id(name)), type="python-task")
    template.metadata.runtime.version = "1"
    template.interface.CopyFrom(interface(inputs, outputs))
    template.container.image = "image"
    template.container.args.extend(["run"])
    return compiler_pb2.CompiledTask(template=template)


def promise(variable: str, node: str, source: str, *path: str | int) -> literals_pb2.Binding:
    binding = literals_pb2.Binding(var=variable)
    binding.binding.promise.node_id = node
    binding.binding.promise.var = source
    for step in path:
        key = {"int_value": step} if isinstance(step, int) else {"string_value": step}
        binding.binding.promise.attr_path.add(**key)
    return binding


def integer(value: int) -> literals_pb2.Scalar:
    return literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value))


def string(value: str) -> literals_pb2.Scalar:
    return literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value))


def literal(value: literals_pb2.Scalar) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=value)


def literals(*values: literals_pb2.Literal) -> literals_pb2.Literal:
    return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=values))


def literal_map(values: Mapping[str, literals_pb2.Literal]) -> literals_pb2.LiteralMap:
    return literals_pb2.LiteralMap(literals=values)


def bound(variable: str, value: literals_pb2.Scalar) -> literals_pb2.Binding:
    return literals_pb2.Binding(var=variable, binding=literals_pb2.BindingData(scalar=value))


def bound_list(variable: str, *items: literals_pb2.BindingData) -> literals_pb2.Binding:
    collection = literals_pb2.BindingDataCollection(bindings=items)
    return literals_pb2.Binding(var=variable, binding=literals_pb2.BindingData(collection=collection))


def bound_map(variable: str, items: Mapping[str, literals_pb2.BindingData]) -> literals_pb2.Binding:
    mapping = literals_pb2.BindingDataMap(bindings=items)
    return literals_pb2.Binding(var=variable, binding=literals_pb2.BindingData(map=mapping))


def task_node(
    node_id: str, name: str, *bindings: literals_pb2.Binding, upstream: Sequence[str] = ()
) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id, inputs=bindings, upstream_node_ids=upstream)
    node.task_node.reference_id.CopyFrom(identifier(task_id(name)))
    return node


def sub_workflow_node(node_id: str, name: str, *bindings: literals_pb2.Binding) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id, inputs=bindings)
    node.workflow_node.sub_workflow_ref.CopyFrom(identifier(workflow_id(name)))
    return node


def launch_plan_node(node_id: str, name: str, *bindings: literals_pb2.Binding) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id, inputs=bindings)
    node.workflow_node.launchplan_ref.CopyFrom(identifier(launch_plan_id(name)))
    return node


def array_node(node_id: str, element: workflow_pb2.Node, *bindings: literals_pb2.Binding) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id, inputs=bindings)
    node.array_node.node.CopyFrom(element)
    return node


def sleep_node(node_id: str, seconds: int = 1) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id)
    node.gate_node.sleep.duration.seconds = seconds
    return node


def compare(variable: str, value: int) -> condition_pb2.BooleanExpression:
    comparison = condition_pb2.ComparisonExpression(
        operator="GT",
        left_value=condition_pb2.Operand(var=variable),
        right_value=condition_pb2.Operand(primitive=literals_pb2.Primitive(integer=value)),
    )
    return condition_pb2.BooleanExpression(comparison=comparison)


def branch_node(
    node_id: str,
    bindings: Sequence[literals_pb2.Binding],
    cases: Sequence[tuple[condition_pb2.BooleanExpression | None, workflow_pb2.Node | None]],
    otherwise: workflow_pb2.Node | None,
) -> workflow_pb2.Node:
    node = workflow_pb2.Node(id=node_id, inputs=bindings)
    blocks = [workflow_pb2.IfBlock(condition=condition, then_node=then) for condition, then in cases]
    if_else = workflow_pb2.IfElseBlock(case=blocks[0], other=blocks[1:], else_node=otherwise)
    node.branch_node.if_else.CopyFrom(if_else)
    return node


def workflow(
    name: str,
    nodes: Sequence[workflow_pb2.Node],
    inputs: Mapping[str, LiteralType] | None = None,
    outputs: Mapping[str, LiteralType] | None = None,
    bindings: Sequence[literals_pb2.Binding] = (),
) -> workflow_pb2.WorkflowTemplate:
    return workflow_pb2.WorkflowTemplate(
        id=identifier(workflow_id(name)), nodes=nodes, interface=interface(inputs, outputs), outputs=bindings
    )


def compiled(
    template: workflow_pb2.WorkflowTemplate,
    tasks: Sequence[compiler_pb2.CompiledTask] = (),
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate] = (),
    launch_plans: Mapping[EntityId, LaunchPlanInterface] | None = None,
) -> compiler_pb2.CompiledWorkflowClosure:
    by_id = {task_id(item.template.id.name): item for item in tasks}
    return compile_workflow(template, sub_workflows, by_id, launch_plans or {})


def findings_of(
    template: workflow_pb2.WorkflowTemplate,
    tasks: Sequence[compiler_pb2.CompiledTask] = (),
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate] = (),
    launch_plans: Mapping[EntityId, LaunchPlanInterface] | None = None,
) -> tuple[tuple[str, str, str], ...]:
    """Compile what must not compile and return what was found."""
    try:
        compiled(template, tasks, sub_workflows, launch_plans)
    except CompileError as error:
        return error.findings
    raise AssertionError("it compiled")


def edges(connections: Mapping[str, compiler_pb2.ConnectionSet.IdList]) -> dict[str, list[str]]:
    return {node_id: list(connections[node_id].ids) for node_id in connections}


def id_text(kind: str, name: str) -> str:
    """How messages show identifiers made by this module."""
    assert identifier_pb2.ResourceType.Value(kind)
    return f'resource_type:{kind} project:"p" domain:"d" name:"{name}" version:"v"'
