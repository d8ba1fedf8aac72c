"""The fakes keep the promises of the ports they stand for."""

from __future__ import annotations

import pytest
from flyteidl.core import errors_pb2

from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, BlobNotFoundError, Blobs, Executor, ReportKind
from flyte_kernel.ids import AttemptKey, ExecutionId
from flyte_kernel.testing import FakeEnd, FakeExecutor, MemoryBlobs, VirtualClock
from tests.support.literals import literal_map, primitive

FIRST, RETRY, OTHER = AttemptKey(0, 1, 0), AttemptKey(0, 1, 1), AttemptKey(0, 2, 0)


def launch(key: AttemptKey) -> AttemptLaunch:
    return AttemptLaunch(
        key, ExecutionId("p", "d", "e"), "n0", "name", ("x",), output_prefix=f"memory://flyte/{key.node}"
    )


def executor_with_log(script: object = None) -> tuple[FakeExecutor, MemoryBlobs, list[AttemptReport]]:
    blobs = MemoryBlobs()
    executor = FakeExecutor(blobs, script)  # type: ignore[arg-type]
    reports: list[AttemptReport] = []
    executor.start(reports.append)
    return executor, blobs, reports


def kinds(reports: list[AttemptReport]) -> list[tuple[AttemptKey, ReportKind]]:
    return [(report.key, report.kind) for report in reports]


def test_the_fakes_fit_their_ports() -> None:
    blobs: Blobs = MemoryBlobs()
    executor: Executor = FakeExecutor(blobs)
    assert executor is not blobs


def test_the_clock_moves_when_told() -> None:
    clock = VirtualClock(5)
    assert clock.advance(10) == clock() == 15
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_blobs_in_memory() -> None:
    blobs = MemoryBlobs("s3://b")
    blobs.write("s3://b/k", b"1")
    blobs.write("s3://b/k", b"22")
    assert blobs.read("s3://b/k") == b"22"
    assert (blobs.exists("s3://b/k"), blobs.exists("s3://b/x"), blobs.uris) == (True, False, ["s3://b/k"])
    assert (blobs.local_path("s3://b/k"), blobs.task_environment()) == (None, {})
    with pytest.raises(BlobNotFoundError, match="s3://b/x"):
        blobs.read("s3://b/x")
    upload = blobs.sign_upload("s3://b/k", expires_s=9, content_md5=b"\x01", metadata={"a": "b c"})
    assert upload == "s3://b/k?method=PUT&expires=9&md5=01&a=b+c"
    assert blobs.sign_download("s3://b/k", expires_s=9) == "s3://b/k?method=GET&expires=9"


def test_blobs_can_be_made_to_fail() -> None:
    def fault(operation: str, uri: str) -> None:
        if operation == "write":
            raise OSError(uri)

    blobs = MemoryBlobs(fault=fault)
    with pytest.raises(OSError, match="memory://flyte/k"):
        blobs.write("memory://flyte/k", b"")
    assert not blobs.exists("memory://flyte/k")


def test_attempts_end_as_the_script_says() -> None:
    outputs = literal_map(o0=primitive(1))
    error = errors_pb2.ContainerError(code="c")
    ends = {
        FIRST: FakeEnd(outputs=outputs),
        RETRY: FakeEnd(error=error, exit_code=None, signal=9, message="m"),
        OTHER: FakeEnd(refusal="no", recoverable=True),
    }
    executor, blobs, reports = executor_with_log(lambda launch: ends[launch.key])
    executor.launch([launch(key) for key in ends])
    assert reports == [
        AttemptReport(FIRST, ReportKind.STARTED),
        AttemptReport(FIRST, ReportKind.EXITED, exit_code=0),
        AttemptReport(RETRY, ReportKind.STARTED),
        AttemptReport(RETRY, ReportKind.EXITED, signal=9, message="m"),
        AttemptReport(OTHER, ReportKind.REFUSED, message="no", recoverable=True),
    ]
    assert blobs.read("memory://flyte/1/outputs.pb") == outputs.SerializeToString()
    assert errors_pb2.ErrorDocument.FromString(blobs.read("memory://flyte/1/error.pb")).error == error
    assert executor.running == executor.overlaps == []


def test_attempts_run_until_they_are_finished_or_aborted() -> None:
    executor, blobs, reports = executor_with_log(lambda _: None)
    executor.launch([launch(FIRST), launch(OTHER)])
    executor.launch([launch(FIRST)])
    assert executor.running == [FIRST, OTHER]
    executor.finish(FIRST, FakeEnd(exit_code=3))
    executor.abort([OTHER, RETRY])
    assert kinds(reports) == [
        (FIRST, ReportKind.STARTED),
        (OTHER, ReportKind.STARTED),
        (FIRST, ReportKind.EXITED),
        (OTHER, ReportKind.ABORTED),
        (RETRY, ReportKind.ABORTED),
    ]
    assert ([each.key for each in executor.launched], executor.aborted) == ([FIRST, OTHER], [OTHER, RETRY])
    executor.launch([launch(RETRY)])  # aborted before it came: it never runs
    assert executor.running == blobs.uris == []
    with pytest.raises(KeyError):
        executor.finish(FIRST, FakeEnd())


def test_overlapping_attempts_of_a_node_are_noticed() -> None:
    executor, _, _ = executor_with_log(lambda _: None)
    executor.launch([launch(FIRST), launch(OTHER)])
    assert executor.overlaps == []
    executor.launch([launch(RETRY)])
    assert executor.overlaps == [RETRY]


def test_reconcile_adopts_reports_and_runs() -> None:
    executor, _, reports = executor_with_log(lambda _: None)
    executor.launch([launch(FIRST), launch(OTHER)])
    executor.finish(FIRST, FakeEnd())
    reports.clear()
    executor.reconcile([launch(FIRST), launch(OTHER), launch(RETRY)])
    assert kinds(reports) == [(FIRST, ReportKind.EXITED), (RETRY, ReportKind.STARTED)]


def test_reports_can_be_kept_back() -> None:
    executor, _, reports = executor_with_log()
    executor.hold_reports = True
    executor.launch([launch(FIRST)])
    assert reports == []
    executor.release_reports()
    assert kinds(reports) == [(FIRST, ReportKind.STARTED), (FIRST, ReportKind.EXITED)]
    executor.close()
    executor.launch([launch(OTHER)])
    assert len(reports) == 2
