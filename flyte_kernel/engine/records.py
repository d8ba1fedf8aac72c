"""What is known of one execution, as columns over its nodes and attempts.

Live executions are kept here and changed by the loop only; finished ones are read back from the store into the same
shape, so that everything that answers questions about executions has one source. Times are int64 nanoseconds since the
epoch, 0 meaning "not yet".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from flyte_kernel.engine.details import Details
from flyte_kernel.ids import EntityId, ExecutionId
from flyte_kernel.phases import TERMINAL_RUN_PHASES, AttemptPhase, RunPhase

__all__ = ["AttemptColumns", "ExecutionRecord", "NodeColumns"]

_QUEUED, _RUNNING = int(AttemptPhase.QUEUED), int(AttemptPhase.RUNNING)


@dataclass(slots=True)
class NodeColumns:
    """One row a core node. `created_at` is 0 for a node that was never queued or skipped: it has no row for clients.

    `error` holds serialised core.ExecutionError messages of the nodes that failed, by node index.
    """

    phase: NDArray[np.uint8]
    attempt: NDArray[np.uint32]
    created_at: NDArray[np.int64]
    started_at: NDArray[np.int64]
    updated_at: NDArray[np.int64]
    error: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def empty(cls, node_count: int) -> NodeColumns:
        """Return columns for `node_count` nodes that have not started."""
        return cls(
            phase=np.zeros(node_count, np.uint8),
            attempt=np.zeros(node_count, np.uint32),
            created_at=np.zeros(node_count, np.int64),
            started_at=np.zeros(node_count, np.int64),
            updated_at=np.zeros(node_count, np.int64),
        )

    def extend(self, node_count: int) -> None:
        """Add rows for nodes that have not started, up to `node_count` in all."""
        added = NodeColumns.empty(node_count - len(self.phase))
        for name in ("phase", "attempt", "created_at", "started_at", "updated_at"):
            setattr(self, name, np.concatenate([getattr(self, name), getattr(added, name)]))


@dataclass(slots=True)
class AttemptColumns:
    """One row an attempt at a task node, in the order of launch; `phase` holds AttemptPhase numbers."""

    node: list[int] = field(default_factory=list)
    attempt: list[int] = field(default_factory=list)
    phase: list[int] = field(default_factory=list)
    created_at: list[int] = field(default_factory=list)
    started_at: list[int] = field(default_factory=list)
    updated_at: list[int] = field(default_factory=list)
    error: list[bytes] = field(default_factory=list)
    log_uri: list[str] = field(default_factory=list)
    row_of: dict[tuple[int, int], int] = field(default_factory=dict)

    def launch(self, node: int, attempt: int, now: int) -> None:
        """Add a queued attempt."""
        self.row_of[node, attempt] = len(self.node)
        self.node.append(node)
        self.attempt.append(attempt)
        self.phase.append(int(AttemptPhase.QUEUED))
        self.created_at.append(now)
        self.started_at.append(0)
        self.updated_at.append(now)
        self.error.append(b"")
        self.log_uri.append("")

    def launch_all(self, nodes: Sequence[int], attempts: Sequence[int], now: int) -> None:
        """Add queued attempts, one at each node, in order."""
        first, count = len(self.node), len(nodes)
        self.row_of.update(zip(zip(nodes, attempts, strict=True), range(first, first + count), strict=True))
        self.node += nodes
        self.attempt += attempts
        self.phase += [_QUEUED] * count
        self.created_at += [now] * count
        self.started_at += [0] * count
        self.updated_at += [now] * count
        self.error += [b""] * count
        self.log_uri += [""] * count

    def start_all(self, rows: Sequence[int], now: int) -> bool:
        """Let attempts in rows that follow each other run; False, and nothing done, unless all of them are queued."""
        first, last, count = rows[0], rows[-1] + 1, len(rows)
        if last - first != count or rows != list(range(first, last)) or self.phase[first:last] != [_QUEUED] * count:
            return False
        self.started_at[first:last] = [now] * count
        self.updated_at[first:last] = [now] * count
        self.phase[first:last] = [_RUNNING] * count
        return True

    def rows_of(self, node: int) -> list[int]:
        """Return the row numbers of a node's attempts, oldest first."""
        rows = []
        attempt = 0
        while (row := self.row_of.get((node, attempt))) is not None:
            rows.append(row)
            attempt += 1
        return rows


@dataclass(slots=True)
class ExecutionRecord:
    """One execution; `run` is its index in the core and unique for ever.

    `spec`, `inputs`, `user_inputs` and `error` are serialised admin.ExecutionSpec, core.LiteralMap (twice) and
    core.ExecutionError (empty if none). `version` grows with every change, so that readers may cache what they build.
    """

    run: int
    id: ExecutionId
    launch_entity: EntityId
    workflow: EntityId
    spec: bytes
    inputs: bytes
    user_inputs: bytes
    nodes: NodeColumns
    attempts: AttemptColumns = field(default_factory=AttemptColumns)
    phase: int = int(RunPhase.UNDEFINED)
    created_at: int = 0
    started_at: int = 0
    updated_at: int = 0
    error: bytes = b""
    abort_cause: str | None = None
    abort_principal: str = ""
    archived: bool = False
    state_changed_at: int = 0
    version: int = 0
    details: Details = field(default_factory=Details)

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended."""
        return self.phase in TERMINAL_RUN_PHASES
