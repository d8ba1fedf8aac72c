"""Has the SDK convert of a list of literals only what is asked for: an element of a map uses one of them."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["lazily_converted"]


class _Literals(list[Any]):
    """The literals of a collection, each converted from its message when it is first looked at."""

    def __init__(self, messages: Any, convert: Any) -> None:
        super().__init__([None] * len(messages))
        self._messages = messages
        self._convert = convert

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return [self[position] for position in range(len(self))[which]]
        literal = super().__getitem__(which)
        if literal is None:
            literal = self._convert(self._messages[which])
            super().__setitem__(which, literal)
        return literal

    def __iter__(self) -> Iterator[Any]:
        return (self[position] for position in range(len(self)))


def _of_a_plain_list(name: str) -> Callable[..., Any]:
    method = getattr(list, name)

    @functools.wraps(method)
    def call(literals: _Literals, *arguments: Any, **options: Any) -> Any:
        return getattr(list(literals), name)(*arguments, **options)

    return call


for _name in ("__add__", "__contains__", "__eq__", "__mul__", "__ne__", "__reduce_ex__", "__repr__", "__reversed__"):
    setattr(_Literals, _name, _of_a_plain_list(_name))
for _name in ("copy", "count", "index"):
    setattr(_Literals, _name, _of_a_plain_list(_name))


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
