"""Lays a compiled closure out as flat arrays: each node of the workflow and of each use of a subworkflow has an index.

A level is one use of a workflow, the top one or what a subworkflow node opens, or the cases of a branch node. The nodes
of a level are contiguous: a workflow's in topological order, by id where there is a choice, its failure node last; a
branch's in the order they are tried. The levels that a level opens follow it, in the order of the nodes that open them.
The same closure always gives the same indices.

No edges lead into a branch. What the nodes inside wait for, the outermost branch around them waits for, so that
whatever case is chosen can begin at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from flyteidl.core import compiler_pb2, tasks_pb2, workflow_pb2
from google.protobuf.duration_pb2 import Duration
from numpy.typing import NDArray

from flyte_kernel.compile.branches import case_nodes
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
_LEGACY_MAP = "container_array"


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
    failure_handler: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LevelShape:
    """One workflow or the cases of one branch, the same for all uses; edges join positions in the order of `nodes`.

    `tasks` has the template of what a node runs: for an array node the template of its elements. `opens` says which
    nodes open a level: a subworkflow by its id, the cases of a branch by their shape. `compiled` is the workflow whose
    nodes bindings refer to, `aliases` its renamed outputs by node id.
    """

    compiled: compiler_pb2.CompiledWorkflow
    nodes: tuple[workflow_pb2.Node, ...]
    tasks: tuple[tasks_pb2.TaskTemplate | None, ...]
    source: NDArray[np.uint32]
    target: NDArray[np.uint32]
    kind: NDArray[np.uint8]
    attempts_max: NDArray[np.uint16]
    execution_timeout: NDArray[np.int64]
    failure_handler: NDArray[np.bool_]
    opens: tuple[tuple[int, EntityId | LevelShape], ...]
    aliases: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class Level:
    """One use of a shape: `scope` is the index of the node that opens it, -1 at the top; `first` its first index.

    `workflow_scope` is the scope of the workflow whose nodes bindings refer to: for the cases of a branch the one the
    branch stands in, else `scope` itself.
    """

    scope: int
    workflow_scope: int
    first: int
    shape: LevelShape
    index_of: Mapping[str, int]


class Layout(NamedTuple):
    """All levels, the top one first, and the arrays over all their nodes."""

    levels: tuple[Level, ...]
    arrays: GraphArrays


def lay_out(closure: compiler_pb2.CompiledWorkflowClosure) -> Layout:
    """Return the levels and arrays of a compiled closure.

    Raises UnsupportedError, naming workflow and node, for what cannot run: array nodes over anything but a task, ids
    that would make two nodes one; CompileError if a subworkflow contains itself; InternalError if the closure is not
    one that `compile_workflow` made.
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
        unfolded[key] = _unfolded(shape, unfolded)
    if _unfolded(top, unfolded) > NODES_MAX:
        name = top.compiled.template.id.name
        raise UnsupportedError(f"workflow {name}: its subworkflows unfold to more than {NODES_MAX} nodes")


def _unfolded(shape: LevelShape, unfolded: Mapping[EntityId, int]) -> int:
    inside = (
        _unfolded(opened, unfolded) if isinstance(opened, LevelShape) else unfolded[opened] for _, opened in shape.opens
    )
    return len(shape.nodes) + sum(inside)


def _place(top: LevelShape, shapes: Mapping[EntityId, LevelShape]) -> tuple[Level, ...]:
    levels: list[Level] = []
    waiting: list[tuple[int, int, LevelShape]] = [(-1, -1, top)]
    first = 0
    for scope, workflow_scope, shape in waiting:  # grows while it is walked: breadth first
        index_of = {node.id: first + position for position, node in enumerate(shape.nodes)}
        levels.append(Level(scope, workflow_scope, first, shape, index_of))
        for position, opened in shape.opens:
            index = first + position
            if isinstance(opened, LevelShape):
                waiting.append((index, workflow_scope, opened))
            else:
                waiting.append((index, index, shapes[opened]))
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
        failure_handler=np.concatenate([shape.failure_handler for shape in shapes]),
    )


def _shape(compiled: compiler_pb2.CompiledWorkflow, tasks: Mapping[EntityId, tasks_pb2.TaskTemplate]) -> LevelShape:
    template = compiled.template
    edges = _edges(compiled)
    nodes = _in_order({node.id: node for node in template.nodes}, edges, template.id.name)
    position_of = {node.id: position for position, node in enumerate(nodes)}
    handler: workflow_pb2.Node | None = None
    if template.HasField("failure_node"):
        handler = template.failure_node
        if handler.id in position_of:
            raise _unsupported(template, handler.id, "has the id of the failure node")
        nodes.append(handler)
    positions = [(position_of[source], position_of[target]) for source, target in edges]
    return _Shaper(compiled, tasks).shape(nodes, positions, handler)


class _Runs(NamedTuple):
    """What a node is, the task it runs if any, and the metadata that limits its attempts."""

    kind: NodeKind
    task: tasks_pb2.TaskTemplate | None
    limits: workflow_pb2.NodeMetadata


