"""One workflow while it is compiled: its nodes with their interfaces, and the edges found so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flyteidl.core import interface_pb2, tasks_pb2, workflow_pb2

from flyte_kernel.compile.findings import Findings
from flyte_kernel.ids import EntityId

__all__ = ["END_NODE", "START_NODE", "LaunchPlanInterface", "Scope", "ScopeNode", "World"]

START_NODE = "start-node"
END_NODE = "end-node"

LaunchPlanInterface = tuple[interface_pb2.ParameterMap, interface_pb2.VariableMap]


@dataclass(eq=False)
class ScopeNode:
    """A node and its interface, which is None until resolved and stays None if that failed.

    `children` are the then and else nodes of a branch, with their final ids.
    """

    proto: workflow_pb2.Node
    interface: interface_pb2.TypedInterface | None = None
    children: list[ScopeNode] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The id within the workflow."""
        return str(self.proto.id)

    def family(self) -> Iterator[ScopeNode]:
        """Yield the node and all nodes in its branches."""
        yield self
        for child in self.children:
            yield from child.family()


@dataclass(frozen=True)
class World:
    """What the workflows of one compilation may refer to."""

    tasks: Mapping[EntityId, tasks_pb2.TaskTemplate]
    launch_plans: Mapping[EntityId, LaunchPlanInterface]
    sub_workflows: Mapping[EntityId, workflow_pb2.WorkflowTemplate]


@dataclass(eq=False)
class Scope:
    """The nodes of one workflow by id, start-node and end-node among them, and its edges in both directions.

    Nodes inside branches are not in `nodes`: nothing may refer to them. `held` has the branches of this level by the
    nodes that something inside them waits for: no edges of the closure, but a branch cannot end before them.
    """

    template: workflow_pb2.WorkflowTemplate
    world: World
    findings: Findings
    nodes: dict[str, ScopeNode] = field(default_factory=dict)
    upstream: dict[str, set[str]] = field(default_factory=dict)
    downstream: dict[str, set[str]] = field(default_factory=dict)
    held: dict[str, set[str]] = field(default_factory=dict)

    def add_upstream(self, source: str, target: str) -> None:
        """Note that `target` waits for `source`."""
        self.upstream.setdefault(target, set()).add(source)

    def add_edge(self, source: str, target: str) -> None:
        """Note an edge between two nodes that run one after the other."""
        self.add_upstream(source, target)
        self.downstream.setdefault(source, set()).add(target)
