"""A regression is what is farther from its limit than it was, whatever the machine."""

from __future__ import annotations

from bench.compare import compare, ratios, widened


def row(name: str, role: str, value: float, unit: str = "ms", workload: str = "w") -> dict[str, object]:
    return {"workload": workload, "name": name, "role": role, "value": value, "unit": unit}


def test_ratios_grow_as_things_get_worse() -> None:
    records = [
        row("ours", "ours", 3),
        row("bare", "limit", 2),
        row("rival", "rival", 9),
        row("rate", "ours", 50, "a second", "r"),
        row("echo", "limit", 100, "a second", "r"),
        row("alone", "ours", 1, "MB", "m"),
    ]
    assert ratios(records) == {"w: ours": 1.5, "r: rate": 2.0}


def test_a_regression_is_named_and_so_is_what_is_gone() -> None:
    assert compare({"a": 1.2, "b": 2.0}, {"a": 1.0, "b": 1.0, "c": 1.0}) == ["b", "c"]


def test_a_baseline_that_is_widened_allows_what_was_seen() -> None:
    assert widened({"a": 1.2, "b": 0.5, "d": 4.0}, {"a": 1.0, "b": 1.0, "c": 1.0}) == {
        **{"a": 1.2, "b": 1.0},
        **{"c": 1.0, "d": 4.0},
    }
