"""Where inputs, outputs and raw data of executions live under a blob store's base URI.

The layout is the reference engine's: `<base>/metadata/propeller/<project>-<domain>-<execution>/<node>/data/<attempt>`
at the top, `<parent's output folder>/<node>/<attempt>` below a subworkflow; raw data is spread over 1,296 two-letter
shards chosen by FNV-1a of the attempt's generated name.
"""

from __future__ import annotations

from flyte_kernel.ids import ExecutionId, fixed_length_id, fnv1a_32

__all__ = [
    "checkpoint_prefix",
    "element_name",
    "element_prefix",
    "execution_prefix",
    "generated_name",
    "legacy_element_prefix",
    "nested_data_prefix",
    "output_prefix",
    "raw_output_prefix",
    "top_data_prefix",
]

_GENERATED_NAME_LENGTH_MAX = 50
_SHARD_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def execution_prefix(base_uri: str, execution: ExecutionId) -> str:
    """Return the folder of an execution's metadata."""
    return f"{base_uri}/metadata/propeller/{execution.project}-{execution.domain}-{execution.name}"


def top_data_prefix(base_uri: str, execution: ExecutionId, node_id: str) -> str:
    """Return the folder that holds the inputs.pb of a node of the top level."""
    return f"{execution_prefix(base_uri, execution)}/{node_id}/data"


def nested_data_prefix(parent_output_prefix: str, node_id: str) -> str:
    """Return the folder that holds the inputs.pb of a node below the node whose output folder is given."""
    return f"{parent_output_prefix}/{node_id}"


def output_prefix(data_prefix: str, attempt: int) -> str:
    """Return the folder that holds outputs.pb or error.pb of one attempt."""
    return f"{data_prefix}/{attempt}"


def generated_name(execution: ExecutionId, unique_node_id: str, attempt: int) -> str:
    """Return the name of an attempt's process or pod and of its raw data folder."""
    return fixed_length_id(_GENERATED_NAME_LENGTH_MAX, execution.name, unique_node_id, str(attempt))


def element_prefix(map_output_prefix: str, element: int, attempt: int) -> str:
    """Return the folder that holds outputs.pb or error.pb of one attempt at an element of a map."""
    return f"{map_output_prefix}/{element}/{attempt}"


def legacy_element_prefix(map_output_prefix: str, element: int, attempt: int) -> str:
    """Return the same for tasks of type container_array, whose processes append the element's number themselves."""
    return f"{map_output_prefix}/{attempt}/{element}"


def element_name(map_name: str, element: int, attempt: int) -> str:
    """Return the name of an attempt at an element of the map whose generated name is given."""
    return f"{map_name}-n{element}-{attempt}"


def raw_output_prefix(raw_base_uri: str, name: str) -> str:
    """Return the folder for raw data of the attempt with that generated name, below an execution's raw data base."""
    first, second = divmod(fnv1a_32(name.encode()) % len(_SHARD_LETTERS) ** 2, len(_SHARD_LETTERS))
    return f"{raw_base_uri.rstrip('/')}/{_SHARD_LETTERS[first]}{_SHARD_LETTERS[second]}/{name}"


def checkpoint_prefix(raw_prefix: str) -> str:
    """Return the folder for checkpoints of the attempt whose raw data folder is given."""
    return f"{raw_prefix}/_flytecheckpoints"
