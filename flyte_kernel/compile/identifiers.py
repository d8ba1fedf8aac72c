"""Between FlyteIDL's identifiers and the tuples the rest of the package uses as keys."""

from __future__ import annotations

from flyteidl.core import identifier_pb2

from flyte_kernel.ids import EntityId

__all__ = ["LAUNCH_PLAN", "TASK", "WORKFLOW", "entity_id", "identifier"]

TASK = int(identifier_pb2.TASK)
WORKFLOW = int(identifier_pb2.WORKFLOW)
LAUNCH_PLAN = int(identifier_pb2.LAUNCH_PLAN)


def entity_id(message: identifier_pb2.Identifier) -> EntityId:
    """Return the key of an identifier; Flyte 1 ignores its `org`."""
    return EntityId(int(message.resource_type), message.project, message.domain, message.name, message.version)


def identifier(key: EntityId) -> identifier_pb2.Identifier:
    """Return the identifier message of a key."""
    return identifier_pb2.Identifier(
        resource_type=identifier_pb2.ResourceType.Name(key.resource_type),
        project=key.project,
        domain=key.domain,
        name=key.name,
        version=key.version,
    )
