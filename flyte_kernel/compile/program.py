"""A compiled closure in the form the engine runs: the core's graph and, by core index, what the core must not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from flyteidl.core import compiler_pb2, interface_pb2, literals_pb2, tasks_pb2, workflow_pb2
from numpy.typing import NDArray

from flyte_kernel import Graph
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.layout import GraphArrays, Level, lay_out
from flyte_kernel.compile.scope import END_NODE, START_NODE
from flyte_kernel.errors import UnknownNodeError
from flyte_kernel.ids import EntityId
from flyte_kernel.phases import NodeKind

__all__ = ["Program", "build_program", "grow"]


@dataclass(frozen=True, eq=False)
class Program:
    """A graph with its tables; sequences and arrays are indexed by core node.

    A scope is the core index of the node that opens it (a subworkflow, a branch, a dynamic task), -1 for the workflow
    itself. `node_id` is the id a node has in its own workflow, `parent` its scope, `template` its node message
    (bindings, metadata), `task` what a task node or each element of an array node runs and None for all others. `kind`
    has phases.NodeKind, `attempts_max` how often the user lets a node or an element be tried, timeouts are in ns (0 is
    none). `arrays` is what runs begin with: in a program that grew it lacks what grew.
    """

    workflow: EntityId
    arrays: GraphArrays
    node_id: Sequence[str]
    parent: Sequence[int]
    template: Sequence[workflow_pb2.Node]
    task: Sequence[tasks_pb2.TaskTemplate | None]
    kind: NDArray[np.uint8]
    attempts_max: NDArray[np.uint16]
    execution_timeout: NDArray[np.int64]
    active_timeout: NDArray[np.int64]
    levels: Mapping[int, Level]
    arms: Mapping[int, Mapping[str, int]]
    failure_handlers: Mapping[int, int]

    @cached_property
    def graph(self) -> Graph:
        """The core's graph, as runs begin with it: what a program grew by is not in it."""
        columns = self.arrays._asdict()
        if not self.arrays.failure_handler.any():
            del columns["failure_handler"]
        return Graph.from_edges(**columns)

    @property
    def node_count(self) -> int:
        """How many nodes there are, those that grew included."""
        return len(self.node_id)

    @property
    def fails_late(self) -> bool:
        """Whether the rest may run on after a failure (FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)."""
        policy = self.levels[-1].shape.compiled.template.metadata.on_failure
        return bool(policy == workflow_pb2.WorkflowMetadata.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)

    def children(self, scope: int) -> range:
        """Return the indices of the nodes of a scope, without those of the scopes inside it."""
        level = self.levels[scope]
        return range(level.first, level.first + len(level.shape.nodes))

    def failure_handler(self, scope: int) -> int | None:
        """Return the index of the node that handles the failure of a scope, if it has one."""
        return self.failure_handlers.get(scope)

    def start_node(self, scope: int) -> int:
        """Return the index of a workflow scope's start node."""
        return self.levels[scope].index_of[START_NODE]

    def end_node(self, scope: int) -> int:
        """Return the index of a workflow scope's end node; its bindings are the scope's outputs."""
        return self.levels[scope].index_of[END_NODE]

    def upstream_by_name(self, scope: int) -> Mapping[str, int]:
        """Return, by id, the nodes that bindings in a scope may refer to; inside a branch those around it."""
        return self.levels[self.levels[scope].workflow_scope].index_of

    def aliases_by_name(self, scope: int) -> Mapping[str, Mapping[str, str]]:
        """Return, by id of the nodes that rename outputs, variable names by alias."""
        return self.levels[scope].shape.aliases

    def output_bindings(self, scope: int) -> Sequence[literals_pb2.Binding]:
        """Return what feeds the outputs of a workflow scope."""
        return tuple(self.template[self.end_node(scope)].inputs)

    def interface(self, scope: int) -> interface_pb2.TypedInterface:
        """Return the interface of the workflow that runs in a workflow scope."""
        return self.levels[scope].shape.compiled.template.interface


