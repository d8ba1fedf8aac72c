"""Executions, nodes and attempts as the messages of FlyteIDL's admin service.

What is set and what is left out follows a running Flyte 1: clients decide by the presence of fields. Phases that only
the core knows (waiting for an attempt to be gone) are shown as RUNNING.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteidl.admin import common_pb2, execution_pb2, node_execution_pb2, signal_pb2, task_execution_pb2
from flyteidl.core import catalog_pb2, identifier_pb2, literals_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.event import event_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from flyte_kernel.compile.identifiers import entity_id, identifier
from flyte_kernel.engine import paths
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.element_messages import element_resources, set_cache_metadata
from flyte_kernel.engine.maps import LEGACY_TASK_TYPE
from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.ids import EntityId, ExecutionId, child_execution_name
from flyte_kernel.phases import TERMINAL_NODE_PHASES, AttemptPhase, NodeKind, NodePhase, RunPhase

__all__ = [
    "deck_uri",
    "dynamic_workflow",
    "execution_data",
    "execution_identifier",
    "execution_message",
    "find_node",
    "node_data",
    "node_identifier",
    "node_message",
    "node_rows",
    "shown_phase",
    "signal_message",
    "task_data",
    "task_message",
    "task_of",
]

_LISTED_ERROR_BYTES = 100
_SECOND_NS = 1_000_000_000
_PLUGIN = "container"
_MAP_PLUGIN = "k8s-array"
_LOG_NAME = "Task log"
_PARENTS = frozenset({NodeKind.SUBWORKFLOW, NodeKind.DYNAMIC})
_FINISHED = frozenset({NodePhase.SUCCEEDED, NodePhase.RECOVERED})
_BEFORE_DECKS = frozenset({NodePhase.UNDEFINED, NodePhase.QUEUED, NodePhase.SKIPPED})
_SHOWN_PHASE: Mapping[int, int] = {
    int(NodePhase.RETRYING): int(NodePhase.RUNNING),
    int(NodePhase.TIMING_OUT): int(NodePhase.RUNNING),
    int(NodePhase.ABORTING): int(NodePhase.RUNNING),
}
_ENDED_ATTEMPTS = frozenset({AttemptPhase.SUCCEEDED, AttemptPhase.FAILED, AttemptPhase.ABORTED})


def shown_phase(phase: int) -> int:
    """Return the phase that clients see of a node in a phase of the core."""
    return _SHOWN_PHASE.get(phase, phase)


def execution_identifier(id: ExecutionId) -> identifier_pb2.WorkflowExecutionIdentifier:
    """Return the identifier message of an execution."""
    return identifier_pb2.WorkflowExecutionIdentifier(project=id.project, domain=id.domain, name=id.name)


def node_identifier(id: ExecutionId, node_id: str) -> identifier_pb2.NodeExecutionIdentifier:
    """Return the identifier message of a node; `node_id` is unique within the execution."""
    return identifier_pb2.NodeExecutionIdentifier(node_id=node_id, execution_id=execution_identifier(id))


def execution_message(engine: Backend, record: ExecutionRecord, *, listed: bool = False) -> execution_pb2.Execution:
    """Return an execution; `listed` cuts its error down to what listings show."""
    message = execution_pb2.Execution(id=execution_identifier(record.id))
    message.spec.ParseFromString(record.spec)
    closure = message.closure
    closure.phase = record.phase  # type: ignore[assignment,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    closure.workflow_id.CopyFrom(identifier(record.workflow))
    _set_times(closure, record.created_at, record.started_at, record.updated_at, ended=record.is_terminal)
    changes = closure.state_change_details
    changes.state = execution_pb2.EXECUTION_ARCHIVED if record.archived else execution_pb2.EXECUTION_ACTIVE
    changes.occurred_at.CopyFrom(_timestamp(record.state_changed_at))
    if record.phase == RunPhase.SUCCEEDED:
        program = engine.program_of(record)
        if program.output_bindings(-1):
            # Attempt 0: the top level never starts over, and listed records may lack their node columns.
            closure.outputs.uri = f"{engine.data.output_prefix(record, program.end_node(-1), 0)}/outputs.pb"
    elif record.phase in (RunPhase.ABORTING, RunPhase.ABORTED):
        closure.abort_metadata.cause = record.abort_cause or ""
        closure.abort_metadata.principal = record.abort_principal
    elif record.error:
        _set_error(closure.error, record.error, listed=listed)
    return message


def node_rows(engine: Backend, record: ExecutionRecord, scope: int) -> list[int]:
    """Return the nodes of a scope (-1 is the top) that have started or been skipped, in the order of their ids."""
    program = engine.program_of(record)
    if scope not in program.levels:
        return []
    created_at = record.nodes.created_at
    return sorted(
        (node for node in program.children(scope) if created_at[node]), key=lambda node: program.node_id[node]
    )


def signal_message(record: ExecutionRecord, signal_id: str) -> signal_pb2.Signal:
    """Return a signal that gates of an execution wait or waited for."""
    signal = record.details.signals[signal_id]
    message = signal_pb2.Signal()
    message.id.signal_id = signal_id
    message.id.execution_id.CopyFrom(execution_identifier(record.id))
    message.type.ParseFromString(signal.type)
    if signal.value is not None:
        message.value.ParseFromString(signal.value)
    return message


def find_node(engine: Backend, record: ExecutionRecord, node_id: str) -> int | None:
    """Return the node of that unique id, None if there is none or it has not started."""
    program = engine.program_of(record)
    for scope in program.levels:
        if scope < 0 or record.nodes.created_at[scope]:
            node = engine.data.nodes_by_unique_id(record, scope).get(node_id)
            if node is not None:
                return node if record.nodes.created_at[node] else None
    return None


def node_message(
    engine: Backend, record: ExecutionRecord, node: int, *, listed: bool = False
) -> node_execution_pb2.NodeExecution:
    """Return one node of an execution; `listed` cuts its error down to what listings show."""
    program = engine.program_of(record)
    nodes, kind, parent = record.nodes, int(program.kind[node]), program.parent[node]
    message = node_execution_pb2.NodeExecution(id=node_identifier(record.id, engine.data.unique_id(record, node)))
    message.metadata.spec_node_id = program.node_id[node]
    # Only listings call a branch a parent: seen on a running Flyte.
    message.metadata.is_parent_node = kind in _PARENTS or (listed and kind == NodeKind.BRANCH)
    message.metadata.is_dynamic = kind == NodeKind.DYNAMIC
    message.metadata.is_array = kind == NodeKind.MAP
    if parent >= 0:
        message.metadata.retry_group = str(int(nodes.attempt[parent]))
    if kind != NodeKind.START:
        message.input_uri = f"{engine.data.data_prefix(record, node)}/inputs.pb"
    closure = message.closure
    phase = int(nodes.phase[node])
    closure.phase = shown_phase(phase)  # type: ignore[assignment,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    started_at = int(nodes.started_at[node]) if kind not in (NodeKind.START, NodeKind.END) else 0
    _set_times(
        closure,
        int(nodes.created_at[node]),
        started_at,
        int(nodes.updated_at[node]),
        ended=phase in TERMINAL_NODE_PHASES,
    )
    if phase in _FINISHED and _shows_outputs(engine, record, node, kind):
        closure.output_uri = f"{engine.data.output_prefix(record, node)}/outputs.pb"
    elif node in nodes.error and phase in TERMINAL_NODE_PHASES:
        _set_error(closure.error, nodes.error[node], listed=listed)
    closure.deck_uri = deck_uri(engine, record, node)
    set_cache_metadata(closure.task_node_metadata, record, node)
    if kind == NodeKind.TASK and closure.task_node_metadata.cache_status != catalog_pb2.CACHE_HIT:
        raw = _raw_output_prefix(engine, record, node)
        closure.task_node_metadata.checkpoint_uri = paths.checkpoint_prefix(raw)
    elif kind == NodeKind.DYNAMIC:
        closure.task_node_metadata.SetInParent()
        closure.dynamic_job_spec_uri = _dynamic_job_spec_uri(engine, record, node)
    elif kind == NodeKind.CHILD_RUN and nodes.started_at[node]:
        name = child_execution_name(record.id.name, engine.data.unique_id(record, node), int(nodes.attempt[node]))
        child = execution_identifier(record.id._replace(name=name))
        closure.workflow_node_metadata.executionId.CopyFrom(child)
    return message


def deck_uri(engine: Backend, record: ExecutionRecord, node: int) -> str:
    """Return where the page is that a task draws, empty if it draws none or has ended without one."""
    phase = int(record.nodes.phase[node])
    uri = engine.data.deck_uri(record, node)
    if not uri or phase in _BEFORE_DECKS:
        return ""
    return uri if phase not in TERMINAL_NODE_PHASES or engine.blobs.exists(uri) else ""


def _dynamic_job_spec_uri(engine: Backend, record: ExecutionRecord, node: int) -> str:
    return f"{engine.data.output_prefix(record, node)}/futures.pb"


def dynamic_workflow(
    engine: Backend, record: ExecutionRecord, node: int
) -> node_execution_pb2.DynamicWorkflowNodeMetadata | None:
    """Return the workflow that a dynamic task put out, None if it put out none."""
    closure = next((growth.closure for growth in reversed(record.details.growths) if growth.node == node), None)
    if closure is None:
        return None
    message = node_execution_pb2.DynamicWorkflowNodeMetadata(
        dynamic_job_spec_uri=_dynamic_job_spec_uri(engine, record, node)
    )
    message.compiled_workflow.ParseFromString(closure)
    message.id.CopyFrom(message.compiled_workflow.primary.template.id)
    return message


def _shows_outputs(engine: Backend, record: ExecutionRecord, node: int, kind: int) -> bool:
    program = engine.program_of(record)
    if kind == NodeKind.SUBWORKFLOW:
        return bool(program.output_bindings(node))
    if kind == NodeKind.GATE:
        return bool(program.template[node].gate_node.WhichOneof("condition") != "sleep")
    return kind != NodeKind.END


def _raw_output_prefix(engine: Backend, record: ExecutionRecord, node: int) -> str:
    spec = execution_pb2.ExecutionSpec.FromString(record.spec)
    base = spec.raw_output_data_config.output_location_prefix or f"{engine.blobs.base_uri}/data"
    name = engine.data.generated_name(record, node, int(record.nodes.attempt[node]))
    return paths.raw_output_prefix(base, name)


def task_of(engine: Backend, record: ExecutionRecord, node: int) -> EntityId | None:
    """Return the task that a node runs, None if it runs none."""
    task = engine.program_of(record).task[node]
    return None if task is None else entity_id(task.id)


def task_message(engine: Backend, record: ExecutionRecord, row: int) -> task_execution_pb2.TaskExecution:
    """Return one attempt at a task node; `row` is its row in the record's attempts."""
    attempts = record.attempts
    node, attempt, phase = attempts.node[row], attempts.attempt[row], attempts.phase[row]
    task = engine.program_of(record).task[node]
    message = task_execution_pb2.TaskExecution(input_uri=f"{engine.data.data_prefix(record, node)}/inputs.pb")
    message.id.node_execution_id.CopyFrom(node_identifier(record.id, engine.data.unique_id(record, node)))
    message.id.retry_attempt = attempt
    closure = message.closure
    if task is not None:
        message.id.task_id.CopyFrom(task.id)
        closure.task_type = task.type
    closure.phase = phase  # type: ignore[assignment,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    closure.event_version = 1
    _set_times(
        closure,
        attempts.created_at[row],
        attempts.started_at[row],
        attempts.updated_at[row],
        ended=phase in _ENDED_ATTEMPTS,
    )
    if phase == AttemptPhase.SUCCEEDED:
        gathered_at = None if node in record.details.maps else attempt
        closure.output_uri = f"{engine.data.output_prefix(record, node, gathered_at)}/outputs.pb"
    elif attempts.error[row]:
        closure.error.ParseFromString(attempts.error[row])
    _set_reasons(closure, record, row)
    closure.metadata.CopyFrom(
        event_pb2.TaskExecutionMetadata(
            generated_name=engine.data.generated_name(record, node, attempt), plugin_identifier=_PLUGIN
        )
    )
    if node in record.details.maps:
        closure.task_type = LEGACY_TASK_TYPE
        closure.metadata.plugin_identifier = _MAP_PLUGIN
        closure.metadata.external_resources.extend(element_resources(engine, record, node))
    if attempts.log_uri[row]:
        closure.logs.add(name=_LOG_NAME, uri=attempts.log_uri[row], message_format=core_execution_pb2.TaskLog.JSON)
    return message


