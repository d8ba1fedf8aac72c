"""Which types flow into which, and the types of literals."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from flyteidl.core import literals_pb2, types_pb2
from flytekit.core.type_engine import TypeEngine
from google.protobuf.struct_pb2 import Struct

from flyte_kernel.compile.json_schema import is_schema_compatible
from flyte_kernel.compile.types import are_types_castable, literal_type, type_text
from tests.support.templates import (
    BOOL,
    DATETIME,
    FLOAT,
    INT,
    NONE,
    STR,
    STRUCT,
    LiteralType,
    enum,
    integer,
    list_of,
    literal,
    literals,
    map_of,
    optional,
    string,
    union,
)

FILE_CSV = LiteralType(blob=types_pb2.BlobType(format="csv"))
FILE_ANY = LiteralType(blob=types_pb2.BlobType())
FILE_PNG = LiteralType(blob=types_pb2.BlobType(format="png"))
FOLDER_CSV = LiteralType(blob=types_pb2.BlobType(format="csv", dimensionality="MULTIPART"))


def tagged(kind: LiteralType, tag: str) -> LiteralType:
    copy = LiteralType()
    copy.CopyFrom(kind)
    copy.structure.tag = tag
    return copy


def dataset(format_name: str = "", **columns: LiteralType) -> LiteralType:
    kind = LiteralType(structured_dataset_type=types_pb2.StructuredDatasetType(format=format_name))
    for name, column in columns.items():
        kind.structured_dataset_type.columns.add(name=name, literal_type=column)
    return kind


def schema(**columns: str) -> LiteralType:
    kind = LiteralType(schema=types_pb2.SchemaType())
    for name, column in columns.items():
        kind.schema.columns.add(name=name, type=column)
    return kind


CASTABLE = [
    (INT, INT),
    (NONE, NONE),
    (STRUCT, STRUCT),
    (enum("a"), STR),
    (STR, enum("a")),
    (enum("a", "b"), enum("a", "b")),
    (list_of(INT), list_of(INT)),
    (list_of(NONE), list_of(STR)),
    (map_of(INT), map_of(INT)),
    (map_of(NONE), map_of(list_of(INT))),
    (list_of(list_of(NONE)), list_of(list_of(INT))),
    (FILE_CSV, FILE_CSV),
    (FILE_CSV, FILE_ANY),
    (FILE_ANY, FILE_CSV),
    (FOLDER_CSV, FILE_CSV),
    (INT, optional(INT)),
    (NONE, optional(INT)),
    (optional(INT), optional(INT)),
    (union(INT, STR), union(STR, BOOL, INT)),
    (union(INT), INT),
    (union(INT), optional(INT)),
    (list_of(INT), list_of(optional(INT))),
    (list_of(union(INT)), list_of(optional(INT))),
    (tagged(INT, "int"), union(tagged(INT, "int"), tagged(INT, "other"))),
    (INT, tagged(INT, "int")),
    (dataset(), dataset()),
    (dataset("parquet"), dataset()),
    (dataset("Parquet"), dataset("parquet")),
    (dataset("", a=INT, b=STR), dataset("", b=STR)),
    (dataset(), dataset("", b=STR)),
    (NONE, dataset()),
    (schema(a="INTEGER"), schema()),
    (schema(a="INTEGER", b="STRING"), schema(b="STRING")),
    (schema(a="INTEGER"), dataset("parquet", a=INT)),
    (dataset("parquet", a=INT), schema(a="INTEGER")),
]

NOT_CASTABLE = [
    (INT, FLOAT),
    (FLOAT, INT),
    (INT, STR),
    (INT, NONE),
    (NONE, INT),
    (INT, enum("a")),
    (enum("a"), enum("b")),
    (INT, STRUCT),
    (list_of(INT), list_of(STR)),
    (INT, list_of(INT)),
    (list_of(INT), map_of(INT)),
    (map_of(INT), map_of(FLOAT)),
    (list_of(INT), INT),
    (FILE_CSV, FILE_PNG),
    (STR, FILE_ANY),
    (union(INT, STR), INT),
    (union(INT, STR), union(INT, BOOL)),
    (optional(INT), INT),
    (INT, union(INT, tagged(INT, "x"))),
    (list_of(union(INT)), list_of(INT)),
    (tagged(INT, "int"), INT),
    (tagged(INT, "int"), tagged(INT, "other")),
    (dataset("csv"), dataset("parquet")),
    (dataset("", a=INT), dataset("", b=INT)),
    (dataset("", a=INT), dataset("", a=FLOAT)),
    (INT, dataset()),
    (NONE, schema()),
    (schema(a="INTEGER"), schema(a="FLOAT")),
    (schema(a="INTEGER"), schema(b="INTEGER")),
    (schema(a="INTEGER"), dataset("csv")),
    (schema(a="INTEGER"), dataset("", a=FLOAT)),
    (dataset("csv"), schema()),
    (dataset("", a=DATETIME), schema(a="INTEGER")),
    (LiteralType(), INT),
]


@pytest.mark.parametrize(("upstream", "downstream"), CASTABLE, ids=str)
def test_castable(upstream: LiteralType, downstream: LiteralType) -> None:
    assert are_types_castable(upstream, downstream)


@pytest.mark.parametrize(("upstream", "downstream"), NOT_CASTABLE, ids=str)
def test_not_castable(upstream: LiteralType, downstream: LiteralType) -> None:
    assert not are_types_castable(upstream, downstream)


@dataclass
class Base:
    x: int
    names: list[str]


@dataclass
class More:
    x: int
    names: list[str]
    y: float = 1.0


@dataclass
class Other:
    x: str
    names: list[str]


@dataclass
class Outer:
    inner: Base
    by_name: dict[str, Base]


@dataclass
class OuterMore:
    inner: More
    by_name: dict[str, More]


@dataclass
class OuterOther:
    inner: Other
    by_name: dict[str, Base]


def type_of(python_type: type) -> LiteralType:
    return TypeEngine.to_literal_type(python_type).to_flyte_idl()


def test_dataclasses_flow_into_those_that_need_no_more() -> None:
    base, more, other = type_of(Base), type_of(More), type_of(Other)
    assert are_types_castable(base, base)
    assert are_types_castable(more, base)
    assert not are_types_castable(other, base)
    assert are_types_castable(STRUCT, base)
    assert are_types_castable(base, STRUCT)
    assert not are_types_castable(base, INT)


def test_dataclasses_are_compared_all_the_way_down() -> None:
    assert are_types_castable(type_of(OuterMore), type_of(Outer))
    assert not are_types_castable(type_of(OuterOther), type_of(Outer))


def test_json_schemas() -> None:
    number = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}
    whole = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
    choice = {"type": "object", "properties": {"x": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    nothing = {"type": "object", "properties": {}}
    assert not is_schema_compatible(whole, number)
    assert is_schema_compatible(whole, choice)
    assert not is_schema_compatible(choice, whole)
    assert not is_schema_compatible(nothing, whole)
    assert is_schema_compatible(nothing, choice)
    assert is_schema_compatible({"enum": ["a"]}, {"enum": ["a", "b"]})
    assert not is_schema_compatible({"enum": ["a", "c"]}, {"enum": ["a", "b"]})


def test_json_schemas_that_contain_themselves_end() -> None:
    def tree(kind: str) -> dict[str, object]:
        node = {
            "type": "object",
            "properties": {"child": {"$ref": "#/$defs/T"}, "v": {"type": kind}},
            "required": ["v"],
        }
        return {"$ref": "#/$defs/T", "$defs": {"T": node}}

    assert is_schema_compatible(tree("string"), {**tree("string"), "title": "other"})
    assert not is_schema_compatible(tree("string"), tree("integer"))


def test_json_schemas_of_trees_take_no_time() -> None:
    def tree(kind: str) -> dict[str, object]:
        child = {"anyOf": [{"$ref": "#/$defs/T"}, {"type": "null"}]}
        sides = {"left": child, "right": dict(child), "v": {"type": kind}}
        return {"$ref": "#/$defs/T", "$defs": {"T": {"type": "object", "properties": sides, "required": ["v"]}}}

    assert is_schema_compatible(tree("string"), {**tree("string"), "title": "other"})
    assert not is_schema_compatible(tree("string"), tree("integer"))


def test_unions_inside_unions_take_no_time() -> None:
    upstream, downstream = INT, STR
    for _ in range(20):
        upstream = union(list_of(upstream))
        downstream = union(list_of(downstream), map_of(BOOL), list_of(BOOL))
    assert are_types_castable(upstream, upstream)
    assert not are_types_castable(upstream, downstream)


def test_broken_json_schemas_are_no_error() -> None:
    broken = [
        {"type": 3, "properties": []},
        {"$ref": "#/nowhere"},
        {"anyOf": "x", "enum": 1, "required": "x"},
        {"$ref": "#"},
    ]
    for one in broken:
        for other in broken:
            assert is_schema_compatible(one, other) in (True, False)


def primitive(**value: object) -> literals_pb2.Literal:
    return literal(literals_pb2.Scalar(primitive=literals_pb2.Primitive(**value)))  # type: ignore[arg-type]


def union_literal(value: literals_pb2.Scalar, kind: LiteralType) -> literals_pb2.Literal:
    return literal(literals_pb2.Scalar(union=literals_pb2.Union(value=literal(value), type=kind)))


NONE_LITERAL = literal(literals_pb2.Scalar(none_type=literals_pb2.Void()))
BLOB_METADATA = literals_pb2.BlobMetadata(type=FILE_CSV.blob)
DATASET_METADATA = literals_pb2.StructuredDatasetMetadata(
    structured_dataset_type=dataset("csv", a=INT).structured_dataset_type
)
INFERRED = literals_pb2.LiteralOffloadedMetadata(uri="s3://x", inferred_type=list_of(INT))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (primitive(integer=0), INT),
        (primitive(float_value=0.5), FLOAT),
        (primitive(string_value=""), STR),
        (primitive(boolean=False), BOOL),
        (primitive(datetime={"seconds": 1}), DATETIME),
        (primitive(duration={"seconds": 1}), LiteralType(simple="DURATION")),
        (NONE_LITERAL, NONE),
        (literal(literals_pb2.Scalar(error=types_pb2.Error(message="x"))), LiteralType(simple="ERROR")),
        (literal(literals_pb2.Scalar(generic=Struct())), STRUCT),
        (literal(literals_pb2.Scalar(binary=literals_pb2.Binary(tag="msgpack"))), STRUCT),
        (literal(literals_pb2.Scalar(binary=literals_pb2.Binary(tag="x"))), LiteralType(simple="BINARY")),
        (literal(literals_pb2.Scalar(blob=literals_pb2.Blob(metadata=BLOB_METADATA))), FILE_CSV),
        (
            literal(literals_pb2.Scalar(schema=literals_pb2.Schema(type=schema(a="INTEGER").schema))),
            schema(a="INTEGER"),
        ),
        (
            literal(literals_pb2.Scalar(structured_dataset=literals_pb2.StructuredDataset(metadata=DATASET_METADATA))),
            dataset("csv", a=INT),
        ),
        (literal(literals_pb2.Scalar(structured_dataset=literals_pb2.StructuredDataset(uri="x"))), dataset()),
        (union_literal(integer(1), tagged(INT, "int")), union(tagged(INT, "int"))),
        (literals(), list_of(NONE)),
        (literals(literal(integer(1)), literal(integer(2))), list_of(INT)),
        (literals(literal(string("x")), literal(integer(2)), literal(string("y"))), list_of(union(INT, STR))),
        (literals(literals(), literals(literal(integer(1)))), list_of(list_of(INT))),
        (literals(literals(), literals()), list_of(list_of(NONE))),
        (
            literals_pb2.Literal(map=literals_pb2.LiteralMap(literals={"a": literal(integer(1)), "b": NONE_LITERAL})),
            map_of(union(INT, NONE)),
        ),
        (literals_pb2.Literal(offloaded_metadata=INFERRED), list_of(INT)),
        (literals_pb2.Literal(), None),
        (literal(literals_pb2.Scalar(blob=literals_pb2.Blob(uri="x"))), None),
        (literals_pb2.Literal(offloaded_metadata=literals_pb2.LiteralOffloadedMetadata(uri="x")), None),
    ],
)
def test_literal_type(value: literals_pb2.Literal, expected: LiteralType | None) -> None:
    assert literal_type(value) == expected


def test_type_text() -> None:
    assert type_text(INT) == "simple:INTEGER"
    assert type_text(list_of(map_of(STR))) == "collection_type:{map_value_type:{simple:STRING}}"
    assert type_text(STRUCT) == "Simple: STRUCT structure{}"
    assert type_text(LiteralType()) == ""
