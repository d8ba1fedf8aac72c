"""A journal in memory, for engines whose tests are not about durability."""

from __future__ import annotations

from collections.abc import Iterator


class MemoryJournal:
    """Blocks and the newest snapshot; nothing survives the process."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.snapshot: tuple[int, bytes] | None = None
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
        """Keep what is buffered."""
        self.blocks += self._buffered
        self._buffered = []

    def rollback(self) -> None:
        """Drop what is buffered."""
        self._buffered = []

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks after a sequence."""
        return iter([(index, block) for index, block in enumerate(self.blocks, 1) if index > after])

    def write_snapshot(self, sequence: int, payload: bytes) -> None:
        """Keep the state as of a sequence."""
        self.snapshot = (sequence, payload)

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot."""
        return self.snapshot

    def close(self) -> None:
        """Nothing to release."""
