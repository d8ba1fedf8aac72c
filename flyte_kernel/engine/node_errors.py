"""What is said of a node, scope or run that failed, put together from what failed in it, as the reference says it."""

from __future__ import annotations

import numpy as np
from flyteidl.core import execution_pb2

from flyte_kernel import Kernel
from flyte_kernel.engine import outcomes
from flyte_kernel.engine.details import MapDetails
from flyte_kernel.engine.maps import collected_error
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.phases import FailureClass, NodePhase, RunPhase

__all__ = ["SYSTEM_ATTEMPTS_EXTRA", "TOP", "NodeErrors", "abort_error"]

# How often the platform's own failures are forgiven beside the user's budget (the reference engine's default).
SYSTEM_ATTEMPTS_EXTRA = 3
TOP = -1  # the scope that is the workflow itself


class NodeErrors:
    """Reads core and records, changes neither; errors are serialised ExecutionErrors, empty if there is none."""

    def __init__(self, kernel: Kernel, programs: Programs) -> None:
        self._kernel = kernel
        self._programs = programs

    def reported(self, record: ExecutionRecord, node: int, failure_class: int, error: bytes) -> bytes:
        """Return the error of a node whose last attempt told one, with the budget that it used up."""
        if failure_class == FailureClass.PERMANENT:
            return error
        _, user_failures, system_failures = self._kernel.counters(record.run, node)
        if failure_class == FailureClass.SYSTEM_RECOVERABLE:
            current, maximum = system_failures, SYSTEM_ATTEMPTS_EXTRA
        else:
            current, maximum = user_failures, self._attempts_max(record, node)
        message = execution_pb2.ExecutionError.FromString(error)
        return bytes(outcomes.exhausted(message, current, maximum).SerializeToString())

    def of_timeout(self, record: ExecutionRecord, node: int) -> bytes:
        """Return the error of a node that is stopped for good by its execution timeout."""
        _, user_failures, _ = self._kernel.counters(record.run, node)
        late = self._execution_timeout(record, node)
        return bytes(outcomes.exhausted(late, user_failures, self._attempts_max(record, node)).SerializeToString())

    def of_late_element(self, record: ExecutionRecord, node: int) -> bytes:
        """Return the same for an element of a map, which says nothing of budgets yet."""
        return bytes(self._execution_timeout(record, node).SerializeToString())

    def of_elements(self, record: ExecutionRecord, node: int) -> bytes:
        """Return the error of a map out of those of its elements."""
        phases = self._kernel.element_phases(record.run, node)
        attempts_max = self._attempts_max(record, node)
        details = record.details.maps[node]
        failed = np.flatnonzero((phases == NodePhase.FAILED) | (phases == NodePhase.TIMED_OUT)).tolist()
        messages = ((element, _element_message(details, element, attempts_max)) for element in failed)
        return bytes(collected_error(messages).SerializeToString())

    def below(self, record: ExecutionRecord, scope: int) -> bytes:
        """Return the error of the last failed node directly in a scope, as the reference reports it."""
        program = self._programs.of_record(record)
        if scope not in program.levels:
            return b""
        handler = program.failure_handler(scope)
        for node in reversed(program.children(scope)):
            phase = NodePhase.UNDEFINED if node == handler else record.nodes.phase[node]
            if phase == NodePhase.FAILED and node in record.nodes.error:
                return record.nodes.error[node]
            if phase == NodePhase.TIMED_OUT:
                return bytes(outcomes.node_timeout_error().SerializeToString())
        return b""

    def of_handler(self, record: ExecutionRecord, scope: int) -> bytes:
        """Return how the failure node of a scope itself failed, which hides what it was to handle."""
        handler = self._programs.of_record(record).failure_handler(scope)
        phase = NodePhase.UNDEFINED if handler is None else record.nodes.phase[handler]
        if handler is not None and phase == NodePhase.FAILED:
            return record.nodes.error.get(handler, b"")
        if phase == NodePhase.TIMED_OUT:
            return bytes(outcomes.handler_timeout_error().SerializeToString())
        return b""

    def _attempts_max(self, record: ExecutionRecord, node: int) -> int:
        return int(self._programs.of_record(record).attempts_max[node])

    def _execution_timeout(self, record: ExecutionRecord, node: int) -> execution_pb2.ExecutionError:
        timeout_ns = int(self._programs.of_record(record).execution_timeout[node])
        return outcomes.execution_timeout_error(timeout_ns)


def abort_error(record: ExecutionRecord) -> bytes:
    """Return the error of a node that was stopped for the sake of its run."""
    is_whole = record.phase in (RunPhase.ABORTING, RunPhase.ABORTED)
    reason = "Workflow aborted." if is_whole else "Some node execution failed, auto-abort."
    return bytes(outcomes.aborted_error(reason).SerializeToString())


def _element_message(details: MapDetails, element: int, attempts_max: int) -> str:
    if element not in details.errors:
        return "the element did not succeed in time"
    failure_class, data = details.errors[element]
    error = execution_pb2.ExecutionError.FromString(data)
    if failure_class == FailureClass.PERMANENT:
        return str(error.message)
    is_users = failure_class == FailureClass.USER_RECOVERABLE
    maximum = attempts_max if is_users else SYSTEM_ATTEMPTS_EXTRA
    return str(outcomes.exhausted(error, maximum, maximum).message)
