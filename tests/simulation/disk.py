"""A disk whose writes may be the last thing that happens, or find no room."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flyte_kernel.testing import MemoryBlobs

__all__ = ["Crash", "SimulatedBlobs", "SimulatedJournal"]

Fate = Callable[[str], bool]
"""Is asked before every write, by a word for it: raises what happens instead, True for a crash right after it."""


class Crash(BaseException):
    """The power is gone."""


class SimulatedJournal:
    """What was committed is there for ever, what was not is gone with a crash."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.snapshot: tuple[int, bytes] | None = None
        self.fate: Fate = lambda _: False
        self._buffered: list[bytes] = []

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest block."""
        return len(self.blocks)

    def append(self, payload: bytes) -> int:
        """Buffer one block."""
        self._buffered.append(payload)
        return len(self.blocks) + len(self._buffered)

    def commit(self) -> None:
        """Make durable what is buffered."""
        crashes = self.fate("journal")
        self.blocks += self._buffered
        self._buffered = []
        if crashes:
            raise Crash

    def rollback(self) -> None:
        """Drop what is buffered."""
        self._buffered = []

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks after a sequence."""
        return iter([(index, block) for index, block in enumerate(self.blocks, 1) if index > after])

    def write_snapshot(self, sequence: int, payload: bytes) -> None:
        """Keep the state as of a sequence, or the one before if it crashes."""
        crashes = self.fate("snapshot")
        self.snapshot = (sequence, payload)
        if crashes:
            raise Crash

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot."""
        return self.snapshot

    def close(self) -> None:
        """Forget what was not committed."""
        self._buffered = []


class SimulatedBlobs(MemoryBlobs):
    """Blobs on that disk."""

    def __init__(self) -> None:
        super().__init__("s3://flyte")
        self.fate: Fate = lambda _: False

    def put(self, uri: str, data: bytes) -> None:
        """Write as a process does, which has its own fate."""
        super().write(uri, data)

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob."""
        crashes = self.fate("blob")
        super().write(uri, data)
        if crashes:
            raise Crash
