"""The workflow and launch plan around a task that is run on its own.

The reference (single_task_execution.go) makes both when such an execution is asked for, names them
``.flytegen.<task name>`` and hides them; their version is the task's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import compiler_pb2, interface_pb2, literals_pb2, workflow_pb2

from flyte_kernel.compile.identifiers import LAUNCH_PLAN, WORKFLOW, entity_id, identifier
from flyte_kernel.compile.launch_plan import compile_launch_plan
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.ids import EntityId

__all__ = ["SingleTask", "compile_single_task", "single_task_name"]

_NAME_PREFIX = ".flytegen."
_RETRIES_DEFAULT = 3  # the reference's, for tasks that say nothing about retries
_NODE_ID_LENGTH_MAX = 63


@dataclass(frozen=True)
class SingleTask:
    """A generated workflow with its closure and the launch plan that runs it."""

    workflow: EntityId
    closure: compiler_pb2.CompiledWorkflowClosure
    launch_plan: launch_plan_pb2.LaunchPlan


def single_task_name(task_name: str) -> str:
    """Return the name of the workflow and launch plan that the reference generates for a task."""
    return _NAME_PREFIX + task_name


def compile_single_task(task: compiler_pb2.CompiledTask) -> SingleTask:
    """Return what runs `task` on its own: one node, inputs and outputs passed through under their names."""
    task_id = entity_id(task.template.id)
    name = single_task_name(task_id.name)
    workflow_id = task_id._replace(resource_type=WORKFLOW, name=name)
    template = _template(task, workflow_id)
    closure = compile_workflow(template, [], {task_id: task}, {})
    spec = launch_plan_pb2.LaunchPlanSpec(
        # The reference puts the task's own name here, not the generated workflow's.
        workflow_id=identifier(task_id._replace(resource_type=WORKFLOW)),
        entity_metadata=launch_plan_pb2.LaunchPlanMetadata(),
        default_inputs=interface_pb2.ParameterMap(),
        fixed_inputs=literals_pb2.LiteralMap(),
    )
    for empty in (spec.entity_metadata, spec.default_inputs, spec.fixed_inputs, spec.labels, spec.annotations):
        empty.SetInParent()
    if task.template.HasField("security_context"):
        spec.security_context.CopyFrom(task.template.security_context)
    launch_plan_id = identifier(task_id._replace(resource_type=LAUNCH_PLAN, name=name))
    return SingleTask(
        workflow_id, closure, compile_launch_plan(launch_plan_id, spec, closure.primary.template.interface)
    )


def _template(task: compiler_pb2.CompiledTask, workflow_id: EntityId) -> workflow_pb2.WorkflowTemplate:
    node = workflow_pb2.Node(id=_node_id(task.template.id.name))
    node.metadata.name = node.id
    if task.template.metadata.HasField("retries"):
        node.metadata.retries.CopyFrom(task.template.metadata.retries)
    else:
        node.metadata.retries.retries = _RETRIES_DEFAULT
    node.task_node.reference_id.CopyFrom(task.template.id)
    interface = task.template.interface
    node.inputs.extend(_pass_through(interface.inputs, ""))
    return workflow_pb2.WorkflowTemplate(
        id=identifier(workflow_id),
        interface=interface,
        nodes=[node],
        outputs=_pass_through(interface.outputs, node.id),
    )


def _node_id(task_name: str) -> str:
    node_id = re.sub(r"[^A-Za-z0-9-]", "", task_name)[-_NODE_ID_LENGTH_MAX:]
    return (
        node_id if node_id and node_id not in ("start-node", "end-node") else f"task-{node_id}"[-_NODE_ID_LENGTH_MAX:]
    )


def _pass_through(variables: interface_pb2.VariableMap, node_id: str) -> list[literals_pb2.Binding]:
    bindings = []
    for name in sorted(variables.variables):
        binding = literals_pb2.Binding(var=name)
        binding.binding.promise.node_id = node_id
        binding.binding.promise.var = name
        bindings.append(binding)
    return bindings
