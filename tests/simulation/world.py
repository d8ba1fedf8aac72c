"""A server in a world that a seed decides about: core, fold and engine are real; disk, processes and time are not.

Everything happens on one thread. `World.live` does one thing after the other: a client asks, a worker obeys an effect,
a turn is taken, a process starts, ends or vanishes, a report arrives late or twice, time passes or jumps, the power
fails at a write. After every turn the core's invariants are checked. `World.settle` then lets all that is under way
come to its end, and `World.check` compares what is there with what must be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from random import Random
from unittest import mock

from flyteidl.admin import execution_pb2, launch_plan_pb2, signal_pb2, task_pb2
from flyteidl.core import identifier_pb2, literals_pb2

from flyte_kernel import Kernel
from flyte_kernel.engine import registration
from flyte_kernel.engine.batches import Decide
from flyte_kernel.engine.fold import SYSTEM_ATTEMPTS_EXTRA, Fold
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.ports import AttemptLaunch
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.signals import set_signal
from flyte_kernel.engine.snapshots import image_of, snapshot_fold
from flyte_kernel.engine.state import State
from flyte_kernel.engine.submission import create_execution, terminate_execution
from flyte_kernel.engine.turns import decode_turn
from flyte_kernel.errors import AdapterError, AlreadyExistsError, StorageFullError, UnavailableError
from flyte_kernel.ids import ExecutionId
from flyte_kernel.phases import TERMINAL_NODE_PHASES, AttemptPhase, NodePhase, RunPhase
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.testing import VirtualClock
from tests.simulation.disk import Crash, RealJournal, SimulatedBlobs, SimulatedJournal
from tests.simulation.executor import SimulatedExecutor
from tests.simulation.oracle import ANSWER, expected, requests, written
from tests.simulation.workflows import shapes
from tests.support.client import DOMAIN, PROJECT
from tests.support.fake_engine import FakeViews

__all__ = ["World", "quiet"]

SECOND = 1_000_000_000
_NAMES = [workflow.name for workflow in shapes.WORKFLOWS]
_PLUGINS = PluginRegistry([])
_STEPS_TO_SETTLE_MAX = 20_000
_UNDER_WAY = frozenset(NodePhase) - TERMINAL_NODE_PHASES - {NodePhase.UNDEFINED}


@contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be logged: faults are what this is about."""
    logger = logging.getLogger("flyte_kernel")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


