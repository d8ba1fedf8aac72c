"""Benches that check their own results, at their smoke sizes: they raise if anything is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.plots import draw
from bench.records import Record, in_own_process


@pytest.mark.parametrize(
    ("module", "roles"),
    [
        ("bench.many_runs", ["ours", "limit", "ours", "ours", "limit", "rival"]),
        ("bench.recovery", ["ours", "limit", "ours", "limit"]),
        ("bench.cache", ["limit", "ours", "limit", "ours", "rival"]),
        ("bench.sleeping_tasks", ["ours"] * 4),
    ],
)
def test_rows_stand_beside_limits(module: str, roles: list[str]) -> None:
    records = in_own_process(module, "--smoke")
    assert not [record.error for record in records if record.error]
    assert [record.role for record in records] == roles
    assert all(record.value for record in records)


def test_pictures_show_every_row(tmp_path: Path) -> None:
    shapes = ("tasks side by side that do nothing", "tasks in a chain that do nothing")
    records = [
        Record(workload, name, role, value, "us a task")
        for workload in shapes
        for name, role, value in (("mine", "ours", 3.0), ("theirs", "rival", 2_000.0), ("bare", "limit", 0.5))
    ]
    drawn = draw(records, tmp_path)
    assert [path.name for path in drawn] == ["tasks.svg", "limits.svg"]
    text = drawn[0].read_text()
    assert all(text.count(f">{name}<") == 2 for name in ("mine", "theirs", "bare"))
    assert "6" in drawn[1].read_text()
    before = [path.read_bytes() for path in drawn]
    assert [path.read_bytes() for path in draw(records, tmp_path)] == before


def test_too_few_rows_give_no_picture(tmp_path: Path) -> None:
    assert draw([Record("w", "mine", "ours", 1.0, "ms")], tmp_path) == []
