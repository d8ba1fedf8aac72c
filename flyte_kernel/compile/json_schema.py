"""Whether values described by one JSON schema satisfy another, for the schemas SDKs put beside STRUCT types.

Dataclass and Pydantic types travel as STRUCT with a draft 2020-12 schema in the type's metadata. The reference lets one
flow into another when the upstream has at least what the downstream needs. Keywords that SDKs do not write are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_schema_compatible"]

_DEPTH_MAX = 64  # deeper than any schema an SDK writes; ends the walk through schemas that contain themselves
_Schema = Mapping[str, Any]


def is_schema_compatible(upstream: _Schema, downstream: _Schema) -> bool:
    """Say whether `upstream` has every property that `downstream` requires, with types that agree all the way down."""
    return upstream == downstream or _agree(upstream, downstream, upstream, downstream, _DEPTH_MAX)


def _agree(upstream: Any, downstream: Any, upstream_root: _Schema, downstream_root: _Schema, depth: int) -> bool:
    if not isinstance(upstream, Mapping) or not isinstance(downstream, Mapping) or depth == 0:
        return True
    upstream = _resolve(upstream, upstream_root)
    downstream = _resolve(downstream, downstream_root)
    sources, targets = _alternatives(upstream), _alternatives(downstream)
    if sources or targets:
        return all(
            any(_agree(source, target, upstream_root, downstream_root, depth - 1) for target in targets or [downstream])
            for source in sources or [upstream]
        )
    if not _types_agree(upstream, downstream):
        return False
    if "enum" in downstream and not set(map(str, upstream.get("enum", [None]))) <= set(map(str, downstream["enum"])):
        return False
    pairs = [(upstream.get(key), downstream.get(key)) for key in ("items", "additionalProperties")]
    if not all(_agree(source, target, upstream_root, downstream_root, depth - 1) for source, target in pairs):
        return False
    return _properties_agree(upstream, downstream, upstream_root, downstream_root, depth)


def _properties_agree(
    upstream: _Schema, downstream: _Schema, upstream_root: _Schema, downstream_root: _Schema, depth: int
) -> bool:
    sources, targets = upstream.get("properties", {}), downstream.get("properties", {})
    required = set(downstream.get("required", []))
    return all(
        _agree(sources[name], target, upstream_root, downstream_root, depth - 1)
        if name in sources
        else name not in required
        for name, target in targets.items()
    )


def _types_agree(upstream: _Schema, downstream: _Schema) -> bool:
    target = _type_set(downstream)
    return not target or _type_set(upstream) <= target


def _type_set(schema: _Schema) -> set[str]:
    kind = schema.get("type", [])
    return {kind} if isinstance(kind, str) else set(kind)


def _alternatives(schema: _Schema) -> list[Any]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [])


def _resolve(schema: _Schema, root: _Schema) -> _Schema:
    for _ in range(_DEPTH_MAX):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        found: Any = root
        for step in reference.lstrip("#/").split("/"):
            found = found.get(step, {}) if isinstance(found, Mapping) else {}
        if not isinstance(found, Mapping):
            return {}
        schema = found
    return {}
