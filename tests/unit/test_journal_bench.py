"""The journal's bench at its smoke size: what it appends is what reads back."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bench.journal_append import SMOKE_BATCHES, append_batches, batch_records, single_records, transition_batches


def test_batches_read_back_as_they_were_made(tmp_path: Path) -> None:
    batches = transition_batches(SMOKE_BATCHES, 512)
    assert {len(batch.payload) for batch in batches} == {512 * 21}
    appended = append_batches(tmp_path, batches)
    expected = hashlib.sha256(b"".join(batch.payload for batch in batches)).hexdigest()[:16]
    assert (len(appended.journal), len(appended.bare), appended.check) == (SMOKE_BATCHES, SMOKE_BATCHES, expected)


def test_records_stand_beside_their_limit() -> None:
    records = [*batch_records(SMOKE_BATCHES), *single_records(SMOKE_BATCHES)]
    assert [(record.role, record.unit) for record in records] == [
        ("ours", "transitions/s"),
        ("limit", "transitions/s"),
        ("ours", "us"),
        ("limit", "us"),
    ]
    assert all(record.value for record in records)
