"""Kubernetes resource quantities: ``500m``, ``1.5``, ``2Gi``, ``1e3``."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = ["is_quantity", "parse_quantity"]

_QUANTITY = re.compile(r"([+-]?)(\d+\.?\d*|\.\d+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?", re.ASCII)
_SUFFIXES = {
    "n": Fraction(1, 1000**3),
    "u": Fraction(1, 1000**2),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{suffix: Fraction(1024**power) for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}


def is_quantity(text: str) -> bool:
    """Say whether `text` is a quantity."""
    return _QUANTITY.fullmatch(text) is not None


def parse_quantity(text: str) -> Fraction:
    """Return the exact value of a quantity; ValueError, in Kubernetes' words, if it is none."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            if text
            else "quantities must not be empty"
        )
    sign, number, suffix, exponent = match.groups()
    value = Fraction(number)
    if suffix:
        value *= _SUFFIXES[suffix]
    if exponent:
        value *= Fraction(10) ** int(exponent)
    return -value if sign == "-" else value
