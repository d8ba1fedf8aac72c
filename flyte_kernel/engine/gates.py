"""Gates: nodes that wait for time to pass, for an approval or for a value from outside.

The rules are the reference's (flytepropeller, nodes/gate/handler.go). Signals belong to the execution: gates of one id
in different subworkflows share one. A sleep is a timer of the core's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flyteidl.core import execution_pb2, literals_pb2, types_pb2, workflow_pb2

from flyte_kernel.engine.facts import AttemptObserved, Fact, SignalAwaited, SignalSet
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision, Event
from flyte_kernel.ids import AttemptKey
from flyte_kernel.phases import EventKind, FailureClass

__all__ = ["Awaited", "awaited_signal", "decide_gate_opened", "decide_signal_set", "gate_outputs", "sleep_ns"]

_REJECTED = "ReceivedRejectSignal"
_BOOLEAN = types_pb2.LiteralType(simple=types_pb2.BOOLEAN)


@dataclass(frozen=True, slots=True)
class Awaited:
    """The signal that a gate waits for; an approval is a signal of type boolean."""

    signal_id: str
    type: types_pb2.LiteralType
    is_approval: bool


def sleep_ns(gate: workflow_pb2.GateNode) -> int | None:
    """Return how long a gate sleeps, at least one nanosecond; None if it waits for a signal."""
    if gate.WhichOneof("condition") != "sleep":
        return None
    return max(1, int(gate.sleep.duration.ToNanoseconds()))


def awaited_signal(gate: workflow_pb2.GateNode) -> Awaited | None:
    """Return the signal that a gate waits for; None if it sleeps."""
    match gate.WhichOneof("condition"):
        case "approve":
            return Awaited(gate.approve.signal_id, _BOOLEAN, True)
        case "signal":
            return Awaited(gate.signal.signal_id, gate.signal.type, False)
    return None


def decide_gate_opened(state: State, key: AttemptKey, awaited: Awaited) -> Decision:
    """Begin to wait for a signal, or end the gate at once if the signal was set before."""
    record = state.runs.get(key.run)
    if record is None:
        return Decision()
    events = [Event(int(EventKind.ATTEMPT_STARTED), *key)]
    facts: list[Fact] = [SignalAwaited(key.run, awaited.signal_id, awaited.type.SerializeToString(deterministic=True))]
    signal = record.details.signals.get(awaited.signal_id)
    if signal is not None and signal.value is not None:
        event, observed = _settled(key, awaited, signal.value)
        events.append(event)
        facts.extend(observed)
    return Decision(facts=facts, events=events)


def decide_signal_set(
    record: ExecutionRecord, signal_id: str, value: bytes, waiting: Iterable[tuple[AttemptKey, Awaited]]
) -> Decision:
    """Give a signal its value and end the gates that wait for it."""
    facts: list[Fact] = [SignalSet(record.run, signal_id, value)]
    events = []
    for key, awaited in waiting:
        event, observed = _settled(key, awaited, value)
        events.append(event)
        facts.extend(observed)
    return Decision(facts=facts, events=events)


def gate_outputs(record: ExecutionRecord, gate: workflow_pb2.GateNode, inputs: bytes) -> bytes:
    """Return what a gate puts out once its signal has a value: the value, or what was approved."""
    awaited = awaited_signal(gate)
    signal = None if awaited is None else record.details.signals.get(awaited.signal_id)
    if awaited is None or signal is None or signal.value is None:
        return b""
    if awaited.is_approval:
        return inputs
    value = literals_pb2.Literal.FromString(signal.value)
    outputs = literals_pb2.LiteralMap(literals={gate.signal.output_variable_name: value})
    return bytes(outputs.SerializeToString(deterministic=True))


def _settled(key: AttemptKey, awaited: Awaited, value: bytes) -> tuple[Event, tuple[Fact, ...]]:
    if not awaited.is_approval or literals_pb2.Literal.FromString(value).scalar.primitive.boolean:
        return Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), ()
    error = execution_pb2.ExecutionError(
        code=_REJECTED,
        message=f"received rejected signal [{awaited.signal_id}]",
        kind=execution_pb2.ExecutionError.USER,
    )
    event = Event(int(EventKind.ATTEMPT_FAILED), *key, argument=int(FailureClass.PERMANENT))
    return event, (AttemptObserved(*key, error=error.SerializeToString()),)
