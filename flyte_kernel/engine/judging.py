"""Says what the ends of attempts mean that the executor saw: success, another graph, or a failure of somebody's."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from flyteidl.core import execution_pb2

from flyte_kernel.engine import outcomes
from flyte_kernel.engine.caching import Caching
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.facts import AttemptObserved, Fact, GraphGrown
from flyte_kernel.engine.failures import failure_of
from flyte_kernel.engine.growth import Growths
from flyte_kernel.engine.outcomes import Outcome
from flyte_kernel.engine.pending import Pending
from flyte_kernel.engine.ports import AttemptReport, Blobs
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.space import HeldWork, is_disk_full
from flyte_kernel.engine.turns import NEW_GRAPH, Event
from flyte_kernel.errors import StorageFullError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey
from flyte_kernel.phases import EventKind, FailureClass

__all__ = ["Judge", "Told"]

logger = logging.getLogger(__name__)

Told: TypeAlias = tuple[Event, Sequence[Fact]]
_LOG_TAIL_BYTES = 2048


class Judge:
    """Takes reports of ends from any thread, looks at what the attempts left and posts what that comes to."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        data: NodeData,
        programs: Programs,
        caching: Caching,
        growths: Growths,
        record_of: Callable[[int], ExecutionRecord | None],
        held: HeldWork,
        submit: Callable[..., object],
        post_all: Callable[[Sequence[Told]], None],
    ) -> None:
        self._blobs = blobs
        self._data = data
        self._programs = programs
        self._caching = caching
        self._growths = growths
        self._record_of = record_of
        self._held = held
        self._post_all = post_all
        self._reports = Pending(submit, self._judge_all)

    def add(self, report: AttemptReport) -> None:
        """Have the end of an attempt judged."""
        self._reports.add(report)

    def fail(self, key: AttemptKey, error: Exception) -> None:
        """Say that an attempt failed before or beside its process."""
        failure_class, message = failure_of(error)
        fact = AttemptObserved(*key, error=message.SerializeToString())
        event = Event(int(EventKind.ATTEMPT_FAILED), *key, argument=int(failure_class))
        self._post_all([(event, (fact, *self._caching.release(key)))])

    def _judge_all(self, reports: Sequence[AttemptReport]) -> None:
        """Say what ends mean, in one turn as far as it is known at once."""
        self._post_all([told for report in reports if (told := self._judge_guarded(report)) is not None])

    def _judge_guarded(self, report: AttemptReport) -> Told | None:
        try:
            return self._judge(report)
        except StorageFullError as error:
            logger.warning("work goes on when there is space: %s", error)
            self._held.hold(partial(self._judge_all, [report]))
        except Exception as error:
            self.fail(report.key, error)
        return None

    def _judge(self, report: AttemptReport) -> Told | None:
        """Return what is to be told of an end, None if nothing is yet."""
        key = report.key
        record = self._record_of(key.run)
        if record is None:
            return None
        outcome = _outcome_of(report, record, blobs=self._blobs, data=self._data, programs=self._programs)
        if outcome.futures is not None:
            return self._growth(record, report, outcome.futures)
        if outcome.succeeded:
            if key.element == NO_ELEMENT:
                self._data.remember_outputs(record, key.node, key.attempt, outcome.outputs)
            event, facts = _success_told(report)
            return event, (*facts, *self._caching.remember(record, key, outcome.outputs))
        if is_disk_full(self._blobs):
            logger.warning("an attempt failed on a full disk, it is tried again when there is space: %s", outcome.error)
            self._held.hold(partial(self._fail_for_space, report, outcome))
            return None
        event, facts = _failure_told(report, outcome)
        return event, (*facts, *self._caching.release(key))

    def _growth(self, record: ExecutionRecord, report: AttemptReport, futures: bytes) -> Told:
        key = report.key
        closure = self._growths.compile(record, key.node, futures)
        event = Event(int(EventKind.GRAPH_GROWN), *key, argument=NEW_GRAPH)
        grown = GraphGrown(key.run, key.node, key.attempt, closure)
        return event, (AttemptObserved(*key, log_uri=report.log_uri), grown)

    def _fail_for_space(self, report: AttemptReport, outcome: Outcome) -> None:
        """Charge an attempt that failed on a full disk to the system, once a retry can do better."""
        if is_disk_full(self._blobs):
            self._held.hold(partial(self._fail_for_space, report, outcome))
            return
        text = f"the disk was full when the attempt failed: {'' if outcome.error is None else outcome.error.message}"
        error = execution_pb2.ExecutionError(code="StorageFull", message=text, kind=execution_pb2.ExecutionError.SYSTEM)
        told = replace(outcome, failure_class=FailureClass.SYSTEM_RECOVERABLE, error=error)
        self._post_all([_failure_told(report, told)])


def _outcome_of(
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


def _success_told(report: AttemptReport) -> tuple[Event, tuple[Fact, ...]]:
    """Return what says that an attempt has succeeded; of an element nothing more is kept than that."""
    key = report.key
    facts = (AttemptObserved(*key, log_uri=report.log_uri),) if key.element == NO_ELEMENT else ()
    return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), facts


def _failure_told(report: AttemptReport, outcome: Outcome) -> tuple[Event, tuple[Fact, ...]]:
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