class _Shaper:
    """Makes the shapes of one workflow: its own and those of the branches in it."""

    def __init__(
        self, compiled: compiler_pb2.CompiledWorkflow, tasks: Mapping[EntityId, tasks_pb2.TaskTemplate]
    ) -> None:
        self._compiled = compiled
        self._template = compiled.template
        self._tasks = tasks
        self._aliases = {
            node.id: {alias.alias: alias.var for alias in node.output_aliases}
            for node in compiled.template.nodes
            if node.output_aliases
        }

    def shape(
        self,
        nodes: Sequence[workflow_pb2.Node],
        edges: Sequence[tuple[int, int]] = (),
        handler: workflow_pb2.Node | None = None,
    ) -> LevelShape:
        """Return the shape of `nodes`, joined by edges between positions, `handler` among them or None."""
        runs = [self._runs(node) for node in nodes]
        pairs = np.array(edges, np.uint32).reshape(-1, 2)
        return LevelShape(
            compiled=self._compiled,
            nodes=tuple(nodes),
            tasks=tuple(run.task for run in runs),
            source=np.ascontiguousarray(pairs[:, 0]),
            target=np.ascontiguousarray(pairs[:, 1]),
            kind=np.array([run.kind for run in runs], np.uint8),
            attempts_max=np.array(
                [
                    # The reference ends the run when a failure node would be tried again; elements of maps are.
                    1 if node is handler and run.kind is not NodeKind.MAP else _attempts_max(run.limits, run.task)
                    for node, run in zip(nodes, runs, strict=True)
                ],
                np.uint16,
            ),
            execution_timeout=np.array([_nanoseconds(run.limits.timeout) for run in runs], np.int64),
            failure_handler=np.array([node is handler for node in nodes], np.bool_),
            opens=tuple(self._opens(nodes, runs)),
            aliases=self._aliases,
        )

    def _runs(self, node: workflow_pb2.Node) -> _Runs:
        if node.id == START_NODE:
            return _Runs(NodeKind.START, None, node.metadata)
        if node.id == END_NODE:
            return _Runs(NodeKind.END, None, node.metadata)
        target = node.WhichOneof("target")
        if target == "task_node":
            task = self._task_of(node)
            kind = NodeKind.MAP if task.type == _LEGACY_MAP else NodeKind.TASK
            return _Runs(kind, task, node.metadata)
        if target == "array_node":
            element = node.array_node.node
            if element.WhichOneof("target") != "task_node":
                raise _unsupported(
                    self._template, node.id, "is an array over something other than a task, which cannot be run"
                )
            return _Runs(NodeKind.MAP, self._task_of(element), element.metadata)
        if target == "branch_node":
            return _Runs(NodeKind.BRANCH, None, node.metadata)
        if target == "gate_node":
            return _Runs(NodeKind.GATE, None, node.metadata)
        if target == "workflow_node":
            runs_inside = node.workflow_node.HasField("sub_workflow_ref")
            return _Runs(NodeKind.SUBWORKFLOW if runs_inside else NodeKind.CHILD_RUN, None, node.metadata)
        raise InternalError(f"workflow {self._template.id.name}: node {node.id} has no target")

    def _task_of(self, node: workflow_pb2.Node) -> tasks_pb2.TaskTemplate:
        task = self._tasks.get(entity_id(node.task_node.reference_id))
        if task is None:
            raise InternalError(f"workflow {self._template.id.name}: the closure lacks the task of node {node.id}")
        return task

    def _opens(
        self, nodes: Sequence[workflow_pb2.Node], runs: Sequence[_Runs]
    ) -> Iterator[tuple[int, EntityId | LevelShape]]:
        for position, (node, run) in enumerate(zip(nodes, runs, strict=True)):
            if run.kind is NodeKind.SUBWORKFLOW:
                yield position, entity_id(node.workflow_node.sub_workflow_ref)
            elif run.kind is NodeKind.BRANCH:
                cases = list(case_nodes(node.branch_node))
                if len({case.id for case in cases}) < len(cases):
                    raise _unsupported(self._template, node.id, "has two cases with the same node id")
                yield position, self.shape(cases)


def _edges(compiled: compiler_pb2.CompiledWorkflow) -> list[tuple[str, str]]:
    downstream = compiled.connections.downstream
    edges = [(source, target) for source in sorted(downstream) for target in downstream[source].ids]
    present = set(edges)
    for node in compiled.template.nodes:
        # Every node of a level waits for its start node anyway.
        sources = _inner_sources(node, compiled.connections) - {START_NODE}
        edges.extend((source, node.id) for source in sorted(sources) if (source, node.id) not in present)
    return edges


def _inner_sources(node: workflow_pb2.Node, connections: compiler_pb2.ConnectionSet) -> set[str]:
    """Return what the nodes in a branch wait for, at any depth."""
    sources: set[str] = set()
    if node.HasField("branch_node"):
        for case in case_nodes(node.branch_node):
            if case.id in connections.upstream:
                sources.update(connections.upstream[case.id].ids)
            sources |= _inner_sources(case, connections)
    return sources


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


def _unsupported(template: workflow_pb2.WorkflowTemplate, node_id: str, what: str) -> UnsupportedError:
    return UnsupportedError(f"workflow {template.id.name}: node {node_id} {what}")


def _attempts_max(limits: workflow_pb2.NodeMetadata, task: tasks_pb2.TaskTemplate | None) -> int:
    """The node's retries, or the task's where the node has none; flytekit copies the task's onto the node."""
    retries = int(limits.retries.retries)
    if retries == 0 and task is not None:
        retries = int(task.metadata.retries.retries)
    return min(retries + 1, _ATTEMPTS_MAX)


def _nanoseconds(duration: Duration) -> int:
    return max(0, min(duration.seconds * 10**9 + duration.nanos, _NANOSECONDS_MAX))
