"""Obeys effects: prepares inputs, hands attempts to the executor, has judged what comes back.

Blob access happens here, on a few worker threads, never on the loop's. Whatever an effect comes to returns to the loop
as an event with its facts. Effects are obeyed at least once: all that is written has a name fixed by run, node and
attempt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Protocol

from flyteidl.core import literals_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.engine.caching import Caching
from flyte_kernel.engine.children import ChildRuns
from flyte_kernel.engine.conditions import decide
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.facts import AttemptObserved, Fact
from flyte_kernel.engine.failures import is_passing
from flyte_kernel.engine.gates import awaited_signal, decide_gate_opened, sleep_ns
from flyte_kernel.engine.gathering import Maps
from flyte_kernel.engine.growth import Growths
from flyte_kernel.engine.judging import Judge, Told
from flyte_kernel.engine.launching import TaskLauncher
from flyte_kernel.engine.ports import AttemptLaunch, AttemptReport, Blobs, Executor, InstantResult, ReportKind
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.space import HeldWork
from flyte_kernel.engine.state import State
from flyte_kernel.engine.steps import Effect
from flyte_kernel.engine.takeover import TakeOver
from flyte_kernel.engine.turns import Decision, Event
from flyte_kernel.errors import InternalError, StorageFullError, UnavailableError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey
from flyte_kernel.phases import EffectKind, EventKind, NodeKind

__all__ = ["Obeyer", "Post", "WorkerThreads", "Workers"]

logger = logging.getLogger(__name__)

Post = Callable[[Event, Sequence[Fact]], None]
_WORKERS = 2
_TOGETHER_MAX = 32  # elements prepared by one worker before the executor has them: some milliseconds


class Workers(Protocol):
    """Where effects are obeyed."""

    def submit(self, function: Callable[..., object], /, *arguments: object) -> object:
        """Have a function called, now or later."""
        ...

    def later(self, pause_s: float, function: Callable[[], None]) -> None:
        """Have a function called after a pause."""

    def shutdown(self, wait: bool = True) -> None:
        """Finish what was submitted."""


class WorkerThreads(ThreadPoolExecutor):
    """A few threads: what they do is mostly to wait for blobs."""

    def __init__(self) -> None:
        super().__init__(_WORKERS, thread_name_prefix="flyte-kernel-obey")

    def later(self, pause_s: float, function: Callable[[], None]) -> None:
        """Call a function after a pause, on a thread of its own."""
        timer = threading.Timer(pause_s, function)
        timer.daemon = True
        timer.start()


class Obeyer:
    """Between the loop and the executor; `obey` and `on_report` may be called from any thread."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        data: NodeData,
        programs: Programs,
        executor: Executor,
        launcher: TaskLauncher,
        children: ChildRuns,
        growths: Growths,
        maps: Maps,
        caching: Caching,
        take_over: TakeOver,
        record_of: Callable[[int], ExecutionRecord | None],
        is_started: Callable[[ExecutionRecord, AttemptKey], bool],
        post: Post,
        post_all: Callable[[Sequence[Told]], None],
        ask: Callable[[Callable[[State, int], Decision]], None],
        workers: Workers,
    ) -> None:
        self._data = data
        self._programs = programs
        self._executor = executor
        self._launcher = launcher
        self._children = children
        self._maps = maps
        self._caching = caching
        self._take_over = take_over
        self._record_of = record_of
        self._is_started = is_started
        self._post = post
        self._ask = ask
        self._workers = workers
        self._preparing: set[AttemptKey] = set()
        self._cancelled: set[AttemptKey] = set()
        self._maybe_running: set[AttemptKey] = set()
        self._lock = threading.Lock()
        self._held = HeldWork(self._workers.submit, self._workers.later)
        self._judge = Judge(
            blobs=blobs,
            data=data,
            programs=programs,
            caching=caching,
            growths=growths,
            record_of=record_of,
            held=self._held,
            submit=workers.submit,
            post_all=post_all,
        )
        self._is_closed = False

    def obey(self, effects: Sequence[Effect]) -> None:
        """Queue what the effects ask for; once closed, that is left to the next start."""
        if self._is_closed:
            return
        aborts: list[AttemptKey] = []
        elements: list[AttemptKey] = []
        for effect in effects:
            key = AttemptKey(effect.run, effect.node, effect.attempt, effect.element)
            if effect.kind == EffectKind.ABORT_ATTEMPTS:
                aborts.append(key)
            elif effect.kind == EffectKind.FINISH_RUN:
                self._on_run_finished(effect.run)
            else:
                with self._lock:
                    self._preparing.add(key)
                if key.element != NO_ELEMENT and effect.kind == EffectKind.LAUNCH_ATTEMPTS:
                    elements.append(key)
                else:
                    self._workers.submit(self._begin_all, effect.kind, [key])
        self._submit_elements(elements)
        self._abort(aborts)

    def _submit_elements(self, keys: Sequence[AttemptKey]) -> None:
        """Have elements of one map prepared together, unless each may have to wait for the cache."""
        for (run, node), of_map in groupby(keys, key=lambda key: (key.run, key.node)):
            record = self._record_of(run)
            size = 1 if record is None or self._caching.is_cached(record, node) else _TOGETHER_MAX
            elements = list(of_map)
            for first in range(0, len(elements), size):
                self._workers.submit(self._begin_all, EffectKind.LAUNCH_ATTEMPTS, elements[first : first + size])

    def reconcile(self, effects: Sequence[Effect]) -> None:
        """After a restart: have the executor adopt, report or run what may still be running, obey the rest again.

        Attempts that are to be ended are reconciled first, so that the executor knows their processes.
        """
        launches, rest = [], []
        for effect in effects:
            key = AttemptKey(effect.run, effect.node, effect.attempt, effect.element)
            record = self._record_of(key.run)
            if record is None:
                continue
            is_process = effect.kind in _OF_PROCESSES and self._runs_processes(record, key)
            waits = effect.kind == EffectKind.LAUNCH_ATTEMPTS and self._may_wait_for_cache(record, key)
            if is_process and waits:
                self._maybe_running.add(key)
            elif is_process:
                launch = self._prepare_again(record, key)
                if launch is not None:
                    launches.append(launch)
            if waits or not is_process or effect.kind != EffectKind.LAUNCH_ATTEMPTS:
                rest.append(effect)
        self._executor.reconcile(launches)
        self.obey(rest)

    def on_report(self, report: AttemptReport) -> None:
        """Take what the executor saw."""
        key = report.key
        if report.kind is ReportKind.STARTED:
            # Of elements no more is kept than their phases: there may be millions.
            facts = (AttemptObserved(*key, log_uri=report.log_uri),) if key.element == NO_ELEMENT else ()
            self._post(Event(int(EventKind.ATTEMPT_STARTED), *key), facts)
        elif report.kind is ReportKind.ABORTED:
            self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), self._caching.release(key))
        elif not self._is_closed:
            self._judge.add(report)

    def close(self) -> None:
        """Finish what is queued and stop; what waits for space is left to the next start."""
        self._is_closed = True
        self._held.close()
        self._caching.close()
        self._workers.shutdown(wait=True)

    # Starting

    def _begin_all(self, kind: int, keys: Sequence[AttemptKey]) -> None:
        """Obey effects of a kind, then hand what is to be run to the executor."""
        prepared = [launch for key in keys if (launch := self._guard(kind, key)) is not None]
        launches = [launch for launch in prepared if self._leave(launch.key)]
        again = [launch for launch in launches if launch.key in self._maybe_running]
        fresh = [launch for launch in launches if launch.key not in self._maybe_running]
        self._maybe_running.difference_update(launch.key for launch in again)
        self._hand_over(self._executor.reconcile, again)
        self._hand_over(self._executor.launch, fresh)

    def _hand_over(self, call: Callable[[Sequence[AttemptLaunch]], None], launches: Sequence[AttemptLaunch]) -> None:
        if not launches:
            return
        try:
            call(launches)
        except Exception as error:
            for launch in launches:
                self._judge.fail(launch.key, error)

    def _guard(self, kind: int, key: AttemptKey) -> AttemptLaunch | None:
        """Obey one effect; whatever goes wrong becomes the node's failure, so that no run waits for ever."""
        try:
            record = self._record_of(key.run)
            if record is not None and not self._is_cancelled(key):
                return self._begin(EffectKind(kind), record, key)
            self._settle(key)
        except UnavailableError:
            logger.info("the engine stops; %s is left to the next start", key)
        except StorageFullError as error:
            logger.warning("work goes on when there is space: %s", error)
            self._held.hold(partial(self._begin_all, kind, [key]))
        except Exception as error:
            with self._lock:
                self._preparing.discard(key)
                self._cancelled.discard(key)
            self._judge.fail(key, error)
        return None

    def _begin(self, kind: EffectKind, record: ExecutionRecord, key: AttemptKey) -> AttemptLaunch | None:
        """Obey one effect, but for a launch that is returned."""
        node_kind = self._kind(record, key.node)
        if kind == EffectKind.RESOLVE_OUTPUTS:
            facts = self._gather(record, key) if node_kind == NodeKind.MAP else self._resolve_outputs(record, key)
            self._done(key, Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), facts)
            return None
        taken = self._take_over.take_over(record, key)
        if taken is not None:
            self._done(key, *taken)
        elif kind == EffectKind.OPEN_SCOPE:
            self._write_inputs(record, key)
            self._done(key, Event(int(EventKind.SCOPE_OPENED), *key))
        elif kind == EffectKind.DECIDE_BRANCH:
            self._decide_branch(record, key)
        elif kind == EffectKind.OPEN_MAP:
            self._write_inputs(record, key)
            self._done(key, self._maps.open(record, key))
        elif node_kind == NodeKind.GATE:
            self._open_gate(record, key)
        elif node_kind == NodeKind.CHILD_RUN:
            self._start_child(record, key)
        elif not self._caching.is_cached(record, key.node) or self._has_to_run(kind, record, key):
            return self._launch_task(record, key)
        return None

    def _has_to_run(self, kind: EffectKind, record: ExecutionRecord, key: AttemptKey) -> bool:
        """Look the outputs of an attempt up; if another is making them, look again later."""
        self._write_node_inputs(record, key)
        facts = self._caching.look_up(record, key)
        if facts is not None:
            self._done(key, Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), facts)
            return False
        if not self._caching.reserve(record, key):
            self._held.hold(partial(self._begin_all, kind, [key]))
            return False
        return True

    def _launch_task(self, record: ExecutionRecord, key: AttemptKey) -> AttemptLaunch | None:
        launch = self._launcher.prepare(record, key)
        if isinstance(launch, AttemptLaunch):
            return launch
        self._done(key, *self._started_by_itself(record, key, launch))
        return None

    def _started_by_itself(
        self, record: ExecutionRecord, key: AttemptKey, result: InstantResult
    ) -> tuple[Event, tuple[Fact, ...]]:
        self._data.write_attempt_outputs(record, key, result.outputs)
        if result.after_ns > 0:
            return Event(int(EventKind.ATTEMPT_STARTED), *key, argument=result.after_ns), ()
        facts = self._caching.remember(record, key, result.outputs)
        return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), facts

    def _decide_branch(self, record: ExecutionRecord, key: AttemptKey) -> None:
        program = self._programs.of_record(record)
        inputs = literals_pb2.LiteralMap.FromString(self._write_inputs(record, key))
        chosen = decide(program.template[key.node].branch_node, inputs)
        self._done(key, Event(int(EventKind.BRANCH_DECIDED), *key, argument=program.arms[key.node][chosen]))

    def _open_gate(self, record: ExecutionRecord, key: AttemptKey) -> None:
        gate = self._programs.of_record(record).template[key.node].gate_node
        self._write_inputs(record, key)
        duration_ns, awaited = sleep_ns(gate), awaited_signal(gate)
        if duration_ns is not None:
            self._done(key, Event(int(EventKind.ATTEMPT_STARTED), *key, argument=duration_ns))
        elif awaited is None:
            raise InternalError(f"gate {self._data.unique_id(record, key.node)} waits for nothing")
        elif self._leave(key):
            self._ask(lambda state, _now: decide_gate_opened(state, key, awaited))

    def _start_child(self, record: ExecutionRecord, key: AttemptKey) -> None:
        plan = self._programs.of_record(record).template[key.node].workflow_node.launchplan_ref
        inputs = self._write_inputs(record, key)
        self._children.start(record, key, entity_id(plan), inputs)
        if not self._leave(key, settle=False):
            self._children.stop(record, key)

    def _write_node_inputs(self, record: ExecutionRecord, key: AttemptKey) -> None:
        if key.element == NO_ELEMENT:
            self._write_inputs(record, key)

    def _write_inputs(self, record: ExecutionRecord, key: AttemptKey) -> bytes:
        inputs = self._data.resolve_inputs(record, key.node)
        self._data.write_inputs(record, key.node, inputs)
        return inputs

    def _gather(self, record: ExecutionRecord, key: AttemptKey) -> tuple[Fact, ...]:
        self._maps.gather(record, key)
        return ()

    def _resolve_outputs(self, record: ExecutionRecord, key: AttemptKey) -> tuple[Fact, ...]:
        """Resolve an end node: its inputs are the outputs of the workflow it ends. Return what the catalog is told."""
        outputs = self._write_inputs(record, key)
        self._data.write_outputs(record, key.node, 0, outputs)
        scope = self._programs.of_record(record).parent[key.node]
        if scope < 0:
            return ()
        around = AttemptKey(key.run, scope, int(record.nodes.attempt[scope]))
        self._data.write_outputs(record, scope, around.attempt, outputs)
        return self._caching.remember(record, around, outputs)

    # Being called off while something is prepared

    def _is_cancelled(self, key: AttemptKey) -> bool:
        with self._lock:
            return key in self._cancelled

    def _settle(self, key: AttemptKey) -> None:
        """Confirm that an attempt which was called off while it was prepared never ran."""
        self._done(key, Event(int(EventKind.ATTEMPT_ABORTED), *key))

    def _done(self, key: AttemptKey, event: Event, facts: Sequence[Fact] = ()) -> None:
        with self._lock:
            self._preparing.discard(key)
            if key in self._cancelled:
                self._cancelled.discard(key)
                event, facts = Event(int(EventKind.ATTEMPT_ABORTED), *key), ()
        self._post(event, facts)

    def _leave(self, key: AttemptKey, *, settle: bool = True) -> bool:
        """End the preparation of what lives on outside; return False if it was called off meanwhile."""
        with self._lock:
            self._preparing.discard(key)
            cancelled = key in self._cancelled
            self._cancelled.discard(key)
        if cancelled and settle:
            self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), ())
        return not cancelled

    def _abort(self, keys: Sequence[AttemptKey]) -> None:
        running = []
        for key in keys:
            with self._lock:
                if key in self._preparing:
                    self._cancelled.add(key)
                    continue
            record = self._record_of(key.run)
            kind = NodeKind.TASK if record is None else self._kind(record, key.node)
            if record is not None and kind == NodeKind.CHILD_RUN:
                self._workers.submit(self._stop_child, record, key)
            elif kind == NodeKind.TASK or key.element != NO_ELEMENT:
                running.append(key)
            else:
                self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), ())
        if running:
            self._executor.abort(running)

    def _stop_child(self, record: ExecutionRecord, key: AttemptKey) -> None:
        try:
            self._children.stop(record, key)
        except UnavailableError:
            logger.info("the engine stops; the child of %s is left to the next start", key)
        except StorageFullError:
            self._held.hold(partial(self._stop_child, record, key))

    def _kind(self, record: ExecutionRecord, node: int) -> int:
        return int(self._programs.of_record(record).kind[node])

    def _runs_processes(self, record: ExecutionRecord, key: AttemptKey) -> bool:
        return key.element != NO_ELEMENT or self._kind(record, key.node) == NodeKind.TASK

    def _may_wait_for_cache(self, record: ExecutionRecord, key: AttemptKey) -> bool:
        """Whether a cached attempt has not been seen to start: it may still be waiting for another's outputs."""
        return self._caching.is_cached(record, key.node) and not self._is_started(record, key)

    # Ends of runs

    def _on_run_finished(self, run: int) -> None:
        self._take_over.forget(run)
        child = self._record_of(run)
        if child is not None and child.details.parent is not None:
            self._workers.submit(self._tell_parent, child)

    def _tell_parent(self, child: ExecutionRecord) -> None:
        parent = child.details.parent
        record = None if parent is None else self._record_of(parent.run)
        if parent is None or record is None:
            return
        try:
            self._children.on_finished(record, child)
        except StorageFullError as error:
            logger.warning("work goes on when there is space: %s", error)
            self._held.hold(partial(self._tell_parent, child))
        except Exception as error:
            self._judge.fail(AttemptKey(parent.run, parent.node, parent.attempt), error)

    # After a restart

    def _prepare_again(self, record: ExecutionRecord, key: AttemptKey) -> AttemptLaunch | None:
        """Prepare an attempt that may be running; if space is wanting, have it reconciled later."""
        try:
            launch = self._launcher.prepare(record, key)
            if isinstance(launch, AttemptLaunch):
                return launch
            self._post(*self._started_by_itself(record, key, launch))
        except StorageFullError as error:
            logger.warning("work goes on when there is space: %s", error)
            self._held.hold(partial(self._reconcile_later, key))
        except Exception as error:
            if is_passing(error):  # its process may run on, so it must not be tried again beside it
                logger.warning("%s is looked after when the store answers: %s", key, error)
                self._held.hold(partial(self._reconcile_later, key))
            else:
                self._judge.fail(key, error)
        return None

    def _reconcile_later(self, key: AttemptKey) -> None:
        record = self._record_of(key.run)
        launch = None if record is None else self._prepare_again(record, key)
        if launch is not None:
            self._executor.reconcile([launch])


_OF_PROCESSES = frozenset({EffectKind.LAUNCH_ATTEMPTS, EffectKind.ABORT_ATTEMPTS})