def build_program(closure: compiler_pb2.CompiledWorkflowClosure) -> Program:
    """Return the program of a compiled closure; the messages in it are the closure's own.

    Raises UnsupportedError, naming workflow and node, for what cannot run.
    """
    levels, arrays = lay_out(closure)
    node_id: list[str] = []
    parent: list[int] = []
    template: list[workflow_pb2.Node] = []
    task: list[tasks_pb2.TaskTemplate | None] = []
    for level in levels:
        node_id.extend(node.id for node in level.shape.nodes)
        parent.extend([level.scope] * len(level.shape.nodes))
        template.extend(level.shape.nodes)
        task.extend(level.shape.tasks)
    return Program(
        workflow=entity_id(closure.primary.template.id),
        arrays=arrays,
        node_id=tuple(node_id),
        parent=tuple(parent),
        template=tuple(template),
        task=tuple(task),
        kind=arrays.kind,
        attempts_max=arrays.attempts_max,
        execution_timeout=arrays.execution_timeout,
        active_timeout=arrays.active_timeout,
        levels={level.scope: level for level in levels},
        arms={level.scope: level.index_of for level in levels if level.scope != level.workflow_scope},
        failure_handlers={parent[node]: node for node in np.flatnonzero(arrays.failure_handler).tolist()},
    )


def grow(program: Program, node: int, closure: compiler_pb2.CompiledWorkflowClosure) -> Program:
    """Return `program` with the workflow that the task `node` turned out to be appended; both stay as they are.

    The new nodes follow the old ones in the order of `build_program(closure)`, whose graph is the one to grow by in the
    core; what is top there is the scope `node` here, and `node` becomes DYNAMIC. If the node grew before, in an earlier
    attempt, all scopes of that growth are forgotten, but its nodes keep their indices and their parents. Raises
    UnknownNodeError if there is no such node, and what `build_program` raises.
    """
    if not 0 <= node < program.node_count:
        raise UnknownNodeError(f"no node {node} among {program.node_count}")
    grown, first = build_program(closure), program.node_count

    def moved(scope: int) -> int:
        return node if scope < 0 else scope + first

    kept = _scopes_outside(program, node)
    kind = program.kind.copy()
    kind[node] = NodeKind.DYNAMIC
    levels = {
        moved(scope): replace(
            level,
            scope=moved(scope),
            workflow_scope=moved(level.workflow_scope),
            first=level.first + first,
            index_of={name: index + first for name, index in level.index_of.items()},
        )
        for scope, level in grown.levels.items()
    }
    return replace(
        program,
        node_id=(*program.node_id, *grown.node_id),
        parent=(*program.parent, *map(moved, grown.parent)),
        template=(*program.template, *grown.template),
        task=(*program.task, *grown.task),
        kind=np.concatenate([kind, grown.kind]),
        attempts_max=np.concatenate([program.attempts_max, grown.attempts_max]),
        execution_timeout=np.concatenate([program.execution_timeout, grown.execution_timeout]),
        active_timeout=np.concatenate([program.active_timeout, grown.active_timeout]),
        levels={**{scope: program.levels[scope] for scope in kept}, **levels},
        arms={
            **{scope: arms for scope, arms in program.arms.items() if scope in kept},
            **{moved(scope): levels[moved(scope)].index_of for scope in grown.arms},
        },
        failure_handlers={
            **{scope: handler for scope, handler in program.failure_handlers.items() if scope in kept},
            **{moved(scope): handler + first for scope, handler in grown.failure_handlers.items()},
        },
    )


def _scopes_outside(program: Program, node: int) -> dict[int, None]:
    """Return the scopes that are not `node` nor inside it, in their order."""
    outside: dict[int, None] = {}
    for scope in program.levels:  # a scope comes after the one around it
        if scope != node and (scope < 0 or program.parent[scope] in outside):
            outside[scope] = None
    return outside
