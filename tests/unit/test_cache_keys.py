"""Cache keys against values of the reference: its own unit tests, and keys observed on a running Flyte 1."""

from __future__ import annotations

import base64

import pytest
from flyteidl.core import interface_pb2, literals_pb2, tasks_pb2, types_pb2
from google.protobuf import json_format

from flyte_kernel.catalog import keys
from flyte_kernel.catalog.keys import CacheKey, DatasetKey
from flyte_kernel.catalog.object_hash import normalised, object_hash
from flyte_kernel.errors import InvalidArgumentError

INTEGER, STRING = types_pb2.INTEGER, types_pb2.STRING
EMPTY = "GKw-c0PwFokMUQ6T-TUmEWnZ4_VlQ2Qpgw-vCTT0-OQ"


def literals(**values: int) -> literals_pb2.LiteralMap:
    """Return a map of integers."""
    found = literals_pb2.LiteralMap()
    for name, value in values.items():
        found.literals[name].scalar.primitive.integer = value
    return found


def task(version: str = "1.0", **metadata: object) -> tasks_pb2.TaskTemplate:
    """Return a cached task x: int -> o0: str, with the descriptions that flytekit gives."""
    found = tasks_pb2.TaskTemplate()
    found.id.project, found.id.domain, found.id.name, found.id.version = "p", "d", "facts.cached", "v7"
    found.metadata.discoverable = True
    found.metadata.discovery_version = version
    found.metadata.MergeFrom(tasks_pb2.TaskMetadata(**metadata))  # type: ignore[arg-type]
    found.interface.inputs.variables["x"].type.simple = INTEGER
    found.interface.inputs.variables["x"].description = "x"
    found.interface.outputs.variables["o0"].type.simple = STRING
    found.interface.outputs.variables["o0"].description = "o0"
    return found


def text(digest: bytes) -> str:
    """Return a digest as the reference spells it."""
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def test_keys_seen_on_a_running_reference() -> None:
    key = keys.cache_key(task(), literals(x=7))
    assert key.dataset == DatasetKey("p", "d", "flyte_task-facts.cached", "1.0-BgPQX4Pd-zCZxwZgs")
    assert key.tag == "flyte_cached-St6svg4Gn1VUAPjT5eryXk1Krn589sY0igOmnqUsMWw"


def test_dataset_version_of_the_reference_tests() -> None:
    template = task(" 1.0.0 ")
    template.interface.Clear()
    for name in "12":
        template.interface.inputs.variables[name].type.simple = INTEGER
    assert keys.dataset_key(template).version == "1.0.0-UxVtPm0k-GKw-c0Pw"


@pytest.mark.parametrize(
    ("inputs", "digest"),
    [
        (literals(**{"1": 1, "2": 2}), "GQid5LjHbakcW68DS3P2jp80QLbiF0olFHF2hTh5bg8"),
        (literals(a=5), "7DZYDp81RLki9G-U-HC1ScLkDQ6M6Fi7QaV5ahFZCkw"),
        (literals(a=0), "twQmhh9sFdLtBWGKRq4LtOZuFlwROR2qj0MZ0cr-noY"),
        (literals(), EMPTY),
    ],
)
def test_tags_of_the_reference(inputs: literals_pb2.LiteralMap, digest: str) -> None:
    assert text(keys.inputs_digest(inputs)) == digest
    assert keys.tag_name(keys.inputs_digest(inputs)) == f"flyte_cached-{digest}"


def test_ignored_inputs_do_not_count() -> None:
    template = task(cache_ignore_input_vars=["3", "nobody"])
    assert keys.cache_key(template, literals(**{"1": 1, "2": 2, "3": 9})).digest == keys.inputs_digest(
        literals(**{"1": 1, "2": 2})
    )
    assert keys.cache_key(template, literals(**{"3": 9})).tag == f"flyte_cached-{EMPTY}"


def test_a_hash_stands_for_the_value_wherever_it_is_found() -> None:
    hashed = literals(a=5)
    hashed.literals["a"].hash = "h"
    assert text(keys.inputs_digest(hashed)) == "8RHzq7pdGVSj3d8vfi-94-ZdyPCza-FZJ4xsCQCZ_HQ"
    other = literals(a=6)
    other.literals["a"].hash = "h"
    assert keys.inputs_digest(hashed) == keys.inputs_digest(other)

    def nested(value: int, hash_: str) -> literals_pb2.LiteralMap:
        found = literals_pb2.LiteralMap()
        inner = found.literals["a"].collection.literals.add().map.literals["k"]
        inner.scalar.primitive.integer, inner.hash = value, hash_
        return found

    assert keys.inputs_digest(nested(1, "h")) == keys.inputs_digest(nested(2, "h"))
    assert keys.inputs_digest(nested(1, "h")) != keys.inputs_digest(nested(1, "i"))
    assert keys.inputs_digest(nested(1, "")) != keys.inputs_digest(nested(2, ""))


