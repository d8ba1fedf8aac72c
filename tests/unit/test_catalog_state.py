"""The catalog as a fold: of facts that claim one name the first counts, and a snapshot is the whole of it."""

from __future__ import annotations

import msgspec
import pytest

from flyte_kernel.catalog import requests
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
from flyte_kernel.catalog.index import Source
from flyte_kernel.catalog.keys import CacheKey, DatasetKey
from flyte_kernel.catalog.state import CatalogImage, CatalogState, Reservation, ReservationKey

SECOND = 1_000_000_000
DATASET = DatasetKey("p", "d", "flyte_task-t", "1-a-b")
KEY = CacheKey(DATASET, bytes(range(32)))
SOURCE = Source("p", "d", "f1", "n0", 1)
RESERVATION = ReservationKey(DATASET, KEY.tag)


def state_after(*facts: CatalogFact) -> CatalogState:
    """Fold facts, one a second."""
    state = CatalogState()
    for second, fact in enumerate(facts):
        state.on_fact(fact, second * SECOND)
    return state


def remembered(artifact: str = "a", **other: object) -> OutputsRemembered:
    """Return the fact of a cached attempt."""
    fact = OutputsRemembered(DATASET, "v1", KEY.digest, artifact, ("o0",), SOURCE)
    return msgspec.structs.replace(fact, **other)


def test_remembered_outputs_are_found_with_their_source() -> None:
    state = state_after(remembered())
    found = state.find(KEY)
    assert found is not None
    assert (found.source, found.task_version, found.artifact.names) == (SOURCE, "v1", ("o0",))
    assert found.dataset.metadata == {"task-version": "v1"}
    assert state.find(CacheKey(DATASET, bytes(32))) is None
    assert state.find(CacheKey(DATASET._replace(version="2"), KEY.digest)) is None


def test_of_two_attempts_the_first_keeps_the_tag() -> None:
    state = state_after(remembered("a"), remembered("b", task_version="v2"))
    found = state.find(KEY)
    assert found is not None
    assert (found.artifact.id, found.task_version) == ("a", "v1")
    assert len(state.index) == 2


def test_outputs_overwritten_keep_artifact_and_tag() -> None:
    later = SOURCE._replace(execution="f2")
    state = state_after(remembered("a"), remembered("a", source=later, names=("o0", "o1")))
    found = state.find(KEY)
    assert found is not None
    assert (found.artifact.id, found.source, found.artifact.names, found.artifact.created_at) == (
        "a",
        later,
        ("o0", "o1"),
        0,
    )
    assert len(state.index) == 1


def test_the_source_of_an_artifact_of_others_is_in_its_metadata() -> None:
    metadata = {
        "exec-project": "q",
        "exec-domain": "e",
        "execution-name": "x",
        "exec-node": "n3",
        "exec-attempt": "4",
    }
    state = state_after(
        DatasetCreated(DATASET, {}),
        ArtifactCreated(DATASET, "a", ("o0",), metadata),
        ArtifactCreated(DATASET, "b", ("o0",), {"exec-attempt": "many"}),
        TagAdded(DATASET, KEY.tag, "a"),
        TagAdded(DATASET, CacheKey(DATASET, bytes(32)).tag, "b"),
    )
    known, bare = state.find(KEY), state.find(CacheKey(DATASET, bytes(32)))
    assert known is not None
    assert bare is not None
    assert known.source == Source("q", "e", "x", "n3", 4)
    assert bare.source == Source("p", "d", "unknown", "unknown", 0)
    assert bare.task_version == "unknown"


def test_facts_that_come_too_late_change_nothing() -> None:
    state = state_after(
        DatasetCreated(DATASET, {"k": "first"}, ("day",)),
        DatasetCreated(DATASET, {"k": "second"}),
        ArtifactCreated(DATASET, "a", ("x",), {"n": "1"}, (("day", "1"),)),
        ArtifactCreated(DATASET, "a", ("y",), {"n": "2"}, (("day", "2"),)),
        ArtifactCreated(DATASET, "b", ("x",), {}),
        TagAdded(DATASET, "t", "a"),
        TagAdded(DATASET, "t", "b"),
        TagAdded(DATASET, "u", "nobody"),
        ArtifactUpdated(DATASET, "nobody", ("z",), {}),
    )
    dataset = state.datasets[DATASET]
    assert (dataset.metadata, dataset.partition_keys, dataset.created_at) == ({"k": "first"}, ("day",), 0)
    row = state.index.find_tag(dataset.number, "t")
    assert row is not None
    artifact = state.index.artifact(row)
    assert (artifact.id, artifact.names, artifact.metadata, artifact.partitions) == (
        "a",
        ("x",),
        {"n": "1"},
        (("day", "1"),),
    )
    assert state.index.find_tag(dataset.number, "u") is None
    assert len(state.index) == 2


