"""The runnable shape of every registered workflow, made once and kept, and of the runs that grew at run time."""

from __future__ import annotations

from collections import OrderedDict

from flyteidl.admin import workflow_pb2
from flyteidl.core import compiler_pb2

from flyte_kernel.compile.program import Program, build_program, grow
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import Registry
from flyte_kernel.errors import InternalError
from flyte_kernel.ids import EntityId

__all__ = ["Programs"]

_GROWN_MAX = 1024  # programs of grown runs that are kept; others are made again when somebody asks


class Programs:
    """Programs of registered workflows by id, and of runs."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._programs: dict[EntityId, Program] = {}
        self._grown: OrderedDict[int, tuple[int, Program]] = OrderedDict()

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

    def of_record(self, record: ExecutionRecord) -> Program:
        """Return the program of a run, with the nodes it grew; its indices are the core's."""
        growths = record.details.growths
        if not growths:
            return self.of(record.workflow)
        count, program = self._grown.get(record.run) or (0, self.of(record.workflow))
        if count == len(growths):
            return program
        for growth in growths[count:]:
            program = grow(program, growth.node, compiler_pb2.CompiledWorkflowClosure.FromString(growth.closure))
        self._grown[record.run] = (len(growths), program)
        while len(self._grown) > _GROWN_MAX:
            self._grown.popitem(last=False)
        return program
