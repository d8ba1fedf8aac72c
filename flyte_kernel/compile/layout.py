"""Lays a compiled closure out as flat arrays: each node of the workflow and of each use of a subworkflow has an index.

A level is one use of a workflow: the top one, or what a subworkflow node opens. The nodes of a level are contiguous and
in topological order, by id where there is a choice; the levels that a level opens follow it, in the order of the nodes
that open them. The same closure always gives the same indices.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from flyteidl.core import compiler_pb2, tasks_pb2, workflow_pb2
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.requirements import reachable_workflows
from flyte_kernel.compile.scope import END_NODE, START_NODE
from flyte_kernel.errors import InternalError, UnsupportedError
from flyte_kernel.ids import EntityId
from flyte_kernel.phases import NodeKind

__all__ = ["NO_SCOPE", "GraphArrays", "Layout", "Level", "LevelShape", "lay_out"]

NO_SCOPE = 0xFFFFFFFF
NODES_MAX = 1 << 20  # a guess: subworkflows used twice at each of many levels multiply, and each node costs memory

_ATTEMPTS_MAX = 0xFFFF
_NANOSECONDS_MAX = 2**63 - 1
_KIND_WORDS = {
    "branch_node": "a branch node",
    "gate_node": "a gate node",
    "array_node": "an array node",
    "workflow_node": "a launch plan node",
}


class GraphArrays(NamedTuple):
    """The arguments of `Graph.from_edges`: per edge `source` and `target`, the others per node; timeouts in ns."""

    node_count: int
    source: NDArray[np.uint32]
    target: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    scope: NDArray[np.uint32]
    attempts_max: NDArray[np.uint16]
    execution_timeout: NDArray[np.int64]
    active_timeout: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LevelShape:
    """One workflow, the same for all its uses: nodes in index order, edges between positions in that order."""

    compiled: compiler_pb2.CompiledWorkflow
    nodes: tuple[workflow_pb2.Node, ...]
    tasks: tuple[tasks_pb2.TaskTemplate | None, ...]
    source: NDArray[np.uint32]
    target: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    attempts_max: NDArray[np.uint16]
    execution_timeout: NDArray[np.int64]
    opens: tuple[tuple[int, EntityId], ...]
    aliases: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Level:
    """One use of a workflow: `scope` is the index of the node that opens it, -1 at the top; `first` its first index."""

    scope: int
    first: int
    shape: LevelShape
    index_of: Mapping[str, int]


class Layout(NamedTuple):
    """All levels, the top one first, and the arrays over all their nodes."""

    levels: tuple[Level, ...]
    arrays: GraphArrays


def lay_out(closure: compiler_pb2.CompiledWorkflowClosure) -> Layout:
    """Return the levels and arrays of a compiled closure.

    Raises UnsupportedError for kinds of nodes that cannot run yet, naming workflow, node and kind; CompileError if a
    subworkflow contains itself; InternalError if the closure is not one that `compile_workflow` made.
    """
    sub_workflows = {entity_id(compiled.template.id): compiled for compiled in closure.sub_workflows}
    findings = Findings()
    templates = {key: compiled.template for key, compiled in sub_workflows.items()}
    reached = reachable_workflows(closure.primary.template, templates, findings)
    findings.raise_if_any()
    tasks = {entity_id(task.template.id): task.template for task in closure.tasks}
    top = _shape(closure.primary, tasks)
    shapes = {key: _shape(sub_workflows[key], tasks) for key in reached}
    _check_size(top, shapes)
    levels = _place(top, shapes)
    return Layout(levels, _join(levels))


def _check_size(top: LevelShape, shapes: Mapping[EntityId, LevelShape]) -> None:
    """Count before anything is unfolded; `shapes` holds every workflow after those that it uses."""
    unfolded: dict[EntityId, int] = {}
    for key, shape in shapes.items():
        unfolded[key] = len(shape.nodes) + sum(unfolded[inner] for _, inner in shape.opens)
    if len(top.nodes) + sum(unfolded[key] for _, key in top.opens) > NODES_MAX:
        name = top.compiled.template.id.name
        raise UnsupportedError(f"workflow {name}: its subworkflows unfold to more than {NODES_MAX} nodes")


def _place(top: LevelShape, shapes: Mapping[EntityId, LevelShape]) -> tuple[Level, ...]:
    levels: list[Level] = []
    waiting: list[tuple[int, LevelShape]] = [(-1, top)]
    first = 0
    for scope, shape in waiting:  # grows while it is walked: breadth first
        index_of = {node.id: first + position for position, node in enumerate(shape.nodes)}
        levels.append(Level(scope, first, shape, index_of))
        waiting.extend((first + position, shapes[key]) for position, key in shape.opens)
        first += len(shape.nodes)
    return tuple(levels)


def _join(levels: Sequence[Level]) -> GraphArrays:
    shapes = [level.shape for level in levels]
    counts = [len(shape.nodes) for shape in shapes]
    execution_timeout = np.concatenate([shape.execution_timeout for shape in shapes])
    scopes = np.array([level.scope if level.scope >= 0 else NO_SCOPE for level in levels], np.uint32)
    return GraphArrays(
        node_count=sum(counts),
        source=np.concatenate([level.shape.source + np.uint32(level.first) for level in levels]),
        target=np.concatenate([level.shape.target + np.uint32(level.first) for level in levels]),
        kind=np.concatenate([shape.kind for shape in shapes]),
        scope=np.repeat(scopes, counts),
        attempts_max=np.concatenate([shape.attempts_max for shape in shapes]),
        execution_timeout=execution_timeout,
        # The reference gives all attempts of a node together twice the time of one.
        active_timeout=np.where(execution_timeout > _NANOSECONDS_MAX // 2, _NANOSECONDS_MAX, execution_timeout * 2),
    )


def _shape(compiled: compiler_pb2.CompiledWorkflow, tasks: Mapping[EntityId, tasks_pb2.TaskTemplate]) -> LevelShape:
    template = compiled.template
    if template.HasField("failure_node"):
        raise _unsupported(template, template.failure_node.id, "a failure node")
    edges = _edges(compiled)
    nodes = _in_order({node.id: node for node in template.nodes}, edges, template.id.name)
    position_of = {node.id: position for position, node in enumerate(nodes)}
    kinds = [_kind(template, node) for node in nodes]
    task_of = [
        _task_of(template, node, tasks) if kind is NodeKind.TASK else None
        for node, kind in zip(nodes, kinds, strict=True)
    ]
    pairs = np.array([(position_of[source], position_of[target]) for source, target in edges], np.uint32).reshape(-1, 2)
    return LevelShape(
        compiled=compiled,
        nodes=tuple(nodes),
        tasks=tuple(task_of),
        source=np.ascontiguousarray(pairs[:, 0]),
        target=np.ascontiguousarray(pairs[:, 1]),
        kind=np.array(kinds, np.uint8),
        attempts_max=np.array(
            [_attempts_max(node, task) for node, task in zip(nodes, task_of, strict=True)], np.uint16
        ),
        execution_timeout=np.array([_nanoseconds(node.metadata.timeout) for node in nodes], np.int64),
        opens=tuple(
            (position, entity_id(node.workflow_node.sub_workflow_ref))
            for position, (node, kind) in enumerate(zip(nodes, kinds, strict=True))
            if kind is NodeKind.SUBWORKFLOW
        ),
        aliases={
            node.id: {alias.alias: alias.var for alias in node.output_aliases} for node in nodes if node.output_aliases
        },
    )


def _edges(compiled: compiler_pb2.CompiledWorkflow) -> list[tuple[str, str]]:
    downstream = compiled.connections.downstream
    return [(source, target) for source in sorted(downstream) for target in downstream[source].ids]


def _in_order(
    nodes: Mapping[str, workflow_pb2.Node], edges: Sequence[tuple[str, str]], workflow: str
) -> list[workflow_pb2.Node]:
    """Sort topologically, by id among the nodes that are free to come next."""
    waits_for = dict.fromkeys(nodes, 0)
    followers: dict[str, list[str]] = {node_id: [] for node_id in nodes}
    for source, target in edges:
        if source not in nodes or target not in nodes:
            raise InternalError(f"workflow {workflow}: the edge {source} to {target} leads nowhere")
        waits_for[target] += 1
        followers[source].append(target)
    free = [node_id for node_id, count in waits_for.items() if count == 0]
    heapq.heapify(free)
    ordered: list[workflow_pb2.Node] = []
    while free:
        node_id = heapq.heappop(free)
        ordered.append(nodes[node_id])
        for follower in followers[node_id]:
            waits_for[follower] -= 1
            if waits_for[follower] == 0:
                heapq.heappush(free, follower)
    if len(ordered) < len(nodes) or START_NODE not in nodes or END_NODE not in nodes:
        raise InternalError(f"workflow {workflow} was not compiled")
    return ordered


def _kind(template: workflow_pb2.WorkflowTemplate, node: workflow_pb2.Node) -> NodeKind:
    if node.id == START_NODE:
        return NodeKind.START
    if node.id == END_NODE:
        return NodeKind.END
    target = node.WhichOneof("target") or ""
    if target == "task_node":
        return NodeKind.TASK
    if target == "workflow_node" and node.workflow_node.HasField("sub_workflow_ref"):
        return NodeKind.SUBWORKFLOW
    raise _unsupported(template, node.id, _KIND_WORDS.get(target, "a node without a target"))


def _unsupported(template: workflow_pb2.WorkflowTemplate, node_id: str, what: str) -> UnsupportedError:
    return UnsupportedError(f"workflow {template.id.name}: node {node_id} is {what}, which cannot be run yet")


def _task_of(
    template: workflow_pb2.WorkflowTemplate, node: workflow_pb2.Node, tasks: Mapping[EntityId, tasks_pb2.TaskTemplate]
) -> tasks_pb2.TaskTemplate:
    task = tasks.get(entity_id(node.task_node.reference_id))
    if task is None:
        raise InternalError(f"workflow {template.id.name}: the closure lacks the task of node {node.id}")
    return task


def _attempts_max(node: workflow_pb2.Node, task: tasks_pb2.TaskTemplate | None) -> int:
    """The node's retries, or the task's where the node has none; flytekit copies the task's onto the node."""
    retries = int(node.metadata.retries.retries)
    if retries == 0 and task is not None:
        retries = int(task.metadata.retries.retries)
    return min(retries + 1, _ATTEMPTS_MAX)


def _nanoseconds(duration: Duration) -> int:
    return max(0, min(duration.seconds * 10**9 + duration.nanos, _NANOSECONDS_MAX))
