"""The DataCatalog service as a client sees it: codes, texts and pages of datacatalog, and what survives a restart."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from flyteidl.core import literals_pb2
from flyteidl.datacatalog import datacatalog_pb2 as dc
from flyteidl.datacatalog import datacatalog_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.settings import Settings
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.testing import FakeExecutor, MemoryBlobs, VirtualClock
from tests.support.fake_engine import FakeViews
from tests.support.memory_journal import MemoryJournal

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
DATASET = dc.DatasetID(project="p", domain="d", name="set", version="1")
NO_SET = 'project:"p" name:"none" domain:"d" version:"1"'


class Service:
    """A real engine, its journal in memory, behind a real server."""

    def __init__(
        self, journal: MemoryJournal, blobs: MemoryBlobs, clock: VirtualClock, views: FakeViews | None = None
    ) -> None:
        views = views or FakeViews()
        self.engine = Engine(
            journal=journal,
            blobs=blobs,
            views=views,
            executor=FakeExecutor(blobs, lambda _: None),
            plugin_of=PluginRegistry().plugin_of,
            settings=Settings(),
            clock=clock,
        )
        views.state = self.engine.state
        self.engine.start()
        self.server = GrpcServer(self.engine, "127.0.0.1", 0)
        self.server.start()
        self.channel = grpc.insecure_channel(self.server.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self.stub = datacatalog_pb2_grpc.DataCatalogStub(self.channel)

    def close(self) -> None:
        """Stop everything."""
        self.channel.close()
        self.server.close()
        self.engine.close()


@pytest.fixture
def clock() -> VirtualClock:
    """Return the server's clock."""
    return VirtualClock(START)


@pytest.fixture
def service(clock: VirtualClock) -> Iterator[Service]:
    """Return a server with an empty catalog."""
    service = Service(MemoryJournal(), MemoryBlobs("s3://flyte"), clock)
    yield service
    service.close()


@pytest.fixture
def stub(service: Service) -> datacatalog_pb2_grpc.DataCatalogStub:
    """Return a client of it."""
    return service.stub


def integer(value: int) -> literals_pb2.Literal:
    """Return an integer literal."""
    literal = literals_pb2.Literal()
    literal.scalar.primitive.integer = value
    return literal


def artifact(id: str, value: int = 1, *names: str, **partitions: str) -> dc.Artifact:
    """Return an artifact of the dataset with one literal for each name."""
    return dc.Artifact(
        id=id,
        dataset=DATASET,
        data=[dc.ArtifactData(name=name, value=integer(value)) for name in names or ("o0",)],
        metadata=dc.Metadata(key_map={"k": id}),
        partitions=[dc.Partition(key=key, value=text) for key, text in partitions.items()],
    )


def create(stub: datacatalog_pb2_grpc.DataCatalogStub, *artifacts: dc.Artifact, keys: tuple[str, ...] = ()) -> None:
    """Make the dataset and artifacts in it."""
    metadata = dc.Metadata(key_map={"task-version": "v1"})
    stub.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET, metadata=metadata, partitionKeys=keys)))
    for item in artifacts:
        stub.CreateArtifact(dc.CreateArtifactRequest(artifact=item))


def add_tag(stub: datacatalog_pb2_grpc.DataCatalogStub, name: str, artifact_id: str) -> None:
    """Tag an artifact."""
    stub.AddTag(dc.AddTagRequest(tag=dc.Tag(name=name, artifact_id=artifact_id, dataset=DATASET)))


