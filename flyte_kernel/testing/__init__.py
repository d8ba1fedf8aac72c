"""Fakes of what the engine needs from the outside, for tests of people who embed the kernel and for our own."""

from __future__ import annotations

from flyte_kernel.testing.blobs import MemoryBlobs
from flyte_kernel.testing.clock import VirtualClock
from flyte_kernel.testing.executor import FakeEnd, FakeExecutor

__all__ = ["FakeEnd", "FakeExecutor", "MemoryBlobs", "VirtualClock"]
