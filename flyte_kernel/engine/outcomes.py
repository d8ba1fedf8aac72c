"""What the end of an attempt means: success with outputs, or a failure with an error text and whose budget pays.

The rules are the reference engine's for pods, read for processes: a process that exits 0 is judged by the documents it
left, any other by its exit status alone. Also here: the texts of the errors that the engine itself makes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from flyteidl.core import errors_pb2, execution_pb2, literals_pb2
from google.protobuf.message import DecodeError

from flyte_kernel.engine.ports import AttemptReport, BlobNotFoundError, ReportKind
from flyte_kernel.errors import InternalError
from flyte_kernel.phases import FailureClass

__all__ = [
    "OUTPUT_BYTES_MAX",
    "Outcome",
    "aborted_error",
    "classify",
    "execution_timeout_error",
    "exhausted",
    "handler_timeout_error",
    "node_timeout_error",
]

OUTPUT_BYTES_MAX = 10 * 1024 * 1024  # what the reference's charts set

_UNKNOWN = execution_pb2.ExecutionError.UNKNOWN
_USER = execution_pb2.ExecutionError.USER
_SYSTEM = execution_pb2.ExecutionError.SYSTEM

# 128 + 9 is a shell's word for SIGKILL, 256 - 9 what Python's exit makes of a child's negative return code.
_KILLED_EXIT_CODES = frozenset({137, 247})
_CRASH_SIGNALS = frozenset(
    {
        signal.SIGILL,
        signal.SIGTRAP,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGKILL,
        signal.SIGSEGV,
        signal.SIGTERM,
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`outputs`, a serialised LiteralMap, counts where `succeeded`; `failure_class` and `error` where not.

    `futures` is a serialised core.DynamicJobSpec if the task put out a workflow that is still to run.
    """

    succeeded: bool
    failure_class: FailureClass = FailureClass.USER_RECOVERABLE
    error: execution_pb2.ExecutionError | None = None
    outputs: bytes = b""
    futures: bytes | None = None


def classify(
    report: AttemptReport,
    *,
    declares_outputs: bool,
    read: Callable[[str], bytes],
    output_prefix: str,
    output_bytes_max: int = OUTPUT_BYTES_MAX,
    log_tail: str = "",
) -> Outcome:
    """Judge an EXITED or REFUSED report.

    `read` takes URIs below `output_prefix` and raises BlobNotFoundError for a document that was not written; whatever
    else it raises goes to the caller, since a store that fails says nothing about the task. `log_tail` is put under the
    message of a process that exited with a failure.
    """
    match report.kind:
        case ReportKind.REFUSED:
            return _refused(report)
        case ReportKind.EXITED if report.exit_code == 0 and report.signal is None:
            return _documents(declares_outputs, read, output_prefix, output_bytes_max)
        case ReportKind.EXITED:
            return _failed_process(report, log_tail)
    raise InternalError(f"an attempt that is {report.kind.value} has no outcome: {report.key}")


def _failure(
    failure_class: FailureClass, kind: execution_pb2.ExecutionError.ErrorKind, code: str, message: str
) -> Outcome:
    return Outcome(False, failure_class, execution_pb2.ExecutionError(code=code, message=message, kind=kind))


def _refused(report: AttemptReport) -> Outcome:
    message = report.message or "the attempt could not be started"
    if report.recoverable:
        return _failure(FailureClass.SYSTEM_RECOVERABLE, _SYSTEM, "RuntimeFailure", message)
    return _failure(FailureClass.PERMANENT, _USER, "BadTaskFormat", message)


# Exit code 0: the documents


def _documents(
    declares_outputs: bool, read: Callable[[str], bytes], output_prefix: str, output_bytes_max: int
) -> Outcome:
    futures = _read_if_present(read, f"{output_prefix}/futures.pb")
    if futures is not None:
        return Outcome(True, futures=futures)
    error = _read_if_present(read, f"{output_prefix}/error.pb")
    if error is not None:
        return _error_document(error, output_bytes_max)
    if not declares_outputs:
        return Outcome(True)
    outputs = _read_if_present(read, f"{output_prefix}/outputs.pb")
    if outputs is None:
        message = "the task declares outputs but its process ended without writing any"
        return _failure(FailureClass.USER_RECOVERABLE, _UNKNOWN, "OutputsNotFound", message)
    if len(outputs) > output_bytes_max:
        message = (
            f"the outputs are {len(outputs)} bytes long, {output_bytes_max} are allowed: put large data into files"
        )
        return _failure(FailureClass.PERMANENT, _USER, "OutputSizeExceeded", message)
    try:
        literals_pb2.LiteralMap.FromString(outputs)
    except DecodeError as broken:
        message = f"the outputs.pb that the task wrote is malformed: {broken}"
        return _failure(FailureClass.USER_RECOVERABLE, _UNKNOWN, "OutputsBadFormat", message)
    return Outcome(True, outputs=outputs)


