"""One turn: the events and facts that become durable together, and their form in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyte_kernel.engine.facts import Fact
from flyte_kernel.errors import CorruptRecordError
from flyte_kernel.ids import NO_ELEMENT

__all__ = [
    "NEW_GRAPH",
    "NEW_RUN",
    "NO_NODE",
    "Decision",
    "Event",
    "EventColumns",
    "TurnRecord",
    "decode_turn",
    "encode_turn",
]

NO_NODE = 0xFFFF_FFFF
NEW_RUN = 0xFFFF_FFFF
NEW_GRAPH = -1


class Event(NamedTuple):
    """One row of the core's event columns; `kind` is a phases.EventKind.

    A RunCreated event carries NEW_RUN and NO_NODE: the loop gives it the next run index and its workflow's graph.
    A GraphGrown event carries NEW_GRAPH: the loop gives it the index of the graph that comes with it.
    """

    kind: int
    run: int
    node: int = NO_NODE
    attempt: int = 0
    element: int = NO_ELEMENT
    argument: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody's request comes to: facts and events to write, and the answer once they are durable."""

    facts: Sequence[Fact] = ()
    events: Sequence[Event] = ()
    result: object = None


@dataclass(frozen=True, slots=True)
class EventColumns:
    """The events of one turn as the core takes them: arrays of one length, uint8, uint32 (four times) and int64."""

    kind: NDArray[np.uint8]
    run: NDArray[np.uint32]
    node: NDArray[np.uint32]
    attempt: NDArray[np.uint32]
    element: NDArray[np.uint32]
    argument: NDArray[np.int64]

    @classmethod
    def of(cls, events: Sequence[Event]) -> EventColumns:
        """Turn rows into columns."""
        columns = zip(*events, strict=True) if events else ((),) * 6
        kind, run, node, attempt, element, argument = columns
        return cls(
            np.array(kind, np.uint8),
            np.array(run, np.uint32),
            np.array(node, np.uint32),
            np.array(attempt, np.uint32),
            np.array(element, np.uint32),
            np.array(argument, np.int64),
        )

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns in the core's order."""
        return (self.kind, self.run, self.node, self.attempt, self.element, self.argument)

    def rows(self) -> list[Event]:
        """Turn columns back into rows."""
        return list(map(Event._make, zip(*[column.tolist() for column in self.columns()], strict=True)))


class TurnRecord(msgspec.Struct, frozen=True, array_like=True):
    """A turn as the journal holds it: time, event columns as little-endian bytes, facts."""

    now: int
    kind: bytes
    run: bytes
    node: bytes
    attempt: bytes
    element: bytes
    argument: bytes
    facts: list[Fact]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(TurnRecord)


def encode_turn(now: int, events: EventColumns, facts: Sequence[Fact]) -> bytes:
    """Return the journal's payload for one turn."""
    record = TurnRecord(
        now,
        events.kind.tobytes(),
        events.run.astype("<u4", copy=False).tobytes(),
        events.node.astype("<u4", copy=False).tobytes(),
        events.attempt.astype("<u4", copy=False).tobytes(),
        events.element.astype("<u4", copy=False).tobytes(),
        events.argument.astype("<i8", copy=False).tobytes(),
        list(facts),
    )
    return _encoder.encode(record)


def decode_turn(sequence: int, payload: bytes) -> tuple[int, EventColumns, list[Fact]]:
    """Read back what `encode_turn` wrote; CorruptRecordError names the sequence of a payload it cannot read."""
    try:
        record = _decoder.decode(payload)
        events = EventColumns(
            np.frombuffer(record.kind, np.uint8),
            np.frombuffer(record.run, "<u4"),
            np.frombuffer(record.node, "<u4"),
            np.frombuffer(record.attempt, "<u4"),
            np.frombuffer(record.element, "<u4"),
            np.frombuffer(record.argument, "<i8"),
        )
    except (msgspec.DecodeError, ValueError) as error:
        raise CorruptRecordError(f"journal record {sequence} is not a turn this version can read: {error}") from error
    return record.now, events, record.facts