def test_a_hash_within_a_union_does_not_replace_its_value() -> None:
    def union(value: int) -> literals_pb2.LiteralMap:
        found = literals_pb2.LiteralMap()
        inner = found.literals["a"].scalar.union.value
        inner.scalar.primitive.integer, inner.hash = value, "h"
        return found

    assert keys.inputs_digest(union(1)) != keys.inputs_digest(union(2))


def test_metadata_of_a_literal_counts_but_not_that_of_a_collection() -> None:
    plain, marked = literals(a=1), literals(a=1)
    marked.literals["a"].metadata["k"] = "v"
    assert keys.inputs_digest(plain) != keys.inputs_digest(marked)
    for found in (plain, marked):
        found.literals["a"].collection.literals.add().scalar.primitive.integer = 1
    assert keys.inputs_digest(plain) == keys.inputs_digest(marked)


def test_a_task_without_cache_version_has_no_key() -> None:
    with pytest.raises(InvalidArgumentError, match=r"facts\.cached is to be cached but names no cache version"):
        keys.dataset_key(task("   "))


def test_the_signature_is_that_of_the_stripped_interface() -> None:
    def version(change: object = None) -> str:
        template = task()
        kind = template.interface.inputs.variables["x"].type
        kind.Clear()
        union = kind.union_type.variants.add()
        union.collection_type.map_value_type.structured_dataset_type.columns.add(name="c").literal_type.simple = STRING
        column = union.collection_type.map_value_type.structured_dataset_type.columns[0].literal_type
        if callable(change):
            change(column)
        return keys.dataset_key(template).version

    def note(column: types_pb2.LiteralType, key: str) -> None:
        column.annotation.annotations.update({key: "x"})

    plain = version()
    assert version(lambda column: column.metadata.update({"title": "T"})) == plain
    assert version(lambda column: note(column, "anything")) == plain
    assert version(lambda column: note(column, "cache-key-metadata")) != plain
    assert version(lambda column: setattr(column.structure, "tag", "int")) != plain


def test_stripping_leaves_the_interface_as_it_was() -> None:
    template = task()
    before = template.SerializeToString(deterministic=True)
    keys.dataset_key(template)
    assert template.SerializeToString(deterministic=True) == before


def test_tags_spell_digests_and_nothing_else_does() -> None:
    digest = bytes(range(32))
    assert keys.tag_digest(keys.tag_name(digest)) == digest
    for name in (
        "latest",
        "flyte_cached-",
        f"flyte_cached-{EMPTY}=",
        f"flyte_cached-{EMPTY[:-1]}R",  # spare bits set: the same bytes, another text
        f"flyte_cached-{'ä' * 43}",
        EMPTY,
    ):
        assert keys.tag_digest(name) is None, name


def test_owner_of_a_reservation() -> None:
    assert keys.reservation_owner("f1", "n0", 2) == "f1-n0-2"
    long = keys.reservation_owner("f" * 40, "n0-0-dn1-something", 0)
    assert long.startswith("f")
    assert len(long) == 8


def test_a_cache_key_is_a_dataset_and_a_digest() -> None:
    key = CacheKey(DatasetKey("p", "d", "n", "v"), bytes(32))
    assert key.tag == "flyte_cached-" + "A" * 43


# The hash itself

# Values of flytestdlib's own test of pbhash.
PLAIN = {"integer": "18", "floatValue": 1.3, "stringValue": "lets test this", "boolean": True}
RICH = {
    **PLAIN,
    "datetime": "2019-03-29T12:00:00Z",
    "duration": "0.001s",
    "mapValue": {"z": "last", "a": "first"},
    "collections": ["1", "2", "3"],
}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (PLAIN, "GhPMTKvJfUPHK8U3vEmoi/wdVBx7IQSPqyjGXAZzquI="),
        (RICH, "YpWyLCP1NW0DVk3Hj64tK70H/9t+5fQlj7yyDK2lSEQ="),
    ],
)
def test_documents_of_the_reference_tests(document: dict[str, object], expected: str) -> None:
    message = json_format.ParseDict(document, literals_pb2.Scalar().generic)
    assert base64.b64encode(object_hash(message)).decode() == expected


