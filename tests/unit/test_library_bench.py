"""The library's bench at its smoke size: everybody counts and returns the same."""

from __future__ import annotations

import json

import pytest

from bench.library import SMOKE_ITEMS, SMOKE_NODES, map_items, one_at_a_time


def test_everybody_maps_to_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    map_items(SMOKE_ITEMS)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["role"] for record in records} == {"ours", "rival", "limit"}
    assert len({record["check"] for record in records}) == 1


def test_everybody_sees_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    one_at_a_time(SMOKE_NODES)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    checks = {record["name"]: record["check"] for record in records}
    assert checks.pop("Run.succeed") == "1"
    assert set(checks.values()) == {str(SMOKE_NODES)}
