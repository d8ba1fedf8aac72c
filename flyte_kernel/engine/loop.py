"""The engine: one thread that turns an inbox into durable turns.

A turn drains the inbox, makes its events and facts durable, folds them, answers the callers and obeys the effects. An
effect is never obeyed, and no caller answered, before the events behind it are durable.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from flyte_kernel import Kernel
from flyte_kernel.compile.program import Program
from flyte_kernel.engine.batches import Asked, Batch, Decide, Happened, Request
from flyte_kernel.engine.caching import Caching
from flyte_kernel.engine.children import ChildRuns
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.elements import ElementColumns, elements_of
from flyte_kernel.engine.facts import Fact
from flyte_kernel.engine.fold import SYSTEM_ATTEMPTS_EXTRA, Applied, Fold
from flyte_kernel.engine.gathering import Maps
from flyte_kernel.engine.growth import Growths
from flyte_kernel.engine.launching import TaskLauncher
from flyte_kernel.engine.obey import Obeyer, Workers, WorkerThreads
from flyte_kernel.engine.ports import Blobs, Executor, JournalPort, TaskPlugin
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.snapshots import restore_fold, snapshot_fold
from flyte_kernel.engine.state import State
from flyte_kernel.engine.steps import Effect, Step
from flyte_kernel.engine.submission import create_child_execution, end_execution
from flyte_kernel.engine.takeover import TakeOver
from flyte_kernel.engine.turns import Event, EventColumns, decode_turn, encode_turn
from flyte_kernel.engine.under_way import under_way
from flyte_kernel.engine.views import TurnRows, Views
from flyte_kernel.engine.waits import Waits
from flyte_kernel.errors import KernelError, StorageError, StorageFullError, UnavailableError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey, EntityId, ExecutionId
from flyte_kernel.phases import NodePhase

__all__ = ["Engine"]

logger = logging.getLogger(__name__)

_BATCH_MAX = 4096
_FINISHED_IN_MEMORY_MAX = 1024  # finished executions kept for the clients that ask right after the end
_SNAPSHOT_BYTES = 64 * 1024 * 1024  # journal written between two snapshots
_RETRY_FULL_DISK_S = 0.5
_STEPS_MAX = 1024  # steps of the core that are committed together


_WAKE = object()


class Engine:
    """Ties journal, core, executor, blobs and views together; `start` once, `close` once."""

    def __init__(
        self,
        *,
        journal: JournalPort,
        blobs: Blobs,
        views: Views,
        executor: Executor,
        plugin_of: Callable[[str], TaskPlugin],
        settings: Settings,
        clock: Callable[[], int] = time.time_ns,
        workers: Workers | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.blobs = blobs
        self.views = views
        self.settings = settings
        self._journal = journal
        self._executor = executor
        self._clock = clock
        self._pause = pause
        self._inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._deferred: list[object] = []
        self._closing = False
        self._gate = threading.Lock()  # nobody enters the inbox once it is no longer read
        self._failure: KernelError | None = None
        self._finished: OrderedDict[int, int] = OrderedDict()
        self._bytes_since_snapshot = 0
        self._fold = self._recover()
        self.data = NodeData(blobs, self._fold.programs)
        self._waits = Waits(
            data=self.data, programs=self._fold.programs, plugin_of=plugin_of, record_of=self.state.runs.get
        )
        self._obeyer = self._make_obeyer(plugin_of, workers or WorkerThreads())
        self._thread = threading.Thread(target=self._run, name="flyte-kernel-loop", daemon=True)

    def _make_obeyer(self, plugin_of: Callable[[str], TaskPlugin], workers: Workers) -> Obeyer:
        programs = self._fold.programs
        take_over = TakeOver(self.data, programs, self.find_execution, self.map_elements)
        return Obeyer(
            blobs=self.blobs,
            data=self.data,
            programs=programs,
            executor=self._executor,
            launcher=TaskLauncher(
                blobs=self.blobs,
                data=self.data,
                programs=programs,
                plugin_of=plugin_of,
                settings=self.settings,
                take_over=take_over,
            ),
            children=ChildRuns(
                data=self.data,
                find=self.find_execution,
                create=partial(create_child_execution, self),
                terminate=partial(end_execution, self),
                post=self._post,
            ),
            growths=Growths(self.state.registry, programs),
            maps=Maps(data=self.data, programs=programs, settings=self.settings, elements=self.map_elements),
            caching=Caching(
                blobs=self.blobs,
                data=self.data,
                programs=programs,
                state=self.state,
                commit=self.commit,
                later=workers.later,
            ),
            take_over=take_over,
            record_of=self.state.runs.get,
            is_started=self._is_started,
            post=self._post,
            post_all=self._post_all,
            ask=self._ask,
            workers=workers,
        )

    # For everybody

    @property
    def state(self) -> State:
        """The state as of the last turn; read only."""
        return self._fold.state

    @property
    def failure(self) -> KernelError | None:
        """Why the engine stopped working, if it did: only a restart helps."""
        return self._failure

    def start(self) -> None:
        """Begin to work, on a thread of the engine's own."""
        self.begin()
        self._thread.start()

    def begin(self) -> None:
        """Ask executors what became of attempts that were under way; who calls this calls `turn` from then on."""
        self._executor.start(self._obeyer.on_report)
        self._reconcile()

    def turn(self) -> bool:
        """Take what waits, and what is due, through one turn without waiting for more; say whether there was anything.

        For those who drive the engine themselves, in a loop or thread of their own; what it raises ends the engine.
        """
        items = self._drain_now()
        deadline = self._fold.kernel.next_deadline()
        if not items and (deadline is None or deadline > self._clock()):
            return False
        self._turn(items)
        return True

    def commit(self, decide: Decide) -> object:
        """Run `decide(state, now_ns)` on the loop's thread and return its result once its turn is durable.

        A RequestError that `decide` raises goes to the caller and nothing is written; UnavailableError while the engine
        drains; StorageFullError if the disk is full.
        """
        return self.request(decide).result()

    def request(self, decide: Decide) -> Future[object]:
        """Do the same without waiting: the future has what `commit` returns or raises."""
        request = Request(decide)
        with self._gate:
            if self._closing or self._failure is not None:
                raise self._unavailable()
            self._inbox.put(request)
        return request.future

    def find_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return what is known of an execution, from memory or from the store; None if there is none."""
        record = self.state.executions.get(id)
        return record if record is not None else self.views.load_execution(id)

    def program(self, workflow: EntityId) -> Program:
        """Return the runnable shape of a registered workflow."""
        return self._fold.programs.of(workflow)

    def program_of(self, record: ExecutionRecord) -> Program:
        """Return the runnable shape of an execution, with the nodes it grew."""
        return self._fold.programs.of_record(record)

    def map_elements(
        self, record: ExecutionRecord, node: int, first: int = 0, count: int | None = None
    ) -> ElementColumns:
        """Return where elements of a map node stand, `count` from `first` on."""
        return elements_of(record, node, self._fold.kernel, first, count)

    def next_deadline(self) -> int | None:
        """Return when something happens by itself, in nanoseconds since the epoch."""
        return self._fold.kernel.next_deadline()

    def check_invariants(self) -> None:
        """Raise InternalError if the core's arrays contradict each other."""
        self._fold.kernel.check_invariants()

    def snapshot(self) -> bytes:
        """Return the state as one byte string; equal states give equal ones."""
        return snapshot_fold(self._fold)

    def story(self, run: int, node: int) -> str:
        """Return what the core remembers of a node, for error reports."""
        return self._fold.kernel.story(run, node)

    def close(self) -> None:
        """Answer what was asked, leave running attempts to the next start, snapshot, release the folders."""
        with self._gate:
            self._closing = True
        self._executor.close()
        self._inbox.put(_WAKE)
        if self._thread.is_alive():
            self._thread.join()
        self._take_last_turns()  # what is being obeyed may wait for them
        self._obeyer.close()
        self._take_last_turns()
        if self._failure is None:
            self._snapshot()
        self.views.close()
        self._journal.close()

    # Recovery

    def _recover(self) -> Fold:
        """Rebuild the state; the views get every row they have not seen, from the very beginning if they lost all."""
        reached = self.views.sequence
        if reached > self._journal.last_sequence:
            raise KernelError(
                f"the views have reached journal sequence {reached} but the journal ends at "
                f"{self._journal.last_sequence}: journal files are missing, restore them or remove the views file"
            )
        snapshot = self._journal.load_snapshot()
        after = 0
        if snapshot is not None and snapshot[0] <= reached:
            after, fold = snapshot[0], restore_fold(snapshot[1])
        else:
            state = State()
            kernel = Kernel(system_attempts_extra=SYSTEM_ATTEMPTS_EXTRA)
            fold = Fold(state, kernel, Programs(state.registry), {})
        self._fold = fold
        with _collector_resting():
            for sequence, payload in self._journal.replay(after):
                self._bytes_since_snapshot += len(payload)
                applied = fold.apply(*decode_turn(sequence, payload))
                self._show(sequence, applied, already_shown=sequence <= reached)
        return fold

    def _reconcile(self) -> None:
        """Obey again whatever was under way when the last server ended; phases tell what that was."""
        effects: list[Effect] = []
        for record in self.state.runs.values():
            if not record.is_terminal:
                effects += under_way(record, self.program_of(record), self._waits.waiting, self.map_elements)
        self._obeyer.reconcile(self._end_waits(max(self._clock(), self._fold.now), effects))

    def _is_started(self, record: ExecutionRecord, key: AttemptKey) -> bool:
        """Whether an attempt at a cached task, or at an element of a map of them, is known to have begun."""
        if key.element == NO_ELEMENT:
            return (key.node, key.attempt) in record.attempts.row_of
        return int(self.map_elements(record, key.node, key.element, 1).phase[0]) != NodePhase.QUEUED

    # The loop

    def _post(self, event: Event, facts: Sequence[Fact] = ()) -> None:
        self._post_all([(event, facts)])

    def _post_all(self, told: Sequence[tuple[Event, Sequence[Fact]]]) -> None:
        if told:
            self._inbox.put(Happened(told))

    def _ask(self, decide: Decide) -> None:
        self._inbox.put(Asked(decide))

    def _run(self) -> None:
        try:
            while not self._closing and self._failure is None:
                self._turn(self._drain())
        except BaseException as error:
            self._fail(error)

    def _drain(self) -> list[object]:
        """Wait for something to happen or a deadline to pass; return all that waits, up to a bound."""
        if not self._deferred:
            deadline = self._fold.kernel.next_deadline()
            timeout = None if deadline is None else max(0.0, (deadline - self._clock()) / 1e9)
            try:
                self._deferred.append(self._inbox.get(timeout=timeout))
            except queue.Empty:
                return []
        return self._drain_now()

    def _drain_now(self) -> list[object]:
        items, self._deferred = self._deferred, []
        while len(items) < _BATCH_MAX:
            try:
                items.append(self._inbox.get_nowait())
            except queue.Empty:
                break
        return items

    def _turn(self, items: Sequence[object]) -> None:
        now = max(self._clock(), self._fold.now)
        batch = self._put_together(items, now)
        deadline = self._fold.kernel.next_deadline()
        if not (batch.events or batch.facts or (deadline is not None and deadline <= now)):
            self._answer(batch)
            return
        columns = EventColumns.of(batch.events)
        payload = encode_turn(now, columns, batch.facts)
        try:
            sequence = self._journal.append(payload)
            self._journal.commit()
        except StorageFullError as error:
            self._on_full_disk(batch, error)
            return
        except Exception as error:
            self._refuse(batch, error)
            raise
        self._bytes_since_snapshot += len(payload)
        try:
            applied = self._fold.apply(now, columns, batch.facts)
            self._show(sequence, applied, already_shown=False)
        except Exception as error:
            self._refuse(batch, error)
            raise
        self._answer(batch)
        self._report_refusals(applied)
        self._obeyer.obey(self._end_waits(now, applied.effects))
        if self._bytes_since_snapshot >= _SNAPSHOT_BYTES:
            self._snapshot()

    def _end_waits(self, now: int, effects: Sequence[Effect]) -> list[Effect]:
        """Step on while the core asks for nodes that only wait; return the effects that are for the outside.

        Steps are durable before their records change; each is a block of its own, as if it had been a turn.
        """
        outside: list[Effect] = []
        while True:
            steps: list[Step] = []
            while len(steps) < _STEPS_MAX and (not steps or steps[-1].is_plain):
                events, others = self._waits.answer(effects)
                outside += others
                effects = []
                if not events:
                    break
                columns = EventColumns.of(events)
                self._append_surely(encode_turn(now, columns, ()))
                steps.append(self._fold.step(now, columns))
                effects = steps[-1].effects
            if not steps:
                return outside
            self._surely(self._journal.commit)
            applied = self._fold.apply_steps(now, steps)
            self._show(self._journal.last_sequence, applied, already_shown=False)
            self._report_refusals(applied)

    def _append_surely(self, payload: bytes) -> None:
        self._surely(lambda: self._journal.append(payload))
        self._bytes_since_snapshot += len(payload)

    def _surely(self, write: Callable[[], object]) -> None:
        """Write what the core has taken already: there is no way back, so a full disk is waited for."""
        while True:
            try:
                write()
                return
            except StorageFullError as error:
                logger.error("the journal's disk is full; work goes on when there is space: %s", error)
                if self._closing:
                    raise
                self._pause(_RETRY_FULL_DISK_S)

    def _put_together(self, items: Sequence[object], now: int) -> Batch:
        batch = Batch(self.state.run_count, self._fold.graph_count, self._fold.graph_of)
        for item in items:
            if isinstance(item, Happened):
                batch.add_happened(item)
            elif isinstance(item, (Request, Asked)) and not self._decide(item, batch, now):
                self._deferred.append(item)
        return batch

    def _decide(self, request: Request | Asked, batch: Batch, now: int) -> bool:
        """Take a request into the turn; False if it touches what this turn already changes."""
        try:
            decision = request.decide(self.state, now)
        except Exception as error:
            if isinstance(request, Asked):
                raise
            request.future.set_exception(error)
            return True
        return batch.add_decision(request, decision)

    def _answer(self, batch: Batch) -> None:
        for request, result in batch.answers:
            request.future.set_result(result)

    def _refuse(self, batch: Batch, error: Exception) -> None:
        for request, _ in batch.answers:
            request.future.set_exception(error)

    def _on_full_disk(self, batch: Batch, error: StorageFullError) -> None:
        """Tell the callers and keep what happened outside for a later turn."""
        logger.error("the journal's disk is full; work goes on when there is space: %s", error)
        self._journal.rollback()
        self._refuse(batch, error)
        if not self._closing:  # what happened outside is found again by the next start
            self._deferred = [*batch.to_keep, *self._deferred]
            self._pause(_RETRY_FULL_DISK_S)

    def _show(self, sequence: int, applied: Applied, *, already_shown: bool) -> None:
        """Hand a turn's rows to the views and let go of executions that they hold for good."""
        rows = applied.rows
        if not already_shown:
            stored = [self.views.load_execution(fact.id) for fact in applied.changed_in_store]
            changed = [record for record in stored if record is not None]
            for record, fact in zip(stored, applied.changed_in_store, strict=True):
                if record is not None:
                    record.archived, record.state_changed_at = fact.archived, self._fold.now
            self.views.append(sequence, replace(rows, executions=[*rows.executions, *changed]))
        for record in rows.executions:
            self._finished[record.run] = sequence
            self._finished.move_to_end(record.run)
        while len(self._finished) > _FINISHED_IN_MEMORY_MAX:
            run, finished_at = next(iter(self._finished.items()))
            if self.views.sequence < finished_at:
                break
            del self._finished[run]
            self.state.forget(self.state.runs[run])

    def _report_refusals(self, applied: Applied) -> None:
        for refusal in applied.refusals:
            logger.error("the core refused an event: %s", refusal)

    def _snapshot(self) -> None:
        sequence = self._journal.last_sequence
        try:
            self.views.append(sequence, TurnRows())
            self.views.flush()
            self._journal.write_snapshot(sequence, snapshot_fold(self._fold))
        except StorageError as error:
            logger.warning("no snapshot was written, the next start replays more: %s", error)
        self._bytes_since_snapshot = 0

    def _fail(self, error: BaseException) -> None:
        logger.critical("the engine stopped; restart the server", exc_info=error)
        with self._gate:
            self._failure = error if isinstance(error, KernelError) else KernelError(f"the engine stopped: {error!r}")
        self._take_last_turns()

    def _take_last_turns(self) -> None:
        """Answer everybody who came in before the gate was shut."""
        while items := self._drain_now():
            if self._failure is None:
                try:
                    self._turn(items)
                except Exception as error:
                    self._fail(error)
            else:
                for item in items:
                    if isinstance(item, Request):
                        item.future.set_exception(self._unavailable())

    def _unavailable(self) -> UnavailableError:
        if self._failure is None:
            return UnavailableError("the server is shutting down")
        return UnavailableError(f"the server must be restarted, it has stopped: {self._failure}")


@contextmanager
def _collector_resting() -> Iterator[None]:
    """Let nothing look for cycles while millions of objects are made that all stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
