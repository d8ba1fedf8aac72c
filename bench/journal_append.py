"""The journal beside the bare disk: batches of transitions made durable, and single commits.

The limit is what any journal must at least do: write the same columns to a preallocated file and fdatasync it. Both
take turns, so that a disk that slows down slows both.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.records import Record
from flyte_kernel import EventKind, Journal

__all__ = ["Appended", "Batch", "append_batches", "main", "transition_batches"]

BATCH_SIZE = 4096
REAL_BATCHES = 2000
SMOKE_BATCHES = 20
SINGLE_COMMITS = 3000
SINGLE_BYTES = 128
SEED = 20_260_101
_KINDS = (EventKind.ATTEMPT_STARTED, EventKind.ATTEMPT_SUCCEEDED, EventKind.ATTEMPT_FAILED)
_KIND_SHARES = (0.49, 0.49, 0.02)


class Batch(NamedTuple):
    """The columns of one turn's events, as the engine writes them: 21 bytes an event."""

    payload: bytes
    count: int


class Appended(NamedTuple):
    """Seconds for each batch in the journal and in the bare file; a hash of what reads back from the journal."""

    journal: list[float]
    bare: list[float]
    check: str


def transition_batches(count: int, size: int = BATCH_SIZE) -> list[Batch]:
    """Make batches of events of a hundred live runs whose nodes progress in a scattered order."""
    random = np.random.default_rng(SEED)
    return [_batch(random, index, size) for index in range(count)]


def _batch(random: np.random.Generator, index: int, size: int) -> Batch:
    run = index // 10 + random.integers(0, 100, size, dtype=np.uint32)
    node = (index * size // 100 + random.integers(0, 500, size)).astype("<u4")
    kind = random.choice(np.array(_KINDS, np.uint8), size, p=_KIND_SHARES)
    attempt = (random.random(size) < 0.02).astype("<u4")
    argument = np.where(kind == EventKind.ATTEMPT_FAILED, random.integers(0, 3, size), 0).astype("<i8")
    columns = (kind, run.astype("<u4"), node, attempt, argument)
    return Batch(b"".join(column.tobytes() for column in columns), size)


def append_batches(folder: Path, batches: list[Batch]) -> Appended:
    """Make every batch durable in a journal and in a bare file, by turns."""
    payloads = [batch.payload for batch in batches]
    bare_size = sum(map(len, payloads))
    with closing(Journal.open(folder / "journal")) as journal, BareFile(folder / "bare", bare_size) as bare:

        def commit(payload: bytes) -> None:
            journal.append(payload)
            journal.commit()

        ours, theirs = _by_turns(payloads, commit, bare.write)
        digest = hashlib.sha256()
        for _, payload in journal.replay(0):
            digest.update(payload)
    return Appended(ours, theirs, digest.hexdigest()[:16])


class BareFile:
    """A file whose bytes are all written once before, so that fdatasync has no metadata to write."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        for start in range(0, size, 1 << 20):
            os.write(self._file, bytes(min(1 << 20, size - start)))
        os.fsync(self._file)
        self._offset = 0

    def __enter__(self) -> BareFile:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, payload: bytes) -> None:
        """Write and wait for the disk."""
        os.pwrite(self._file, payload, self._offset)
        os.fdatasync(self._file)
        self._offset += len(payload)


def _by_turns(
    payloads: list[bytes], ours: Callable[[bytes], None], theirs: Callable[[bytes], None]
) -> tuple[list[float], list[float]]:
    seconds: tuple[list[float], list[float]] = ([], [])
    for payload in payloads:
        for write, column in zip((ours, theirs), seconds, strict=True):
            began = time.perf_counter()
            write(payload)
            column.append(time.perf_counter() - began)
    return seconds


def batch_records(batch_count: int = REAL_BATCHES) -> list[Record]:
    """Measure transitions a second in batches of 4,096."""
    batches = transition_batches(batch_count)
    with tempfile.TemporaryDirectory(prefix=".journal-bench-", dir=".") as folder:
        appended = append_batches(Path(folder), batches)
    transitions = sum(batch.count for batch in batches)
    ours, limit = (transitions / sum(seconds) for seconds in (appended.journal, appended.bare))
    workload, unit = f"durable transitions, {BATCH_SIZE:,} a commit", "transitions/s"
    goal = ">= 5M/s and >= 0.5x of the limit"
    return [
        Record(
            workload, "flyte-kernel journal", "ours", ours, unit, goal, appended.check, details=_tail(appended.journal)
        ),
        Record(workload, "pwrite + fdatasync", "limit", limit, unit, details=_tail(appended.bare)),
    ]


def single_records(commit_count: int = SINGLE_COMMITS) -> list[Record]:
    """Measure one small block a commit."""
    random = np.random.default_rng(SEED)
    payloads = [random.bytes(SINGLE_BYTES) for _ in range(commit_count)]
    with tempfile.TemporaryDirectory(prefix=".journal-bench-", dir=".") as folder:
        appended = append_batches(Path(folder), [Batch(payload, 1) for payload in payloads])
    ours, limit = (statistics.median(seconds) * 1e6 for seconds in (appended.journal, appended.bare))
    workload = f"one commit of {SINGLE_BYTES} bytes, p50"
    return [
        Record(workload, "flyte-kernel journal", "ours", ours, "us", "<= 1.3x of the limit", appended.check),
        Record(workload, "pwrite + fdatasync", "limit", limit, "us"),
    ]


def _tail(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(seconds) * 1e3, "p99_ms": sorted(seconds)[len(seconds) * 99 // 100] * 1e3}


def main() -> None:
    """Print both as JSON lines."""
    for record in (*batch_records(), *single_records()):
        print(json.dumps(asdict(record)))


if __name__ == "__main__":
    main()
