"""The runnable shape of every registered workflow, made once and kept."""

from __future__ import annotations

from flyteidl.admin import workflow_pb2

from flyte_kernel.compile.program import Program, build_program
from flyte_kernel.engine.state import Registry
from flyte_kernel.errors import InternalError, UnsupportedError
from flyte_kernel.ids import EntityId
from flyte_kernel.phases import NodeKind

__all__ = ["Programs", "require_runnable"]

_WORDS = {
    NodeKind.BRANCH: "a branch node",
    NodeKind.MAP: "an array node",
    NodeKind.GATE: "a gate node",
    NodeKind.CHILD_RUN: "a launch plan node",
}


def require_runnable(program: Program) -> None:
    """Raise UnsupportedError, naming workflow, node and kind, for what the engine cannot run yet."""
    handlers = frozenset(program.failure_handlers.values())
    for node, kind in enumerate(program.kind.tolist()):
        what = "a failure node" if node in handlers else _WORDS.get(NodeKind(kind))
        if what is not None:
            workflow = program.levels[program.parent[node]].shape.compiled.template.id.name
            text = f"workflow {workflow}: node {program.node_id[node]} is {what}, which cannot be run yet"
            raise UnsupportedError(text)


class Programs:
    """Programs of registered workflows by id."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._programs: dict[EntityId, Program] = {}

    def of(self, workflow: EntityId) -> Program:
        """Return the program of a registered workflow; InternalError if there is none, since registration checks it."""
        program = self._programs.get(workflow)
        if program is None:
            entity = self._registry.workflows.get(workflow)
            if entity is None:
                raise InternalError(f"no workflow {workflow}")
            closure = workflow_pb2.WorkflowClosure.FromString(entity.closure).compiled_workflow
            program = self._programs[workflow] = build_program(closure)
        return program
