"""Growing columns and the hash table over their rows: what keeps a million artifacts small in memory.

One thread appends, any number read without a lock: a row is complete before anything points at it, and whatever must
grow is replaced by a larger copy, so that a reader goes on with what it holds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_ROW", "Column", "RowTable"]

NO_ROW = 0xFFFF_FFFF
_ROWS_MIN = 64
_CHUNK = 16 * 1024  # looked up at a time: what is made on the way stays in the processor's cache


class Column:
    """Numbers of one type, `width` a row; `view` gives them to Python one by one, much faster than an array does."""

    def __init__(self, dtype: type[np.unsignedinteger], *, width: int = 1) -> None:
        self._dtype = np.dtype(dtype)
        self._width = width
        self._set(np.empty(_ROWS_MIN * width, self._dtype))
        self.length = 0

    def _set(self, array: NDArray[np.unsignedinteger]) -> None:
        self._array = array
        self.view = memoryview(array.data)

    def append(self, value: int) -> int:
        """Add a row of width 1 and return its number."""
        row = self.length
        if row >= len(self._array):
            self._reserve(row + 1)
        self.view[row] = value
        self.length = row + 1
        return row

    def append_bytes(self, data: bytes) -> int:
        """Add a row of single bytes, as many as the column is wide, and return its number."""
        row = self.length
        start = row * self._width
        self._reserve(start + self._width)
        self.view[start : start + self._width] = data
        self.length = row + 1
        return row

    def extend(self, values: NDArray[np.unsignedinteger]) -> None:
        """Add the rows that `values` holds, flat."""
        start = self.length * self._width
        self._reserve(start + len(values))
        self._array[start : start + len(values)] = values
        self.length += len(values) // self._width

    def array(self) -> NDArray[np.unsignedinteger]:
        """Return the rows so far, flat, without copying them."""
        return self._array[: self.length * self._width]

    def tobytes(self) -> bytes:
        """Return the rows as little-endian bytes."""
        return self.array().astype(self._dtype.newbyteorder("<"), copy=False).tobytes()

    def frombytes(self, data: bytes) -> None:
        """Add the rows that `tobytes` gave."""
        self.extend(np.frombuffer(data, self._dtype.newbyteorder("<")).astype(self._dtype, copy=False))

    def _reserve(self, size: int) -> None:
        if size <= len(self._array):
            return
        larger = np.empty(max(size, len(self._array) * 3 // 2), self._dtype)
        larger[: len(self._array)] = self._array
        self._set(larger)


class RowTable:
    """A set of row numbers by 64-bit hashes, with open addressing and linear probing; rows never leave.

    It keeps no hashes: `hashes` gives those of all rows again when the table grows.
    """

    def __init__(self, hashes: Callable[[], NDArray[np.uint64]]) -> None:
        self._hashes = hashes
        self._count = 0
        self._set(np.full(_ROWS_MIN * 2, NO_ROW, np.uint32))

    def _set(self, slots: NDArray[np.uint32]) -> None:
        # One attribute, read once by whoever looks up: slots and mask always belong together.
        self.slots = (memoryview(slots.data), len(slots) - 1)
        self._array = slots

    def insert(self, row: int, hash_: int) -> None:
        """Add a row whose number is the count of rows so far."""
        if (self._count + 1) * 3 > len(self._array) * 2:
            self.rebuild()
            return
        slots, mask = self.slots
        slot = hash_ & mask
        while slots[slot] != NO_ROW:
            slot = (slot + 1) & mask
        slots[slot] = row
        self._count += 1

    def rebuild(self) -> None:
        """Make the table anew from the hashes of all rows, with room for as many again."""
        hashes = self._hashes()
        size = _ROWS_MIN * 2
        while size < len(hashes) * 2:
            size *= 2
        slots = np.full(size, NO_ROW, np.uint32)
        mask = np.uint64(size - 1)
        rows = np.arange(len(hashes), dtype=np.uint32)
        places = hashes & mask
        while len(rows):
            free = slots[places] == NO_ROW
            slots[places[free]] = rows[free]  # of several rows for one place, the last one stays
            left = slots[places] != rows
            rows = rows[left]
            places = (places[left] + np.uint64(1)) & mask
        self._set(slots)
        self._count = len(hashes)

    def find_many(
        self, hashes: NDArray[np.uint64], equal: Callable[[NDArray[np.intp], NDArray[np.uint32]], NDArray[np.bool_]]
    ) -> NDArray[np.uint32]:
        """Return the row for each hash, NO_ROW if there is none.

        `equal(wanted, rows)` says for indices into `hashes` and as many rows whether they are the same key.
        """
        found = np.full(len(hashes), NO_ROW, np.uint32)
        for start in range(0, len(hashes), _CHUNK):
            self._find_chunk(hashes, np.arange(start, min(start + _CHUNK, len(hashes))), equal, found)
        return found

    def _find_chunk(
        self,
        hashes: NDArray[np.uint64],
        wanted: NDArray[np.intp],
        equal: Callable[[NDArray[np.intp], NDArray[np.uint32]], NDArray[np.bool_]],
        found: NDArray[np.uint32],
    ) -> None:
        slots = self._array
        mask = np.uint64(len(slots) - 1)
        places = hashes[wanted] & mask
        while len(wanted):
            rows = slots[places]
            used = rows != NO_ROW
            wanted, places, rows = wanted[used], places[used], rows[used]
            same = equal(wanted, rows)
            found[wanted[same]] = rows[same]
            wanted = wanted[~same]
            places = (places[~same] + np.uint64(1)) & mask
