"""Whether a key may have been seen: asks the file only when it has to."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["KnownKeys"]

_BITS = 24  # 2 MB; one key in 200 of those never seen is taken for known at a million keys, fewer below
_MASK = (1 << _BITS) - 1
_SHIFTS = (0, 20, 40)


class KnownKeys:
    """A Bloom filter over 64-bit hashes: `key in known` is never wrongly False. Memory does not grow."""

    def __init__(self, keys: Iterable[int] = ()) -> None:
        self._bits = bytearray(1 << (_BITS - 3))
        for key in keys:
            self.add(key)

    def add(self, key: int) -> None:
        """Remember a key, of which the low 64 bits count."""
        for shift in _SHIFTS:
            place = (key >> shift) & _MASK
            self._bits[place >> 3] |= 1 << (place & 7)

    def __contains__(self, key: int) -> bool:
        places = ((key >> shift) & _MASK for shift in _SHIFTS)
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in places)
