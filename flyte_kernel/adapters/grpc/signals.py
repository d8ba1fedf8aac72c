"""SignalService: what gates of running executions wait for, and its values."""

from __future__ import annotations

from flyteidl.admin import signal_pb2

from flyte_kernel.adapters.grpc.listing import list_query
from flyte_kernel.adapters.grpc.rows import signal_page
from flyte_kernel.engine import messages, signals
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.validation import check_execution_identifier

__all__ = ["SignalService"]


class SignalService:
    """One method for each RPC that is served; GetOrCreateSignal is for engines that run elsewhere."""

    def __init__(self, engine: Backend) -> None:
        self._engine = engine

    def ListSignals(self, request: signal_pb2.SignalListRequest) -> signal_pb2.SignalList:
        """List the signals that gates of an execution have asked for."""
        id = check_execution_identifier(request, "workflow_execution_id")
        query = list_query(request, "ListSignals", filters=request.filters)
        record = self._engine.find_execution(id)
        if record is None:
            return signal_pb2.SignalList()
        page = signal_page(record, query)
        found = [messages.signal_message(record, signal_id) for signal_id in page.items]
        return signal_pb2.SignalList(signals=found, token=page.token)

    def SetSignal(self, request: signal_pb2.SignalSetRequest) -> signal_pb2.SignalSetResponse:
        """Give a signal its value."""
        signals.set_signal(self._engine, request)
        return signal_pb2.SignalSetResponse()