def _read_if_present(read: Callable[[str], bytes], uri: str) -> bytes | None:
    try:
        return read(uri)
    except BlobNotFoundError:
        return None


def _error_document(data: bytes, bytes_max: int) -> Outcome:
    try:
        if len(data) > bytes_max:
            raise DecodeError(f"{len(data)} bytes long, {bytes_max} are allowed")
        document = errors_pb2.ErrorDocument.FromString(data)
        if not document.HasField("error"):
            raise DecodeError("it holds no error")
    except DecodeError as broken:
        message = f"the error.pb that the task wrote cannot be used: {broken}"
        return _failure(FailureClass.SYSTEM_RECOVERABLE, _SYSTEM, "ErrorFileBadFormat", message)
    told = document.error
    error = execution_pb2.ExecutionError(code=told.code, message=told.message, kind=told.origin, worker=told.worker)
    if told.HasField("timestamp"):
        error.timestamp.CopyFrom(told.timestamp)
    if told.kind != errors_pb2.ContainerError.RECOVERABLE:
        return Outcome(False, FailureClass.PERMANENT, error)
    recoverable = FailureClass.SYSTEM_RECOVERABLE if told.origin == _SYSTEM else FailureClass.USER_RECOVERABLE
    return Outcome(False, recoverable, error)


# Any other end: the exit status


def _failed_process(report: AttemptReport, log_tail: str) -> Outcome:
    message = "\n".join(part for part in (_exit_text(report), report.message, log_tail.rstrip("\n")) if part)
    if "OOMKilled" in report.message:
        return _failure(FailureClass.USER_RECOVERABLE, _USER, "OOMKilled", message)
    unknown = report.exit_code is None and report.signal is None
    if unknown or report.signal == signal.SIGKILL or report.exit_code in _KILLED_EXIT_CODES:
        return _failure(FailureClass.SYSTEM_RECOVERABLE, _SYSTEM, "Interrupted", message)
    return _failure(FailureClass.USER_RECOVERABLE, _USER, "Error", message)


def _exit_text(report: AttemptReport) -> str:
    if report.signal is not None:
        return f"the process was ended by signal {report.signal} ({_signal_name(report.signal)})"
    if report.exit_code is None:
        return "the process is gone and left no exit status"
    for encoded in (report.exit_code - 128, 256 - report.exit_code):
        if encoded in _CRASH_SIGNALS:
            return f"the process ended with exit code {report.exit_code} ({_signal_name(encoded)} in a child process)"
    return f"the process ended with exit code {report.exit_code}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "unknown signal"


# Errors that the engine makes itself


def exhausted(error: execution_pb2.ExecutionError, current: int, maximum: int) -> execution_pb2.ExecutionError:
    """Return the permanent error of a node whose last allowed attempt failed with `error`."""
    final = execution_pb2.ExecutionError()
    final.CopyFrom(error)
    kind = execution_pb2.ExecutionError.ErrorKind.Name(error.kind)
    final.code = f"RetriesExhausted|{error.code}"
    final.message = f"[{current}/{maximum}] currentAttempt done. Last Error: {kind}::{error.message}"
    final.kind = _USER
    return final


def execution_timeout_error(timeout_ns: int) -> execution_pb2.ExecutionError:
    """Return the error of an attempt that ran for longer than the node's timeout."""
    message = f"task execution timeout [{_duration_text(timeout_ns)}] expired"
    return execution_pb2.ExecutionError(code="TimeoutExpired", message=message, kind=_USER)


def node_timeout_error() -> execution_pb2.ExecutionError:
    """Return the error of a run in which a node timed out over all its attempts."""
    return execution_pb2.ExecutionError(code="Timeout", message="Timeout in node", kind=_USER)


def handler_timeout_error() -> execution_pb2.ExecutionError:
    """Return the error of a run whose failure node timed out."""
    return execution_pb2.ExecutionError(code="TimedOut", message="FailureNode Timed-out", kind=_USER)


def aborted_error(reason: str) -> execution_pb2.ExecutionError:
    """Return the error of a node that was stopped because of something else."""
    return execution_pb2.ExecutionError(code="NodeAborted", message=reason)


def _duration_text(duration_ns: int) -> str:
    """Write a duration as the reference does: 90 s is "1m30s", 3600 s "1h0m0s", 0.1 s "100ms"."""
    if duration_ns < 0:
        return "-" + _duration_text(-duration_ns)
    if duration_ns == 0:
        return "0s"
    for unit, size_ns in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if duration_ns < size_ns * 1000:
            return _decimal(duration_ns, size_ns) + unit
    minutes, rest_ns = divmod(duration_ns, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{text}{_decimal(rest_ns, 10**9)}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
