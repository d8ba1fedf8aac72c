"""From what an executor saw of an attempt's end to the event and facts that say what it means."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flyte_kernel.engine import outcomes
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.facts import AttemptObserved, Fact
from flyte_kernel.engine.outcomes import Outcome
from flyte_kernel.engine.ports import AttemptReport, Blobs
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.turns import Event
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EventKind

__all__ = ["failure_told", "outcome_of", "success_told"]

_LOG_TAIL_BYTES = 2048


def outcome_of(
    report: AttemptReport, record: ExecutionRecord, *, blobs: Blobs, data: NodeData, programs: Programs
) -> Outcome:
    """Judge the end of an attempt at a task node by what it left."""
    key = report.key
    task = programs.of_record(record).task[key.node]
    return outcomes.classify(
        report,
        declares_outputs=task is not None and bool(task.interface.outputs.variables),
        read=blobs.read,
        output_prefix=data.attempt_prefix(record, key),
        log_tail=_end_of_log(report),
    )


def success_told(report: AttemptReport) -> tuple[Event, tuple[Fact, ...]]:
    """Return what says that an attempt has succeeded; of an element nothing more is kept than that."""
    key = report.key
    facts = (AttemptObserved(*key, log_uri=report.log_uri),) if key.element == NO_ELEMENT else ()
    return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), facts


def failure_told(report: AttemptReport, outcome: Outcome) -> tuple[Event, tuple[Fact, ...]]:
    """Return what says that an attempt has failed."""
    key = report.key
    error = b"" if outcome.error is None else outcome.error.SerializeToString()
    event = Event(int(EventKind.ATTEMPT_FAILED), *key, argument=int(outcome.failure_class))
    return event, (AttemptObserved(*key, error=error, log_uri=report.log_uri),)


def _end_of_log(report: AttemptReport) -> str:
    """Return the last lines of a failed process, if its log is a file of this machine."""
    address = urlsplit(report.log_uri)
    if report.exit_code == 0 or address.scheme != "file":
        return ""
    try:
        with Path(unquote(address.path)).open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            return log.read(_LOG_TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""
