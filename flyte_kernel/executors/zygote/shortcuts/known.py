"""Whether a function of the SDK is the one that a shortcut was made for."""

from __future__ import annotations

import inspect
from typing import Any

__all__ = ["expect"]


def expect(function: Any, *names: str) -> None:
    """Raise TypeError if a function does not take parameters of these names."""
    found = tuple(inspect.signature(function).parameters)
    if found != names:
        raise TypeError(f"{function.__qualname__} takes {', '.join(found)} and not {', '.join(names)}")
