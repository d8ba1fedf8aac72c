"""DataCatalog: the catalog as other engines use it, and as tools look into it."""

from __future__ import annotations

from collections.abc import Iterable

from flyteidl.datacatalog import datacatalog_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from flyte_kernel.catalog import requests
from flyte_kernel.catalog.contents import read_literals, write_literals
from flyte_kernel.catalog.facts import ReservationHeld
from flyte_kernel.catalog.index import Artifact
from flyte_kernel.catalog.keys import DatasetKey
from flyte_kernel.catalog.state import Dataset, Reservation, ReservationKey
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision
from flyte_kernel.errors import InternalError

__all__ = ["DataCatalog"]

_SECOND_NS = 1_000_000_000


class DataCatalog:
    """One method for each RPC, from request to response message."""

    def __init__(self, engine: Backend) -> None:
        self._engine = engine

    # Datasets

    def CreateDataset(self, request: datacatalog_pb2.CreateDatasetRequest) -> datacatalog_pb2.CreateDatasetResponse:
        """Add a dataset."""
        self._engine.commit(lambda state, _: Decision(facts=[requests.create_dataset(state.catalog, request)]))
        return datacatalog_pb2.CreateDatasetResponse()

    def GetDataset(self, request: datacatalog_pb2.GetDatasetRequest) -> datacatalog_pb2.GetDatasetResponse:
        """Return a dataset."""
        dataset = requests.get_dataset(self._engine.state.catalog, request)
        return datacatalog_pb2.GetDatasetResponse(dataset=_dataset_message(dataset))

    def ListDatasets(self, request: datacatalog_pb2.ListDatasetsRequest) -> datacatalog_pb2.ListDatasetsResponse:
        """List datasets, the newest first unless asked otherwise."""
        page, token = requests.list_datasets(self._engine.state.catalog, request)
        datasets = [_dataset_message(dataset) for dataset in page]
        return datacatalog_pb2.ListDatasetsResponse(datasets=datasets, next_token=token)

    # Artifacts

    def CreateArtifact(self, request: datacatalog_pb2.CreateArtifactRequest) -> datacatalog_pb2.CreateArtifactResponse:
        """Add an artifact; what would be refused is refused before its data is written."""
        fact = requests.create_artifact(self._engine.state.catalog, request)
        self._write(fact.dataset, fact.id, request.artifact.data)
        self._engine.commit(lambda state, _: Decision(facts=[requests.create_artifact(state.catalog, request)]))
        return datacatalog_pb2.CreateArtifactResponse()

    def GetArtifact(self, request: datacatalog_pb2.GetArtifactRequest) -> datacatalog_pb2.GetArtifactResponse:
        """Return an artifact, named by id or tag, with its data."""
        dataset, row = requests.find_artifact(self._engine.state.catalog, request)
        return datacatalog_pb2.GetArtifactResponse(artifact=self._artifact_message(dataset, row))

    def UpdateArtifact(self, request: datacatalog_pb2.UpdateArtifactRequest) -> datacatalog_pb2.UpdateArtifactResponse:
        """Replace data and metadata of an artifact."""
        fact = requests.update_artifact(self._engine.state.catalog, request)
        self._write(fact.dataset, fact.id, request.data)
        self._engine.commit(lambda state, _: Decision(facts=[requests.update_artifact(state.catalog, request)]))
        return datacatalog_pb2.UpdateArtifactResponse(artifact_id=fact.id)

    def ListArtifacts(self, request: datacatalog_pb2.ListArtifactsRequest) -> datacatalog_pb2.ListArtifactsResponse:
        """List artifacts of a dataset with their data, the newest first unless asked otherwise."""
        dataset, rows, token = requests.list_artifacts(self._engine.state.catalog, request)
        artifacts = [self._artifact_message(dataset, row) for row in rows]
        return datacatalog_pb2.ListArtifactsResponse(artifacts=artifacts, next_token=token)

    # Tags

    def AddTag(self, request: datacatalog_pb2.AddTagRequest) -> datacatalog_pb2.AddTagResponse:
        """Give an artifact another name."""
        self._engine.commit(lambda state, _: Decision(facts=[requests.add_tag(state.catalog, request)]))
        return datacatalog_pb2.AddTagResponse()

    # Reservations

    def GetOrExtendReservation(
        self, request: datacatalog_pb2.GetOrExtendReservationRequest
    ) -> datacatalog_pb2.GetOrExtendReservationResponse:
        """Take or extend a reservation; of one that somebody else has, tell whose it is."""
        key = _reservation_key(request.reservation_id)
        heartbeat = None
        if request.HasField("heartbeat_interval"):
            heartbeat = request.heartbeat_interval.ToNanoseconds()

        def decide(state: State, now: int) -> Decision:
            held, fact = requests.hold_reservation(state.catalog, now, key, request.owner_id, heartbeat)
            return Decision(facts=[fact] if isinstance(fact, ReservationHeld) else [], result=held)

        held = self._engine.commit(decide)
        if not isinstance(held, Reservation):
            raise InternalError(f"a reservation came to {held!r}")
        reservation = datacatalog_pb2.Reservation(
            reservation_id=request.reservation_id,
            owner_id=held.owner,
            heartbeat_interval=_duration(held.heartbeat),
            expires_at=_timestamp(held.expires_at),
        )
        return datacatalog_pb2.GetOrExtendReservationResponse(reservation=reservation)

    def ReleaseReservation(
        self, request: datacatalog_pb2.ReleaseReservationRequest
    ) -> datacatalog_pb2.ReleaseReservationResponse:
        """Give a reservation up; it does not matter if there is none."""
        key = _reservation_key(request.reservation_id)

        def decide(state: State, _: int) -> Decision:
            fact = requests.release_reservation(state.catalog, key, request.owner_id)
            return Decision(facts=[] if fact is None else [fact])

        self._engine.commit(decide)
        return datacatalog_pb2.ReleaseReservationResponse()

    # Shared

    def _write(self, dataset: DatasetKey, artifact: str, data: Iterable[datacatalog_pb2.ArtifactData]) -> None:
        blobs = self._engine.blobs
        write_literals(blobs.base_uri, blobs.write, dataset, artifact, {item.name: item.value for item in data})

    def _artifact_message(self, dataset: Dataset, row: int) -> datacatalog_pb2.Artifact:
        index, blobs = self._engine.state.catalog.index, self._engine.blobs
        artifact = index.artifact(row)
        try:
            literals = read_literals(blobs.base_uri, blobs.read, dataset.id, artifact.id, artifact.names)
        except BlobNotFoundError as error:
            raise InternalError(f"Unable to read artifact data from location {error}") from error
        id = _dataset_id(dataset)
        message = datacatalog_pb2.Artifact(
            id=artifact.id,
            dataset=id,
            data=[datacatalog_pb2.ArtifactData(name=name, value=literal) for name, literal in literals.items()],
            metadata=datacatalog_pb2.Metadata(key_map=_metadata(artifact)),
            created_at=_timestamp(artifact.created_at),
        )
        for key, value in artifact.partitions:
            message.partitions.add(key=key, value=value)
        for name in index.tags_of(row):
            message.tags.add(name=name, artifact_id=artifact.id, dataset=id)
        return message


