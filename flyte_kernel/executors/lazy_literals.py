"""Has the SDK convert of a list of literals only what is asked for: an element of a map uses one of them.

Run by warm processes and what they fork, in their own interpreter; nothing of flyte_kernel is imported here.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

__all__ = ["lazily_converted"]


class _Literals(list[Any]):
    """The literals of a collection, each converted from its message when it is first looked at."""

    def __init__(self, messages: Any, convert: Any) -> None:
        super().__init__(messages)
        self._convert = convert
        self._converted = bytearray(len(self))

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return list(self)[which]
        literal = super().__getitem__(which)
        position = range(len(self._converted))[which]
        if not self._converted[position]:
            literal = self._convert(literal)
            super().__setitem__(position, literal)
            self._converted[position] = True
        return literal

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self._converted)))


@contextlib.contextmanager
def lazily_converted() -> Iterator[None]:
    """Let collections of literals be converted lazily meanwhile; an SDK that has none of the kind is left alone."""
    try:
        literals: Any = importlib.import_module("flytekit.models.literals")
        collection, convert = literals.LiteralCollection, literals.Literal.from_flyte_idl
        eager = collection.__dict__["from_flyte_idl"]
    except (ImportError, AttributeError, KeyError):
        yield
        return

    def lazily(cls: Any, message: Any) -> Any:
        return cls(_Literals(message.literals, convert))

    collection.from_flyte_idl = classmethod(lazily)
    try:
        yield
    finally:
        collection.from_flyte_idl = eager
