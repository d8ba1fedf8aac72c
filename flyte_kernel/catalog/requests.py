"""What the requests of Flyte's DataCatalog service come to: refusals in the reference's words, facts, rows.

The rules are those of datacatalog (pkg/manager/impl and its validators). Nothing here reads or writes anything but the
state it is given; a decision that adds something must be made where that state does not move.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeAlias

from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.message import Message

from flyte_kernel.catalog.facts import (
    ArtifactCreated,
    ArtifactUpdated,
    DatasetCreated,
    ReservationHeld,
    ReservationReleased,
    TagAdded,
)
from flyte_kernel.catalog.keys import DatasetKey
from flyte_kernel.catalog.state import CatalogState, Dataset, Reservation, ReservationKey
from flyte_kernel.compile.text import message_text
from flyte_kernel.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError

__all__ = [
    "HEARTBEAT_GRACE",
    "HEARTBEAT_MAX_NS",
    "add_tag",
    "create_artifact",
    "create_dataset",
    "find_artifact",
    "get_dataset",
    "hold_reservation",
    "list_artifacts",
    "list_datasets",
    "release_reservation",
    "update_artifact",
]

# datacatalog's defaults: a reservation outlives three heartbeats, and nobody may promise to be slower than this.
HEARTBEAT_GRACE = 3
HEARTBEAT_MAX_NS = 10_000_000_000

_LIST_LIMIT = 50
_TOKEN_MAX = 2**32

_Query: TypeAlias = datacatalog_pb2.GetArtifactRequest | datacatalog_pb2.UpdateArtifactRequest


# Datasets


def create_dataset(state: CatalogState, request: datacatalog_pb2.CreateDatasetRequest) -> DatasetCreated:
    """Return the fact of a new dataset."""
    dataset = request.dataset
    key = _dataset_key(dataset, "id")
    if len(set(dataset.partitionKeys)) != len(dataset.partitionKeys):
        raise _invalid("partitionKey", f"Keys are not unique: {', '.join(dataset.partitionKeys)}")
    if key in state.datasets:
        raise AlreadyExistsError(f"entity already exists: dataset {message_text(dataset.id)}")
    return DatasetCreated(key, dict(dataset.metadata.key_map), tuple(dataset.partitionKeys))


def get_dataset(state: CatalogState, request: Message, field: str = "dataset") -> Dataset:
    """Return the dataset whose id stands in a field of a request."""
    key = _dataset_key(request, field)
    dataset = state.datasets.get(key)
    if dataset is None:
        raise _not_found("Dataset", getattr(request, field))
    return dataset


def list_datasets(state: CatalogState, request: datacatalog_pb2.ListDatasetsRequest) -> tuple[list[Dataset], str]:
    """Return a page of datasets and the token of the next."""
    wanted: list[tuple[str, str]] = []
    for filter_ in request.filter.filters:
        kind = filter_.WhichOneof("property_filter")
        if kind != "dataset_filter":
            raise InvalidArgumentError(f"Dataset cannot be filtered by {_ENTITIES.get(kind, 'Unknown')} properties")
        name = filter_.dataset_filter.WhichOneof("property") or "name"
        wanted.append((name, _require(getattr(filter_.dataset_filter, name), name)))
    offset, limit, descending = _window(request)
    ordered = reversed(state.by_number) if descending else iter(state.by_number)
    found = (dataset for dataset in ordered if all(getattr(dataset.id, n, "") == v for n, v in wanted))
    page = list(islice(found, offset, offset + limit))
    return page, str(offset + len(page))


# Artifacts


def create_artifact(state: CatalogState, request: datacatalog_pb2.CreateArtifactRequest) -> ArtifactCreated:
    """Return the fact of a new artifact; its data must be in place before that is written."""
    if not request.HasField("artifact"):
        raise _missing("artifact")
    artifact = request.artifact
    _dataset_key(artifact, "dataset")
    _require(artifact.id, "artifactID")
    names = _names(artifact.data)
    dataset = get_dataset(state, artifact)
    _check_partitions(dataset.partition_keys, artifact.partitions)
    if state.index.find(dataset.number, artifact.id) is not None:
        raise AlreadyExistsError(f"entity already exists: artifact {artifact.id}")
    partitions = tuple((partition.key, partition.value) for partition in artifact.partitions)
    return ArtifactCreated(dataset.id, artifact.id, names, dict(artifact.metadata.key_map), partitions)


def find_artifact(state: CatalogState, request: _Query) -> tuple[Dataset, int]:
    """Return the dataset and the row of the artifact that a request names by id or tag."""
    handle = request.WhichOneof("query_handle")
    if handle is None:
        raise _missing("one of artifactID/tagName")
    if handle == "tag_name":
        _dataset_key(request, "dataset")
        name = _require(request.tag_name, "tagName")
        dataset = state.datasets.get(_key(request.dataset))
        row = None if dataset is None else state.index.find_tag(dataset.number, name)
        if dataset is None or row is None:
            raise _not_found("Tag", datacatalog_pb2.Tag(name=name, dataset=request.dataset))
        return dataset, row
    return _find_by_id(state, request)


def _find_by_id(state: CatalogState, request: _Query) -> tuple[Dataset, int]:
    """An id alone is enough, since the reference makes them unique."""
    candidates: Iterable[Dataset | None] = state.by_number
    if request.HasField("dataset"):
        candidates = [state.datasets.get(_dataset_key(request, "dataset"))]
    id = _require(request.artifact_id, "artifactID")
    for dataset in candidates:
        row = None if dataset is None else state.index.find(dataset.number, id)
        if dataset is not None and row is not None:
            return dataset, row
    raise _not_found("Artifact", datacatalog_pb2.Artifact(id=id, dataset=request.dataset))


def update_artifact(state: CatalogState, request: datacatalog_pb2.UpdateArtifactRequest) -> ArtifactUpdated:
    """Return the fact that an artifact has other data; the data must be in place before that is written."""
    dataset, row = find_artifact(state, request)
    names = _names(request.data)
    return ArtifactUpdated(dataset.id, state.index.id_of(row), names, dict(request.metadata.key_map))


def list_artifacts(
    state: CatalogState, request: datacatalog_pb2.ListArtifactsRequest
) -> tuple[Dataset, list[int], str]:
    """Return a dataset, the rows of a page of its artifacts and the token of the next."""
    _dataset_key(request, "dataset")
    for filter_ in request.filter.filters:
        if filter_.WhichOneof("property_filter") == "dataset_filter":
            raise InvalidArgumentError("Artifact cannot be filtered by Dataset properties")
    offset, limit, descending = _window(request)
    dataset = get_dataset(state, request)
    rows = _filtered(state, dataset, request.filter.filters)
    if descending:
        page = list(rows[max(0, len(rows) - offset - limit) : max(0, len(rows) - offset)])[::-1]
    else:
        page = list(rows[offset : offset + limit])
    return dataset, page, str(offset + len(page))


def _filtered(
    state: CatalogState, dataset: Dataset, filters: Sequence[datacatalog_pb2.SinglePropertyFilter]
) -> Sequence[int]:
    """Rows that meet all filters; ids and tags lead straight to the one row there can be."""
    exact: set[int | None] = set()
    partitions: set[tuple[str, str]] = set()
    for filter_ in filters:
        match filter_.WhichOneof("property_filter"):
            case "tag_filter":
                name = _require(filter_.tag_filter.tag_name, "TagName")
                exact.add(state.index.find_tag(dataset.number, name))
            case "artifact_filter":
                id = _require(filter_.artifact_filter.artifact_id, "ArtifactID")
                exact.add(state.index.find(dataset.number, id))
            case "partition_filter":
                pair = filter_.partition_filter.key_val
                partitions.add((_require(pair.key, "PartitionKey"), _require(pair.value, "PartitionValue")))
            case _:
                raise InvalidArgumentError("no such entity Unknown")
    rows = state.index.rows_of(dataset.number)
    if exact:
        rows = [row for row in exact if row is not None] if len(exact) == 1 else []
    if not partitions:
        return rows
    return [row for row in rows if partitions <= set(state.index.artifact(row).partitions)]


def _names(data: Sequence[datacatalog_pb2.ArtifactData]) -> tuple[str, ...]:
    if not data:
        raise _missing("artifactData")
    names = tuple(item.name for item in data)
    for name in names:
        _require(name, "artifactData name")
    if len(set(names)) != len(names):
        raise _invalid("artifactData", f"names are not unique: {', '.join(names)}")
    return names


def _check_partitions(keys: Sequence[str], partitions: Sequence[datacatalog_pb2.Partition]) -> None:
    given = [partition.key for partition in partitions]
    if len(given) != len(keys):
        raise InvalidArgumentError(f"Partition key mismatch, dataset keys: {list(keys)}, artifact Partitions: {given}")
    for index, partition in enumerate(partitions):
        _require(partition.key, f"partitionKey[{index}]")
        _require(partition.value, f"partitionValue[{index}]")
    if set(given) != set(keys):
        raise InvalidArgumentError(f"Artifact partition assignment does not match dataset partition keys: {given}")


# Tags


def add_tag(state: CatalogState, request: datacatalog_pb2.AddTagRequest) -> TagAdded:
    """Return the fact of a new tag; a tag that is there is never moved."""
    if not request.HasField("tag"):
        raise _missing("tag")
    tag = request.tag
    _dataset_key(tag, "dataset")
    _require(tag.name, "tagName")
    _require(tag.artifact_id, "artifactID")
    dataset = get_dataset(state, tag)
    if state.index.find(dataset.number, tag.artifact_id) is None:
        raise _not_found("Artifact", datacatalog_pb2.Artifact(id=tag.artifact_id, dataset=tag.dataset))
    if state.index.find_tag(dataset.number, tag.name) is not None:
        raise AlreadyExistsError(f"entity already exists: tag {tag.name}")
    return TagAdded(dataset.id, tag.name, tag.artifact_id)


# Reservations


def hold_reservation(
    state: CatalogState, now: int, key: ReservationKey, owner: str, heartbeat: int | None
) -> tuple[Reservation, ReservationHeld | None]:
    """Take or extend a reservation; return whose it is then, and the fact if it is the asker's.

    `heartbeat` is nanoseconds; None stands for the longest.
    """
    heartbeat = HEARTBEAT_MAX_NS if heartbeat is None else min(heartbeat, HEARTBEAT_MAX_NS)
    held = state.reservations.get(key)
    if held is not None and held.owner != owner and held.expires_at >= now:
        return held, None
    fact = ReservationHeld(key.dataset, key.tag, owner, heartbeat, now + HEARTBEAT_GRACE * heartbeat)
    return Reservation(owner, heartbeat, fact.expires_at), fact


def release_reservation(state: CatalogState, key: ReservationKey, owner: str) -> ReservationReleased | None:
    """Return the fact that an owner gave up a reservation, None if it has none."""
    held = state.reservations.get(key)
    return ReservationReleased(key.dataset, key.tag, owner) if held is not None and held.owner == owner else None


# Shared


_ENTITIES = {
    "tag_filter": "Tag",
    "partition_filter": "Partition",
    "artifact_filter": "Artifact",
    "dataset_filter": "Dataset",
}


def _key(id: datacatalog_pb2.DatasetID) -> DatasetKey:
    return DatasetKey(id.project, id.domain, id.name, id.version)


def _dataset_key(message: Message, field: str) -> DatasetKey:
    if not message.HasField(field):
        raise _missing("dataset")
    id: datacatalog_pb2.DatasetID = getattr(message, field)
    for name in ("project", "domain", "name", "version"):
        _require(getattr(id, name), name)
    return _key(id)


def _window(
    request: datacatalog_pb2.ListArtifactsRequest | datacatalog_pb2.ListDatasetsRequest,
) -> tuple[int, int, bool]:
    """Return offset, limit and whether the newest come first."""
    options = request.pagination
    token = options.token.strip(" ")
    if token and not (token.isascii() and token.isdigit() and int(token) < _TOKEN_MAX):
        raise InvalidArgumentError(f"Invalid token value: {options.token}")
    if options.sortKey != datacatalog_pb2.PaginationOptions.CREATION_TIME:
        raise InvalidArgumentError(f"Invalid sort key {options.sortKey}")
    if options.sortOrder not in datacatalog_pb2.PaginationOptions.SortOrder.values():
        raise InvalidArgumentError(f"Invalid sort order {options.sortOrder}")
    descending = options.sortOrder == datacatalog_pb2.PaginationOptions.DESCENDING
    return int(token or 0), options.limit or _LIST_LIMIT, descending


def _require(value: str, field: str) -> str:
    if not value:
        raise _missing(field)
    return value


def _missing(field: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"missing {field}")


def _invalid(field: str, text: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"invalid value for {field}, value:[{text}]")


def _not_found(kind: str, identifier: Message) -> NotFoundError:
    return NotFoundError(f"missing entity of type {kind} with identifier {message_text(identifier)}")
