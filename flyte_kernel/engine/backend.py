"""The engine as its callers see it, so that they can be tested against a fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from flyte_kernel.compile.program import Program
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.elements import ElementColumns
from flyte_kernel.engine.ports import Blobs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision
from flyte_kernel.engine.views import Views
from flyte_kernel.ids import EntityId, ExecutionId

__all__ = ["Backend"]


class Backend(Protocol):
    """What registration, submission and the edges need; `flyte_kernel.engine.loop.Engine` is one."""

    blobs: Blobs
    views: Views
    data: NodeData
    settings: Settings

    @property
    def state(self) -> State:
        """The state as of the last turn; read only."""
        ...

    def commit(self, decide: Callable[[State, int], Decision]) -> object:
        """Run `decide(state, now_ns)` where state does not move and return its result once it is durable."""
        ...

    def find_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return what is known of an execution, from memory or from the store."""
        ...

    def program(self, workflow: EntityId) -> Program:
        """Return the runnable shape of a registered workflow."""
        ...

    def map_elements(
        self, record: ExecutionRecord, node: int, first: int = 0, count: int | None = None
    ) -> ElementColumns:
        """Return where elements of a map node stand, `count` from `first` on."""
        ...

    def program_of(self, record: ExecutionRecord) -> Program:
        """Return the runnable shape of an execution, with the nodes it grew."""
        ...
