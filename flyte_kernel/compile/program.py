"""A compiled closure in the form the engine runs: the core's graph and, by core index, what the core must not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyteidl.core import compiler_pb2, interface_pb2, literals_pb2, tasks_pb2, workflow_pb2

from flyte_kernel import Graph
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.layout import Level, lay_out
from flyte_kernel.compile.scope import END_NODE, START_NODE
from flyte_kernel.ids import EntityId

__all__ = ["Program", "build_program"]


@dataclass(frozen=True, eq=False)
class Program:
    """A graph with its tables; sequences are indexed by core node.

    A scope is the core index of the subworkflow node that opens it, -1 for the workflow itself. `node_id` is the id a
    node has in its own workflow, `parent` its scope, `template` its node message (bindings, metadata), `task` the
    template of a task node and None for all others.
    """

    workflow: EntityId
    graph: Graph
    node_id: Sequence[str]
    parent: Sequence[int]
    template: Sequence[workflow_pb2.Node]
    task: Sequence[tasks_pb2.TaskTemplate | None]
    levels: Mapping[int, Level]

    @property
    def fails_late(self) -> bool:
        """Whether the rest may run on after a failure (FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)."""
        policy = self.levels[-1].shape.compiled.template.metadata.on_failure
        return bool(policy == workflow_pb2.WorkflowMetadata.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)

    def children(self, scope: int) -> range:
        """Return the indices of the nodes of a scope, without those of the scopes inside it."""
        level = self.levels[scope]
        return range(level.first, level.first + len(level.shape.nodes))

    def start_node(self, scope: int) -> int:
        """Return the index of a scope's start node."""
        return self.levels[scope].index_of[START_NODE]

    def end_node(self, scope: int) -> int:
        """Return the index of a scope's end node; its bindings are the scope's outputs."""
        return self.levels[scope].index_of[END_NODE]

    def upstream_by_name(self, scope: int) -> Mapping[str, int]:
        """Return the indices of the nodes of a scope by their ids, for resolving bindings."""
        return self.levels[scope].index_of

    def aliases_by_name(self, scope: int) -> Mapping[str, Mapping[str, str]]:
        """Return, by id of the nodes that rename outputs, variable names by alias."""
        return self.levels[scope].shape.aliases

    def output_bindings(self, scope: int) -> Sequence[literals_pb2.Binding]:
        """Return what feeds the outputs of a scope."""
        return tuple(self.template[self.end_node(scope)].inputs)

    def interface(self, scope: int) -> interface_pb2.TypedInterface:
        """Return the interface of the workflow that runs in a scope."""
        return self.levels[scope].shape.compiled.template.interface


def build_program(closure: compiler_pb2.CompiledWorkflowClosure) -> Program:
    """Return the program of a compiled closure; the messages in it are the closure's own.

    Raises UnsupportedError for kinds of nodes that cannot run yet, naming workflow, node and kind.
    """
    levels, arrays = lay_out(closure)
    node_id: list[str] = []
    parent: list[int] = []
    template: list[workflow_pb2.Node] = []
    task: list[tasks_pb2.TaskTemplate | None] = []
    for level in levels:
        node_id.extend(level.index_of)
        parent.extend([level.scope] * len(level.shape.nodes))
        template.extend(level.shape.nodes)
        task.extend(level.shape.tasks)
    return Program(
        workflow=entity_id(closure.primary.template.id),
        graph=Graph.from_edges(**arrays._asdict()),
        node_id=tuple(node_id),
        parent=tuple(parent),
        template=tuple(template),
        task=tuple(task),
        levels={level.scope: level for level in levels},
    )
