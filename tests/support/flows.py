"""Small registered things for tests, as flytekit sends them."""

from __future__ import annotations

from flyteidl.admin import execution_pb2, launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import identifier_pb2, literals_pb2, types_pb2
from flyteidl.core import workflow_pb2 as core_workflow_pb2

PROJECT, DOMAIN, VERSION = "flytesnacks", "development", "v1"
TASK, WORKFLOW, LAUNCH_PLAN = identifier_pb2.TASK, identifier_pb2.WORKFLOW, identifier_pb2.LAUNCH_PLAN


def identifier(resource_type: int, name: str, version: str = VERSION, **other: str) -> identifier_pb2.Identifier:
    """An identifier in the default project and domain."""
    fields = {"project": PROJECT, "domain": DOMAIN, "name": name, "version": version, **other}
    return identifier_pb2.Identifier(resource_type=resource_type, **fields)


def integer(value: int) -> literals_pb2.Literal:
    """An integer literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def text(value: str) -> literals_pb2.Literal:
    """A string literal."""
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(string_value=value)))


def literal_map(**values: literals_pb2.Literal) -> literals_pb2.LiteralMap:
    """Literals by name."""
    return literals_pb2.LiteralMap(literals=values)


def task_request(name: str = "facts.inc", version: str = VERSION, image: str = "image:1") -> task_pb2.TaskCreateRequest:
    """A container task x: int -> o0: int."""
    request = task_pb2.TaskCreateRequest(id=identifier(TASK, name, version))
    template = request.spec.template
    template.id.CopyFrom(request.id)
    template.type = "python-task"
    template.metadata.runtime.version = "1.16.31"
    template.metadata.retries.SetInParent()
    template.interface.inputs.variables["x"].type.simple = types_pb2.INTEGER
    template.interface.outputs.variables["o0"].type.simple = types_pb2.INTEGER
    template.container.image = image
    template.container.args.extend(["pyflyte-execute", "--inputs", "{{.input}}"])
    return request


def promise(variable: str, node_id: str, source: str) -> literals_pb2.Binding:
    """Bind a variable to another node's output."""
    binding = literals_pb2.Binding(var=variable)
    binding.binding.promise.node_id = node_id
    binding.binding.promise.var = source
    return binding


def task_node(node_id: str, source_node: str, source: str, task: str = "facts.inc") -> core_workflow_pb2.Node:
    """A node that runs the task on one input."""
    node = core_workflow_pb2.Node(id=node_id, inputs=[promise("x", source_node, source)])
    node.metadata.name = "inc"
    node.task_node.reference_id.CopyFrom(identifier(TASK, task))
    if source_node:
        node.upstream_node_ids.append(source_node)
    return node


def template(
    name: str, nodes: list[core_workflow_pb2.Node], output: tuple[str, str]
) -> core_workflow_pb2.WorkflowTemplate:
    """A workflow a: int -> o0: int."""
    workflow = core_workflow_pb2.WorkflowTemplate(id=identifier(WORKFLOW, name), nodes=nodes)
    workflow.interface.inputs.variables["a"].type.simple = types_pb2.INTEGER
    workflow.interface.outputs.variables["o0"].type.simple = types_pb2.INTEGER
    workflow.outputs.append(promise("o0", *output))
    return workflow


def workflow_request(name: str = "facts.wf", length: int = 2) -> workflow_pb2.WorkflowCreateRequest:
    """A chain of tasks n0, n1, …."""
    nodes = [task_node("n0", "", "a")]
    nodes += [task_node(f"n{i}", f"n{i - 1}", "o0") for i in range(1, length)]
    request = workflow_pb2.WorkflowCreateRequest(id=identifier(WORKFLOW, name))
    request.spec.template.CopyFrom(template(name, nodes, (f"n{length - 1}", "o0")))
    return request


def nested_request(name: str = "facts.outer") -> workflow_pb2.WorkflowCreateRequest:
    """A workflow whose node n0 is the subworkflow facts.inner, a chain of one task."""
    request = workflow_pb2.WorkflowCreateRequest(id=identifier(WORKFLOW, name))
    node = core_workflow_pb2.Node(id="n0", inputs=[promise("a", "", "a")])
    node.workflow_node.sub_workflow_ref.CopyFrom(identifier(WORKFLOW, "facts.inner"))
    request.spec.template.CopyFrom(template(name, [node], ("n0", "o0")))
    request.spec.sub_workflows.append(template("facts.inner", [task_node("n0", "", "a")], ("n0", "o0")))
    return request


def plan_request(name: str = "facts.wf", workflow: str = "facts.wf") -> launch_plan_pb2.LaunchPlanCreateRequest:
    """A launch plan without defaults."""
    request = launch_plan_pb2.LaunchPlanCreateRequest(id=identifier(LAUNCH_PLAN, name))
    request.spec.workflow_id.CopyFrom(identifier(WORKFLOW, workflow))
    request.spec.entity_metadata.SetInParent()
    return request


def with_default(
    request: launch_plan_pb2.LaunchPlanCreateRequest, name: str, value: int
) -> launch_plan_pb2.LaunchPlanCreateRequest:
    """Give an integer input a default."""
    parameter = request.spec.default_inputs.parameters[name]
    parameter.var.type.simple = types_pb2.INTEGER
    parameter.default.CopyFrom(integer(value))
    return request


def execution_request(
    name: str = "", plan: str = "facts.wf", resource_type: int = LAUNCH_PLAN, **inputs: literals_pb2.Literal
) -> execution_pb2.ExecutionCreateRequest:
    """A request as pyflyte sends it, with empty messages that are merely present."""
    request = execution_pb2.ExecutionCreateRequest(project=PROJECT, domain=DOMAIN, name=name)
    request.spec.launch_plan.CopyFrom(identifier(resource_type, plan))
    request.spec.metadata.principal = "placeholder"
    for empty in (request.spec.labels, request.spec.annotations, request.spec.auth_role):
        empty.SetInParent()
    request.spec.disable_all = False
    request.inputs.CopyFrom(literal_map(**inputs))
    return request
