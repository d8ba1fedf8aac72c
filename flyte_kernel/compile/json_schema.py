"""Whether values described by one JSON schema satisfy another, for the schemas SDKs put beside STRUCT types.

Dataclass and Pydantic types travel as STRUCT with a draft 2020-12 schema in the type's metadata. The reference lets one
flow into another when the upstream has at least what the downstream needs. Keywords that SDKs do not write are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["is_schema_compatible"]

_DEPTH_MAX = 64  # a guess: deeper than any schema an SDK writes; what lies deeper is taken to agree
_Schema = Mapping[str, Any]


def is_schema_compatible(upstream: _Schema, downstream: _Schema) -> bool:
    """Say whether `upstream` has every property that `downstream` requires, with types that agree all the way down."""
    return upstream == downstream or _Comparison(upstream, downstream).agree(upstream, downstream, 0)


class _Comparison:
    """Compares two schemas; pairs of parts are judged once, so that schemas may contain themselves."""

    def __init__(self, upstream: _Schema, downstream: _Schema) -> None:
        self._roots = (upstream, downstream)
        self._judged: dict[tuple[int, int], bool] = {}

    def agree(self, upstream: Any, downstream: Any, depth: int) -> bool:
        """Judge one pair; a part that is absent on either side, or is no object, agrees with everything."""
        if not isinstance(upstream, Mapping) or not isinstance(downstream, Mapping) or depth > _DEPTH_MAX:
            return True
        source, target = _resolve(upstream, self._roots[0]), _resolve(downstream, self._roots[1])
        pair = (id(source), id(target))
        if pair not in self._judged:
            self._judged[pair] = True  # met again while it is judged: no reason against it yet
            self._judged[pair] = self._agree(source, target, depth + 1)
        return self._judged[pair]

    def _agree(self, upstream: _Schema, downstream: _Schema, depth: int) -> bool:
        sources, targets = _alternatives(upstream), _alternatives(downstream)
        if sources or targets:
            return all(
                any(self.agree(source, target, depth) for target in targets or [downstream])
                for source in sources or [upstream]
            )
        return (
            _types_agree(upstream, downstream)
            and _values_agree(upstream, downstream)
            and self.agree(upstream.get("items"), downstream.get("items"), depth)
            and self.agree(upstream.get("additionalProperties"), downstream.get("additionalProperties"), depth)
            and self._properties_agree(upstream, downstream, depth)
        )

    def _properties_agree(self, upstream: _Schema, downstream: _Schema, depth: int) -> bool:
        sources, targets = _object(upstream, "properties"), _object(downstream, "properties")
        required = downstream.get("required")
        needed = set(map(str, required)) if isinstance(required, list) else set()
        return all(
            self.agree(sources[name], target, depth) if name in sources else name not in needed
            for name, target in targets.items()
        )


def _types_agree(upstream: _Schema, downstream: _Schema) -> bool:
    target = _type_set(downstream)
    return not target or _type_set(upstream) <= target


def _type_set(schema: _Schema) -> set[str]:
    kind = schema.get("type")
    return set(map(str, kind)) if isinstance(kind, list) else {str(kind)} if kind is not None else set()


def _values_agree(upstream: _Schema, downstream: _Schema) -> bool:
    allowed, given = downstream.get("enum"), upstream.get("enum")
    if not isinstance(allowed, list):
        return True
    return isinstance(given, list) and all(value in allowed for value in given)


def _alternatives(schema: _Schema) -> list[Any]:
    found = schema.get("anyOf") or schema.get("oneOf")
    return found if isinstance(found, list) else []


def _object(schema: _Schema, key: str) -> _Schema:
    found = schema.get(key)
    return found if isinstance(found, Mapping) else {}


def _resolve(schema: _Schema, root: _Schema) -> _Schema:
    for _ in range(_DEPTH_MAX):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#"):
            return schema
        found: Any = root
        for step in filter(None, reference[1:].split("/")):
            found = found.get(step) if isinstance(found, Mapping) else None
        if not isinstance(found, Mapping):
            return schema
        schema = found
    return schema
