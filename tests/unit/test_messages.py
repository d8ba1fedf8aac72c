"""Executions, nodes and attempts as clients see them: which fields are set in which phase, and to what."""

from __future__ import annotations

import pytest
from flyteidl.core import execution_pb2, literals_pb2

from flyte_kernel.engine import messages, registration, submission
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.phases import AttemptPhase, NodePhase, RunPhase
from tests.support import flows
from tests.support.fake_engine import SECOND, FakeEngine

PREFIX = "s3://flyte/metadata/propeller/flytesnacks-development-ex"
EPOCH = 1_700_000_000
NodeExecution = execution_pb2.NodeExecution


def start(request_of_workflow: object = None, plan: str = "facts.wf") -> tuple[FakeEngine, ExecutionRecord]:
    """An execution named ex of a fresh engine."""
    engine = FakeEngine()
    registration.register_task(engine, flows.task_request())
    registration.register_workflow(engine, request_of_workflow or flows.workflow_request())  # type: ignore[arg-type]
    registration.register_launch_plan(engine, flows.plan_request(plan, plan))
    id = submission.create_execution(engine, flows.execution_request("ex", plan, a=flows.integer(3)))
    return engine, engine.state.executions[id]


def node_of(engine: FakeEngine, record: ExecutionRecord, *path: str) -> int:
    """The index of a node by the ids that lead to it."""
    scope = -1
    for node_id in path:
        scope = engine.program(record.workflow).upstream_by_name(scope)[node_id]
    return scope


def error(message: str = "boom", code: str = "USER:Error") -> bytes:
    kind = execution_pb2.ExecutionError.USER
    return execution_pb2.ExecutionError(code=code, message=message, kind=kind).SerializeToString()


def test_a_finished_execution_has_duration_and_outputs() -> None:
    engine, record = start()
    engine.clock.advance(2 * SECOND + 5)
    engine.finish(record, RunPhase.SUCCEEDED)
    closure = messages.execution_message(engine, record).closure
    assert closure.outputs.uri == f"{PREFIX}/end-node/data/0/outputs.pb"
    assert (closure.duration.seconds, closure.duration.nanos) == (2, 5)
    assert (closure.created_at.seconds, closure.updated_at.seconds) == (EPOCH, EPOCH + 2)
    assert closure.workflow_id.name == "facts.wf"
    assert closure.state_change_details.occurred_at.seconds == EPOCH


def test_a_workflow_without_outputs_shows_none() -> None:
    request = flows.workflow_request("facts.quiet")
    request.spec.template.interface.outputs.Clear()
    del request.spec.template.outputs[:]
    engine, record = start(request, "facts.quiet")
    engine.finish(record, RunPhase.SUCCEEDED)
    assert messages.execution_message(engine, record).closure.WhichOneof("output_result") is None
    assert messages.execution_data(engine, record).HasField("full_outputs")


def test_a_run_that_never_started_has_no_duration() -> None:
    engine, record = start()
    record.started_at = 0
    record.error = error()
    engine.finish(record, RunPhase.FAILED)
    closure = messages.execution_message(engine, record).closure
    assert (closure.HasField("started_at"), closure.HasField("duration")) == (False, False)
    assert closure.error.code == "USER:Error"


def test_aborting_shows_the_cause_and_no_error() -> None:
    engine, record = start()
    record.abort_cause, record.error = "enough", error()
    for phase in (RunPhase.ABORTING, RunPhase.ABORTED):
        record.phase = int(phase)
        closure = messages.execution_message(engine, record).closure
        assert (closure.phase, closure.abort_metadata.cause) == (phase, "enough")
        assert closure.WhichOneof("output_result") == "abort_metadata"
        assert closure.HasField("duration") == (phase is RunPhase.ABORTED)


@pytest.mark.parametrize(("text", "cut"), [("x" * 150, "x" * 100), ("x" * 99 + "ß", "x" * 99), ("short", "short")])
def test_errors_are_cut_to_100_bytes_in_lists_only(text: str, cut: str) -> None:
    engine, record = start()
    record.error = error(text)
    record.phase = int(RunPhase.FAILED)
    node = node_of(engine, record, "n0")
    record.nodes.error[node] = error(text)
    engine.set_node(record, node, NodePhase.FAILED)
    assert messages.execution_message(engine, record).closure.error.message == text
    assert messages.execution_message(engine, record, listed=True).closure.error.message == cut
    assert messages.node_message(engine, record, node).closure.error.message == text
    assert messages.node_message(engine, record, node, listed=True).closure.error.message == cut


