"""Task interfaces without what does not change a value: the form that cache keys are computed on.

The rules are the reference engine's (flytepropeller, compiler/transformers/k8s/utils.go): descriptions and type
metadata go; an annotation stays only if it says that it belongs to cache keys; the type's structure stays.
"""

from __future__ import annotations

from flyteidl.core import interface_pb2, types_pb2

__all__ = ["strip_type", "strip_variables"]

_ANNOTATION_IN_KEY = "cache-key-metadata"


def strip_variables(variables: interface_pb2.VariableMap) -> interface_pb2.VariableMap:
    """Return a stripped copy of the inputs or outputs of an interface."""
    stripped = interface_pb2.VariableMap()
    stripped.CopyFrom(variables)
    for variable in stripped.variables.values():
        variable.description = ""
        if variable.HasField("type"):
            strip_type(variable.type)
    return stripped


def strip_type(type_: types_pb2.LiteralType) -> None:
    """Strip a type and those within it in place."""
    type_.ClearField("metadata")
    if type_.HasField("annotation") and _ANNOTATION_IN_KEY not in type_.annotation.annotations.fields:
        type_.ClearField("annotation")
    match type_.WhichOneof("type"):
        case "union_type":
            for variant in type_.union_type.variants:
                strip_type(variant)
        case "map_value_type":
            strip_type(type_.map_value_type)
        case "collection_type":
            strip_type(type_.collection_type)
        case "structured_dataset_type":
            for column in type_.structured_dataset_type.columns:
                if column.HasField("literal_type"):
                    strip_type(column.literal_type)