def test_an_update_replaces_names_and_metadata() -> None:
    state = state_after(
        DatasetCreated(DATASET, {}),
        ArtifactCreated(DATASET, "a", ("x", "y"), {"n": "1"}),
        ArtifactUpdated(DATASET, "a", ("z",), {"m": "2"}),
    )
    artifact = state.index.artifact(0)
    assert (artifact.names, artifact.metadata, artifact.created_at) == (("z",), {"m": "2"}, SECOND)


# Reservations


def test_a_reservation_is_the_first_owner_s_until_it_expires() -> None:
    state = CatalogState()
    held, fact = requests.hold_reservation(state, 0, RESERVATION, "one", 4 * SECOND)
    assert held == Reservation("one", 4 * SECOND, 12 * SECOND)
    assert fact == ReservationHeld(DATASET, KEY.tag, "one", 4 * SECOND, 12 * SECOND)
    state.on_fact(fact, 0)
    for now in (1, 12 * SECOND):
        assert requests.hold_reservation(state, now, RESERVATION, "two", SECOND) == (held, None)
    taken, fact = requests.hold_reservation(state, 12 * SECOND + 1, RESERVATION, "two", SECOND)
    assert fact is not None
    assert taken == Reservation("two", SECOND, 15 * SECOND + 1)


def test_an_owner_extends_its_reservation() -> None:
    state = CatalogState()
    _, fact = requests.hold_reservation(state, 0, RESERVATION, "one", SECOND)
    assert fact is not None
    state.on_fact(fact, 0)
    held, fact = requests.hold_reservation(state, 2 * SECOND, RESERVATION, "one", SECOND)
    assert fact is not None
    assert held.expires_at == fact.expires_at == 5 * SECOND


@pytest.mark.parametrize("asked", [None, 3600 * SECOND])
def test_nobody_beats_slower_than_ten_seconds(asked: int | None) -> None:
    held, _ = requests.hold_reservation(CatalogState(), 0, RESERVATION, "one", asked)
    assert held == Reservation("one", 10 * SECOND, 30 * SECOND)


def test_only_the_owner_gives_a_reservation_up() -> None:
    state = state_after(ReservationHeld(DATASET, KEY.tag, "one", SECOND, 9 * SECOND))
    assert requests.release_reservation(state, RESERVATION, "two") is None
    state.on_fact(ReservationReleased(DATASET, KEY.tag, "two"), SECOND)
    assert RESERVATION in state.reservations
    fact = requests.release_reservation(state, RESERVATION, "one")
    assert fact is not None
    state.on_fact(fact, SECOND)
    assert state.reservations == {}
    assert requests.release_reservation(state, RESERVATION, "one") is None
    state.on_fact(fact, SECOND)  # a second time, as after a crash


def test_reservations_that_nobody_renews_do_not_pile_up() -> None:
    state = CatalogState()
    for number in range(5_000):
        now = number * SECOND
        state.on_fact(ReservationHeld(DATASET, f"t{number}", "o", SECOND, now + 3 * SECOND), now)
    assert len(state.reservations) <= 1_025
    assert ReservationKey(DATASET, "t4999") in state.reservations


# Snapshots and turns


def test_a_snapshot_is_the_whole_catalog() -> None:
    other = DATASET._replace(name="other")
    facts = [
        DatasetCreated(other, {"a": "b"}, ("day",)),
        ArtifactCreated(other, "x", ("n",), {"k": "v"}, (("day", "1"),)),
        TagAdded(other, "latest", "x"),
        remembered(),
        ReservationHeld(DATASET, KEY.tag, "one", SECOND, 9 * SECOND),
    ]
    state = state_after(*facts)
    data = msgspec.msgpack.encode(state.image())
    restored = CatalogState.of_image(msgspec.msgpack.decode(data, type=CatalogImage))
    assert restored.by_number == state.by_number
    assert restored.datasets == state.datasets
    assert restored.reservations == state.reservations
    assert restored.find(KEY) == state.find(KEY)
    row = restored.index.find_tag(0, "latest")
    assert row is not None
    assert restored.index.artifact(row) == state.index.artifact(0)
    for found in (state, restored):
        found.on_fact(remembered("b", digest=bytes(32)), 99)
    assert restored.find(CacheKey(DATASET, bytes(32))) == state.find(CacheKey(DATASET, bytes(32)))
    assert msgspec.msgpack.encode(restored.image()) == msgspec.msgpack.encode(state.image())


def test_decisions_about_one_name_cannot_share_a_turn() -> None:
    created, tag = ArtifactCreated(DATASET, "a", ("x",), {}), TagAdded(DATASET, "a", "a")
    held, released = ReservationHeld(DATASET, "a", "o", 1, 2), ReservationReleased(DATASET, "a", "o")
    assert DatasetCreated(DATASET, {}).claims() == DatasetCreated(DATASET, {"k": "v"}).claims()
    assert created.claims() == ArtifactUpdated(DATASET, "a", (), {}).claims()
    assert held.claims() == released.claims()
    assert len({*created.claims(), *tag.claims(), *held.claims()}) == 3
    assert remembered().claims() == ()
