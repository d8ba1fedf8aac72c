"""Opening map nodes and gathering what their elements have put out."""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.core import literals_pb2

from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.elements import ElementColumns
from flyte_kernel.engine.maps import gathered, measure
from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.turns import Event
from flyte_kernel.errors import AdapterError, InternalError
from flyte_kernel.ids import AttemptKey
from flyte_kernel.phases import EventKind, NodePhase

__all__ = ["Maps"]

_GOOD = frozenset({NodePhase.SUCCEEDED, NodePhase.RECOVERED})


class Maps:
    """What is done for a map node as a whole; used from worker threads."""

    def __init__(
        self,
        *,
        data: NodeData,
        programs: Programs,
        settings: Settings,
        elements: Callable[[ExecutionRecord, int], ElementColumns],
    ) -> None:
        self._data = data
        self._programs = programs
        self._settings = settings
        self._elements = elements

    def open(self, record: ExecutionRecord, key: AttemptKey) -> Event:
        """Return the event that opens a map whose inputs are stored; MapError if they do not make one."""
        program = self._programs.of_record(record)
        task = program.task[key.node]
        if task is None:
            raise InternalError(f"map {program.node_id[key.node]} has no task")
        shape = measure(program.template[key.node], task, self._data.map_inputs(record, key.node))
        argument = shape.size | shape.min_successes << 32
        kind = int(EventKind.MAP_OPENED)
        return Event(kind, key.run, key.node, key.attempt, element=shape.parallelism, argument=argument)

    def gather(self, record: ExecutionRecord, key: AttemptKey) -> None:
        """Store the outputs of a map all of whose elements have ended."""
        task = self._programs.of_record(record).task[key.node]
        columns = self._elements(record, key.node)
        phases, attempts = columns.phase.tolist(), columns.attempt.tolist()

        def outputs_of(element: int) -> literals_pb2.LiteralMap | None:
            if phases[element] not in _GOOD:
                return None
            attempt = AttemptKey(key.run, key.node, attempts[element], element)
            try:
                return literals_pb2.LiteralMap.FromString(self._data.element_outputs(record, attempt))
            except BlobNotFoundError as error:
                raise AdapterError(f"the outputs of element {element} are gone: {error}", retryable=True) from error

        names = sorted(task.interface.outputs.variables) if task is not None else []
        collections = gathered(names, len(phases), outputs_of)
        self._data.write_map_outputs(record, key, collections, self._settings.offloaded_bytes_min)
