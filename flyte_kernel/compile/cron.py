"""Whether a cron expression is one that the reference's scheduler takes: five fields or a descriptor like @hourly."""

from __future__ import annotations

import re

__all__ = ["check_cron"]

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = re.compile(r"@every ((\d+(\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h))+", re.ASCII)


def check_cron(expression: str) -> None:
    """Raise ValueError, saying why, unless `expression` is a standard cron expression (minute to day of week)."""
    text = expression
    if text.startswith(("TZ=", "CRON_TZ=")):
        _, _, text = text.partition(" ")
    if text.startswith("@"):
        if text not in _DESCRIPTORS and not _EVERY.fullmatch(text):
            raise ValueError(f"unrecognized descriptor: {text}")
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{' '.join(fields)}]")
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in field.split(","):
            _check_part(part, name, low, high, names)


def _check_part(part: str, name: str, low: int, high: int, names: dict[str, int]) -> None:
    span, slash, step = part.partition("/")
    if slash and (not step.isdecimal() or int(step) == 0):
        raise ValueError(f"{name}: step of range should be a positive number: {part}")
    if span in ("*", "?"):
        return
    first_text, dash, last_text = span.partition("-")
    first = _number(first_text, name, names)
    last = _number(last_text, name, names) if dash else first
    if first < low:
        raise ValueError(f"{name}: beginning of range ({first}) below minimum ({low}): {part}")
    if last > high:
        raise ValueError(f"{name}: end of range ({last}) above maximum ({high}): {part}")
    if first > last:
        raise ValueError(f"{name}: beginning of range ({first}) beyond end of range ({last}): {part}")


def _number(text: str, name: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isdecimal():
        raise ValueError(f"{name}: failed to parse number: {text}")
    return int(text)
