"""Lines of attempts: no more run than may, none waits longer than it must, and all are found where they were put."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flyte_kernel.executors.slots import Slots

COUNT, AHEAD = 3, 2


@pytest.fixture
def slots() -> Slots[str]:
    return Slots(COUNT, AHEAD)


def test_the_next_in_line_runs_when_the_first_leaves(slots: Slots[str]) -> None:
    slot = slots.take("a", "zygote")
    slots.join("b", slot)
    slots.join("c", slot)
    assert [slots.runs(name) for name in "abc"] == [True, False, False]
    assert slots.waiting() == ["b"]
    slots.leave("a")
    assert [slots.runs(name) for name in "abc"] == [False, True, False]
    slots.leave("b")
    slots.leave("c")
    assert [slots.runs(name) for name in "abc"] == [False, False, False]
    assert slots.has_free()


def test_lines_are_joined_at_their_own_keeper_only(slots: Slots[str]) -> None:
    first, second = slots.take("a", "one"), slots.take("b", "two")
    assert (slots.shortest("one"), slots.shortest("two"), slots.shortest("three")) == (first, second, None)
    for name in "cd":
        slots.join(name, first)
    assert slots.shortest("one") is None
    assert slots.has_room()


def test_a_line_without_keeper_has_no_room(slots: Slots[str]) -> None:
    slots.take("adopted")
    assert not slots.has_room()


def test_more_than_allowed_may_run_already(slots: Slots[str]) -> None:
    for name in "abcde":
        slots.take(name)
    assert not slots.has_free()
    for name in "abc":
        slots.leave(name)
    assert slots.has_free()


class Lines(RuleBasedStateMachine):
    """Compares with a plain list of lists."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: Slots[int] = Slots(COUNT, AHEAD)
        self.lines: dict[int, tuple[str, list[int]]] = {}
        self.numbers = 0

    @precondition(lambda self: len(self.lines) < COUNT)
    @rule(keeper=st.sampled_from(["one", "two"]))
    def take(self, keeper: str) -> None:
        """Let one more run."""
        self.numbers += 1
        slot = self.slots.take(self.numbers, keeper)
        assert slot not in self.lines
        self.lines[slot] = (keeper, [self.numbers])

    @rule(keeper=st.sampled_from(["one", "two"]))
    def join(self, keeper: str) -> None:
        """Let one wait, where there is room."""
        slot = self.slots.shortest(keeper)
        lengths = {number: len(line) for number, (owner, line) in self.lines.items() if owner == keeper}
        if slot is None:
            assert all(length == 1 + AHEAD for length in lengths.values())
            return
        assert lengths[slot] == min(lengths.values()) <= AHEAD
        self.numbers += 1
        self.slots.join(self.numbers, slot)
        self.lines[slot][1].append(self.numbers)

    @precondition(lambda self: len(self.lines) < COUNT and self.slots.waiting())
    @rule(data=st.data())
    def move(self, data: st.DataObject) -> None:
        """Let one that waits have a line of its own."""
        moved = data.draw(st.sampled_from(self.slots.waiting()))
        left = next(number for number, (_, line) in self.lines.items() if moved in line)
        slot = self.slots.move(moved)
        assert slot not in self.lines
        self.lines[left][1].remove(moved)
        self.lines[slot] = (self.lines[left][0], [moved])

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """Take one out, wherever it is; twice is no error."""
        slot = data.draw(st.sampled_from(sorted(self.lines)))
        gone = data.draw(st.sampled_from(self.lines[slot][1]))
        self.slots.leave(gone)
        self.slots.leave(gone)
        self.lines[slot][1].remove(gone)
        if not self.lines[slot][1]:
            del self.lines[slot]

    @invariant()
    def agrees(self) -> None:
        """Say of everybody what the lists say."""
        lines = [line for _, line in self.lines.values()]
        assert self.slots.has_free() == (len(lines) < COUNT)
        assert self.slots.has_room() == any(len(line) <= AHEAD for line in lines)
        assert sorted(self.slots.waiting()) == sorted(line[1] for line in lines if len(line) > 1)
        running = {line[0] for line in lines}
        assert [self.slots.runs(number) for number in range(self.numbers + 2)] == [
            number in running for number in range(self.numbers + 2)
        ]


TestLines = Lines.TestCase
TestLines.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
