"""Reads the options of the SDK's own commands as click read a command with the same options before.

Attempts of a kind have commands of one form: the same options in the same order, with other values. What click makes of
such a form is remembered, in the warm process if the rehearsal has it, and the values are put in.
"""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["call"]

_END = "--"
_known: dict[tuple[Any, ...], _Form] = {}


class _Form:
    """A form of command: what click made of one, and which of its parameters are the values that were given."""

    def __init__(self, context: Any, places: dict[str, int], rest: str) -> None:
        self._context = context
        self._places = places
        self._rest = rest

    def call(self, command: Any, values: list[str], rest: list[str]) -> Any:
        """Call the command as click would with these values."""
        context = self._context
        given = {name: values[place] for name, place in self._places.items()}
        context.params = {**context.params, **given, self._rest: tuple(rest)}
        with context.scope(cleanup=False):
            return command.callback(**context.params)


def call(command: Any, arguments: list[str], program: str) -> Any:
    """Call one of the SDK's commands, as its `main` does; SystemExit or what the command raises."""
    taken = _take_apart(arguments)
    if taken is None:
        return command.main(args=arguments, prog_name=program)
    names, values, rest = taken
    key = (command.name, *names)
    if key not in _known:
        form = _learn(command, program, names, rest)
        if form is None:
            return command.main(args=arguments, prog_name=program)
        _known[key] = form
    return _known[key].call(command, values, rest)


def _take_apart(arguments: list[str]) -> tuple[list[str], list[str], list[str]] | None:
    """Return names and values of the options and what follows them, None for anything but `--name value … -- rest`."""
    names, values = [], []
    position = 0
    while position < len(arguments) and arguments[position] != _END:
        name = arguments[position]
        if not name.startswith(_END) or "=" in name or name in names or position + 1 == len(arguments):
            return None
        if arguments[position + 1].startswith("-"):
            return None
        names.append(name)
        values.append(arguments[position + 1])
        position += 2
    rest = arguments[position + 1 :]
    return (names, values, rest) if rest else None


def _learn(command: Any, program: str, names: list[str], rest: list[str]) -> _Form | None:
    """Have click read a command of this form; None if a value is not taken as it stands."""
    marks = [f"value {place}" for place in range(len(names))]
    options = [word for pair in zip(names, marks, strict=True) for word in pair]
    with contextlib.suppress(Exception):
        context = command.make_context(program, [*options, _END, *rest])
        places = {name: marks.index(value) for name, value in context.params.items() if value in marks}
        lists = [name for name, value in context.params.items() if value == tuple(rest)]
        if len(places) == len(marks) and len(lists) == 1:
            return _Form(context, places, lists[0])
    return None