def test_nodes_that_have_not_started_have_no_row() -> None:
    engine, record = start()
    assert messages.node_rows(engine, record, -1) == []
    assert messages.find_node(engine, record, "n0") is None
    for node_id in ("n1", "start-node", "n0"):
        engine.set_node(record, node_of(engine, record, node_id), NodePhase.SUCCEEDED)
    rows = [messages.node_message(engine, record, node) for node in messages.node_rows(engine, record, -1)]
    assert [row.id.node_id for row in rows] == ["n0", "n1", "start-node"]
    assert messages.find_node(engine, record, "n0") == node_of(engine, record, "n0")
    assert messages.find_node(engine, record, "end-node") is None
    assert messages.find_node(engine, record, "n7") is None


def test_a_start_node_has_outputs_only_and_an_end_node_inputs_only() -> None:
    engine, record = start()
    first, last = node_of(engine, record, "start-node"), node_of(engine, record, "end-node")
    for node in (first, last):
        engine.set_node(record, node, NodePhase.SUCCEEDED)
    opened = messages.node_message(engine, record, first)
    assert (opened.input_uri, opened.closure.output_uri) == ("", f"{PREFIX}/start-node/data/0/outputs.pb")
    assert opened.metadata.spec_node_id == "start-node"
    ended = messages.node_message(engine, record, last)
    assert (ended.input_uri, ended.closure.output_uri) == (f"{PREFIX}/end-node/data/inputs.pb", "")
    for row in (opened, ended):
        closure = row.closure
        assert not any(closure.HasField(name) for name in ("started_at", "duration", "task_node_metadata", "error"))
        assert closure.phase == NodeExecution.SUCCEEDED


def test_a_task_node_shows_its_folders() -> None:
    engine, record = start()
    node = node_of(engine, record, "n0")
    engine.set_node(record, node, NodePhase.QUEUED, started=False)
    row = messages.node_message(engine, record, node)
    assert (row.input_uri, row.closure.output_uri) == (f"{PREFIX}/n0/data/inputs.pb", "")
    assert row.closure.task_node_metadata.checkpoint_uri.startswith("s3://flyte/data/")
    assert row.closure.task_node_metadata.checkpoint_uri.endswith("/ex-n0-0/_flytecheckpoints")
    assert not row.closure.HasField("started_at")
    engine.clock.advance(SECOND)
    engine.set_node(record, node, NodePhase.RUNNING, attempt=1)
    engine.clock.advance(SECOND)
    engine.set_node(record, node, NodePhase.SUCCEEDED, attempt=1)
    row = messages.node_message(engine, record, node)
    assert row.closure.output_uri == f"{PREFIX}/n0/data/1/outputs.pb"
    assert (row.closure.duration.seconds, row.closure.started_at.seconds) == (1, EPOCH + 1)
    assert row.closure.task_node_metadata.checkpoint_uri.endswith("/ex-n0-1/_flytecheckpoints")
    assert row.metadata.retry_group == ""
    assert not row.metadata.is_parent_node


@pytest.mark.parametrize("phase", [NodePhase.RETRYING, NodePhase.TIMING_OUT, NodePhase.ABORTING])
def test_phases_of_the_core_alone_show_as_running(phase: NodePhase) -> None:
    engine, record = start()
    node = node_of(engine, record, "n0")
    record.nodes.error[node] = error()
    engine.set_node(record, node, phase)
    closure = messages.node_message(engine, record, node).closure
    assert closure.phase == NodeExecution.RUNNING
    assert not closure.HasField("duration")
    assert not closure.HasField("error")


def test_children_of_a_subworkflow_are_named_after_its_attempt() -> None:
    engine, record = start(flows.nested_request(), "facts.outer")
    scope, child = node_of(engine, record, "n0"), node_of(engine, record, "n0", "n0")
    engine.set_node(record, scope, NodePhase.RUNNING, attempt=2)
    engine.set_node(record, child, NodePhase.SUCCEEDED)
    parent = messages.node_message(engine, record, scope)
    assert parent.metadata.is_parent_node
    assert not parent.closure.HasField("task_node_metadata")
    assert messages.node_rows(engine, record, -1) == [scope]
    assert messages.node_rows(engine, record, scope) == [child]
    assert messages.node_rows(engine, record, child) == []
    row = messages.node_message(engine, record, child)
    assert row.id.node_id == "n0-2-n0"
    assert (row.metadata.retry_group, row.metadata.spec_node_id) == ("2", "n0")
    assert row.input_uri == f"{PREFIX}/n0/data/2/n0/inputs.pb"
    assert messages.find_node(engine, record, "n0-2-n0") == child
    assert messages.find_node(engine, record, "n0-0-n0") is None


