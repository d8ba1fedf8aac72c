"""Where the elements of map nodes stand: read from the core while a run lives, from what was kept once it has ended."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flyte_kernel import Kernel
from flyte_kernel.engine.details import MapDetails
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.errors import UnknownNodeError

__all__ = ["ElementColumns", "elements_of", "keep_elements"]


@dataclass(frozen=True, slots=True)
class ElementColumns:
    """One row an element: `phase` has phases.NodePhase numbers, `attempt` the current attempt numbers (uint32)."""

    phase: NDArray[np.uint8]
    attempt: NDArray[np.uint32]


_NONE = ElementColumns(np.zeros(0, np.uint8), np.zeros(0, np.uint32))


def elements_of(
    record: ExecutionRecord, node: int, kernel: Kernel, first: int = 0, count: int | None = None
) -> ElementColumns:
    """Return elements of a map node, `count` from `first` on; none before it has opened."""
    details = record.details.maps.get(node)
    if details is None:
        return _NONE
    if not details.phases:
        try:
            phases = kernel.element_phases(record.run, node, first, count)
            return ElementColumns(phases, kernel.element_attempts(record.run, node, first, count))
        except UnknownNodeError:  # the run has ended meanwhile
            if not details.phases:
                return _NONE
    window = slice(first, None if count is None else first + count)
    phases = np.frombuffer(zlib.decompress(details.phases), np.uint8)
    attempts = np.zeros(len(phases), np.uint32)
    if details.attempts:
        attempts = np.frombuffer(zlib.decompress(details.attempts), np.uint32)
    return ElementColumns(phases[window], attempts[window])


def keep_elements(details: MapDetails, kernel: Kernel, run: int, node: int) -> None:
    """Keep what the core knows of a map's elements, before it forgets the run."""
    attempts = kernel.element_attempts(run, node)
    if attempts.any():
        details.attempts = zlib.compress(attempts.tobytes(), 1)
    details.phases = zlib.compress(kernel.element_phases(run, node).tobytes(), 1)
