"""Walks with fixed seeds take every legal step and no other, and every state treats every event as the table says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from tests.support.transition_coverage import (
    ELEMENT_STEPS,
    NODE_STEPS,
    OUTCOMES,
    RUN_STEPS,
    Coverage,
    covered,
)


@pytest.fixture(scope="module")
def coverage() -> Coverage:
    """What all walks have shown."""
    return covered()


@pytest.mark.parametrize(
    ("legal", "name"), [(NODE_STEPS, "node_steps"), (ELEMENT_STEPS, "element_steps"), (RUN_STEPS, "run_steps")]
)
def test_every_legal_step_is_taken_and_no_other(coverage: Coverage, legal: Mapping[int, set[int]], name: str) -> None:
    taken: Counter[tuple[int, int]] = getattr(coverage, name)
    assert set(taken) == {(before, after) for before, afters in legal.items() for after in afters}


def test_every_state_treats_every_event_as_the_table_says(coverage: Coverage) -> None:
    assert coverage.outcomes == OUTCOMES