def _set_reasons(closure: task_execution_pb2.TaskExecutionClosure, record: ExecutionRecord, row: int) -> None:
    attempts = record.attempts
    happened = [(attempts.created_at[row], "task submitted"), (attempts.started_at[row], "task started")]
    if attempts.phase[row] == AttemptPhase.ABORTED:
        happened.append((attempts.updated_at[row], "task aborted"))
    for when, text in happened:
        if when:
            closure.reasons.add(message=text).occurred_at.CopyFrom(_timestamp(when))
            closure.reason = text


def execution_data(engine: Backend, record: ExecutionRecord) -> execution_pb2.WorkflowExecutionGetDataResponse:
    """Return the resolved inputs of an execution and its outputs, as far as there are any."""
    message = execution_pb2.WorkflowExecutionGetDataResponse()
    outputs = b""
    if record.phase == RunPhase.SUCCEEDED and engine.program_of(record).output_bindings(-1):
        outputs = engine.data.execution_outputs(record)
    _set_data(message, record.inputs, outputs)
    return message


def node_data(engine: Backend, record: ExecutionRecord, node: int) -> node_execution_pb2.NodeExecutionGetDataResponse:
    """Return inputs and outputs of a node; a start node has no inputs of its own and an end node no outputs."""
    message = node_execution_pb2.NodeExecutionGetDataResponse()
    kind = int(engine.program_of(record).kind[node])
    succeeded = int(record.nodes.phase[node]) in _FINISHED
    outputs = engine.data.node_outputs(record, node) if succeeded and kind != NodeKind.END else b""
    _set_data(message, engine.data.node_inputs(record, node), outputs)
    unique_id = engine.data.unique_id(record, node)
    message.flyte_urls.CopyFrom(_flyte_urls(record.id, unique_id))
    if deck_uri(engine, record, node):
        id = record.id
        message.flyte_urls.deck = f"flyte://v1/{id.project}/{id.domain}/{id.name}/{unique_id}/d"
    dynamic = dynamic_workflow(engine, record, node)
    if dynamic is not None:
        message.dynamic_workflow.CopyFrom(dynamic)
    return message


