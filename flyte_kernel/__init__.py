"""An embeddable workflow kernel: graphs as flat arrays in, ready frontiers out, a durable journal if wanted."""

from __future__ import annotations

from flyte_kernel._core import Graph, Journal, Kernel, Turn, __version__
from flyte_kernel.phases import (
    AbortReason,
    EffectKind,
    EventKind,
    FailureClass,
    NodeKind,
    NodePhase,
    RefusalReason,
    RunPhase,
)

__all__ = [
    "AbortReason",
    "EffectKind",
    "EventKind",
    "FailureClass",
    "Graph",
    "Journal",
    "Kernel",
    "NodeKind",
    "NodePhase",
    "RefusalReason",
    "RunPhase",
    "Turn",
    "__version__",
]
