"""Damaged bytes never do more to a decoder than make it say so."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from random import Random

import pytest
from flyteidl.core import errors_pb2, literals_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_kernel import Kernel
from flyte_kernel.engine.details import Details, Growth, MapDetails, Signal, encode_details
from flyte_kernel.engine.outcomes import classify
from flyte_kernel.engine.ports import AttemptReport, BlobNotFoundError, ReportKind
from flyte_kernel.engine.snapshots import restore_fold
from flyte_kernel.engine.turns import decode_turn
from flyte_kernel.errors import CorruptRecordError
from flyte_kernel.ids import AttemptKey
from tests.simulation.world import World, quiet

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(300)]

EXAMPLES = int(os.environ.get("FLYTE_KERNEL_EXAMPLES", "300"))
_MANY = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@cache
def lived() -> World:
    """A world in which something is under way."""
    with quiet():
        world = World(3)
        world.live(150, faults=0)
    assert any(not record.is_terminal for record in world.engine.state.runs.values())
    return world


def damaged(random: Random, data: bytes) -> bytes:
    """Flip, cut, repeat or insert a little."""
    changed = bytearray(data)
    for _ in range(random.randrange(1, 6)):
        place = random.randrange(len(changed) + 1)
        match random.randrange(4):
            case 0 if place < len(changed):
                changed[place] ^= 1 << random.randrange(8)
            case 1:
                del changed[place : place + random.choice([1, 2, 50])]
            case 2:
                changed[place:place] = random.randbytes(random.choice([1, 4, 30]))
            case _:
                changed[place:place] = changed[place // 2 : place // 2 + 8]
    return bytes(changed)


def read_turn(data: bytes) -> object:
    return decode_turn(1, data)


SAMPLES: dict[str, tuple[Callable[[bytes], object], Callable[[], list[bytes]]]] = {
    "core snapshot": (Kernel.restore, lambda: [lived().engine._fold.kernel.snapshot()]),
    "snapshot": (restore_fold, lambda: [lived().engine.snapshot()]),
    "turn": (read_turn, lambda: lived().journal.blocks[-40:]),
}


@pytest.mark.parametrize("name", SAMPLES)
@_MANY
@given(random=st.randoms(use_true_random=False))
def test_damage_is_told(name: str, random: Random) -> None:
    decode, samples = SAMPLES[name]
    with suppress(CorruptRecordError):
        decode(damaged(random, random.choice(samples())))


@_MANY
@given(random=st.randoms(use_true_random=False))
def test_damaged_documents_of_tasks_are_the_tasks_failure(random: Random) -> None:
    outputs = literals_pb2.LiteralMap(literals={"o0": literals_pb2.Literal(hash="h")}).SerializeToString()
    error = errors_pb2.ErrorDocument(error=errors_pb2.ContainerError(code="c", message="m")).SerializeToString()
    documents = {"outputs.pb": damaged(random, outputs)}
    if random.randrange(2):
        documents["error.pb"] = damaged(random, error)

    def read(uri: str) -> bytes:
        found = documents.get(uri.rpartition("/")[2])
        if found is None:
            raise BlobNotFoundError(uri)
        return found

    report = AttemptReport(AttemptKey(0, 0, 0), ReportKind.EXITED, exit_code=0)
    outcome = classify(report, declares_outputs=True, read=read, output_prefix="s3://there")
    assert outcome.succeeded != bool(outcome.error)


def test_details_come_back() -> None:
    details = Details(
        growths=[Growth(1, 0, b"closure")], signals={"s": Signal(b"t", 1, 2)}, maps={3: MapDetails(0, 7, cache={2: 1})}
    )
    assert encode_details(Details()) == b""
    assert encode_details(details)
