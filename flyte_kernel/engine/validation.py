"""Checks that several requests share, in the reference's words (flyteadmin, manager/impl/validation)."""

from __future__ import annotations

from flyteidl.core import identifier_pb2
from google.protobuf.message import Message

from flyte_kernel.compile.text import message_text
from flyte_kernel.engine.settings import Settings
from flyte_kernel.errors import InvalidArgumentError, NotFoundError
from flyte_kernel.ids import RESOURCE_TYPE_NAMES, EntityId, ExecutionId

__all__ = [
    "check_execution_identifier",
    "check_identifier",
    "check_identifier_fields",
    "check_limit",
    "check_node_execution_identifier",
    "check_project_and_domain",
    "check_task_execution_identifier",
    "entity_missing",
    "execution_key",
    "missing",
    "not_found",
    "require",
]


def missing(field: str) -> InvalidArgumentError:
    """Return the error for a field that must be set."""
    return InvalidArgumentError(f"missing {field}")


def require(value: object, field: str) -> None:
    """Raise unless `value` is neither empty nor zero."""
    if not value:
        raise missing(field)


def not_found(kind: str, identifier: Message) -> NotFoundError:
    """Return the error for a thing that is not there."""
    return NotFoundError(f"missing entity of type {kind} with identifier {message_text(identifier)}")


def entity_missing(key: EntityId) -> NotFoundError:
    """Return the error for a task, workflow or launch plan that is not registered; the type is left out of the id."""
    identifier = identifier_pb2.Identifier(project=key.project, domain=key.domain, name=key.name, version=key.version)
    return not_found(RESOURCE_TYPE_NAMES[key.resource_type], identifier)


def check_identifier(message: Message, field: str, resource_type: int) -> EntityId:
    """Return the key of the identifier in `field` of `message`, which must be of that type and complete."""
    if not message.HasField(field):
        raise missing("id")
    identifier: identifier_pb2.Identifier = getattr(message, field)
    if int(identifier.resource_type) != resource_type:
        given = RESOURCE_TYPE_NAMES.get(int(identifier.resource_type), str(int(identifier.resource_type))).lower()
        raise InvalidArgumentError(
            f"unexpected resource type {given} for identifier [{message_text(identifier)}], "
            f"expected {RESOURCE_TYPE_NAMES[resource_type].lower()} instead"
        )
    return check_identifier_fields(message, field)


def check_identifier_fields(message: Message, field: str) -> EntityId:
    """Return the key of the identifier in `field` of `message`, of whatever type."""
    if not message.HasField(field):
        raise missing("id")
    identifier: identifier_pb2.Identifier = getattr(message, field)
    for name in ("project", "domain", "name", "version"):
        require(getattr(identifier, name), name)
    return EntityId(
        int(identifier.resource_type), identifier.project, identifier.domain, identifier.name, identifier.version
    )


def check_execution_identifier(message: Message, field: str) -> ExecutionId:
    """Return the key of the execution identifier in `field` of `message`."""
    if not message.HasField(field):
        raise missing("id")
    identifier: identifier_pb2.WorkflowExecutionIdentifier = getattr(message, field)
    for name in ("project", "domain", "name"):
        require(getattr(identifier, name), name)
    return execution_key(identifier)


def execution_key(identifier: identifier_pb2.WorkflowExecutionIdentifier) -> ExecutionId:
    """Return the key of an execution's identifier."""
    return ExecutionId(identifier.project, identifier.domain, identifier.name)


def check_node_execution_identifier(message: Message, field: str) -> tuple[ExecutionId, str]:
    """Return execution and node id of the node execution identifier in `field` of `message`."""
    if not message.HasField(field):
        raise missing("id")
    identifier: identifier_pb2.NodeExecutionIdentifier = getattr(message, field)
    if not identifier.HasField("execution_id"):
        raise missing("execution_id")
    require(identifier.node_id, "node_id")
    return check_execution_identifier(identifier, "execution_id"), identifier.node_id


def check_task_execution_identifier(message: Message, field: str) -> tuple[ExecutionId, str, EntityId, int]:
    """Return execution, node id, task and attempt of the task execution identifier in `field` of `message`."""
    if not message.HasField(field):
        raise missing("id")
    identifier: identifier_pb2.TaskExecutionIdentifier = getattr(message, field)
    if not identifier.HasField("node_execution_id"):
        raise missing("node_execution_id")
    execution, node_id = check_node_execution_identifier(identifier, "node_execution_id")
    if not identifier.HasField("task_id"):
        raise missing("task_id")
    task = check_identifier(identifier, "task_id", int(identifier_pb2.TASK))
    return execution, node_id, task, int(identifier.retry_attempt)


def check_limit(limit: int) -> None:
    """Refuse a listing that asks for nothing."""
    if not limit:
        raise InvalidArgumentError("invalid value for limit")


def check_project_and_domain(settings: Settings, project: str, domain: str) -> None:
    """Require a project and a domain that exist."""
    if project not in settings.projects:
        raise InvalidArgumentError(
            f"failed to validate that project [{project}] and domain [{domain}] are registered, "
            f"err: [project [{project}] not found]"
        )
    if domain not in settings.domains:
        raise InvalidArgumentError(f"domain [{domain}] is unrecognized by system")
