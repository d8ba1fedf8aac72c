"""Messages as text and as JSON.

The one-line text form is the one in which the reference's messages show protobuf values: ``simple:INTEGER``. It is Go's
compact text format with exactly one blank between fields. Go itself puts one or two, so nobody may compare these texts
byte by byte.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from flyte_kernel.errors import InvalidArgumentError

__all__ = ["message_json", "message_text"]

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def message_text(message: Message) -> str:
    """Return the fields that are set, in the order of their declaration, map entries by key."""
    return " ".join(part for field, value in _set_fields(message) for part in _field_parts(field, value))


def message_json(message: Message) -> dict[str, Any]:
    """Return the proto-JSON form; InvalidArgumentError if a message holds what JSON cannot, such as infinities."""
    try:
        form: dict[str, Any] = MessageToDict(message)
    except (json_format.Error, ValueError, TypeError) as error:
        raise InvalidArgumentError(f"{message.DESCRIPTOR.name} cannot be written as JSON: {error}") from error
    return form


def _set_fields(message: Message) -> list[tuple[FieldDescriptor, object]]:
    return sorted(message.ListFields(), key=lambda item: item[0].index)


def _field_parts(field: FieldDescriptor, value: Any) -> list[str]:
    entry_type = field.message_type
    if entry_type is not None and entry_type.GetOptions().map_entry:
        key_field, value_field = entry_type.fields_by_name["key"], entry_type.fields_by_name["value"]
        entries = sorted(value.items())
        return [
            f"{field.name}:{{key:{_value_text(key_field, key)} value:{_value_text(value_field, item)}}}"
            for key, item in entries
        ]
    if field.is_repeated:
        return [f"{field.name}:{_value_text(field, item)}" for item in value]
    return [f"{field.name}:{_value_text(field, value)}"]


def _value_text(field: FieldDescriptor, value: object) -> str:
    if isinstance(value, Message):
        return f"{{{message_text(value)}}}"
    if field.enum_type is not None and isinstance(value, int):
        number = field.enum_type.values_by_number.get(value)
        return number.name if number is not None else str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return _quoted(value.decode("latin-1"))
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(character, character) for character in text) + '"'
