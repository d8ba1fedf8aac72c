"""A snapshot restores to the same core, and anything else is refused."""

from __future__ import annotations

import pytest

from flyte_kernel import Kernel
from flyte_kernel.errors import CorruptRecordError, UnknownNodeError
from flyte_kernel.phases import EventKind, FailureClass, RunPhase
from tests.support.core_world import CoreWorld, shape
from tests.support.oracle import Event
from tests.support.oracle_driver import effects_of, graph_of, step


@pytest.fixture
def world() -> CoreWorld:
    """A run with retries, a line, an open scope and two deadlines."""
    world = CoreWorld(
        shape(
            "tttwt",
            [(0, 1)],
            scope={4: 3},
            attempts_max={0: 3},
            execution_timeout={0: 50},
            active_timeout={3: 70},
        ),
        parallelism=1,
    )
    world.failed(0, FailureClass.USER_RECOVERABLE)
    world.started(0, attempt=1, now=10)
    world.opened(3, now=11)
    return world


def test_a_restored_core_goes_on_as_if_nothing_had_happened(world: CoreWorld) -> None:
    restored = Kernel.restore(world.kernel.snapshot())
    restored.check_invariants()
    assert restored.phases(0).tolist() == world.kernel.phases(0).tolist()
    assert restored.counters(0, 0) == (1, 1, 0)
    assert restored.next_deadline() == 60
    for now, events in (
        (60, []),
        (61, [Event(EventKind.ATTEMPT_ABORTED, 0, 0, 1)]),
        (62, [Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0, 2), Event(EventKind.ATTEMPT_SUCCEEDED, 0, 2)]),
        (90, [Event(EventKind.RUN_CREATED, 1, 0)]),
    ):
        expected, found = step(world.kernel, now, events), step(restored, now, events)
        assert effects_of(found) == effects_of(expected)
        assert effects_of(found)
    assert restored.snapshot() == world.kernel.snapshot()


def test_a_snapshot_is_the_same_bytes_for_the_same_state(world: CoreWorld) -> None:
    assert world.kernel.snapshot() == world.kernel.snapshot() == Kernel.restore(world.kernel.snapshot()).snapshot()


def test_released_runs_and_graphs_stay_released() -> None:
    world = CoreWorld(shape("t"))
    world.kernel.release_graph(0)
    world.step(Event(EventKind.RUN_CREATED, 1, 0))
    restored = Kernel.restore(world.kernel.snapshot())
    step(restored, 0, [Event(EventKind.ATTEMPT_SUCCEEDED, 0, 0)])
    assert restored.run_phase(0) == RunPhase.SUCCEEDED
    restored.release(0)
    again = Kernel.restore(restored.snapshot())
    assert again.run_count == 1
    with pytest.raises(UnknownNodeError, match="no run 0"):
        again.run_phase(0)
    with pytest.raises(UnknownNodeError, match="no graph 0"):
        again.release_graph(0)


def test_settings_are_part_of_a_snapshot() -> None:
    kernel = Kernel(system_attempts_extra=0, record_transitions=False)
    kernel.add_graph(graph_of(shape("t")))
    restored = Kernel.restore(kernel.snapshot())
    turn = step(restored, 0, [Event(EventKind.RUN_CREATED, 0, 0), Event(EventKind.ATTEMPT_FAILED, 0, 0, 0, argument=1)])
    assert len(turn.transition_phase) == 0
    assert restored.run_phase(0) == RunPhase.FAILED


def test_any_changed_byte_is_found(world: CoreWorld) -> None:
    data = world.kernel.snapshot()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 0x40
        with pytest.raises(CorruptRecordError, match="snapshot cannot be read"):
            Kernel.restore(bytes(changed))


def test_any_cut_is_found(world: CoreWorld) -> None:
    data = world.kernel.snapshot()
    for length in range(len(data)):
        with pytest.raises(CorruptRecordError):
            Kernel.restore(data[:length])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"PK" + data, "it is not one of this core"),
        (lambda data: data[:4] + bytes([data[4] + 1]) + data[5:], "another format version"),
        (lambda data: data[:4], "cut short"),
        (lambda data: data + b"x", "damaged"),
    ],
)
def test_a_foreign_snapshot_is_told_apart(change, message: str, world: CoreWorld) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(CorruptRecordError, match=message):
        Kernel.restore(change(world.kernel.snapshot()))
