"""Collections of literals that are converted lazily are, to whoever looks, what the SDK makes of them."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import pytest

from flyte_kernel.executors.zygote.shortcuts.lazy_literals import lazily_converted

literals_pb2 = importlib.import_module("flyteidl.core.literals_pb2")
literals = importlib.import_module("flytekit.models.literals")

COUNT = 6
MESSAGE = literals_pb2.LiteralCollection(
    literals=[{"scalar": {"primitive": {"integer": number}}} for number in range(COUNT)]
)


def lazy() -> Any:
    with lazily_converted():
        return literals.LiteralCollection.from_flyte_idl(MESSAGE)


@pytest.fixture
def eager() -> Any:
    return literals.LiteralCollection.from_flyte_idl(MESSAGE)


@pytest.mark.parametrize("position", [0, 3, COUNT - 1, -1, -COUNT])
def test_an_element_is_converted_when_it_is_looked_at(eager: Any, position: int) -> None:
    found = lazy().literals
    assert found[position] == eager.literals[position]
    assert found[position] is found[position]
    assert [isinstance(item, literals.Literal) for item in list.__iter__(found)].count(True) == 1


@pytest.mark.parametrize("position", [COUNT, -COUNT - 1])
def test_a_position_outside_is_an_error(position: int) -> None:
    with pytest.raises(IndexError):
        lazy().literals[position]


@pytest.mark.parametrize("which", [slice(None), slice(1, 4), slice(None, None, -2), slice(9, 12)])
def test_slices_are_lists_of_literals(eager: Any, which: slice) -> None:
    assert lazy().literals[which] == eager.literals[which]


def test_iteration_length_and_messages(eager: Any) -> None:
    found = lazy()
    assert len(found.literals) == COUNT
    assert list(found.literals) == eager.literals
    assert found.to_flyte_idl() == lazy().to_flyte_idl() == MESSAGE
    assert eager.literals[2] in found.literals


def test_whatever_else_is_asked_of_it_it_is_a_list(eager: Any) -> None:
    assert lazy().literals.__add__([1]) == [*eager.literals, 1]
    assert lazy().literals == eager.literals
    assert eager.literals == lazy().literals
    assert (lazy().literals != eager.literals) is False
    assert list(reversed(lazy().literals)) == eager.literals[::-1]
    assert lazy().literals * 2 == eager.literals * 2
    assert lazy().literals.index(eager.literals[4]) == 4
    assert lazy().literals.count(eager.literals[4]) == 1
    assert lazy().literals.copy() == eager.literals
    assert repr(lazy().literals) == repr(eager.literals)
    assert copy.copy(lazy().literals) == eager.literals
    assert isinstance(lazy().literals, list)


def test_collections_in_collections(eager: Any) -> None:
    message = literals_pb2.LiteralCollection(literals=[{"collection": MESSAGE}])
    with lazily_converted():
        found = literals.LiteralCollection.from_flyte_idl(message)
        assert found.literals[0].collection.literals[4] == eager.literals[4]


def test_the_sdk_is_as_before() -> None:
    before = literals.LiteralCollection.__dict__["from_flyte_idl"]
    lazy()
    assert literals.LiteralCollection.__dict__["from_flyte_idl"] is before
