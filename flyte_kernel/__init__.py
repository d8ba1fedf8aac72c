"""An embeddable workflow kernel: graphs as flat arrays in, ready frontiers out, a durable journal if wanted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from flyte_kernel._core import Graph, Journal, Kernel, Run, Turn, __version__
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

if TYPE_CHECKING:
    from flyte_kernel.builders import from_adjacency, from_closure, from_networkx, from_rustworkx
    from flyte_kernel.durable import DurableKernel
    from flyte_kernel.executing import Execution, execute
    from flyte_kernel.mapping import Mapped, map

__all__ = [
    "AbortReason",
    "DurableKernel",
    "EffectKind",
    "EventKind",
    "Execution",
    "FailureClass",
    "Graph",
    "Journal",
    "Kernel",
    "Mapped",
    "NodeKind",
    "NodePhase",
    "RefusalReason",
    "Run",
    "RunPhase",
    "Turn",
    "__version__",
    "execute",
    "from_adjacency",
    "from_closure",
    "from_networkx",
    "from_rustworkx",
    "map",
]

# Loaded when somebody asks for them: pools and pickles are worth 30 ms that the core does not need.
_LATER = {
    "DurableKernel": "durable",
    "Execution": "executing",
    "Mapped": "mapping",
    "execute": "executing",
    "from_adjacency": "builders",
    "from_closure": "builders",
    "from_networkx": "builders",
    "from_rustworkx": "builders",
    "map": "mapping",
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
