"""Artifacts and tags as columns: about 150 bytes for an artifact with its tag, and a microsecond to find one.

A tag's name is kept as 32 bytes: those which a cache tag spells out, or a hash of any other name, which is then kept
beside it. What varies in length about an artifact is one packed record in a heap; updates leave the old one behind.
Written by one thread, read by any.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from flyte_kernel.catalog.columns import NO_ROW, Column, RowTable
from flyte_kernel.catalog.keys import DIGEST_BYTES, tag_digest, tag_name

__all__ = ["Artifact", "ArtifactIndex", "IndexImage", "Source"]

_WORDS = DIGEST_BYTES // 8
_MASK = 0xFFFF_FFFF_FFFF_FFFF
_SPREAD = 0x9E37_79B9_7F4A_7C15  # 2**64 over the golden ratio: sends neighbouring dataset numbers far apart


class Source(NamedTuple):
    """The attempt that put an artifact out."""

    project: str
    domain: str
    execution: str
    node_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact, without its data: `names` are those of its literals, `created_at` is in nanoseconds.

    `source` is known of artifacts that the engine itself made, `metadata` is what anybody else gave.
    """

    id: str
    dataset: int
    names: tuple[str, ...]
    created_at: int
    source: Source | None = None
    metadata: dict[str, str] | None = None
    partitions: tuple[tuple[str, str], ...] = ()


class _Record(msgspec.Struct, array_like=True, omit_defaults=True):
    """An artifact in the heap; `names` and `place` (project and domain of the source) are numbers of known values."""

    uuid: bytes
    id: str
    names: int
    place: int = 0
    execution: str = ""
    node_id: str = ""
    attempt: int = 0
    metadata: dict[str, str] | None = None
    partitions: tuple[tuple[str, str], ...] = ()


class IndexImage(msgspec.Struct, array_like=True):
    """An index as plain values, for snapshots; columns are little-endian bytes."""

    heap: bytes
    columns: dict[str, bytes]
    names: list[tuple[str, ...]]
    places: list[tuple[str, str]]
    plain_tags: dict[int, str]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Record)


class _Known:
    """Values met before, by number."""

    def __init__(self) -> None:
        self.values: list[tuple[str, ...]] = []
        self._numbers: dict[tuple[str, ...], int] = {}

    def number(self, value: tuple[str, ...]) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.values)
            self.values.append(value)
        return number


