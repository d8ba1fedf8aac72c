"""The runnable shape of every registered workflow, made once and kept."""

from __future__ import annotations

from flyteidl.admin import workflow_pb2

from flyte_kernel.compile.program import Program, build_program
from flyte_kernel.engine.state import Registry
from flyte_kernel.errors import InternalError
from flyte_kernel.ids import EntityId

__all__ = ["Programs"]


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