def task_data(engine: Backend, record: ExecutionRecord, row: int) -> task_execution_pb2.TaskExecutionGetDataResponse:
    """Return inputs and outputs of an attempt."""
    message = task_execution_pb2.TaskExecutionGetDataResponse()
    node, attempt = record.attempts.node[row], record.attempts.attempt[row]
    outputs = b""
    if record.attempts.phase[row] == AttemptPhase.SUCCEEDED:
        try:
            gathered_at = None if node in record.details.maps else attempt
            outputs = engine.blobs.read(f"{engine.data.output_prefix(record, node, gathered_at)}/outputs.pb")
        except BlobNotFoundError:
            outputs = b""
    _set_data(message, engine.data.node_inputs(record, node), outputs)
    unique_id = engine.data.unique_id(record, node)
    message.flyte_urls.CopyFrom(_flyte_urls(record.id, f"{unique_id}/{attempt}"))
    return message


def _flyte_urls(id: ExecutionId, tail: str) -> common_pb2.FlyteURLs:
    base = f"flyte://v1/{id.project}/{id.domain}/{id.name}/{tail}"
    return common_pb2.FlyteURLs(inputs=f"{base}/i", outputs=f"{base}/o")


def _set_data(
    message: execution_pb2.WorkflowExecutionGetDataResponse
    | node_execution_pb2.NodeExecutionGetDataResponse
    | task_execution_pb2.TaskExecutionGetDataResponse,
    inputs: bytes,
    outputs: bytes,
) -> None:
    for empty in (message.inputs, message.outputs):
        empty.SetInParent()
    for target, data in ((message.full_inputs, inputs), (message.full_outputs, outputs)):
        target.SetInParent()
        target.CopyFrom(_literals(data))


def _literals(data: bytes) -> literals_pb2.LiteralMap:
    """Tasks write their outputs themselves: what cannot be read shows as nothing."""
    try:
        return literals_pb2.LiteralMap.FromString(data)
    except DecodeError:
        return literals_pb2.LiteralMap()


def _set_times(
    closure: execution_pb2.ExecutionClosure
    | node_execution_pb2.NodeExecutionClosure
    | task_execution_pb2.TaskExecutionClosure,
    created_at: int,
    started_at: int,
    updated_at: int,
    *,
    ended: bool,
) -> None:
    closure.created_at.CopyFrom(_timestamp(created_at))
    closure.updated_at.CopyFrom(_timestamp(updated_at))
    if started_at:
        closure.started_at.CopyFrom(_timestamp(started_at))
        if ended:
            seconds, nanos = divmod(max(0, updated_at - started_at), _SECOND_NS)
            closure.duration.CopyFrom(Duration(seconds=seconds, nanos=nanos))


def _timestamp(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, _SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def _set_error(target: core_execution_pb2.ExecutionError, error: bytes, *, listed: bool) -> None:
    target.ParseFromString(error)
    if listed:
        target.message = target.message.encode()[:_LISTED_ERROR_BYTES].decode(errors="ignore")