def refusal(call: object, request: object) -> tuple[grpc.StatusCode, str]:
    """Return code and text of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        call(request)  # type: ignore[operator]
    return caught.value.code(), caught.value.details()


# Datasets


def test_a_dataset_is_what_was_created(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, keys=("day",))
    found = stub.GetDataset(dc.GetDatasetRequest(dataset=DATASET)).dataset
    assert (found.id.project, found.id.domain, found.id.name, found.id.version) == ("p", "d", "set", "1")
    assert len(found.id.UUID) == 36
    assert found.metadata.key_map == {"task-version": "v1"}
    assert found.partitionKeys == ["day"]
    request = dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET))
    assert refusal(stub.CreateDataset, request)[0] is grpc.StatusCode.ALREADY_EXISTS


@pytest.mark.parametrize("field", ["project", "domain", "name", "version"])
def test_ids_of_datasets_are_complete(stub: datacatalog_pb2_grpc.DataCatalogStub, field: str) -> None:
    id = dc.DatasetID()
    id.CopyFrom(DATASET)
    id.ClearField(field)  # type: ignore[arg-type]
    wanted = (grpc.StatusCode.INVALID_ARGUMENT, f"missing {field}")
    assert refusal(stub.GetDataset, dc.GetDatasetRequest(dataset=id)) == wanted
    assert refusal(stub.CreateDataset, dc.CreateDatasetRequest(dataset=dc.Dataset(id=id))) == wanted
    assert refusal(stub.ListArtifacts, dc.ListArtifactsRequest(dataset=id)) == wanted


def test_datasets_that_cannot_be(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    assert refusal(stub.GetDataset, dc.GetDatasetRequest()) == (grpc.StatusCode.INVALID_ARGUMENT, "missing dataset")
    code, text = refusal(
        stub.CreateDataset, dc.CreateDatasetRequest(dataset=dc.Dataset(id=DATASET, partitionKeys=["a", "a"]))
    )
    assert (code, text.startswith("invalid value for partitionKey")) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    none = dc.DatasetID(project="p", domain="d", name="none", version="1")
    assert refusal(stub.GetDataset, dc.GetDatasetRequest(dataset=none)) == (
        grpc.StatusCode.NOT_FOUND,
        f"missing entity of type Dataset with identifier {NO_SET}",
    )


def test_datasets_are_listed_newest_first_in_pages(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    for number in range(5):
        id = dc.DatasetID(project="p", domain="d", name=f"set{number}", version=str(number % 2))
        stub.CreateDataset(dc.CreateDatasetRequest(dataset=dc.Dataset(id=id)))

    def names(**request: object) -> tuple[list[str], str]:
        answer = stub.ListDatasets(dc.ListDatasetsRequest(**request))  # type: ignore[arg-type]
        return [dataset.id.name for dataset in answer.datasets], answer.next_token

    assert names() == (["set4", "set3", "set2", "set1", "set0"], "5")
    assert names(pagination=dc.PaginationOptions(limit=2)) == (["set4", "set3"], "2")
    assert names(pagination=dc.PaginationOptions(limit=2, token="4")) == (["set0"], "5")
    assert names(pagination=dc.PaginationOptions(limit=2, token="7")) == ([], "7")
    assert names(pagination=dc.PaginationOptions(limit=2, sortOrder=dc.PaginationOptions.ASCENDING))[0] == [
        "set0",
        "set1",
    ]
    odd = dc.SinglePropertyFilter(dataset_filter=dc.DatasetPropertyFilter(version="1"))
    third = dc.SinglePropertyFilter(dataset_filter=dc.DatasetPropertyFilter(name="set3"))
    assert names(filter=dc.FilterExpression(filters=[odd])) == (["set3", "set1"], "2")
    assert names(filter=dc.FilterExpression(filters=[odd, third])) == (["set3"], "1")
    tag = dc.SinglePropertyFilter(tag_filter=dc.TagPropertyFilter(tag_name="t"))
    assert refusal(stub.ListDatasets, dc.ListDatasetsRequest(filter=dc.FilterExpression(filters=[tag]))) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Dataset cannot be filtered by Tag properties",
    )


@pytest.mark.parametrize("token", ["-1", "x", "1.5", "4294967296", "٣"])
def test_tokens_are_offsets(stub: datacatalog_pb2_grpc.DataCatalogStub, token: str) -> None:
    request = dc.ListDatasetsRequest(pagination=dc.PaginationOptions(token=token))
    assert refusal(stub.ListDatasets, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        f"Invalid token value: {token}",
    )


# Artifacts


def test_an_artifact_is_what_was_created(
    service: Service, stub: datacatalog_pb2_grpc.DataCatalogStub, clock: VirtualClock
) -> None:
    create(stub)
    clock.advance(5 * SECOND)
    stub.CreateArtifact(dc.CreateArtifactRequest(artifact=artifact("a", 7, "x", "y")))
    add_tag(stub, "latest", "a")
    add_tag(stub, "other", "a")
    by_tag = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, tag_name="other")).artifact
    by_id = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="a")).artifact
    assert by_tag == by_id == stub.GetArtifact(dc.GetArtifactRequest(artifact_id="a")).artifact
    assert by_id.id == "a"
    assert {data.name: data.value.scalar.primitive.integer for data in by_id.data} == {"x": 7, "y": 7}
    assert by_id.metadata.key_map == {"k": "a"}
    assert [tag.name for tag in by_id.tags] == ["latest", "other"]
    assert by_id.tags[0].artifact_id == "a"
    assert by_id.tags[0].dataset == by_id.dataset
    assert by_id.created_at.ToNanoseconds() == START + 5 * SECOND
    assert "s3://flyte/metadata/p/d/set/1/a/x/data.pb" in service.engine.blobs.uris  # type: ignore[attr-defined]


def test_names_of_data_lead_nowhere_else(service: Service, stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a/b", 3, "x/../y"))
    found = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="a/b")).artifact
    assert (found.data[0].name, found.data[0].value.scalar.primitive.integer) == ("x/../y", 3)
    assert service.engine.blobs.uris == [  # type: ignore[attr-defined]
        "s3://flyte/metadata/p/d/set/1/a%2Fb/x%2F..%2Fy/data.pb"
    ]


def test_artifacts_that_cannot_be(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    def create_refusal(**changed: object) -> tuple[grpc.StatusCode, str]:
        fields = {"id": "b", "dataset": DATASET, "data": artifact("b").data, **changed}
        return refusal(stub.CreateArtifact, dc.CreateArtifactRequest(artifact=dc.Artifact(**fields)))  # type: ignore[arg-type]

    invalid = grpc.StatusCode.INVALID_ARGUMENT
    assert create_refusal()[0] is grpc.StatusCode.NOT_FOUND
    create(stub, artifact("a"))
    assert refusal(stub.CreateArtifact, dc.CreateArtifactRequest()) == (invalid, "missing artifact")
    assert create_refusal(id="") == (invalid, "missing artifactID")
    assert create_refusal(data=[]) == (invalid, "missing artifactData")
    assert create_refusal(dataset=None) == (invalid, "missing dataset")
    assert create_refusal(id="a")[0] is grpc.StatusCode.ALREADY_EXISTS
    assert create_refusal(data=[*artifact("b").data, *artifact("b").data])[0] is invalid
    assert create_refusal(partitions=[dc.Partition(key="day", value="1")])[0] is invalid


def test_an_artifact_that_exists_keeps_its_data(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a", 1))
    refusal(stub.CreateArtifact, dc.CreateArtifactRequest(artifact=artifact("a", 2)))
    found = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="a")).artifact
    assert found.data[0].value.scalar.primitive.integer == 1


def test_artifacts_that_are_not_there(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a"))
    get = stub.GetArtifact
    invalid, absent = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert refusal(get, dc.GetArtifactRequest(dataset=DATASET)) == (invalid, "missing one of artifactID/tagName")
    assert refusal(get, dc.GetArtifactRequest(dataset=DATASET, tag_name="")) == (invalid, "missing tagName")
    assert refusal(get, dc.GetArtifactRequest(dataset=DATASET, artifact_id="")) == (invalid, "missing artifactID")
    assert refusal(get, dc.GetArtifactRequest(tag_name="t")) == (invalid, "missing dataset")
    code, text = refusal(get, dc.GetArtifactRequest(dataset=DATASET, tag_name="t"))
    assert (code, text.startswith("missing entity of type Tag with identifier name:")) == (absent, True)
    assert refusal(get, dc.GetArtifactRequest(artifact_id="b"))[0] is absent
    other = dc.DatasetID(project="p", domain="d", name="none", version="1")
    assert refusal(get, dc.GetArtifactRequest(dataset=other, artifact_id="a"))[0] is absent


def test_data_that_somebody_removed_is_an_error_of_the_server(
    service: Service, stub: datacatalog_pb2_grpc.DataCatalogStub
) -> None:
    create(stub, artifact("a"))
    service.engine.blobs._data.clear()  # type: ignore[attr-defined]
    code, text = refusal(stub.GetArtifact, dc.GetArtifactRequest(dataset=DATASET, artifact_id="a"))
    assert code is grpc.StatusCode.INTERNAL
    assert "s3://flyte/metadata/p/d/set/1/a/o0/data.pb" in text


def test_an_update_replaces_data_and_metadata(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a", 1, "x", "y"))
    add_tag(stub, "t", "a")
    data = [dc.ArtifactData(name="z", value=integer(9))]
    request = dc.UpdateArtifactRequest(
        dataset=DATASET, tag_name="t", data=data, metadata=dc.Metadata(key_map={"m": "2"})
    )
    assert stub.UpdateArtifact(request).artifact_id == "a"
    found = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, tag_name="t")).artifact
    assert [(item.name, item.value.scalar.primitive.integer) for item in found.data] == [("z", 9)]
    assert found.metadata.key_map == {"m": "2"}
    assert refusal(stub.UpdateArtifact, dc.UpdateArtifactRequest(dataset=DATASET, tag_name="t")) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "missing artifactData",
    )
    absent = dc.UpdateArtifactRequest(dataset=DATASET, artifact_id="b", data=data)
    assert refusal(stub.UpdateArtifact, absent)[0] is grpc.StatusCode.NOT_FOUND


def test_artifacts_are_listed_newest_first_in_pages(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(
        stub,
        *[artifact(f"a{number}", number, day=str(number % 2), region="x") for number in range(5)],
        keys=("day", "region"),
    )
    add_tag(stub, "t", "a2")

    def listed(*filters: dc.SinglePropertyFilter, **options: object) -> tuple[list[str], str]:
        request = dc.ListArtifactsRequest(dataset=DATASET, filter=dc.FilterExpression(filters=filters))
        if options:
            request.pagination.CopyFrom(dc.PaginationOptions(**options))  # type: ignore[arg-type]
        answer = stub.ListArtifacts(request)
        return [item.id for item in answer.artifacts], answer.next_token

    def partition(key: str, value: str) -> dc.SinglePropertyFilter:
        pair = dc.KeyValuePair(key=key, value=value)
        return dc.SinglePropertyFilter(partition_filter=dc.PartitionPropertyFilter(key_val=pair))

    tag = dc.SinglePropertyFilter(tag_filter=dc.TagPropertyFilter(tag_name="t"))
    id = dc.SinglePropertyFilter(artifact_filter=dc.ArtifactPropertyFilter(artifact_id="a2"))
    other = dc.SinglePropertyFilter(artifact_filter=dc.ArtifactPropertyFilter(artifact_id="a3"))
    ascending = dc.PaginationOptions.ASCENDING
    assert listed() == (["a4", "a3", "a2", "a1", "a0"], "5")
    assert listed(limit=2, token="2") == (["a2", "a1"], "4")
    assert listed(limit=2, token="4") == (["a0"], "5")
    assert listed(limit=2, token="9") == ([], "9")
    assert listed(limit=2, token="2", sortOrder=ascending) == (["a2", "a3"], "4")
    assert listed(partition("day", "1")) == (["a3", "a1"], "2")
    assert listed(partition("day", "1"), partition("region", "x"), limit=1, sortOrder=ascending) == (["a1"], "1")
    assert listed(partition("day", "1"), partition("region", "y")) == ([], "0")
    assert listed(tag) == listed(tag, id) == (["a2"], "1")
    assert listed(tag, other) == listed(tag, partition("day", "1")) == ([], "0")
    assert listed(tag, partition("day", "0")) == (["a2"], "1")
    dataset = dc.SinglePropertyFilter(dataset_filter=dc.DatasetPropertyFilter(name="set"))
    request = dc.ListArtifactsRequest(dataset=DATASET, filter=dc.FilterExpression(filters=[dataset]))
    assert refusal(stub.ListArtifacts, request) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Artifact cannot be filtered by Dataset properties",
    )


def test_partitions_are_those_of_the_dataset(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a", 1, day="1", region="x"), keys=("day", "region"))
    found = stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, artifact_id="a")).artifact
    assert [(item.key, item.value) for item in found.partitions] == [("day", "1"), ("region", "x")]
    for wrong in ({"day": "1"}, {"day": "1", "hour": "2"}, {"day": "1", "region": ""}):
        request = dc.CreateArtifactRequest(artifact=artifact("b", 1, **wrong))
        assert refusal(stub.CreateArtifact, request)[0] is grpc.StatusCode.INVALID_ARGUMENT


# Tags


def test_a_tag_is_never_moved(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    create(stub, artifact("a"), artifact("b"))
    add_tag(stub, "t", "a")
    request = dc.AddTagRequest(tag=dc.Tag(name="t", artifact_id="b", dataset=DATASET))
    assert refusal(stub.AddTag, request)[0] is grpc.StatusCode.ALREADY_EXISTS
    assert stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, tag_name="t")).artifact.id == "a"


def test_tags_that_cannot_be(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    invalid, absent = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
    assert refusal(stub.AddTag, dc.AddTagRequest()) == (invalid, "missing tag")
    for fields, wanted in (
        ({"artifact_id": "a", "dataset": DATASET}, "missing tagName"),
        ({"name": "t", "dataset": DATASET}, "missing artifactID"),
        ({"name": "t", "artifact_id": "a"}, "missing dataset"),
    ):
        assert refusal(stub.AddTag, dc.AddTagRequest(tag=dc.Tag(**fields))) == (invalid, wanted)  # type: ignore[arg-type]
    request = dc.AddTagRequest(tag=dc.Tag(name="t", artifact_id="a", dataset=DATASET))
    assert refusal(stub.AddTag, request)[1].startswith("missing entity of type Dataset")
    create(stub)
    assert refusal(stub.AddTag, request)[0] is absent


# Reservations


def hold(stub: datacatalog_pb2_grpc.DataCatalogStub, owner: str, seconds: int | None = 4) -> dc.Reservation:
    """Ask for the one reservation of these tests."""
    request = dc.GetOrExtendReservationRequest(
        reservation_id=dc.ReservationID(dataset_id=DATASET, tag_name="t"), owner_id=owner
    )
    if seconds is not None:
        request.heartbeat_interval.CopyFrom(Duration(seconds=seconds))
    return stub.GetOrExtendReservation(request).reservation


def release(stub: datacatalog_pb2_grpc.DataCatalogStub, owner: str) -> None:
    """Give it up."""
    id = dc.ReservationID(dataset_id=DATASET, tag_name="t")
    stub.ReleaseReservation(dc.ReleaseReservationRequest(reservation_id=id, owner_id=owner))


def test_a_reservation_is_told_to_those_who_come_too_late(
    stub: datacatalog_pb2_grpc.DataCatalogStub, clock: VirtualClock
) -> None:
    first = hold(stub, "one")
    assert (first.owner_id, first.heartbeat_interval.seconds) == ("one", 4)
    assert first.expires_at.ToNanoseconds() == START + 12 * SECOND
    clock.advance(12 * SECOND)
    assert hold(stub, "two") == first
    clock.advance(1)
    assert hold(stub, "two").owner_id == "two"
    assert hold(stub, "one").owner_id == "two"


def test_heartbeats_keep_a_reservation(stub: datacatalog_pb2_grpc.DataCatalogStub, clock: VirtualClock) -> None:
    for _ in range(4):
        held = hold(stub, "one", None)
        assert held.expires_at.ToNanoseconds() == clock() + 30 * SECOND
        clock.advance(20 * SECOND)
        assert hold(stub, "two").owner_id == "one"


def test_a_reservation_given_up_is_free(stub: datacatalog_pb2_grpc.DataCatalogStub) -> None:
    release(stub, "nobody")
    hold(stub, "one")
    release(stub, "two")
    assert hold(stub, "two").owner_id == "one"
    release(stub, "one")
    assert hold(stub, "two").owner_id == "two"


def test_of_many_who_ask_at_once_one_has_it(service: Service) -> None:
    owners: list[str] = []
    start = threading.Barrier(12)

    def ask(number: int) -> None:
        start.wait()
        owners.append(hold(service.stub, f"owner{number}").owner_id)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(owners) == 12
    assert len(set(owners)) == 1


def test_of_many_who_create_at_once_one_succeeds(service: Service) -> None:
    create(service.stub)
    codes: list[object] = []
    start = threading.Barrier(12)

    def ask() -> None:
        start.wait()
        try:
            service.stub.CreateArtifact(dc.CreateArtifactRequest(artifact=artifact("a")))
            codes.append(None)
        except grpc.RpcError as error:
            codes.append(error.code())

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, codes)) == [*["None"], *["StatusCode.ALREADY_EXISTS"] * 11]


# Restarts


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_restart_forgets_nothing(clock: VirtualClock, snapshot: bool) -> None:
    journal, blobs, views = MemoryJournal(), MemoryBlobs("s3://flyte"), FakeViews()
    service = Service(journal, blobs, clock, views)
    create(service.stub, artifact("a", 4))
    add_tag(service.stub, "t", "a")
    held = hold(service.stub, "one")
    before = service.stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, tag_name="t")).artifact
    service.close()
    assert journal.snapshot is not None
    assert journal.snapshot[0] == views.sequence == journal.last_sequence
    if not snapshot:
        journal.snapshot = None
    service = Service(journal, blobs, clock, views)
    try:
        after = service.stub.GetArtifact(dc.GetArtifactRequest(dataset=DATASET, tag_name="t")).artifact
        assert after == before
        assert hold(service.stub, "two") == held
        assert service.stub.ListArtifacts(dc.ListArtifactsRequest(dataset=DATASET)).artifacts == [before]
    finally:
        service.close()
