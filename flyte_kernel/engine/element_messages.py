"""Elements of maps and cached outputs, as they are shown within the messages of nodes and attempts."""

from __future__ import annotations

from collections.abc import Iterator

from flyteidl.admin import node_execution_pb2
from flyteidl.core import execution_pb2, identifier_pb2
from flyteidl.event import event_pb2

from flyte_kernel.catalog.keys import tag_name
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.details import CacheDetails
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.ids import AttemptKey
from flyte_kernel.phases import NodePhase

__all__ = ["SHOWN_ELEMENTS_MAX", "element_resources", "set_cache_metadata"]

SHOWN_ELEMENTS_MAX = 10_000  # a guess: about 1 MB, in a message that clients cannot ask for by pages
_SHOWN_PHASE = {
    int(NodePhase.QUEUED): execution_pb2.TaskExecution.QUEUED,
    int(NodePhase.RUNNING): execution_pb2.TaskExecution.RUNNING,
    int(NodePhase.SUCCEEDED): execution_pb2.TaskExecution.SUCCEEDED,
    int(NodePhase.RECOVERED): execution_pb2.TaskExecution.SUCCEEDED,
    int(NodePhase.FAILED): execution_pb2.TaskExecution.FAILED,
    int(NodePhase.TIMED_OUT): execution_pb2.TaskExecution.FAILED,
    int(NodePhase.ABORTED): execution_pb2.TaskExecution.ABORTED,
    int(NodePhase.RETRYING): execution_pb2.TaskExecution.RUNNING,
    int(NodePhase.FAILING): execution_pb2.TaskExecution.RUNNING,
    int(NodePhase.TIMING_OUT): execution_pb2.TaskExecution.RUNNING,
    int(NodePhase.ABORTING): execution_pb2.TaskExecution.RUNNING,
}


def element_resources(engine: Backend, record: ExecutionRecord, node: int) -> Iterator[event_pb2.ExternalResourceInfo]:
    """Yield where the elements of a map stand, no more than the first SHOWN_ELEMENTS_MAX."""
    columns = engine.map_elements(record, node, 0, SHOWN_ELEMENTS_MAX)
    cache = record.details.maps[node].cache
    for element, (phase, attempt) in enumerate(zip(columns.phase.tolist(), columns.attempt.tolist(), strict=True)):
        key = AttemptKey(record.run, node, attempt, element)
        yield event_pb2.ExternalResourceInfo(
            external_id=engine.data.attempt_name(record, key),
            index=element,
            retry_attempt=attempt,
            phase=_SHOWN_PHASE.get(phase, execution_pb2.TaskExecution.QUEUED),
            cache_status=cache.get(element, 0),  # type: ignore[arg-type,unused-ignore]  # pyright: ignore[reportArgumentType]
        )


def set_cache_metadata(metadata: node_execution_pb2.TaskNodeMetadata, record: ExecutionRecord, node: int) -> None:
    """Say in a node's metadata what the catalog had to do with it, if anything."""
    cache = record.details.cache.get(node)
    if cache is None:
        return
    metadata.cache_status = cache.status  # type: ignore[assignment,unused-ignore]  # pyright: ignore[reportAttributeAccessIssue]
    key = metadata.catalog_key
    dataset = cache.dataset
    key.dataset_id.CopyFrom(_identifier(identifier_pb2.DATASET, *dataset))
    key.artifact_tag.artifact_id = cache.artifact
    key.artifact_tag.name = tag_name(cache.digest)
    if cache.source is not None:
        _set_source(key.source_task_execution, cache)


def _set_source(source_id: identifier_pb2.TaskExecutionIdentifier, cache: CacheDetails) -> None:
    source, dataset = cache.source, cache.dataset
    assert source is not None
    task_name = dataset.name.removeprefix("flyte_task-")
    source_id.task_id.CopyFrom(
        _identifier(identifier_pb2.TASK, dataset.project, dataset.domain, task_name, cache.task_version)
    )
    source_id.node_execution_id.node_id = source.node_id
    execution = source_id.node_execution_id.execution_id
    execution.project, execution.domain, execution.name = source.project, source.domain, source.execution
    source_id.retry_attempt = source.attempt


def _identifier(
    resource_type: identifier_pb2.ResourceType, project: str, domain: str, name: str, version: str
) -> identifier_pb2.Identifier:
    return identifier_pb2.Identifier(
        resource_type=resource_type, project=project, domain=domain, name=name, version=version
    )
