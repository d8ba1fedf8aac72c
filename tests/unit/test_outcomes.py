"""What the end of an attempt means, and the texts of the engine's own errors."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from flyteidl.core import errors_pb2, execution_pb2
from google.protobuf import timestamp_pb2

from flyte_kernel.engine.outcomes import (
    Outcome,
    aborted_error,
    classify,
    execution_timeout_error,
    exhausted,
    node_timeout_error,
)
from flyte_kernel.engine.ports import AttemptReport, ReportKind
from flyte_kernel.errors import AdapterError, InternalError
from flyte_kernel.ids import AttemptKey
from flyte_kernel.phases import FailureClass
from flyte_kernel.testing import MemoryBlobs
from tests.support.literals import literal_map, primitive

KEY = AttemptKey(1, 2, 0)
PREFIX = "memory://flyte/n0/data/0"
OUTPUTS = literal_map(o0=primitive(1)).SerializeToString()
KIND = execution_pb2.ExecutionError.ErrorKind
CONTAINER = errors_pb2.ContainerError

USER, SYSTEM, PERMANENT = FailureClass.USER_RECOVERABLE, FailureClass.SYSTEM_RECOVERABLE, FailureClass.PERMANENT


def judge(
    documents: dict[str, bytes] | None = None,
    *,
    declares_outputs: bool = True,
    output_bytes_max: int = 1000,
    log_tail: str = "",
    kind: ReportKind = ReportKind.EXITED,
    **report: Any,
) -> Outcome:
    """Judge an attempt that left some documents; exit code 0 if nothing else is said."""
    blobs = MemoryBlobs()
    for name, data in (documents or {}).items():
        blobs.write(f"{PREFIX}/{name}", data)
    if kind is ReportKind.EXITED and not report:
        report = {"exit_code": 0}
    return classify(
        AttemptReport(KEY, kind, **report),
        declares_outputs=declares_outputs,
        read=blobs.read,
        output_prefix=PREFIX,
        output_bytes_max=output_bytes_max,
        log_tail=log_tail,
    )


def told(outcome: Outcome) -> tuple[FailureClass, str, str]:
    """Failure class, kind and code of a failure."""
    assert not outcome.succeeded
    assert outcome.outputs == b""
    assert outcome.error is not None
    return outcome.failure_class, KIND.Name(outcome.error.kind), outcome.error.code


def message(outcome: Outcome) -> str:
    assert outcome.error is not None
    return str(outcome.error.message)


def error_document(kind: int, origin: int = KIND.Value("USER")) -> bytes:
    error = CONTAINER(code="USER:ValueError", message="boom", kind=kind, origin=origin)
    return errors_pb2.ErrorDocument(error=error).SerializeToString()


# Exit code 0


def test_outputs_make_a_success() -> None:
    assert judge({"outputs.pb": OUTPUTS}) == Outcome(True, outputs=OUTPUTS)
    assert judge({"outputs.pb": b""}) == Outcome(True)


def test_without_declared_outputs_none_are_needed() -> None:
    assert judge(declares_outputs=False) == Outcome(True)


def test_missing_outputs_may_be_tried_again_on_the_users_budget() -> None:
    assert told(judge()) == (USER, "UNKNOWN", "OutputsNotFound")


def test_outputs_may_be_as_long_as_the_limit() -> None:
    assert judge({"outputs.pb": OUTPUTS}, output_bytes_max=len(OUTPUTS)).succeeded
    outcome = judge({"outputs.pb": OUTPUTS}, output_bytes_max=len(OUTPUTS) - 1)
    assert told(outcome) == (PERMANENT, "USER", "OutputSizeExceeded")
    assert f"{len(OUTPUTS)} bytes long, {len(OUTPUTS) - 1} are allowed" in message(outcome)


def test_malformed_outputs_are_the_tasks_fault() -> None:
    assert told(judge({"outputs.pb": b"\xff\xff"})) == (USER, "UNKNOWN", "OutputsBadFormat")


@pytest.mark.parametrize(
    ("recoverable", "origin", "failure_class"),
    [
        ("RECOVERABLE", "USER", USER),
        ("RECOVERABLE", "UNKNOWN", USER),
        ("RECOVERABLE", "SYSTEM", SYSTEM),
        ("NON_RECOVERABLE", "USER", PERMANENT),
        ("NON_RECOVERABLE", "SYSTEM", PERMANENT),
    ],
)
def test_error_documents_say_whose_fault_it_is(recoverable: str, origin: str, failure_class: FailureClass) -> None:
    document = error_document(CONTAINER.Kind.Value(recoverable), KIND.Value(origin))
    outcome = judge({"error.pb": document})
    assert told(outcome) == (failure_class, origin, "USER:ValueError")
    assert message(outcome) == "boom"


@pytest.mark.parametrize("declares_outputs", [True, False])
def test_an_error_document_wins_over_outputs(declares_outputs: bool) -> None:
    documents = {"outputs.pb": OUTPUTS, "error.pb": error_document(CONTAINER.NON_RECOVERABLE)}
    assert told(judge(documents, declares_outputs=declares_outputs))[0] == PERMANENT


def test_error_documents_keep_time_and_worker() -> None:
    error = CONTAINER(code="c", message="m", timestamp=timestamp_pb2.Timestamp(seconds=5, nanos=6), worker="w")
    outcome = judge({"error.pb": errors_pb2.ErrorDocument(error=error).SerializeToString()})
    assert outcome.error is not None
    assert (outcome.error.timestamp.seconds, outcome.error.timestamp.nanos, outcome.error.worker) == (5, 6, "w")
    plain = judge({"error.pb": error_document(CONTAINER.RECOVERABLE)}).error
    assert plain is not None
    assert not plain.HasField("timestamp")


@pytest.mark.parametrize(
    ("document", "reason"), [(b"", "no error"), (b"\xff", "cannot be used"), (b"\x0a" + b"x" * 2000, "2001 bytes long")]
)
def test_error_documents_that_cannot_be_used(document: bytes, reason: str) -> None:
    outcome = judge({"error.pb": document})
    assert told(outcome) == (SYSTEM, "SYSTEM", "ErrorFileBadFormat")
    assert reason in message(outcome)


def test_a_workflow_that_was_put_out_counts_before_anything_else() -> None:
    outcome = judge({"futures.pb": b"job", "error.pb": error_document(CONTAINER.RECOVERABLE), "outputs.pb": OUTPUTS})
    assert (outcome.succeeded, outcome.futures, outcome.outputs) == (True, b"job", b"")


def test_a_store_that_fails_says_nothing_about_the_task() -> None:
    def read(uri: str) -> bytes:
        raise AdapterError(f"no route to {uri}", retryable=True)

    with pytest.raises(AdapterError, match="no route"):
        classify(
            AttemptReport(KEY, ReportKind.EXITED, exit_code=0), declares_outputs=True, read=read, output_prefix=PREFIX
        )


# Other ends


@pytest.mark.parametrize(
    ("report", "expected", "text"),
    [
        ({"exit_code": 1}, (USER, "USER", "Error"), "exit code 1"),
        ({"exit_code": 255}, (USER, "USER", "Error"), "exit code 255"),
        ({"exit_code": 139}, (USER, "USER", "Error"), "exit code 139 (SIGSEGV in a child process)"),
        ({"exit_code": 245}, (USER, "USER", "Error"), "exit code 245 (SIGSEGV in a child process)"),
        ({"exit_code": 143}, (USER, "USER", "Error"), "exit code 143 (SIGTERM in a child process)"),
        ({"exit_code": 137}, (SYSTEM, "SYSTEM", "Interrupted"), "exit code 137 (SIGKILL in a child process)"),
        ({"exit_code": 247}, (SYSTEM, "SYSTEM", "Interrupted"), "exit code 247 (SIGKILL in a child process)"),
        ({"signal": int(signal.SIGKILL)}, (SYSTEM, "SYSTEM", "Interrupted"), "signal 9 (SIGKILL)"),
        ({"signal": int(signal.SIGSEGV)}, (USER, "USER", "Error"), "signal 11 (SIGSEGV)"),
        ({"signal": int(signal.SIGTERM)}, (USER, "USER", "Error"), "signal 15 (SIGTERM)"),
        ({"signal": 200}, (USER, "USER", "Error"), "signal 200 (unknown signal)"),
        ({"exit_code": 0, "signal": 6}, (USER, "USER", "Error"), "signal 6 (SIGABRT)"),
        ({"message": "lost"}, (SYSTEM, "SYSTEM", "Interrupted"), "left no exit status\nlost"),
        ({"exit_code": 137, "message": "OOMKilled: 2 GiB"}, (USER, "USER", "OOMKilled"), "OOMKilled: 2 GiB"),
    ],
)
def test_processes_that_fail(report: dict[str, Any], expected: tuple[FailureClass, str, str], text: str) -> None:
    outcome = judge({"outputs.pb": OUTPUTS}, **report)
    assert told(outcome) == expected
    assert text in message(outcome)


def test_documents_of_a_failed_process_do_not_count() -> None:
    outcome = judge({"error.pb": error_document(CONTAINER.NON_RECOVERABLE)}, exit_code=3)
    assert told(outcome) == (USER, "USER", "Error")


def test_the_end_of_the_log_is_told() -> None:
    outcome = judge(exit_code=3, message="said the executor", log_tail="line 1\nline 2\n")
    assert message(outcome) == "the process ended with exit code 3\nsaid the executor\nline 1\nline 2"


def test_refusals() -> None:
    recoverable = judge(kind=ReportKind.REFUSED, message="no memory", recoverable=True)
    assert told(recoverable) == (SYSTEM, "SYSTEM", "RuntimeFailure")
    assert message(recoverable) == "no memory"
    permanent = judge(kind=ReportKind.REFUSED, message="no such program: nope")
    assert told(permanent) == (PERMANENT, "USER", "BadTaskFormat")
    assert message(judge(kind=ReportKind.REFUSED)) == "the attempt could not be started"


@pytest.mark.parametrize("kind", [ReportKind.STARTED, ReportKind.ABORTED])
def test_other_reports_have_no_outcome(kind: ReportKind) -> None:
    with pytest.raises(InternalError, match=kind.value):
        judge(kind=kind)


# Texts


@pytest.mark.parametrize("kind", ["UNKNOWN", "USER", "SYSTEM"])
def test_exhausted_retries_are_the_users(kind: str) -> None:
    error = execution_pb2.ExecutionError(code="Interrupted", message="gone", kind=KIND.Value(kind))
    assert exhausted(error, 3, 4) == execution_pb2.ExecutionError(
        code="RetriesExhausted|Interrupted",
        message=f"[3/4] currentAttempt done. Last Error: {kind}::gone",
        kind=KIND.Value("USER"),
    )
    assert error.code == "Interrupted"


@pytest.mark.parametrize(
    ("timeout_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (100_000_000, "100ms"),
        (999_999_999, "999.999999ms"),
        (1_000_000_000, "1s"),
        (1_500_000_000, "1.5s"),
        (10_050_000_000, "10.05s"),
        (60_000_000_000, "1m0s"),
        (90_000_000_001, "1m30.000000001s"),
        (3_600_000_000_000, "1h0m0s"),
        (360_000_000_000_000, "100h0m0s"),
        (-1_000_000_000, "-1s"),
    ],
)
def test_execution_timeouts(timeout_ns: int, text: str) -> None:
    assert execution_timeout_error(timeout_ns) == execution_pb2.ExecutionError(
        code="TimeoutExpired", message=f"task execution timeout [{text}] expired", kind=KIND.Value("USER")
    )


def test_errors_of_nodes_that_were_stopped() -> None:
    assert node_timeout_error() == execution_pb2.ExecutionError(
        code="Timeout", message="Timeout in node", kind=KIND.Value("USER")
    )
    assert aborted_error("why") == execution_pb2.ExecutionError(code="NodeAborted", message="why")
