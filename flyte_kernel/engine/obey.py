"""Obeys effects: prepares inputs, hands attempts to the executor, judges what comes back.

Blob access happens here, on a few worker threads, never on the loop's. Whatever an effect comes to returns to the loop
as an event with its fact. Effects are obeyed at least once: all that is written has a name fixed by run, node and
attempt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from flyteidl.admin import execution_pb2 as admin_execution_pb2
from flyteidl.core import execution_pb2, literals_pb2

from flyte_kernel.engine import outcomes, paths
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.facts import AttemptObserved
from flyte_kernel.engine.fold import Effect
from flyte_kernel.engine.literals import BindingError
from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, Blobs, Executor, ReportKind, TaskContext, TaskPlugin
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.turns import Event
from flyte_kernel.errors import KernelError, PluginError, RequestError, StorageError
from flyte_kernel.ids import AttemptKey, EntityId
from flyte_kernel.phases import EffectKind, EventKind, FailureClass, NodeKind

__all__ = ["Obeyer", "Post"]

logger = logging.getLogger(__name__)

Post = Callable[[Event, AttemptObserved | None], None]
_WORKERS = 2


class Obeyer:
    """Between the loop and the executor; `obey` and `on_report` may be called from any thread."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        data: NodeData,
        programs: Programs,
        executor: Executor,
        plugin_of: Callable[[str], TaskPlugin],
        settings: Settings,
        record_of: Callable[[int], ExecutionRecord | None],
        post: Post,
    ) -> None:
        self._blobs = blobs
        self._data = data
        self._programs = programs
        self._executor = executor
        self._plugin_of = plugin_of
        self._settings = settings
        self._record_of = record_of
        self._post = post
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="flyte-kernel-obey")
        self._preparing: set[AttemptKey] = set()
        self._cancelled: set[AttemptKey] = set()
        self._lock = threading.Lock()

    def obey(self, effects: Sequence[Effect]) -> None:
        """Queue what the effects ask for."""
        aborts = []
        for effect in effects:
            key = AttemptKey(effect.run, effect.node, effect.attempt)
            if effect.kind == EffectKind.ABORT_ATTEMPTS:
                aborts.append(key)
            elif effect.kind in (EffectKind.LAUNCH_ATTEMPTS, EffectKind.OPEN_SCOPE, EffectKind.RESOLVE_OUTPUTS):
                with self._lock:
                    self._preparing.add(key)
                self._pool.submit(self._guard, effect.kind, key)
        self._abort(aborts)

    def reconcile(self, effects: Sequence[Effect]) -> None:
        """After a restart: have the executor adopt, report or run what may still be running, obey the rest again.

        Attempts that are to be ended are reconciled first, so that the executor knows their processes.
        """
        launches = []
        for effect in effects:
            key = AttemptKey(effect.run, effect.node, effect.attempt)
            record = self._record_of(key.run)
            if record is None or self._kind(record, key.node) != NodeKind.TASK:
                continue
            try:
                launches.append(self._prepare_task(record, key))
            except (BindingError, KernelError) as error:
                self._post_failure(key, error)
        self._executor.reconcile(launches)
        self.obey([effect for effect in effects if effect.kind != EffectKind.LAUNCH_ATTEMPTS])

    def on_report(self, report: AttemptReport) -> None:
        """Take what the executor saw."""
        key = report.key
        if report.kind is ReportKind.STARTED:
            fact = AttemptObserved(*key, log_uri=report.log_uri)
            self._post(Event(int(EventKind.ATTEMPT_STARTED), *key), fact)
        elif report.kind is ReportKind.ABORTED:
            self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), None)
        else:
            self._pool.submit(self._judge_guarded, report)

    def close(self) -> None:
        """Finish what is queued and stop."""
        self._pool.shutdown(wait=True)

    # Launching

    def _guard(self, kind: int, key: AttemptKey) -> None:
        """Obey one effect; whatever goes wrong becomes the node's failure, so that no run waits for ever."""
        try:
            record = self._record_of(key.run)
            if record is None or self._is_cancelled(key):
                self._settle(key)
            elif kind == EffectKind.LAUNCH_ATTEMPTS:
                launch = self._prepare_task(record, key)
                with self._lock:
                    cancelled = key in self._cancelled
                    if not cancelled:
                        self._preparing.discard(key)
                        self._executor.launch([launch])
                if cancelled:
                    self._settle(key)
            elif kind == EffectKind.OPEN_SCOPE:
                self._write_inputs(record, key)
                self._done(key, Event(int(EventKind.SCOPE_OPENED), *key))
            else:
                self._resolve_outputs(record, key)
                self._done(key, Event(int(EventKind.ATTEMPT_SUCCEEDED), *key))
        except Exception as error:
            with self._lock:
                self._preparing.discard(key)
                self._cancelled.discard(key)
            self._post_failure(key, error)

    def _is_cancelled(self, key: AttemptKey) -> bool:
        with self._lock:
            return key in self._cancelled

    def _settle(self, key: AttemptKey) -> None:
        """Confirm that an attempt which was called off while it was prepared never ran."""
        self._done(key, Event(int(EventKind.ATTEMPT_ABORTED), *key))

    def _done(self, key: AttemptKey, event: Event) -> None:
        with self._lock:
            self._preparing.discard(key)
            if key in self._cancelled:
                self._cancelled.discard(key)
                event = Event(int(EventKind.ATTEMPT_ABORTED), *key)
        self._post(event, None)

    def _abort(self, keys: Sequence[AttemptKey]) -> None:
        running = []
        for key in keys:
            with self._lock:
                if key in self._preparing:
                    self._cancelled.add(key)
                    continue
            record = self._record_of(key.run)
            if record is not None and self._kind(record, key.node) != NodeKind.TASK:
                self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), None)
            else:
                running.append(key)
        if running:
            self._executor.abort(running)

    def _kind(self, record: ExecutionRecord, node: int) -> int:
        return int(self._programs.of(record.workflow).graph.kind[node])

    def _write_inputs(self, record: ExecutionRecord, key: AttemptKey) -> bytes:
        inputs = self._data.resolve_inputs(record, key.node)
        self._blobs.write(f"{self._data.data_prefix(record, key.node)}/inputs.pb", inputs)
        return inputs

    def _resolve_outputs(self, record: ExecutionRecord, key: AttemptKey) -> None:
        """Resolve an end node: its inputs are the outputs of the workflow it ends."""
        outputs = self._write_inputs(record, key)
        self._write_outputs(record, key, outputs)
        scope = self._programs.of(record.workflow).parent[key.node]
        if scope >= 0:
            self._write_outputs(record, AttemptKey(key.run, scope, int(record.nodes.attempt[scope])), outputs)

    def _write_outputs(self, record: ExecutionRecord, key: AttemptKey, outputs: bytes) -> None:
        self._blobs.write(f"{self._data.output_prefix(record, key.node, key.attempt)}/outputs.pb", outputs)
        self._data.remember_outputs(record, key.node, key.attempt, outputs)

    def _prepare_task(self, record: ExecutionRecord, key: AttemptKey) -> AttemptLaunch:
        program = self._programs.of(record.workflow)
        task = program.task[key.node]
        if task is None:
            raise PluginError(f"node {program.node_id[key.node]} has no task")
        inputs = self._write_inputs(record, key)
        task_id = EntityId(1, task.id.project, task.id.domain, task.id.name, task.id.version)
        name = self._data.generated_name(record, key.node, key.attempt)
        spec = admin_execution_pb2.ExecutionSpec.FromString(record.spec)
        raw_base = spec.raw_output_data_config.output_location_prefix or f"{self._blobs.base_uri}/data"
        raw = paths.raw_output_prefix(raw_base, name)
        previous = ""
        if key.attempt:
            earlier = self._data.generated_name(record, key.node, key.attempt - 1)
            previous = paths.checkpoint_prefix(paths.raw_output_prefix(raw_base, earlier))
        data_prefix = self._data.data_prefix(record, key.node)
        context = TaskContext(
            key=key,
            execution=record.id,
            node_id=self._data.unique_id(record, key.node),
            generated_name=name,
            workflow=record.workflow,
            task=task_id,
            input_prefix=data_prefix,
            output_prefix=self._data.output_prefix(record, key.node, key.attempt),
            raw_output_prefix=raw,
            checkpoint_prefix=paths.checkpoint_prefix(raw),
            previous_checkpoint_prefix=previous,
            inputs=literals_pb2.LiteralMap.FromString(inputs),
            environment={pair.key: pair.value for pair in spec.envs.values},
            namespace=self._settings.namespace(record.id.project, record.id.domain),
            as_local_path=self._as_local_path,
            write=self._blobs.write,
        )
        return self._plugin_of(task.type).build(task, context)

    def _as_local_path(self, uri: str) -> str:
        path = self._blobs.local_path(uri)
        return uri if path is None else str(path)

    # Judging

    def _judge_guarded(self, report: AttemptReport) -> None:
        try:
            self._judge(report)
        except Exception as error:
            self._post_failure(report.key, error)

    def _judge(self, report: AttemptReport) -> None:
        key = report.key
        record = self._record_of(key.run)
        if record is None:
            return
        task = self._programs.of(record.workflow).task[key.node]
        outcome = outcomes.classify(
            report,
            declares_outputs=task is not None and bool(task.interface.outputs.variables),
            read=self._blobs.read,
            output_prefix=self._data.output_prefix(record, key.node, key.attempt),
        )
        if outcome.succeeded:
            self._data.remember_outputs(record, key.node, key.attempt, outcome.outputs)
            fact = AttemptObserved(*key, log_uri=report.log_uri)
            self._post(Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), fact)
            return
        error = b"" if outcome.error is None else outcome.error.SerializeToString()
        fact = AttemptObserved(*key, error=error, log_uri=report.log_uri)
        self._post(Event(int(EventKind.ATTEMPT_FAILED), *key, int(outcome.failure_class)), fact)

    def _post_failure(self, key: AttemptKey, error: Exception) -> None:
        failure_class, message = _failure_of(error)
        fact = AttemptObserved(*key, error=message.SerializeToString())
        self._post(Event(int(EventKind.ATTEMPT_FAILED), *key, int(failure_class)), fact)


def _failure_of(error: Exception) -> tuple[FailureClass, execution_pb2.ExecutionError]:
    """Say whose fault an error of ours is: a store that fails may recover, a binding that fails never does."""
    kind = execution_pb2.ExecutionError.SYSTEM
    if isinstance(error, BindingError):
        return FailureClass.PERMANENT, execution_pb2.ExecutionError(code=error.code, message=error.message, kind=kind)
    if isinstance(error, (PluginError, RequestError)):
        kind = execution_pb2.ExecutionError.USER
        code = "FailedToBuildResource"
        return FailureClass.PERMANENT, execution_pb2.ExecutionError(code=code, message=str(error), kind=kind)
    if isinstance(error, (OSError, StorageError)) or getattr(error, "retryable", False):
        message = execution_pb2.ExecutionError(code="StorageFailure", message=str(error), kind=kind)
        return FailureClass.SYSTEM_RECOVERABLE, message
    logger.error("an attempt could not be obeyed: this is a bug", exc_info=error)
    message = execution_pb2.ExecutionError(code="InternalError", message=repr(error), kind=kind)
    return FailureClass.PERMANENT, message
