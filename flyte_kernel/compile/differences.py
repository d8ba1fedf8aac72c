"""What a second registration would change, in the form of the reference's "different structure" messages.

Paths are those of Go's JSON for these messages: names of plain fields as in the proto file, a oneof as its own step
followed by the field that is set, both in Go's spelling.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

__all__ = ["differences"]

_LENGTH_MAX = 3 * 1024 * 1024  # flyteadmin's own cap for these texts
_ABSENT = object()


def differences(old: Message, new: Message) -> str:
    """Return one ``path:\\n\\t- old \\n\\t+ new`` per place where two messages differ, joined by line ends."""
    lines = (
        f"{path}:\n\t- {_value_text(before)} \n\t+ {_value_text(after)}"
        for path, before, after in _differences("", _tree(old), _tree(new))
    )
    return "\n".join(lines)[:_LENGTH_MAX]


def _differences(path: str, old: object, new: object) -> Iterator[tuple[str, object, object]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            step = str(key).replace("~", "~0").replace("/", "~1")
            yield from _differences(f"{path}/{step}", old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            before = old[index] if index < len(old) else _ABSENT
            after = new[index] if index < len(new) else _ABSENT
            yield from _differences(f"{path}/{index}", before, after)
    elif old is not new and old != new:
        yield path, old, new


def _tree(message: Message) -> dict[str, object]:
    tree: dict[str, object] = {}
    for field, value in message.ListFields():
        if field.containing_oneof is None:
            tree[field.name] = _field_tree(field, value)
        else:
            tree[_go_name(field.containing_oneof.name)] = {_go_name(field.name): _field_tree(field, value)}
    return tree


def _field_tree(field: FieldDescriptor, value: Any) -> object:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {str(key): _value_tree(item) for key, item in value.items()}
    if field.is_repeated:
        return [_value_tree(item) for item in value]
    return _value_tree(value)


def _value_tree(value: object) -> object:
    if isinstance(value, Message):
        return _tree(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _go_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _value_text(value: object) -> str:
    if value is _ABSENT:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{_value_text(item)}' for key, item in sorted(value.items()))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_value_text, value))}]"
    return str(value)
