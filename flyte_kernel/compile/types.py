"""Literal types: which may flow into which, and the type of a given literal.

The rules are flytepropeller's (validators/typing.go and utils.go). There is no widening of integers to floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from flyteidl.core import literals_pb2, types_pb2
from flyteidl.core.types_pb2 import LiteralType

from flyte_kernel.compile.json_schema import is_schema_compatible
from flyte_kernel.compile.text import message_json, message_text

__all__ = ["are_types_castable", "is_optional", "literal_type", "scalar_type", "type_text"]

_Column = types_pb2.SchemaType.SchemaColumn

_SCHEMA_COLUMN_TYPES = {
    _Column.INTEGER: types_pb2.INTEGER,
    _Column.FLOAT: types_pb2.FLOAT,
    _Column.STRING: types_pb2.STRING,
    _Column.BOOLEAN: types_pb2.BOOLEAN,
    _Column.DATETIME: types_pb2.DATETIME,
    _Column.DURATION: types_pb2.DURATION,
}
_PRIMITIVE_TYPES = {
    "integer": types_pb2.INTEGER,
    "float_value": types_pb2.FLOAT,
    "string_value": types_pb2.STRING,
    "boolean": types_pb2.BOOLEAN,
    "datetime": types_pb2.DATETIME,
    "duration": types_pb2.DURATION,
}
_MSGPACK_TAG = "msgpack"  # flytekit's dataclasses and Pydantic models, since 1.14


def are_types_castable(upstream: LiteralType, downstream: LiteralType) -> bool:
    """Say whether a value of type `upstream` may be given where `downstream` is expected."""
    if _casts(upstream, downstream):
        return True
    # A union of one is as good as its variant; unions downstream have said so already, and asking them again at every
    # level would take exponential time.
    if len(upstream.union_type.variants) != 1 or downstream.HasField("union_type"):
        return False
    return _casts(upstream.union_type.variants[0], downstream)


def _casts(upstream: LiteralType, downstream: LiteralType) -> bool:
    kind = downstream.WhichOneof("type")
    rule = _RULES.get(kind) if kind is not None else None
    if rule is not None:
        return rule(upstream, downstream)
    if _is_none(downstream):
        return _is_none(upstream)
    return _casts_plainly(upstream, downstream)


def _is_none(kind: LiteralType) -> bool:
    return _is_simple(kind, types_pb2.NONE)


def _is_simple(kind: LiteralType, simple: int) -> bool:
    return bool(kind.HasField("simple") and kind.simple == simple)


def _casts_plainly(upstream: LiteralType, downstream: LiteralType) -> bool:
    """Simple types and enums: equal up to metadata; an enum is a string with a promise, so both ways are open."""
    if upstream.HasField("enum_type") and _is_simple(downstream, types_pb2.STRING):
        return True
    if downstream.HasField("enum_type") and _is_simple(upstream, types_pb2.STRING):
        return True
    if upstream.structure.tag and upstream.structure.tag != downstream.structure.tag:
        return False
    if _is_simple(upstream, types_pb2.STRUCT) and _is_simple(downstream, types_pb2.STRUCT):
        return _casts_struct(upstream, downstream)
    if upstream.WhichOneof("type") != downstream.WhichOneof("type"):
        return False
    return bool(upstream.simple == downstream.simple and upstream.enum_type == downstream.enum_type)


def _casts_struct(upstream: LiteralType, downstream: LiteralType) -> bool:
    if not upstream.HasField("metadata") or not downstream.HasField("metadata"):
        return True
    return is_schema_compatible(message_json(upstream.metadata), message_json(downstream.metadata))


def _casts_collection(upstream: LiteralType, downstream: LiteralType) -> bool:
    if not upstream.HasField("collection_type"):
        return False
    return _is_none(upstream.collection_type) or _casts(upstream.collection_type, downstream.collection_type)


def _casts_map(upstream: LiteralType, downstream: LiteralType) -> bool:
    if not upstream.HasField("map_value_type"):
        return False
    return _is_none(upstream.map_value_type) or _casts(upstream.map_value_type, downstream.map_value_type)


def _casts_blob(upstream: LiteralType, downstream: LiteralType) -> bool:
    """Only the formats count; the reference ignores whether one is a file and the other a folder."""
    if not upstream.HasField("blob"):
        return False
    formats = {upstream.blob.format, downstream.blob.format}
    return len(formats) == 1 or "" in formats


def _is_parquet(format_name: str) -> bool:
    return format_name.lower() in ("", "parquet")


def _casts_schema(upstream: LiteralType, downstream: LiteralType) -> bool:
    wanted = {column.name: _SCHEMA_COLUMN_TYPES.get(column.type) for column in downstream.schema.columns}
    if upstream.HasField("schema"):
        given = {column.name: _SCHEMA_COLUMN_TYPES.get(column.type) for column in upstream.schema.columns}
    elif upstream.HasField("structured_dataset_type"):
        if not _is_parquet(upstream.structured_dataset_type.format):
            return False
        given = {column.name: column.literal_type.simple for column in upstream.structured_dataset_type.columns}
    else:
        return False
    return _has_columns(given, wanted, lambda source, target: source == target)


def _casts_structured_dataset(upstream: LiteralType, downstream: LiteralType) -> bool:
    if _is_none(upstream):
        return True
    target = downstream.structured_dataset_type
    if upstream.HasField("schema"):
        given = {column.name: _SCHEMA_COLUMN_TYPES.get(column.type) for column in upstream.schema.columns}
        wanted = {column.name: column.literal_type.simple for column in target.columns}
        return _is_parquet(target.format) and _has_columns(given, wanted, lambda source, want: source == want)
    if not upstream.HasField("structured_dataset_type"):
        return False
    source = upstream.structured_dataset_type
    if source.format and target.format and source.format.lower() != target.format.lower():
        return False
    return _has_columns(
        {column.name: column.literal_type for column in source.columns},
        {column.name: column.literal_type for column in target.columns},
        _casts,
    )


def _has_columns(given: Mapping[str, object], wanted: Mapping[str, object], agree: Callable[..., bool]) -> bool:
    """Tables without columns on either side fit all; else what is wanted must be a subset of what is given."""
    if not given or not wanted:
        return True
    return all(name in given and agree(given[name], kind) for name, kind in wanted.items())


def _casts_union(upstream: LiteralType, downstream: LiteralType) -> bool:
    """Each variant of a union needs a place; anything else needs exactly one, or the choice would be a guess."""
    targets = downstream.union_type.variants
    if upstream.HasField("union_type"):
        sources = upstream.union_type.variants
        return all(any(are_types_castable(source, target) for target in targets) for source in sources)
    return sum(are_types_castable(upstream, target) for target in targets) == 1


_RULES: dict[str, Callable[[LiteralType, LiteralType], bool]] = {
    "collection_type": _casts_collection,
    "map_value_type": _casts_map,
    "blob": _casts_blob,
    "schema": _casts_schema,
    "structured_dataset_type": _casts_structured_dataset,
    "union_type": _casts_union,
}


def is_optional(kind: LiteralType) -> bool:
    """Say whether an input of this type may stay unbound: a union with none among its variants."""
    return kind.HasField("union_type") and any(_is_none(variant) for variant in kind.union_type.variants)


def literal_type(literal: literals_pb2.Literal) -> LiteralType | None:
    """Return the type of a literal, or None when it holds nothing to tell it by."""
    kind = literal.WhichOneof("value")
    if kind == "scalar":
        return scalar_type(literal.scalar)
    if kind == "collection":
        return LiteralType(collection_type=_common_type(literal.collection.literals))
    if kind == "map":
        return LiteralType(map_value_type=_common_type(literal.map.literals.values()))
    if kind == "offloaded_metadata" and literal.offloaded_metadata.HasField("inferred_type"):
        return literal.offloaded_metadata.inferred_type
    return None


def scalar_type(scalar: literals_pb2.Scalar) -> LiteralType | None:
    """Return the type of a scalar, or None when it holds nothing to tell it by."""
    kind = scalar.WhichOneof("value")
    rule = _SCALAR_RULES.get(kind) if kind is not None else None
    return rule(scalar) if rule is not None else None


def _simple(simple: types_pb2.SimpleType) -> LiteralType:
    return LiteralType(simple=simple)


def _primitive_type(scalar: literals_pb2.Scalar) -> LiteralType:
    return _simple(_PRIMITIVE_TYPES.get(scalar.primitive.WhichOneof("value") or "", types_pb2.NONE))


def _blob_type(scalar: literals_pb2.Scalar) -> LiteralType | None:
    return LiteralType(blob=scalar.blob.metadata.type) if scalar.blob.HasField("metadata") else None


def _binary_type(scalar: literals_pb2.Scalar) -> LiteralType:
    return _simple(types_pb2.STRUCT if scalar.binary.tag == _MSGPACK_TAG else types_pb2.BINARY)


_SCALAR_RULES: dict[str, Callable[[literals_pb2.Scalar], LiteralType | None]] = {
    "primitive": _primitive_type,
    "blob": _blob_type,
    "binary": _binary_type,
    "schema": lambda scalar: LiteralType(schema=scalar.schema.type),
    "none_type": lambda _: _simple(types_pb2.NONE),
    "error": lambda _: _simple(types_pb2.ERROR),
    "generic": lambda _: _simple(types_pb2.STRUCT),
    "structured_dataset": lambda scalar: LiteralType(
        structured_dataset_type=scalar.structured_dataset.metadata.structured_dataset_type
    ),
    "union": lambda scalar: LiteralType(union_type=types_pb2.UnionType(variants=[scalar.union.type])),
}


def _common_type(literals: Iterable[literals_pb2.Literal]) -> LiteralType:
    """The element type of a collection: none if it is empty, the one type, or a union of the distinct ones.

    An empty list beside full ones says nothing about the type; it counts only when there is nothing else.
    """
    distinct: dict[bytes, LiteralType] = {}
    empty: LiteralType | None = None
    for literal in literals:
        kind = literal_type(literal) or LiteralType()
        if literal.HasField("collection") and not literal.collection.literals:
            empty = kind
        else:
            distinct.setdefault(kind.SerializeToString(deterministic=True), kind)
    if not distinct:
        return empty or _simple(types_pb2.NONE)
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    return _union_of(sorted(distinct.values(), key=message_text))


def _union_of(kinds: list[LiteralType]) -> LiteralType:
    """Unite distinct types; lists of unions give up their variants and the whole becomes a list, as there."""
    variants: list[LiteralType] = []
    nested = False
    for kind in kinds:
        if kind.collection_type.HasField("union_type"):
            nested = True
            variants.extend(kind.collection_type.union_type.variants)
        else:
            variants.append(kind)
    union = LiteralType(union_type=types_pb2.UnionType(variants=variants))
    return LiteralType(collection_type=union) if nested else union


def type_text(kind: LiteralType) -> str:
    """Return how the compiler's messages show a type; a STRUCT shows its fields but not its JSON schema."""
    if not _is_simple(kind, types_pb2.STRUCT):
        return message_text(kind)
    fields = ", ".join(
        f"dataclass_type:{{key:{name} value:{{{type_text(field)}}}"
        for name, field in sorted(kind.structure.dataclass_type.items())
    )
    return f"Simple: STRUCT structure{{{fields}}}"
