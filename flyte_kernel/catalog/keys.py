"""Cache keys as the reference engine computes them, so that catalogs filled by either are hits for the other.

A dataset stands for a task's interface and cache version, a tag within it for the values of the inputs. The rules are
those of flytepropeller (nodes/catalog/datacatalog/transformer.go) and flyteplugins (catalog/hashing.go).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from typing import NamedTuple

from flyteidl.core import interface_pb2, literals_pb2, tasks_pb2

from flyte_kernel.catalog.interfaces import strip_variables
from flyte_kernel.catalog.object_hash import object_hash
from flyte_kernel.errors import InvalidArgumentError
from flyte_kernel.ids import fixed_length_id

__all__ = [
    "DIGEST_BYTES",
    "CacheKey",
    "DatasetKey",
    "cache_key",
    "dataset_key",
    "inputs_digest",
    "is_cacheable",
    "is_serializable",
    "reservation_owner",
    "tag_digest",
    "tag_name",
]

DIGEST_BYTES = 32
_DATASET_PREFIX = "flyte_task-"
_TAG_PREFIX = "flyte_cached-"
_SIGNATURE_LENGTH = 8
_OWNER_LENGTH_MAX = 50


class DatasetKey(NamedTuple):
    """The id of a dataset."""

    project: str
    domain: str
    name: str
    version: str


class CacheKey(NamedTuple):
    """What a task's outputs are remembered under: a dataset and the 32 bytes that its tag spells out."""

    dataset: DatasetKey
    digest: bytes

    @property
    def tag(self) -> str:
        """The name of the tag."""
        return tag_name(self.digest)


def is_cacheable(task: tasks_pb2.TaskTemplate) -> bool:
    """Say whether outputs of the task are looked up and remembered; one that has none can never be."""
    return bool(task.metadata.discoverable)


def is_serializable(task: tasks_pb2.TaskTemplate) -> bool:
    """Say whether attempts at the task with equal inputs wait for each other."""
    return bool(task.metadata.discoverable and task.metadata.cache_serializable)


def dataset_key(task: tasks_pb2.TaskTemplate) -> DatasetKey:
    """Return the dataset of a task; InvalidArgumentError if it names no cache version.

    Project and domain are the task's own. The task's version is no part of it.
    """
    version = task.metadata.discovery_version.strip(" ")
    if not version:
        raise InvalidArgumentError(f"task {task.id.name} is to be cached but names no cache version")
    signature = f"{_signature(task.interface.inputs)}-{_signature(task.interface.outputs)}"
    return DatasetKey(task.id.project, task.id.domain, _DATASET_PREFIX + task.id.name, f"{version}-{signature}")


def cache_key(task: tasks_pb2.TaskTemplate, inputs: literals_pb2.LiteralMap) -> CacheKey:
    """Return the key of a task with these inputs; InvalidArgumentError if it has none."""
    return CacheKey(dataset_key(task), inputs_digest(inputs, task.metadata.cache_ignore_input_vars))


def inputs_digest(inputs: literals_pb2.LiteralMap, ignored: Collection[str] = ()) -> bytes:
    """Hash inputs by value, where a literal that carries a hash counts as that hash alone; `ignored` are left out."""
    reduced = literals_pb2.LiteralMap()
    for name, literal in inputs.literals.items():
        if name not in ignored:
            _reduce(literal, reduced.literals[name])
    return object_hash(reduced)


def _reduce(literal: literals_pb2.Literal, target: literals_pb2.Literal) -> None:
    """Put into `target` what counts of a literal; unions are taken as they are, as there."""
    if literal.hash:
        target.hash = literal.hash
        return
    match literal.WhichOneof("value"):
        case "collection":
            target.collection.SetInParent()
            for item in literal.collection.literals:
                _reduce(item, target.collection.literals.add())
        case "map":
            target.map.SetInParent()
            for name, item in literal.map.literals.items():
                _reduce(item, target.map.literals[name])
        case _:
            target.CopyFrom(literal)


def _signature(variables: interface_pb2.VariableMap) -> str:
    return _base64(object_hash(strip_variables(variables)))[:_SIGNATURE_LENGTH]


# Tags


def tag_name(digest: bytes) -> str:
    """Return the name of the tag for inputs of that digest."""
    return _TAG_PREFIX + _base64(digest)


def tag_digest(name: str) -> bytes | None:
    """Return the digest that a tag's name spells out, None if it is no name that `tag_name` gives."""
    text = name.removeprefix(_TAG_PREFIX)
    if len(text) != 43 or len(text) == len(name) or not text.isascii():
        return None
    try:
        digest = urlsafe_b64decode(text + "=")
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES and _base64(digest) == text else None


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def reservation_owner(execution_name: str, unique_node_id: str, attempt: int) -> str:
    """Return the name under which an attempt holds a reservation."""
    return fixed_length_id(_OWNER_LENGTH_MAX, execution_name, unique_node_id, str(attempt))
