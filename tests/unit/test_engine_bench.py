"""The engine's bench at its smoke size: every node of both shapes runs in every repeat, rows stand beside limits."""

from __future__ import annotations

import pytest

from bench.engine import REPEATS, measure, records


@pytest.mark.parametrize("shape", ["fan", "chain"])
def test_every_node_runs_in_every_repeat(shape: str) -> None:
    assert len(measure(shape, 100)) == REPEATS  # it raises unless all nodes succeeded, each in one attempt


def test_records_stand_beside_their_limit() -> None:
    rows = records("chain", 20, 3, lambda seconds, count: seconds / count, "s", "")
    assert [row.role for row in rows] == ["ours", "ours", "rival", "limit"]
    assert {row.workload for row in rows} == {"chain of 20 instant nodes"}
    assert all(row.value for row in rows)