class OneThread:
    """Workers whose jobs wait until the world does one."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], object]] = []
        self.held: list[Callable[[], None]] = []

    def submit(self, function: Callable[..., object], /, *arguments: object) -> None:
        """Keep a job."""
        self.jobs.append(lambda: function(*arguments))

    def later(self, pause_s: float, function: Callable[[], None]) -> None:
        """Keep a job that waits for better times."""
        del pause_s
        self.held.append(function)

    def shutdown(self, wait: bool = True) -> None:
        """Nothing to stop."""


class SimulatedEngine(Engine):
    """Takes turns when somebody waits for one, since nobody else is there to do so."""

    def commit(self, decide: Decide) -> object:
        """Decide and take the turn at once."""
        request = self.request(decide)
        while not request.done():
            self.turn()
        return request.result()


class World:
    """One server over its lives, and what clients were told."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.clock = VirtualClock(1_700_000_000 * SECOND)
        self.journal: SimulatedJournal | RealJournal = SimulatedJournal() if seed % 4 else RealJournal(self.random)
        for block in _registered():
            self.journal.append(block)
        self.journal.commit()
        self.blobs = SimulatedBlobs()
        self.journal.fate = self.blobs.fate = self.fate
        self.executor = SimulatedExecutor(self.blobs, self.compute)
        self.acknowledged: dict[ExecutionId, tuple[str, int]] = {}
        self.asked_to_end: set[ExecutionId] = set()
        self.is_harmed = False  # something happened that may rightly fail an execution
        self.faults = 0  # per mille of writes
        self.crashes = 0
        self.engine: SimulatedEngine
        self.workers: OneThread
        self.power_up()

    # The server

    def power_up(self) -> None:
        """Start a server on what the disk holds; the power may fail again at once."""
        while True:
            self.executor.close()
            self.journal.close()
            self.workers = OneThread()
            self.engine = SimulatedEngine(
                journal=self.journal,
                blobs=self.blobs,
                views=FakeViews(),
                executor=self.executor,
                plugin_of=_PLUGINS.plugin_of,
                settings=Settings(),
                clock=self.clock,
                workers=self.workers,
                pause=lambda _: None,
            )
            try:
                self.engine.begin()
            except Crash:
                self.crashes += 1
                continue
            return

    def crash(self) -> None:
        """The power fails."""
        self.crashes += 1
        self.power_up()

    def guarded(self, what: Callable[[], object]) -> None:
        """Do something during which the power may fail."""
        try:
            what()
        except Crash:
            self.crash()
        except (UnavailableError, StorageFullError):
            pass  # the caller was told

    def turn(self) -> bool:
        """Take a turn and look at the core."""
        happened = self.engine.turn()
        if happened:
            self.engine.check_invariants()
        return happened

    def fate(self, what: str) -> bool:
        """Decide about a write."""
        if self.random.randrange(1000) >= self.faults:
            return False
        match self.random.randrange(4):
            case 0:
                raise Crash
            case 1:
                return True
            case 2:
                raise StorageFullError(f"no space for a {what}")
            case _:
                if what == "blob":
                    self.is_harmed = True
                    raise AdapterError("the store is away", retryable=True)
                raise Crash

    def compute(self, launch: AttemptLaunch) -> dict[str, bytes]:
        """Return what a process writes."""
        command = list(launch.command)
        uri = command[command.index("--inputs") + 1]
        return written(launch, literals_pb2.LiteralMap.FromString(self.blobs.read(uri)))

    # What may happen

    def live(self, steps: int, *, faults: int) -> None:
        """Let things happen."""
        self.faults = faults
        happenings = (
            [self.ask] * 2
            + [self.work] * 8
            + [self.turn] * 8
            + [self.process] * 8
            + [self.report] * 8
            + [self.pass_time, self.retry, self.answer, self.rarely]
        )
        for _ in range(steps):
            self.guarded(self.random.choice(happenings))

    def ask(self) -> None:
        """A client starts an execution; an answer is a promise."""
        if len(self.acknowledged) >= 2:
            return
        name, a = self.random.choice(_NAMES), self.random.randrange(12)
        id_ = ExecutionId(PROJECT, DOMAIN, f"s{len(self.acknowledged)}")
        request = execution_pb2.ExecutionCreateRequest(project=id_.project, domain=id_.domain, name=id_.name)
        plan = request.spec.launch_plan
        plan.resource_type = identifier_pb2.LAUNCH_PLAN
        plan.project, plan.domain, plan.name, plan.version = PROJECT, DOMAIN, name, "v1"
        request.inputs.literals["a"].scalar.primitive.integer = a
        try:
            create_execution(self.engine, request)
        except AlreadyExistsError:
            known = self.engine.find_execution(id_)  # one that was written before its answer was lost
            assert known is not None
            name, a = known.launch_entity.name, _integer(known.inputs, "a")
        self.acknowledged[id_] = (name, a)

    def work(self) -> None:
        """A worker does a job, not always the oldest."""
        jobs = self.workers.jobs
        if jobs:
            jobs.pop(self.random.randrange(min(len(jobs), 3)))()

    def retry(self) -> None:
        """What was held back is tried again."""
        held, self.workers.held = self.workers.held, []
        for function in held:
            function()

    def answer(self) -> bool:
        """Somebody sets a signal that an execution asked for; say whether there was one without a value."""
        records = [record for record in map(self.engine.find_execution, self.acknowledged) if record is not None]
        awaited = [
            (record, signal_id)
            for record in records
            for signal_id, signal in record.details.signals.items()
            if not record.is_terminal and not signal.value
        ]
        if not awaited:
            return False
        record, signal_id = self.random.choice(awaited)
        request = signal_pb2.SignalSetRequest()
        request.id.signal_id = signal_id
        execution = request.id.execution_id
        execution.project, execution.domain, execution.name = record.id
        request.value.scalar.primitive.integer = ANSWER
        set_signal(self.engine, request)
        return True

    def process(self) -> None:
        """A process comes to an end, well or not."""
        keys = list(self.executor.processes)
        if not keys:
            return
        key = self.random.choice(keys)
        if self.executor.processes[key].is_stopping and self.random.randrange(4):
            self.executor.go(key)
            return
        match self.random.randrange(60 if self.faults else 6):
            case 6 | 7:
                self.is_harmed = True
                self.executor.fail(key, killed=False)
            case 8:
                self.is_harmed = True
                self.executor.fail(key, killed=True)
            case 9 | 10:
                self.executor.lose(key)
                self.crash()  # a machine that goes takes its server along
            case _:
                self.executor.finish(key)

    def report(self) -> None:
        """A report arrives."""
        if self.executor.reports:
            self.executor.deliver(self.random)

    def pass_time(self) -> None:
        """Time passes, now and then a lot of it."""
        seconds = self.random.choice([0, 1, 1, 5, 40])
        self.is_harmed |= seconds > 20
        self.clock.advance(seconds * SECOND)

    def rarely(self) -> None:
        """What happens seldom: a crash in between, a request to end."""
        if self.random.randrange(3) == 0 and self.faults:
            self.crash()
        elif self.random.randrange(6) == 0 and self.acknowledged:
            id_ = self.random.choice(list(self.acknowledged))
            record = self.engine.find_execution(id_)
            if record is not None and not record.is_terminal:
                request = execution_pb2.ExecutionTerminateRequest(cause="enough")
                request.id.project, request.id.domain, request.id.name = id_
                self.asked_to_end.add(id_)
                terminate_execution(self.engine, request)

    def end(self) -> None:
        """Look at what is left of the journal after some rot, and remove it."""
        if isinstance(self.journal, RealJournal):
            self.journal.flip()
            self.journal.remove()

    # The end

    def settle(self) -> None:
        """No more faults: everything that is under way comes to its end."""
        self.faults = 0
        for _ in range(_STEPS_TO_SETTLE_MAX):
            if self.turn():
                continue
            if self.workers.jobs:
                self.work()
            elif self.executor.reports:
                self.report()
            elif self.executor.processes:
                key = next(iter(self.executor.processes))
                (self.executor.go if self.executor.processes[key].is_stopping else self.executor.finish)(key)
            elif self.answer():
                pass
            elif self.workers.held:
                self.retry()
                self.clock.advance(SECOND)
            elif (deadline := self.engine.next_deadline()) is not None:
                self.clock.advance(max(0, deadline - self.clock()))
            else:
                return
        raise AssertionError("it never comes to rest")

    def check(self) -> None:
        """Compare with what must be."""
        assert not self.executor.violations, self.executor.violations
        replayed = _replayed(self.journal)
        assert self.engine.snapshot() == snapshot_fold(replayed), "a replay of the journal comes to something else"
        for id_, (workflow, a) in self.acknowledged.items():
            record = self.engine.find_execution(id_)
            assert record is not None, f"{id_.name} was acknowledged and is gone"
            again = replayed.state.executions[id_]
            assert image_of(record) == image_of(again), f"a replay tells another story of {id_.name}"
            self.check_end(record)
            phase = RunPhase(record.phase)
            assert phase in (RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.ABORTED), f"{id_.name} is {phase.name}"
            if phase == RunPhase.SUCCEEDED:
                found = _integer(self.engine.data.execution_outputs(record), "o0")
                assert found == expected(workflow, a), f"{workflow}({a}) gave {found}"
            elif phase == RunPhase.FAILED:
                assert self.is_harmed or self.asked_to_end, f"{workflow}({a}) failed for nothing: {record.error!r}"
            else:
                assert id_ in self.asked_to_end, f"{id_.name} was aborted for nothing"

    def check_end(self, record: ExecutionRecord) -> None:
        """Of an execution that has ended nothing is under way, and what handles its failure has been there."""
        under_way = [int(phase) for phase in record.nodes.phase if phase in _UNDER_WAY]
        assert not under_way, f"{record.id.name} ended with nodes in {under_way}"
        attempts = [phase for phase in record.attempts.phase if phase in (AttemptPhase.QUEUED, AttemptPhase.RUNNING)]
        assert not attempts, f"{record.id.name} ended with {len(attempts)} attempts under way"
        handler = self.engine.program_of(record).failure_handler(-1)
        if record.phase == RunPhase.FAILED and handler is not None:
            assert record.nodes.phase[handler] in TERMINAL_NODE_PHASES, f"nobody handled the failure of {record.id}"


