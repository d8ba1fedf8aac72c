"""The journal as Python sees it, and under SIGKILL."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flyte_kernel import Journal
from flyte_kernel.errors import CorruptRecordError, FolderLockedError, GraphError, StorageError, StorageFullError

KILLS = 20

WRITER = textwrap.dedent(
    """
    import os, sys
    from flyte_kernel import Journal
    journal = Journal.open(sys.argv[1], segment_bytes=65536)
    sequence = journal.last_sequence
    while True:
        for _ in range(1 + journal.last_sequence % 3):
            sequence += 1
            assert journal.append(b"%d " % sequence * 50) == sequence
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
    assert not may_be_opened_elsewhere(tmp_path)  # the one that was refused took nothing away
    journal.close()
    assert may_be_opened_elsewhere(tmp_path)
    Journal.open(tmp_path).close()


def may_be_opened_elsewhere(folder: Path) -> bool:
    command = f"from flyte_kernel import Journal; Journal.open({str(folder)!r})"
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or f"FolderLockedError: the folder {folder} is in use by" in done.stderr
    return done.returncode == 0


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    journal = Journal.open(tmp_path / "folder")
    with pytest.raises(FolderLockedError):
        Journal.open(tmp_path / "link")
    assert not may_be_opened_elsewhere(tmp_path / "folder")
    journal.close()


_FORKING = """
import os, signal, sys, time
from flyte_kernel import Journal
journal = Journal.open(sys.argv[1])
fork = os.fork()
if fork == 0:
    try:
        Journal.open(sys.argv[1])
    except Exception as error:
        print(os.getpid(), type(error).__name__, flush=True)
    time.sleep(600)
signal.pause()
"""


def test_a_fork_does_not_keep_the_folder(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", _FORKING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with owner:
        assert owner.stdout is not None
        fork, refused = owner.stdout.readline().split()
        try:
            assert refused == "FolderLockedError"
            assert not may_be_opened_elsewhere(tmp_path)
            owner.kill()
            owner.wait()
            assert may_be_opened_elsewhere(tmp_path)
        finally:
            os.kill(int(fork), signal.SIGKILL)


def test_a_dead_owner_leaves_no_lock(tmp_path: Path) -> None:
    command = (
        f"from flyte_kernel import Journal; journal = Journal.open({str(tmp_path)!r}); print(1, flush=True); input()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "."},
    )
    with owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        with pytest.raises(FolderLockedError, match=f"is in use by process {owner.pid};"):
            Journal.open(tmp_path)
        owner.kill()
    Journal.open(tmp_path).close()


def test_an_unfinished_replay_neither_holds_the_folder_nor_sees_later_blocks(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for payload in (b"1", b"2"):
        journal.append(payload)
    journal.commit()
    replay = journal.replay(0)
    assert next(replay) == (1, b"1")
    journal.close()
    again = Journal.open(tmp_path)
    again.append(b"3")
    again.commit()
    assert list(replay) == [(2, b"2")]
    with pytest.raises(GraphError, match="block 4 is not durable, the last one is 3"):
        again.replay(4)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, which the journal treats like a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_loses_nothing_and_the_journal_goes_on(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path, segment_bytes=8192)
    journal.append(b"before")
    journal.commit()
    large = random.Random(1).randbytes(20_000)
    with files_up_to(8192):
        journal.append(large)
        for _ in range(2):
            with pytest.raises(StorageFullError, match=r"no space is left to make .*segment-0000000002\.journal"):
                journal.commit()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "segment-0000000001.journal"]
        journal.rollback()
        journal.append(b"small")
        journal.commit()
        journal.append(large)
        with pytest.raises(StorageFullError):
            journal.commit()
    journal.commit()
    expected = [(1, b"before"), (2, b"small"), (3, large)]
    assert contents(journal) == expected
    journal.close()
    assert contents(Journal.open(tmp_path)) == expected


def test_a_disk_too_full_for_a_journal_says_so(tmp_path: Path) -> None:
    with files_up_to(4096), pytest.raises(StorageFullError):
        Journal.open(tmp_path)
    Journal.open(tmp_path).close()


def test_another_format_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    segment = next(tmp_path.glob("segment-*"))
    with segment.open("r+b") as file:
        file.seek(8)
        file.write(b"\x09")
    with pytest.raises(CorruptRecordError, match="has journal format 9, this version reads format 1"):
        Journal.open(tmp_path)


def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    journal.close()
    with pytest.raises(StorageError, match="closed"):
        journal.append(b"")


def test_segments_too_short_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="at least 8192, not 7"):
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
    with pytest.raises(
        CorruptRecordError, match=rf"{segment.name} is damaged at byte 4096: .*later commit.*truncate -s 4096"
    ):
        Journal.open(tmp_path)


def test_snapshots(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    assert journal.load_snapshot() is None
    journal.append(b"x")
    journal.commit()
    journal.write_snapshot(0, b"nothing yet")
    assert journal.load_snapshot() == (0, b"nothing yet")
    journal.write_snapshot(1, b"state" * 1000)
    assert journal.load_snapshot() == (1, b"state" * 1000)
    with pytest.raises(GraphError, match="block 2 is not durable"):
        journal.write_snapshot(2, b"ahead")
    newest = max(tmp_path.glob("snapshot-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert journal.load_snapshot() == (0, b"nothing yet")


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
        assert blocks == [(number, b"%d " % number * 50) for number in range(1, len(blocks) + 1)]
        journal.close()