def _dataset_message(dataset: Dataset) -> datacatalog_pb2.Dataset:
    return datacatalog_pb2.Dataset(
        id=_dataset_id(dataset),
        metadata=datacatalog_pb2.Metadata(key_map=dataset.metadata),
        partitionKeys=dataset.partition_keys,
    )


def _dataset_id(dataset: Dataset) -> datacatalog_pb2.DatasetID:
    project, domain, name, version = dataset.id
    return datacatalog_pb2.DatasetID(project=project, domain=domain, name=name, version=version, UUID=dataset.uuid)


def _metadata(artifact: Artifact) -> dict[str, str]:
    source = artifact.source
    if source is None:
        return artifact.metadata or {}
    return {
        "exec-project": source.project,
        "exec-domain": source.domain,
        "execution-name": source.execution,
        "exec-node": source.node_id,
        "exec-attempt": str(source.attempt),
    }


def _reservation_key(id: datacatalog_pb2.ReservationID) -> ReservationKey:
    dataset = id.dataset_id
    return ReservationKey(DatasetKey(dataset.project, dataset.domain, dataset.name, dataset.version), id.tag_name)


def _timestamp(nanoseconds: int) -> Timestamp:
    seconds, nanos = divmod(nanoseconds, _SECOND_NS)
    return Timestamp(seconds=seconds, nanos=nanos)


def _duration(nanoseconds: int) -> Duration:
    seconds, nanos = divmod(nanoseconds, _SECOND_NS)
    return Duration(seconds=seconds, nanos=nanos)
