"""The journal against a list: whatever is appended, committed, dropped and reopened, both hold the same."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flyte_kernel import Journal
from flyte_kernel.errors import CorruptRecordError

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda unit, count: unit * count, st.binary(min_size=1, max_size=40), st.integers(100, 2000)),
    st.builds(lambda random, size: random.randbytes(size), st.randoms(use_true_random=True), st.integers(1000, 9000)),
)


class JournalBesideList(RuleBasedStateMachine):
    """`durable` and `pending` are what the journal must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.durable: list[bytes] = []
        self.pending: list[bytes] = []
        self.snapshots: dict[int, bytes] = {}
        self.journal = self.open()

    def open(self) -> Journal:
        return Journal.open(self.folder.name, segment_bytes=16_384)

    @rule(payload=PAYLOADS)
    def append(self, payload: bytes) -> None:
        self.pending.append(payload)
        assert self.journal.append(payload) == len(self.durable) + len(self.pending)

    @rule()
    def commit(self) -> None:
        self.journal.commit()
        self.durable += self.pending
        self.pending = []

    @rule()
    def rollback(self) -> None:
        self.journal.rollback()
        self.pending = []

    @rule()
    def reopen(self) -> None:
        self.journal.close()
        self.pending = []
        self.journal = self.open()

    @rule(payload=PAYLOADS, back=st.integers(0, 3))
    def snapshot(self, payload: bytes, back: int) -> None:
        sequence = max(0, len(self.durable) - back)
        self.journal.write_snapshot(sequence, payload)
        self.snapshots[sequence] = payload
        self.snapshots = dict(sorted(self.snapshots.items())[-2:])

    @precondition(lambda self: self.durable)
    @rule(data=st.data())
    def damage_a_copy(self, data: st.DataObject) -> None:
        """A changed byte is refused, on open or in replay, or changes nothing."""
        with tempfile.TemporaryDirectory() as folder:
            for path in Path(self.folder.name).glob("segment-*"):
                (Path(folder) / path.name).write_bytes(path.read_bytes())
            segment = data.draw(st.sampled_from(sorted(Path(folder).glob("segment-*"))))
            content = bytearray(segment.read_bytes())
            used = len(content.rstrip(b"\0"))
            content[data.draw(st.integers(0, used - 1))] ^= 1 << data.draw(st.integers(0, 7))
            segment.write_bytes(content)
            with suppress(CorruptRecordError):
                assert [payload for _, payload in Journal.open(folder).replay(0)] == self.durable

    @invariant()
    def holds_the_same(self) -> None:
        assert self.journal.last_sequence == len(self.durable)
        after = len(self.durable) // 2
        assert list(self.journal.replay(after)) == list(enumerate(self.durable[after:], after + 1))
        newest = max(self.snapshots, default=None)
        assert self.journal.load_snapshot() == (None if newest is None else (newest, self.snapshots[newest]))

    def teardown(self) -> None:
        self.journal.close()
        self.folder.cleanup()


JournalBesideList.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestJournalBesideList = JournalBesideList.TestCase
