"""What the journal remembers of the catalog, folded in order: of two facts that claim one name the first counts.

Data of artifacts is no part of a fact: it lies in blobs, written before the fact is.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flyte_kernel.catalog.index import Source
from flyte_kernel.catalog.keys import DatasetKey

__all__ = [
    "ArtifactCreated",
    "ArtifactUpdated",
    "CatalogChange",
    "CatalogFact",
    "DatasetCreated",
    "OutputsRemembered",
    "ReservationHeld",
    "ReservationReleased",
    "TagAdded",
]


class CatalogChange(msgspec.Struct, frozen=True, array_like=True):
    """Any of the facts below."""

    def claims(self) -> tuple[object, ...]:
        """Return what no other decision of the same turn may touch: it was taken on the state before the turn."""
        return ()


class DatasetCreated(CatalogChange, frozen=True, array_like=True, tag=32):
    """A dataset was added."""

    id: DatasetKey
    metadata: dict[str, str]
    partition_keys: tuple[str, ...] = ()

    def claims(self) -> tuple[object, ...]:
        """The dataset's id."""
        return (self.id,)


class ArtifactCreated(CatalogChange, frozen=True, array_like=True, tag=33):
    """An artifact with literals of these names was added to a dataset."""

    dataset: DatasetKey
    id: str
    names: tuple[str, ...]
    metadata: dict[str, str]
    partitions: tuple[tuple[str, str], ...] = ()

    def claims(self) -> tuple[object, ...]:
        """The artifact's id."""
        return ((self.dataset, "artifact", self.id),)


class ArtifactUpdated(CatalogChange, frozen=True, array_like=True, tag=34):
    """An artifact has other literals and metadata now."""

    dataset: DatasetKey
    id: str
    names: tuple[str, ...]
    metadata: dict[str, str]

    def claims(self) -> tuple[object, ...]:
        """The artifact's id."""
        return ((self.dataset, "artifact", self.id),)


class TagAdded(CatalogChange, frozen=True, array_like=True, tag=35):
    """A name within a dataset points at an artifact from now on."""

    dataset: DatasetKey
    name: str
    artifact: str

    def claims(self) -> tuple[object, ...]:
        """The tag's name."""
        return ((self.dataset, "tag", self.name),)


class OutputsRemembered(CatalogChange, frozen=True, array_like=True, tag=36):
    """The engine put the outputs of an attempt into the catalog, in the same turn as the attempt's success.

    Makes the dataset if there is none, adds the artifact, and points the cache tag of `digest` at it unless that tag is
    taken; an artifact that is there already gets these contents. `task_version` is that of the task which ran.
    """

    dataset: DatasetKey
    task_version: str
    digest: bytes
    artifact: str
    names: tuple[str, ...]
    source: Source


class ReservationHeld(CatalogChange, frozen=True, array_like=True, tag=37):
    """An owner has the sole right to make what a tag will point at, until `expires_at`; both times are nanoseconds."""

    dataset: DatasetKey
    tag: str
    owner: str
    heartbeat: int
    expires_at: int

    def claims(self) -> tuple[object, ...]:
        """What is reserved."""
        return ((self.dataset, "reservation", self.tag),)


class ReservationReleased(CatalogChange, frozen=True, array_like=True, tag=38):
    """An owner gave a reservation up; nothing happens if it is not the owner any more."""

    dataset: DatasetKey
    tag: str
    owner: str

    def claims(self) -> tuple[object, ...]:
        """What is reserved."""
        return ((self.dataset, "reservation", self.tag),)


CatalogFact: TypeAlias = (
    DatasetCreated
    | ArtifactCreated
    | ArtifactUpdated
    | TagAdded
    | OutputsRemembered
    | ReservationHeld
    | ReservationReleased
)