class ArtifactIndex:
    """All artifacts of all datasets; datasets are numbers here, artifacts and tags are rows."""

    def __init__(self) -> None:
        self._heap = bytearray()
        self._names, self._places = _Known(), _Known()
        self._plain_tags: dict[int, str] = {}
        # Artifacts
        self._offset = Column(np.uint64)
        self._dataset = Column(np.uint32)
        self._created_at = Column(np.uint64)
        self._id_hash = Column(np.uint64)
        self._first_tag = Column(np.uint32)
        self._by_id = RowTable(lambda: self._id_hash.array().astype(np.uint64, copy=False))
        self._of_dataset: dict[int, Column] = {}
        # Tags
        self._digest = Column(np.uint8, width=DIGEST_BYTES)
        self._tag_dataset = Column(np.uint32)
        self._tag_artifact = Column(np.uint32)
        self._next_tag = Column(np.uint32)
        self._by_tag = RowTable(self._tag_hashes)

    def __len__(self) -> int:
        return self._offset.length

    # Artifacts

    def add(self, artifact: Artifact) -> int:
        """Add an artifact that is not there yet and return its row."""
        offset = self._store(artifact)
        self._dataset.append(artifact.dataset)
        self._created_at.append(artifact.created_at)
        id_hash = _id_hash(artifact.dataset, artifact.id)
        self._id_hash.append(id_hash)
        self._first_tag.append(NO_ROW)
        row = self._offset.append(offset)
        self._by_id.insert(row, id_hash)
        rows = self._of_dataset.get(artifact.dataset)
        if rows is None:
            rows = self._of_dataset[artifact.dataset] = Column(np.uint32)
        rows.append(row)
        return row

    def replace(self, row: int, artifact: Artifact) -> None:
        """Give an artifact other contents; id, dataset and time of creation stay."""
        self._offset.view[row] = self._store(artifact)

    def find(self, dataset: int, id: str) -> int | None:
        """Return the row of the artifact with that id."""
        id_hash = _id_hash(dataset, id)
        slots, mask = self._by_id.slots
        slot = id_hash & mask
        while (row := slots[slot]) != NO_ROW:
            if self._id_hash.view[row] == id_hash and self._dataset.view[row] == dataset and self.id_of(row) == id:
                return row
            slot = (slot + 1) & mask
        return None

    def id_of(self, row: int) -> str:
        """Return an artifact's id."""
        return _id_text(self._load(row))

    def artifact(self, row: int) -> Artifact:
        """Return an artifact."""
        record = self._load(row)
        source = None
        if record.metadata is None:
            project, domain = self._places.values[record.place]
            source = Source(project, domain, record.execution, record.node_id, record.attempt)
        return Artifact(
            id=_id_text(record),
            dataset=self._dataset.view[row],
            names=self._names.values[record.names],
            created_at=self._created_at.view[row],
            source=source,
            metadata=record.metadata,
            partitions=record.partitions,
        )

    def rows_of(self, dataset: int) -> Sequence[int]:
        """Return the rows of a dataset's artifacts in the order of their creation."""
        rows = self._of_dataset.get(dataset)
        return rows.view[: rows.length] if rows is not None else ()

    def _store(self, artifact: Artifact) -> int:
        place, source = 0, artifact.source
        if source is not None:
            place = self._places.number((source.project, source.domain))
        uuid = _uuid_bytes(artifact.id)
        record = _Record(
            uuid=uuid,
            id="" if uuid else artifact.id,
            names=self._names.number(artifact.names),
            place=place,
            execution=source.execution if source is not None else "",
            node_id=source.node_id if source is not None else "",
            attempt=source.attempt if source is not None else 0,
            metadata=(artifact.metadata or {}) if source is None else None,
            partitions=artifact.partitions,
        )
        data = _encoder.encode(record)
        offset = len(self._heap)
        self._heap += len(data).to_bytes(4, "little") + data
        return offset

    def _load(self, row: int) -> _Record:
        heap, start = self._heap, self._offset.view[row]
        length = int.from_bytes(heap[start : start + 4], "little")
        return _decoder.decode(heap[start + 4 : start + 4 + length])

    # Tags

    def add_tag(self, dataset: int, name: str, artifact: int) -> None:
        """Point a tag that is not there yet at an artifact's row."""
        digest = tag_digest(name)
        if digest is None:
            self._plain_tags[self._next_tag.length] = name
            digest = _plain_digest(name)
        self.add_digest(dataset, digest, artifact)

    def add_digest(self, dataset: int, digest: bytes, artifact: int) -> None:
        """Point the cache tag of that digest, which is not there yet, at an artifact's row."""
        self._digest.append_bytes(digest)
        self._tag_dataset.append(dataset)
        self._tag_artifact.append(artifact)
        tag = self._next_tag.append(NO_ROW)
        self._by_tag.insert(tag, _tag_hash(dataset, digest))
        first = self._first_tag.view[artifact]
        if first == NO_ROW:
            self._first_tag.view[artifact] = tag
        else:
            last = first
            while (following := self._next_tag.view[last]) != NO_ROW:
                last = following
            self._next_tag.view[last] = tag

    def find_tag(self, dataset: int, name: str) -> int | None:
        """Return the row of the artifact that a tag points at."""
        digest = tag_digest(name)
        return self.find_digest(dataset, digest if digest is not None else _plain_digest(name))

    def find_digest(self, dataset: int, digest: bytes) -> int | None:
        """Return the row of the artifact that the cache tag of that digest points at."""
        slots, mask = self._by_tag.slots
        slot = _tag_hash(dataset, digest) & mask
        while (tag := slots[slot]) != NO_ROW:
            start = tag * DIGEST_BYTES
            if self._digest.view[start : start + DIGEST_BYTES] == digest and self._tag_dataset.view[tag] == dataset:
                return self._tag_artifact.view[tag]
            slot = (slot + 1) & mask
        return None

    def find_digests(self, dataset: int, digests: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """Return for many digests at once, the rows of a (count, 32) array, the artifacts' rows; NO_ROW for a miss."""
        words = np.ascontiguousarray(digests).view("<u8").astype(np.uint64, copy=False)
        hashes = words[:, 0] ^ np.uint64((dataset * _SPREAD) & _MASK)

        def equal(wanted: NDArray[np.intp], tags: NDArray[np.uint32]) -> NDArray[np.bool_]:
            same: NDArray[np.bool_] = self._tag_dataset.array()[tags] == dataset
            same &= (self._digest_words()[tags] == words[wanted]).all(axis=1)
            return same

        tags = self._by_tag.find_many(hashes, equal)
        found = tags != NO_ROW
        rows = np.full(len(tags), NO_ROW, np.uint32)
        rows[found] = self._tag_artifact.array()[tags[found]]
        return rows

    def tags_of(self, artifact: int) -> Iterator[str]:
        """Yield the names of an artifact's tags in the order they were added."""
        tag = self._first_tag.view[artifact]
        while tag != NO_ROW:
            name = self._plain_tags.get(tag)
            start = tag * DIGEST_BYTES
            yield name if name is not None else tag_name(self._digest.view[start : start + DIGEST_BYTES].tobytes())
            tag = self._next_tag.view[tag]

    def _tag_hashes(self) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = self._tag_dataset.array().astype(np.uint64) * np.uint64(_SPREAD)
        hashes ^= self._digest_words()[:, 0]
        return hashes

    def _digest_words(self) -> NDArray[np.uint64]:
        return self._digest.array().view("<u8").astype(np.uint64, copy=False).reshape(-1, _WORDS)

    # Snapshots

    def image(self) -> IndexImage:
        """Return everything as plain values."""
        columns = {name: column.tobytes() for name, column in self._columns().items()}
        places = [(project, domain) for project, domain in self._places.values]
        return IndexImage(bytes(self._heap), columns, self._names.values, places, self._plain_tags)

    @classmethod
    def of_image(cls, image: IndexImage) -> ArtifactIndex:
        """Return the index that `image` gave."""
        index = cls()
        index._heap += image.heap
        for name, column in index._columns().items():
            column.frombytes(image.columns[name])
        for names in image.names:
            index._names.number(names)
        for place in image.places:
            index._places.number(place)
        index._plain_tags.update(image.plain_tags)
        datasets = index._dataset.array()
        order = np.argsort(datasets, kind="stable").astype(np.uint32)
        numbers, starts = np.unique(datasets[order], return_index=True)
        for number, start, end in zip(numbers.tolist(), starts, np.append(starts, len(order))[1:], strict=True):
            index._of_dataset[number] = Column(np.uint32)
            index._of_dataset[number].extend(order[start:end])
        index._by_id.rebuild()
        index._by_tag.rebuild()
        return index

    def _columns(self) -> dict[str, Column]:
        return {
            "offset": self._offset,
            "dataset": self._dataset,
            "created_at": self._created_at,
            "id_hash": self._id_hash,
            "first_tag": self._first_tag,
            "digest": self._digest,
            "tag_dataset": self._tag_dataset,
            "tag_artifact": self._tag_artifact,
            "next_tag": self._next_tag,
        }


def _tag_hash(dataset: int, digest: bytes) -> int:
    return int.from_bytes(digest[:8], "little") ^ ((dataset * _SPREAD) & _MASK)


def _id_hash(dataset: int, id: str) -> int:
    return int.from_bytes(sha256(b"%d/%s" % (dataset, id.encode())).digest()[:8], "little")


def _plain_digest(name: str) -> bytes:
    return sha256(b"tag:" + name.encode()).digest()


def _uuid_bytes(id: str) -> bytes:
    """A UUID in the usual spelling takes less than half of its text; nothing for any other id."""
    if len(id) != 36:
        return b""
    try:
        data = UUID(id).bytes
    except ValueError:
        return b""
    return data if str(UUID(bytes=data)) == id else b""


def _id_text(record: _Record) -> str:
    return str(UUID(bytes=record.uuid)) if record.uuid else record.id
