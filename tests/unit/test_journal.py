"""The journal as Python sees it, and under SIGKILL."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flyte_kernel import Journal
from flyte_kernel.errors import CorruptRecordError, FolderLockedError, GraphError, StorageError

KILLS = 20

WRITER = textwrap.dedent(
    """
    import os, sys
    from flyte_kernel import Journal
    journal = Journal.open(sys.argv[1], segment_bytes=65536)
    while True:
        for _ in range(1 + journal.last_sequence % 3):
            sequence = journal.append(b"%d " % (journal.last_sequence + 1) * 50)
        journal.commit()
        os.write(1, b"%d\\n" % sequence)
    """
)


def contents(journal: Journal) -> list[tuple[int, bytes]]:
    return list(journal.replay(0))


def test_committed_blocks_come_back(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "journal")
    assert journal.last_sequence == 0
    assert [journal.append(b"a"), journal.append(b"b" * 10_000)] == [1, 2]
    assert journal.last_sequence == 0
    journal.commit()
    assert journal.last_sequence == 2
    journal.close()
    assert contents(Journal.open(tmp_path / "journal")) == [(1, b"a"), (2, b"b" * 10_000)]


def test_rollback_drops_what_was_buffered(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.append(b"dropped")
    journal.rollback()
    journal.commit()
    assert journal.append(b"kept") == 1
    journal.commit()
    assert contents(journal) == [(1, b"kept")]


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    with pytest.raises(FolderLockedError, match=f"{tmp_path} is in use by process {os.getpid()}"):
        Journal.open(tmp_path)
    journal.close()
    Journal.open(tmp_path).close()


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.append(b"")


def test_segments_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="at least 4096 bytes, not 7"):
        Journal.open(tmp_path, segment_bytes=7)


def test_damage_names_file_and_offset(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for payload in (b"first", b"second"):
        journal.append(payload)
        journal.commit()
    journal.close()
    segment = next(tmp_path.glob("segment-*"))
    data = bytearray(segment.read_bytes())
    data[data.index(b"first")] ^= 1
    segment.write_bytes(data)
    with pytest.raises(CorruptRecordError, match=rf"{segment.name} is damaged at byte 64: .*later one"):
        Journal.open(tmp_path)


def test_snapshots(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    assert journal.load_snapshot() is None
    journal.append(b"x")
    journal.commit()
    journal.write_snapshot(1, b"state" * 1000)
    assert journal.load_snapshot() == (1, b"state" * 1000)


def test_whatever_was_acknowledged_survives_sigkill(tmp_path: Path) -> None:
    chooser = random.Random(7)
    acknowledged = 0
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": "."}
        )
        assert writer.stdout is not None
        for _ in range(chooser.randrange(1, 40)):
            acknowledged = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
        writer.stdout.close()
        writer.wait()
        acknowledged = int(rest[-1]) if rest else acknowledged
        journal = Journal.open(tmp_path, segment_bytes=65536)
        blocks = contents(journal)
        assert len(blocks) >= acknowledged
        assert all(block == (number, b"%d " % number * 50) or number > 1 for number, block in enumerate(blocks, 1))
        assert [sequence for sequence, _ in blocks] == list(range(1, len(blocks) + 1))
        journal.close()