def test_an_attempt_shows_task_reasons_and_log() -> None:
    engine, record = start()
    node = node_of(engine, record, "n0")
    engine.set_node(record, node, NodePhase.RUNNING)
    attempts = record.attempts
    attempts.launch(node, 0, engine.clock())
    row = attempts.row_of[node, 0]
    engine.clock.advance(SECOND)
    attempts.started_at[row] = engine.clock()
    engine.clock.advance(SECOND)
    attempts.phase[row], attempts.updated_at[row] = int(AttemptPhase.FAILED), engine.clock()
    attempts.error[row], attempts.log_uri[row] = error("e" * 200), "file:///logs/ex-n0-0"
    message = messages.task_message(engine, record, row)
    assert message.id.task_id.name == "facts.inc"
    assert (message.id.node_execution_id.node_id, message.id.retry_attempt) == ("n0", 0)
    assert message.input_uri == f"{PREFIX}/n0/data/inputs.pb"
    closure = message.closure
    assert (closure.phase, closure.task_type, closure.event_version) == (
        execution_pb2.TaskExecution.FAILED,
        "python-task",
        1,
    )
    assert (closure.metadata.generated_name, closure.metadata.plugin_identifier) == ("ex-n0-0", "container")
    assert len(closure.error.message) == 200
    assert (closure.logs[0].uri, closure.logs[0].message_format) == (
        "file:///logs/ex-n0-0",
        execution_pb2.TaskLog.JSON,
    )
    assert [(reason.message, reason.occurred_at.seconds) for reason in closure.reasons] == [
        ("task submitted", EPOCH),
        ("task started", EPOCH + 1),
    ]
    assert (closure.reason, closure.duration.seconds) == ("task started", 1)


def test_data_is_read_where_it_lies() -> None:
    engine, record = start()
    node = node_of(engine, record, "n0")
    engine.set_node(record, node, NodePhase.SUCCEEDED, attempt=1)
    for attempt, phase in enumerate((AttemptPhase.FAILED, AttemptPhase.SUCCEEDED)):
        record.attempts.launch(node, attempt, engine.clock())
        record.attempts.phase[record.attempts.row_of[node, attempt]] = int(phase)
    inputs, outputs = flows.literal_map(x=flows.integer(3)), flows.literal_map(o0=flows.integer(4))
    engine.blobs.write(f"{PREFIX}/n0/data/inputs.pb", inputs.SerializeToString())
    engine.blobs.write(f"{PREFIX}/n0/data/1/outputs.pb", outputs.SerializeToString())
    data = messages.node_data(engine, record, node)
    assert (data.full_inputs, data.full_outputs) == (inputs, outputs)
    assert data.HasField("inputs")
    assert data.HasField("outputs")
    assert not data.inputs.url
    assert data.flyte_urls.outputs == "flyte://v1/flytesnacks/development/ex/n0/o"
    failed, succeeded = (messages.task_data(engine, record, row) for row in (0, 1))
    assert failed.HasField("full_outputs")
    assert failed.full_outputs == literals_pb2.LiteralMap()
    assert (succeeded.full_inputs, succeeded.full_outputs) == (inputs, outputs)
    assert succeeded.flyte_urls.inputs == "flyte://v1/flytesnacks/development/ex/n0/1/i"


def test_an_executions_data_has_resolved_inputs_and_outputs_once_it_succeeded() -> None:
    engine, record = start()
    outputs = flows.literal_map(o0=flows.integer(5))
    engine.blobs.write(f"{PREFIX}/end-node/data/0/outputs.pb", outputs.SerializeToString())
    running = messages.execution_data(engine, record)
    assert running.full_inputs == flows.literal_map(a=flows.integer(3))
    assert running.HasField("full_outputs")
    assert not running.full_outputs.literals
    engine.finish(record, RunPhase.SUCCEEDED)
    assert messages.execution_data(engine, record).full_outputs == outputs


def test_outputs_that_are_no_message_show_as_nothing() -> None:
    engine, record = start()
    node = node_of(engine, record, "n0")
    engine.set_node(record, node, NodePhase.SUCCEEDED)
    engine.blobs.write(f"{PREFIX}/n0/data/0/outputs.pb", b"\xff\xff\xff")
    assert not messages.node_data(engine, record, node).full_outputs.literals
