"""Gives signals their values: requests from outside that end gates."""

from __future__ import annotations

from collections.abc import Iterator

from flyteidl.admin import signal_pb2
from flyteidl.core import types_pb2

from flyte_kernel.compile.program import Program
from flyte_kernel.compile.types import are_types_castable, literal_type
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.gates import Awaited, awaited_signal, decide_signal_set
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision
from flyte_kernel.engine.validation import check_execution_identifier, missing, require
from flyte_kernel.errors import InvalidArgumentError
from flyte_kernel.ids import AttemptKey
from flyte_kernel.phases import NodeKind, NodePhase

__all__ = ["set_signal"]


def set_signal(engine: Backend, request: signal_pb2.SignalSetRequest) -> None:
    """Set a signal and let the gates that wait for it go on; InvalidArgumentError if no gate has asked for it yet.

    A later value overwrites an earlier one, which gates that have gone on do not see.
    """
    if not request.HasField("id"):
        raise missing("id")
    execution = check_execution_identifier(request.id, "execution_id")
    signal_id = request.id.signal_id
    require(signal_id, "signal_id")
    if not request.HasField("value"):
        raise missing("value")
    record = engine.find_execution(execution)
    signal = None if record is None else record.details.signals.get(signal_id)
    if record is None or signal is None:
        raise InvalidArgumentError(
            f"failed to validate that signal [{{{{{' '.join(execution)}}} {signal_id}}}] exists, "
            "err: [signal does not exist]"
        )
    _check_type(request, signal.type)
    value = request.value.SerializeToString(deterministic=True)

    def decide(state: State, _now: int) -> Decision:
        live = state.executions.get(execution)
        if live is None or live.is_terminal:
            return Decision()  # nobody will ever ask for it
        return decide_signal_set(live, signal_id, value, _waiting(live, engine.program_of(live), signal_id))

    engine.commit(decide)


def _check_type(request: signal_pb2.SignalSetRequest, stored: bytes) -> None:
    kind = literal_type(request.value)
    if kind is None or not are_types_castable(kind, types_pb2.LiteralType.FromString(stored)):
        text = str(request.value).replace("\n", " ").strip()
        raise InvalidArgumentError(
            f"requested signal value [{text}] is not castable to existing signal type [[{' '.join(map(str, stored))}]]"
        )


def _waiting(record: ExecutionRecord, program: Program, signal_id: str) -> Iterator[tuple[AttemptKey, Awaited]]:
    for node in (program.kind == NodeKind.GATE).nonzero()[0].tolist():
        awaited = awaited_signal(program.template[node].gate_node)
        if awaited is not None and awaited.signal_id == signal_id and record.nodes.phase[node] == NodePhase.RUNNING:
            yield AttemptKey(record.run, node, int(record.nodes.attempt[node])), awaited
