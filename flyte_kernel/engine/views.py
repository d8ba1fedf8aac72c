"""What the engine shows of itself for queries: the rows of a turn, and the port of the store that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flyte_kernel.engine.queries import ListQuery, Page
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import Entity, LaunchPlanEntity
from flyte_kernel.ids import EntityId, ExecutionId, NamedEntityId

__all__ = ["TurnRows", "Views"]


@dataclass(slots=True)
class TurnRows:
    """What a turn added or changed; rows replace earlier ones of the same id. Executions are finished ones."""

    tasks: list[Entity] = field(default_factory=list)
    workflows: list[Entity] = field(default_factory=list)
    launch_plans: list[LaunchPlanEntity] = field(default_factory=list)
    executions: list[ExecutionRecord] = field(default_factory=list)


class Views(Protocol):
    """Tables derived from the journal, for people to query; never the source of truth, rebuilt if lost.

    Listings see everything that was appended before them. Filters and sort keys follow FlyteAdmin's grammar and
    columns; InvalidArgumentError names what is wrong with them.
    """

    @property
    def sequence(self) -> int:
        """The journal sequence whose rows are durable; 0 if there are none."""
        ...

    def append(self, sequence: int, rows: TurnRows) -> None:
        """Queue the rows of one turn; never waits for the disk."""
        ...

    def flush(self) -> None:
        """Wait until everything appended is durable and visible."""
        ...

    def close(self) -> None:
        """Flush and release the file."""
        ...

    def load_execution(self, id: ExecutionId) -> ExecutionRecord | None:
        """Return a finished execution with its nodes and attempts, None if there is none."""
        ...

    def list_tasks(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List task versions; an empty name stands for all."""
        ...

    def list_workflows(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List workflow versions; an empty name stands for all."""
        ...

    def list_launch_plans(self, project: str, domain: str, name: str, query: ListQuery) -> Page[EntityId]:
        """List launch plan versions; an empty name stands for all."""
        ...

    def list_named_ids(self, resource_type: int, project: str, domain: str, query: ListQuery) -> Page[NamedEntityId]:
        """List the names of tasks, workflows or launch plans; empty project or domain stand for all."""
        ...

    def list_executions(
        self, project: str, domain: str, name: str, query: ListQuery, live: Sequence[ExecutionRecord]
    ) -> Page[ExecutionRecord]:
        """List stored executions and the `live` ones as one table; of the same run, the live one counts.

        Stored ones may come back without their nodes and attempts.
        """
        ...
