"""What only some executions have: a parent, an earlier execution to take over from, growths, signals.

Details are sparse and kept as one value, so that snapshots and the store need to know nothing of what is inside.
"""

from __future__ import annotations

import msgspec

from flyte_kernel.catalog.index import Source
from flyte_kernel.catalog.keys import DatasetKey
from flyte_kernel.ids import ExecutionId

__all__ = [
    "CacheDetails",
    "Details",
    "Growth",
    "MapDetails",
    "ParentNode",
    "Signal",
    "decode_details",
    "encode_details",
]


class ParentNode(msgspec.Struct, frozen=True, array_like=True):
    """The launch-plan node, by core indices of its run, that an execution was started by."""

    run: int
    node: int
    attempt: int


class Growth(msgspec.Struct, frozen=True, array_like=True):
    """The workflow that an attempt at a task node added to its run, a serialised core.CompiledWorkflowClosure."""

    node: int
    attempt: int
    closure: bytes


class Signal(msgspec.Struct, array_like=True):
    """What gates of an execution wait for: `type` is a serialised core.LiteralType, `value` a core.Literal once set."""

    type: bytes
    created_at: int
    updated_at: int
    value: bytes | None = None


class CacheDetails(msgspec.Struct, frozen=True, array_like=True):
    """What the catalog had to do with a node: `status` is a core.CatalogCacheStatus, `source` made what was found."""

    status: int
    dataset: DatasetKey
    digest: bytes
    artifact: str
    source: Source | None = None
    task_version: str = ""


class MapDetails(msgspec.Struct, array_like=True):
    """The elements of a map node, which opened at `attempt` of the node.

    `errors` has (phases.FailureClass, serialised core.ExecutionError) by element, as many as there is room for; `cache`
    core.CatalogCacheStatus by element. `phases` and `attempts` are columns, kept when the run ends.
    """

    attempt: int
    size: int
    errors: dict[int, tuple[int, bytes]] = msgspec.field(default_factory=dict)
    cache: dict[int, int] = msgspec.field(default_factory=dict)
    phases: bytes = b""
    attempts: bytes = b""


class Details(msgspec.Struct, array_like=True, omit_defaults=True):
    """Everything sparse about one execution; `signals` by signal id, `cache` and `maps` by node."""

    parent: ParentNode | None = None
    recovered_from: ExecutionId | None = None
    growths: list[Growth] = msgspec.field(default_factory=list)
    signals: dict[str, Signal] = msgspec.field(default_factory=dict)
    cache: dict[int, CacheDetails] = msgspec.field(default_factory=dict)
    maps: dict[int, MapDetails] = msgspec.field(default_factory=dict)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Details)
_NOTHING = _encoder.encode(Details())


def encode_details(details: Details) -> bytes:
    """Return the details as bytes, none at all if there is nothing special about the execution."""
    data = _encoder.encode(details)
    return b"" if data == _NOTHING else data


def decode_details(data: bytes | None) -> Details:
    """Read back what `encode_details` wrote."""
    return _decoder.decode(data) if data else Details()
