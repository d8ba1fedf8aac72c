"""Identifiers of entities, executions and attempts, and the short names the reference derives from them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "NO_ELEMENT",
    "AttemptKey",
    "EntityId",
    "ExecutionId",
    "NamedEntityId",
    "child_execution_name",
    "fixed_length_id",
    "fnv1a_32",
    "unique_node_id",
]

NO_ELEMENT = 0xFFFF_FFFF
RESOURCE_TYPE_NAMES = {0: "UNSPECIFIED", 1: "TASK", 2: "WORKFLOW", 3: "LAUNCH_PLAN", 4: "DATASET"}

_BASE32_ALPHABET = "abcdefghijklmnopqrstuvwxyz123456"
_NODE_ID_LENGTH_MAX = 20


class NamedEntityId(NamedTuple):
    """All versions of a task, workflow or launch plan."""

    project: str
    domain: str
    name: str


class EntityId(NamedTuple):
    """One version of a task (1), workflow (2) or launch plan (3); `resource_type` is FlyteIDL's number."""

    resource_type: int
    project: str
    domain: str
    name: str
    version: str


class ExecutionId(NamedTuple):
    """One execution."""

    project: str
    domain: str
    name: str


class AttemptKey(NamedTuple):
    """The idempotency key of everything outside the core: run and node are core indices, attempt counts from 0.

    `element` is an item of a map node, NO_ELEMENT for a node itself.
    """

    run: int
    node: int
    attempt: int
    element: int = NO_ELEMENT


def _fnv1a(data: bytes, *, bits: int) -> int:
    prime, value = {32: (0x01000193, 0x811C9DC5), 64: (0x100000001B3, 0xCBF29CE484222325)}[bits]
    mask = (1 << bits) - 1
    for byte in data:
        value = ((value ^ byte) * prime) & mask
    return value


def fnv1a_32(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash of `data`."""
    return _fnv1a(data, bits=32)


def _base32(value: int, *, bits: int) -> str:
    """RFC 4648 base 32 without padding over the reference's own alphabet, most significant bits first."""
    digits = -(-bits // 5)
    value <<= digits * 5 - bits
    return "".join(_BASE32_ALPHABET[(value >> (5 * i)) & 31] for i in reversed(range(digits)))


def fixed_length_id(length_max: int, *parts: str, bits: int = 32) -> str:
    """Join `parts` with dashes, or hash them to ``f`` plus base 32 of FNV-1a when longer than `length_max`.

    The rule is the reference engine's: ("x" * 24, length_max=20) gives "fuaa3aji".
    """
    text = ""
    for part in parts:
        text = f"{text}-{part}" if text else part
    if len(text) <= length_max:
        return text
    return "f" + _base32(_fnv1a(text.encode(), bits=bits), bits=bits)


def child_execution_name(parent: str, unique_node_id: str, attempt: int) -> str:
    """Return the name of the execution that an attempt at a launch-plan node of the execution `parent` starts.

    The rule is the reference engine's (subworkflow/util.go, GetChildExecutionIDV2): 20 characters or a 64-bit hash.
    """
    return fixed_length_id(_NODE_ID_LENGTH_MAX, parent, unique_node_id, str(attempt), bits=64)


def unique_node_id(parent: str | None, parent_attempt: int, node_id: str) -> str:
    """The id a node has within its execution: its own at the top, parent, attempt and own id below."""
    if parent is None:
        return node_id
    return fixed_length_id(_NODE_ID_LENGTH_MAX, parent, str(parent_attempt), node_id)
