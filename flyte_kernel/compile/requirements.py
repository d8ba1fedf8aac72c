"""What a workflow refers to: the tasks and launch plans to load before it can be compiled, and its subworkflows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from flyteidl.core import identifier_pb2, workflow_pb2

from flyte_kernel.compile.branches import case_nodes
from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.text import message_text
from flyte_kernel.ids import EntityId

__all__ = ["RequiredEntities", "index_sub_workflows", "reachable_workflows", "required_entities"]


class RequiredEntities(NamedTuple):
    """Identifiers in ascending order, each once."""

    tasks: tuple[EntityId, ...]
    launch_plans: tuple[EntityId, ...]


class _Reference(NamedTuple):
    kind: str
    node_id: str
    identifier: identifier_pb2.Identifier


def required_entities(
    template: workflow_pb2.WorkflowTemplate, sub_workflows: Sequence[workflow_pb2.WorkflowTemplate]
) -> RequiredEntities:
    """Return the tasks and launch plans that `template` and the subworkflows it reaches refer to."""
    index = {entity_id(sub_workflow.id): sub_workflow for sub_workflow in sub_workflows}
    references = [
        reference
        for workflow in [template, *(index[key] for key in reachable_workflows(template, index, Findings()))]
        for reference in _references(workflow)
    ]
    return RequiredEntities(
        tuple(sorted({entity_id(item.identifier) for item in references if item.kind == "reference_id"})),
        tuple(sorted({entity_id(item.identifier) for item in references if item.kind == "launchplan_ref"})),
    )


def index_sub_workflows(
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate], findings: Findings
) -> dict[EntityId, workflow_pb2.WorkflowTemplate]:
    """Return subworkflows by id; an id that comes twice is a finding."""
    index: dict[EntityId, workflow_pb2.WorkflowTemplate] = {}
    for sub_workflow in sub_workflows:
        key = entity_id(sub_workflow.id)
        if key in index:
            findings.add("DuplicateId", message_text(sub_workflow.id), "Trying to insert two nodes with the same id.")
        index[key] = sub_workflow
    return index


def reachable_workflows(
    template: workflow_pb2.WorkflowTemplate,
    index: Mapping[EntityId, workflow_pb2.WorkflowTemplate],
    findings: Findings,
) -> list[EntityId]:
    """Return the subworkflows that `template` uses, directly or through others, each once.

    Subworkflows that are absent from `index` or lead back to themselves are findings: the reference follows the latter
    until its stack ends.
    """
    done: dict[EntityId, None] = {}
    path: list[EntityId] = [entity_id(template.id)]
    stack = [_sub_workflow_references(template)]
    while stack:
        reference = next(stack[-1], None)
        if reference is None:
            stack.pop()
            done[path.pop()] = None
            continue
        key = entity_id(reference.identifier)
        if key in path:
            names = [entry.name for entry in path[path.index(key) :]]
            findings.cycle(reference.node_id, [*names, key.name])
        elif key not in index:
            findings.workflow_not_found(reference.node_id, message_text(reference.identifier))
        elif key not in done:
            path.append(key)
            stack.append(_sub_workflow_references(index[key]))
    return [key for key in done if key in index and key != entity_id(template.id)]


def _sub_workflow_references(workflow: workflow_pb2.WorkflowTemplate) -> Iterator[_Reference]:
    return (reference for reference in _references(workflow) if reference.kind == "sub_workflow_ref")


def _references(workflow: workflow_pb2.WorkflowTemplate) -> Iterator[_Reference]:
    for node in workflow.nodes:
        yield from _node_references(node)
    if workflow.HasField("failure_node"):
        yield from _node_references(workflow.failure_node)


def _node_references(node: workflow_pb2.Node) -> Iterator[_Reference]:
    target = node.WhichOneof("target")
    if target == "task_node":
        if node.task_node.HasField("reference_id"):
            yield _Reference("reference_id", node.id, node.task_node.reference_id)
    elif target == "workflow_node":
        kind = node.workflow_node.WhichOneof("reference")
        if kind is not None:
            yield _Reference(kind, node.id, getattr(node.workflow_node, kind))
    elif target == "branch_node":
        for child in case_nodes(node.branch_node):
            yield from _node_references(child)
    elif target == "array_node":
        yield from _node_references(node.array_node.node)