def test_every_kind_of_field_hashes_as_its_json_does() -> None:
    found = literals(a=-3, z=0)
    scalars = [found.literals[name].scalar for name in "bcdefgh"]
    scalars[0].primitive.float_value = 1.3
    scalars[1].primitive.datetime.FromJsonString("2019-03-29T12:00:00.5Z")
    scalars[2].primitive.duration.FromJsonString("-1.001s")
    scalars[3].primitive.boolean = False
    scalars[4].binary.value, scalars[4].binary.tag = b"\xff\x00a", "msgpack"
    scalars[5].blob.uri, scalars[5].blob.metadata.type.dimensionality = "s3://é", types_pb2.BlobType.MULTIPART
    scalars[6].none_type.SetInParent()
    found.literals["i"].offloaded_metadata.size_bytes = 2**63
    found.literals["j"].scalar.generic.update({"x": [1, None, "s", True, {"y": 2.5}], "e": {}, "l": []})
    found.literals["k"].metadata["m"] = "n"
    document = json_format.MessageToDict(found)
    as_struct = json_format.ParseDict(document, literals_pb2.Scalar().generic)
    assert object_hash(found) == object_hash(as_struct)


@pytest.mark.parametrize("value", [0.5, 1.0, 2.0, 3.0, 0.1, 1e300, 5e-324, 2.0**53 + 2, -1.75])
def test_numbers_are_hashed_in_their_own_notation(value: float) -> None:
    sign, rest = ("-", -value) if value < 0 else ("+", value)
    exponent, bits = 0, ""
    while rest > 1:
        rest, exponent = rest / 2, exponent + 1
    while rest <= 0.5:
        rest, exponent = rest * 2, exponent - 1
    while rest:
        bits += "1" if rest >= 1 else "0"
        rest = (rest - 1 if rest >= 1 else rest) * 2
    assert normalised(value).decode() == f"{sign}{exponent}:{bits}"


def test_signed_zero_is_zero() -> None:
    zero, signed = literals(), literals()
    zero.literals["a"].scalar.primitive.float_value = 0.0
    signed.literals["a"].scalar.primitive.float_value = -0.0
    assert object_hash(zero) == object_hash(signed)


def test_numbers_that_json_names_are_text() -> None:
    found, named = literals(), literals_pb2.LiteralMap()
    for name, value, word in (
        ("a", float("inf"), "Infinity"),
        ("b", float("nan"), "NaN"),
        ("c", float("-inf"), "-Infinity"),
    ):
        found.literals[name].scalar.primitive.float_value = value
        named.literals[name].scalar.primitive.string_value = word
    assert object_hash(found.literals["a"].scalar.primitive) == object_hash(
        json_format.ParseDict({"floatValue": "Infinity"}, literals_pb2.Scalar().generic)
    )
    assert object_hash(found) != object_hash(named)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_struct_cannot_hold_what_is_no_number(value: float) -> None:
    found = literals_pb2.LiteralMap()
    found.literals["a"].scalar.generic.fields["x"].number_value = value
    with pytest.raises(InvalidArgumentError, match="NaN and infinity"):
        object_hash(found)


def test_a_struct_value_of_no_kind_cannot_be_hashed() -> None:
    found = literals_pb2.LiteralMap()
    found.literals["a"].scalar.generic.fields["x"].SetInParent()
    with pytest.raises(InvalidArgumentError, match="no kind"):
        object_hash(found)


def test_every_field_that_a_key_can_hold_is_known() -> None:
    """Hash an instance of every message below the two roots with every field set, map entries and lists included."""
    seen: set[str] = set()

    def fill(message: object, depth: int) -> None:
        for field in message.DESCRIPTOR.fields:  # type: ignore[attr-defined]
            if field.message_type is not None and field.message_type.full_name.startswith("google."):
                continue
            seen.add(field.full_name)
            if field.message_type is None or field.message_type.GetOptions().map_entry or depth == 0:
                continue
            target = getattr(message, field.name)
            inner = target.add() if hasattr(target, "add") else target
            if not hasattr(target, "add"):
                inner.SetInParent()
            fill(inner, depth - 1)
            object_hash(message)  # type: ignore[arg-type]

    fill(literals_pb2.Literal(), 3)
    fill(interface_pb2.Variable(), 4)
    assert "flyteidl.core.Primitive.integer" in seen
    assert "flyteidl.core.StructuredDatasetType.external_schema_bytes" in seen
