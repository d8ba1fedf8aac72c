"""The texts of filters as integers, moments and durations, as PostgreSQL and Go's standard library read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from fractions import Fraction

from flyte_kernel.errors import InvalidArgumentError

__all__ = ["parse_duration", "parse_integer", "parse_timestamp"]

_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,19})\s*", re.ASCII)
_INT64_MAX = 2**63 - 1

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?"
    r"\s?([Zz]|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)

_SECONDS = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_GO_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_GO_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNIT_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


def parse_integer(text: str, name: str) -> int:
    """Parse a decimal integer of 64 bits; `name` is the column's in the refusal."""
    match = _INTEGER.fullmatch(text)
    if match is None or abs(int(match[1])) > _INT64_MAX:
        raise InvalidArgumentError(f"invalid value '{text}' for '{name}': not an integer")
    return int(match[1])


def parse_timestamp(text: str, name: str) -> int:
    """Parse an ISO 8601 date or moment, UTC unless it says otherwise, to nanoseconds since the epoch."""
    match = _TIMESTAMP.fullmatch(text)
    refusal = InvalidArgumentError(f"invalid value '{text}' for '{name}': not an ISO 8601 timestamp")
    if match is None:
        raise refusal
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    try:
        moment = datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=timezone.utc
        )
        seconds = (moment - _EPOCH) // timedelta(seconds=1) - _zone_seconds(zone or "Z")
    except ValueError:
        raise refusal from None
    nanoseconds = seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))
    if abs(nanoseconds) > _INT64_MAX:
        raise refusal
    return nanoseconds


def _zone_seconds(zone: str) -> int:
    if zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if minutes > 59:
        raise ValueError(zone)
    seconds = hours * 3600 + minutes * 60
    return -seconds if zone[0] == "-" else seconds


def parse_duration(text: str) -> int:
    """Parse seconds ("1.5") or a Go duration ("1h2m3.5s") to nanoseconds."""
    seconds = _SECONDS.fullmatch(text) is not None
    if not seconds and _GO_DURATION.fullmatch(text) is None:
        raise InvalidArgumentError(f"Failed to parse duration [{text}]")
    total = int(Fraction(text) * 1_000_000_000) if seconds else _go_nanoseconds(text)
    if abs(total) > _INT64_MAX:
        raise InvalidArgumentError(f"Failed to parse duration [{text}{'s' if seconds else ''}]")
    return total


def _go_nanoseconds(text: str) -> int:
    """Each term is cut to whole nanoseconds, as Go does."""
    total = sum(int(_decimal(number) * _UNIT_NS[unit]) for number, unit in _GO_TERM.findall(text))
    return -total if text.startswith("-") else total


def _decimal(number: str) -> Fraction:
    whole, _, fraction = number.partition(".")
    return int(whole or 0) + Fraction(int(fraction or 0), 10 ** len(fraction))
