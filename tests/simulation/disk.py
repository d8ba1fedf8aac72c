"""A disk whose writes may be the last thing that happens, or find no room."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from flyte_kernel import Journal
from flyte_kernel.errors import CorruptRecordError
from flyte_kernel.testing import MemoryBlobs

__all__ = ["Crash", "RealJournal", "SimulatedBlobs", "SimulatedJournal"]

_SECTOR = 512
_SEGMENT_BYTES = 64 * 1024
_MEMORY = Path("/dev/shm")

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


class RealJournal:
    """The production journal on real files, whose last commit a crash tears: of its sectors some are there, some not.

    `close` is what a crash and a restart do to it. The files live in memory where that is possible.
    """

    def __init__(self, random: Random) -> None:
        self.fate: Fate = lambda _: False
        self._random = random
        place = _MEMORY if _MEMORY.is_dir() else None
        self._folder = Path(tempfile.mkdtemp(prefix="flyte-kernel-simulation-", dir=place))
        self._journal = self._open()
        self._before: dict[Path, bytes] | None = None

    def _open(self) -> Journal:
        return Journal.open(str(self._folder), segment_bytes=_SEGMENT_BYTES)

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest block."""
        return self._journal.last_sequence

    def append(self, payload: bytes) -> int:
        """Buffer one block."""
        return self._journal.append(payload)

    def commit(self) -> None:
        """Make durable what is buffered; a crash before its end is one in the midst of it."""
        try:
            crashes = self.fate("journal")
        except Crash:
            self._before = self._files()
            self._journal.commit()
            raise
        self._journal.commit()
        if crashes:
            raise Crash

    def rollback(self) -> None:
        """Drop what is buffered."""
        self._journal.rollback()

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks after a sequence."""
        return self._journal.replay(after)

    def write_snapshot(self, sequence: int, payload: bytes) -> None:
        """Keep the state as of a sequence, or the one before if it crashes."""
        crashes = self.fate("snapshot")
        self._journal.write_snapshot(sequence, payload)
        if crashes:
            raise Crash

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest snapshot."""
        return self._journal.load_snapshot()

    def close(self) -> None:
        """Let the power fail and come back."""
        self._journal.close()
        if self._before is not None:
            self._tear(self._before)
            self._before = None
        self._journal = self._open()

    def _files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._folder.glob("*.journal")}

    def _tear(self, before: dict[Path, bytes]) -> None:
        """Of the sectors that the last commit wrote keep some; nothing is known of their order."""
        for path, after in self._files().items():
            old = before.get(path)
            if old is None or len(old) != len(after):
                continue  # making and growing files is the Rust tests' business
            torn = bytearray(after)
            for start in range(0, len(after), _SECTOR):
                end = start + _SECTOR
                if old[start:end] != after[start:end] and self._random.randrange(2):
                    torn[start:end] = old[start:end]
            path.write_bytes(torn)

    def flip(self) -> None:
        """Flip a bit that is durable: the journal must say so, or the bit must not matter."""
        known = list(self.replay(0))
        self._journal.close()
        path = self._random.choice(sorted(self._folder.glob("*.journal")))
        data = bytearray(path.read_bytes())
        place = self._random.randrange(len(data.rstrip(b"\0")) or 1)
        data[place] ^= 1 << self._random.randrange(8)
        path.write_bytes(data)
        try:
            self._journal = self._open()
            found = list(self.replay(0))
        except CorruptRecordError as error:
            assert path.name in str(error), f"{error} does not name {path.name}"  # noqa: PT017
        else:
            assert found == known, f"a flipped bit at {place} of {path.name} changed what was durable"

    def remove(self) -> None:
        """Remove the files."""
        self._journal.close()
        shutil.rmtree(self._folder)


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