def _integer(literals: bytes, name: str) -> int:
    return int(literals_pb2.LiteralMap.FromString(literals).literals[name].scalar.primitive.integer)


@cache
def _registered() -> tuple[bytes, ...]:
    """Return a journal in which everything is registered."""
    journal = SimulatedJournal()
    engine = SimulatedEngine(
        journal=journal,
        blobs=SimulatedBlobs(),
        views=FakeViews(),
        executor=SimulatedExecutor(SimulatedBlobs(), lambda _: {}),
        plugin_of=_PLUGINS.plugin_of,
        settings=Settings(),
        clock=VirtualClock(1_699_000_000 * SECOND),
        workers=OneThread(),
    )
    for request in requests():
        if isinstance(request, task_pb2.TaskCreateRequest):
            registration.register_task(engine, request)
        elif isinstance(request, launch_plan_pb2.LaunchPlanCreateRequest):
            registration.register_launch_plan(engine, request)
        else:
            registration.register_workflow(engine, request)
    return tuple(journal.blocks)


def _replayed(journal: SimulatedJournal | RealJournal) -> Fold:
    """Fold everything from the beginning, by columns wherever there are two rows of a kind."""
    state = State()
    fold = Fold(state, Kernel(system_attempts_extra=SYSTEM_ATTEMPTS_EXTRA), Programs(state.registry), {})
    with mock.patch("flyte_kernel.engine.fold.COLUMNAR_MIN", 2):
        for sequence, payload in journal.replay(0):
            fold.apply(*decode_turn(sequence, payload))
    return fold
