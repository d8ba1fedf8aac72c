"""The catalog as a fold over its facts; changed by one thread, read by any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

import msgspec

from flyte_kernel.catalog.facts import (
    ArtifactCreated,
    ArtifactUpdated,
    CatalogFact,
    DatasetCreated,
    OutputsRemembered,
    ReservationHeld,
    ReservationReleased,
    TagAdded,
)
from flyte_kernel.catalog.index import Artifact, ArtifactIndex, IndexImage, Source
from flyte_kernel.catalog.keys import CacheKey, DatasetKey

__all__ = ["CatalogImage", "CatalogState", "Dataset", "Found", "Reservation", "ReservationKey"]

_TASK_VERSION = "task-version"
_PURGE_FROM = 1024  # reservations; below that, expired ones do no harm


class Dataset(msgspec.Struct, frozen=True, array_like=True):
    """A dataset; `number` is its place in the order of creation, `created_at` in nanoseconds."""

    id: DatasetKey
    number: int
    metadata: dict[str, str]
    partition_keys: tuple[str, ...]
    created_at: int

    @property
    def uuid(self) -> str:
        """A UUID that stands for the id."""
        return str(uuid5(NAMESPACE_OID, "/".join(self.id)))


class ReservationKey(NamedTuple):
    """What is reserved."""

    dataset: DatasetKey
    tag: str


class Reservation(msgspec.Struct, frozen=True, array_like=True):
    """Who may make what a tag will point at; `heartbeat` and `expires_at` are nanoseconds."""

    owner: str
    heartbeat: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a cache key led to: `source` is the attempt that the outputs come from, as far as it is known."""

    dataset: Dataset
    artifact: Artifact

    @property
    def source(self) -> Source:
        """The attempt that made the artifact; "unknown" for what its metadata does not tell, as in the reference."""
        known, metadata = self.artifact.source, self.artifact.metadata or {}
        if known is not None:
            return known
        attempt = metadata.get("exec-attempt", "0")
        return Source(
            project=metadata.get("exec-project", self.dataset.id.project),
            domain=metadata.get("exec-domain", self.dataset.id.domain),
            execution=metadata.get("execution-name", "unknown"),
            node_id=metadata.get("exec-node", "unknown"),
            attempt=int(attempt) if attempt.isascii() and attempt.isdigit() else 0,
        )

    @property
    def task_version(self) -> str:
        """The version of the task that made the dataset."""
        return self.dataset.metadata.get(_TASK_VERSION, "unknown")


class CatalogImage(msgspec.Struct, array_like=True):
    """A catalog as plain values, for snapshots."""

    datasets: list[Dataset]
    index: IndexImage
    reservations: list[tuple[ReservationKey, Reservation]]


class CatalogState:
    """Datasets by id and in the order of creation, artifacts and tags in an index, reservations by key."""

    def __init__(self) -> None:
        self.datasets: dict[DatasetKey, Dataset] = {}
        self.by_number: list[Dataset] = []
        self.index = ArtifactIndex()
        self.reservations: dict[ReservationKey, Reservation] = {}
        self._purge_at = _PURGE_FROM

    def find(self, key: CacheKey) -> Found | None:
        """Return what outputs are remembered under a cache key."""
        dataset = self.datasets.get(key.dataset)
        row = None if dataset is None else self.index.find_digest(dataset.number, key.digest)
        if dataset is None or row is None:
            return None
        return Found(dataset, self.index.artifact(row))

    def on_fact(self, fact: CatalogFact, now: int) -> None:
        """Fold one fact."""
        match fact:
            case DatasetCreated():
                self._on_dataset_created(fact, now)
            case ArtifactCreated():
                self._on_artifact_created(fact, now)
            case ArtifactUpdated():
                self._on_artifact_updated(fact)
            case TagAdded():
                self._on_tag_added(fact)
            case OutputsRemembered():
                self._on_outputs_remembered(fact, now)
            case ReservationHeld():
                self._on_reservation_held(fact, now)
            case ReservationReleased():
                key = ReservationKey(fact.dataset, fact.tag)
                if key in self.reservations and self.reservations[key].owner == fact.owner:
                    del self.reservations[key]

    def _on_dataset_created(self, fact: DatasetCreated, now: int) -> Dataset:
        dataset = self.datasets.get(fact.id)
        if dataset is None:
            dataset = Dataset(fact.id, len(self.by_number), fact.metadata, fact.partition_keys, now)
            self.by_number.append(dataset)
            self.datasets[fact.id] = dataset
        return dataset

    def _on_artifact_created(self, fact: ArtifactCreated, now: int) -> None:
        dataset = self.datasets[fact.dataset]
        if self.index.find(dataset.number, fact.id) is None:
            artifact = Artifact(
                id=fact.id,
                dataset=dataset.number,
                names=fact.names,
                created_at=now,
                metadata=fact.metadata,
                partitions=fact.partitions,
            )
            self.index.add(artifact)

    def _on_artifact_updated(self, fact: ArtifactUpdated) -> None:
        number = self.datasets[fact.dataset].number
        row = self.index.find(number, fact.id)
        if row is not None:
            artifact = self.index.artifact(row)
            changed = Artifact(
                id=artifact.id,
                dataset=number,
                names=fact.names,
                created_at=artifact.created_at,
                metadata=fact.metadata,
                partitions=artifact.partitions,
            )
            self.index.replace(row, changed)

    def _on_tag_added(self, fact: TagAdded) -> None:
        number = self.datasets[fact.dataset].number
        row = self.index.find(number, fact.artifact)
        if row is not None and self.index.find_tag(number, fact.name) is None:
            self.index.add_tag(number, fact.name, row)

    def _on_outputs_remembered(self, fact: OutputsRemembered, now: int) -> None:
        dataset = self.datasets.get(fact.dataset)
        if dataset is None:
            created = DatasetCreated(fact.dataset, {_TASK_VERSION: fact.task_version})
            dataset = self._on_dataset_created(created, now)
        artifact = Artifact(fact.artifact, dataset.number, fact.names, now, source=fact.source)
        row = self.index.find(dataset.number, fact.artifact)
        if row is None:
            row = self.index.add(artifact)
        else:
            self.index.replace(row, artifact)
        if self.index.find_digest(dataset.number, fact.digest) is None:
            self.index.add_digest(dataset.number, fact.digest, row)

    def _on_reservation_held(self, fact: ReservationHeld, now: int) -> None:
        self.reservations[ReservationKey(fact.dataset, fact.tag)] = Reservation(
            fact.owner, fact.heartbeat, fact.expires_at
        )
        if len(self.reservations) > self._purge_at:
            self.reservations = {key: held for key, held in self.reservations.items() if held.expires_at >= now}
            self._purge_at = max(_PURGE_FROM, 2 * len(self.reservations))

    # Snapshots

    def image(self) -> CatalogImage:
        """Return everything as plain values."""
        return CatalogImage(self.by_number, self.index.image(), list(self.reservations.items()))

    @classmethod
    def of_image(cls, image: CatalogImage) -> CatalogState:
        """Return the catalog that `image` gave."""
        state = cls()
        state.by_number = image.datasets
        state.datasets = {dataset.id: dataset for dataset in image.datasets}
        state.index = ArtifactIndex.of_image(image.index)
        state.reservations = dict(image.reservations)
        return state
