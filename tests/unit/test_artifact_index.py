"""Rows of artifacts and tags: what is put in is found again, however many there are and however it came in."""

from __future__ import annotations

from uuid import UUID

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_kernel.catalog import keys
from flyte_kernel.catalog.columns import NO_ROW
from flyte_kernel.catalog.index import Artifact, ArtifactIndex, IndexImage, Source

UUIDS = [str(UUID(int=7919 * (index + 1))) for index in range(5)]
SOURCE = Source("p", "d", "f0123456789abcdef", "n0", 2)


def artifact(id: str, dataset: int = 0, **other: object) -> Artifact:
    """Return an artifact of the engine's own making."""
    return Artifact(id=id, dataset=dataset, names=("o0", "o1"), created_at=17, source=SOURCE, **other)  # type: ignore[arg-type]


def digests(count: int, seed: int = 1) -> np.ndarray:
    """Return random digests as rows of bytes."""
    return np.random.default_rng(seed).integers(0, 256, (count, keys.DIGEST_BYTES), dtype=np.uint8)


def reopened(index: ArtifactIndex) -> ArtifactIndex:
    """Return the index after a snapshot and a restart."""
    return ArtifactIndex.of_image(msgspec.msgpack.decode(msgspec.msgpack.encode(index.image()), type=IndexImage))


@pytest.mark.parametrize("id", [UUIDS[0], UUIDS[0].upper(), "{" + UUIDS[0][1:-1] + "}", "anything at all", "é" * 36])
def test_ids_come_back_as_they_were_given(id: str) -> None:
    index = ArtifactIndex()
    row = index.add(artifact(id))
    assert index.find(0, id) == row
    assert index.id_of(row) == id
    assert index.artifact(row) == artifact(id)
    assert reopened(index).artifact(row) == artifact(id)


def test_an_id_belongs_to_its_dataset() -> None:
    index = ArtifactIndex()
    first, second = index.add(artifact("a", 0)), index.add(artifact("a", 1))
    assert (index.find(0, "a"), index.find(1, "a"), index.find(2, "a")) == (first, second, None)
    assert list(index.rows_of(1)) == [second]
    assert list(index.rows_of(2)) == []


def test_artifacts_of_others_keep_metadata_and_partitions() -> None:
    index = ArtifactIndex()
    given = Artifact("a", 0, ("x",), 5, metadata={"k": "v"}, partitions=(("day", "1"), ("region", "é")))
    bare = Artifact("b", 0, ("x",), 5)
    rows = [index.add(given), index.add(bare)]
    for found in (index, reopened(index)):
        assert found.artifact(rows[0]) == given
        assert found.artifact(rows[1]).metadata == {}
        assert found.artifact(rows[1]).source is None


def test_replacing_changes_the_contents_only() -> None:
    index = ArtifactIndex()
    row = index.add(artifact("a"))
    index.add_digest(0, bytes(32), row)
    index.replace(row, Artifact("a", 0, ("other",), 99, metadata={}))
    assert index.artifact(row) == Artifact("a", 0, ("other",), 17, metadata={})
    assert index.find_digest(0, bytes(32)) == row
    assert len(index) == 1


def test_tags_of_every_spelling_lead_to_their_artifact() -> None:
    index = ArtifactIndex()
    rows = [index.add(artifact(id)) for id in UUIDS]
    names = ["latest", keys.tag_name(bytes(range(32))), "flyte_cached-short", "é", "latest "]
    for name in names:
        index.add_tag(0, name, rows[3])
    index.add_tag(1, "latest", rows[4])
    for found in (index, reopened(index)):
        assert [found.find_tag(0, name) for name in names] == [rows[3]] * 5
        assert found.find_digest(0, bytes(range(32))) == rows[3]
        assert found.find_tag(1, "latest") == rows[4]
        assert found.find_tag(0, "nobody") is None
        assert list(found.tags_of(rows[3])) == names
        assert list(found.tags_of(rows[0])) == []


def test_many_are_found_at_once_and_one_by_one() -> None:
    index = ArtifactIndex()
    wanted = digests(20_000)
    for number, digest in enumerate(wanted):
        dataset = number % 3
        index.add_digest(dataset, digest.tobytes(), index.add(artifact(f"a{number}", dataset)))
    for found in (index, reopened(index)):
        rows = found.find_digests(1, wanted)
        expected = np.where(np.arange(20_000) % 3 == 1, np.arange(20_000), NO_ROW)
        np.testing.assert_array_equal(rows, expected)
        assert (found.find_digests(0, digests(20_000, seed=2)) == NO_ROW).all()
        assert all(found.find_digest(number % 3, wanted[number].tobytes()) == number for number in range(0, 20_000, 97))
        assert found.find(2, "a19991") == 19991
        assert found.rows_of(2)[-1] == 19_999 - (19_999 - 2) % 3
    assert index.find_digests(1, digests(0)).tolist() == []


def test_digests_that_meet_in_one_place_stay_apart() -> None:
    """All hashes are equal here: the table becomes one long run."""
    index = ArtifactIndex()
    wanted = [bytes(8) + number.to_bytes(24, "big") for number in range(300)]
    for digest in wanted:
        index.add_digest(0, digest, index.add(artifact(digest.hex())))
    for found in (index, reopened(index)):
        assert [found.find_digest(0, digest) for digest in wanted] == list(range(300))
        assert found.find_digest(0, bytes(8) + b"x" * 24) is None
        many = np.frombuffer(b"".join(wanted), np.uint8).reshape(-1, 32)
        assert found.find_digests(0, many).tolist() == list(range(300))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([*UUIDS, "a", "b"]),
            st.sampled_from(["t", "u", keys.tag_name(b"x" * 32)]),
        ),
        max_size=60,
    )
)
def test_an_index_is_a_dictionary(steps: list[tuple[int, str, str]]) -> None:
    index = ArtifactIndex()
    artifacts: dict[tuple[int, str], int] = {}
    tags: dict[tuple[int, str], int] = {}
    for dataset, id, tag in steps:
        if (dataset, id) not in artifacts:
            artifacts[dataset, id] = index.add(artifact(id, dataset))
        if (dataset, tag) not in tags:
            tags[dataset, tag] = artifacts[dataset, id]
            index.add_tag(dataset, tag, artifacts[dataset, id])
    for found in (index, reopened(index)):
        for dataset in range(3):
            assert [found.find(dataset, id) for id in UUIDS] == [artifacts.get((dataset, id)) for id in UUIDS]
            for tag in ("t", "u", keys.tag_name(b"x" * 32)):
                assert found.find_tag(dataset, tag) == tags.get((dataset, tag))
            assert list(found.rows_of(dataset)) == [row for key, row in artifacts.items() if key[0] == dataset]
