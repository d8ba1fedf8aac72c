"""Launch-plan nodes: executions that a node of another execution starts, watches and ends.

The rules are the reference's (flytepropeller, nodes/subworkflow/launchplan.go): the child's name follows from the
parent's, the node's unique id and the attempt, so that asking twice starts one child; whatever ends a child without
success fails its node for good.
"""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.admin import execution_pb2
from flyteidl.core import execution_pb2 as core_execution_pb2
from flyteidl.core import literals_pb2

from flyte_kernel.compile.identifiers import identifier
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.details import ParentNode
from flyte_kernel.engine.facts import AttemptObserved, Fact
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.turns import Event
from flyte_kernel.errors import AlreadyExistsError, RequestError
from flyte_kernel.ids import AttemptKey, EntityId, ExecutionId, child_execution_name
from flyte_kernel.phases import EventKind, FailureClass, RunPhase

__all__ = ["ChildRuns"]

_SHARD_LABEL = "shard-key"


class ChildRuns:
    """Starts children and tells their parents how they ended; used from worker threads."""

    def __init__(
        self,
        *,
        data: NodeData,
        find: Callable[[ExecutionId], ExecutionRecord | None],
        create: Callable[[execution_pb2.ExecutionCreateRequest, ParentNode], object],
        terminate: Callable[[ExecutionId, str], None],
        post: Callable[[Event, tuple[Fact, ...]], None],
    ) -> None:
        self._data = data
        self._find = find
        self._create = create
        self._terminate = terminate
        self._post = post

    def child_of(self, record: ExecutionRecord, key: AttemptKey) -> ExecutionId:
        """Return the id of the execution that an attempt at a node starts."""
        name = child_execution_name(record.id.name, self._data.unique_id(record, key.node), key.attempt)
        return record.id._replace(name=name)

    def start(self, record: ExecutionRecord, key: AttemptKey, plan: EntityId, inputs: bytes) -> None:
        """Start the child of an attempt; one that is there already is taken for it.

        A launch plan that is missing or inputs it does not take fail the node; what may pass is raised.
        """
        id = self.child_of(record, key)
        existing = self._find(id)
        if existing is None:
            try:
                self._create(self._request(record, key, id, plan, inputs), ParentNode(key.run, key.node, key.attempt))
                return
            except AlreadyExistsError:
                existing = self._find(id)
            except RequestError as error:
                self._fail(key, "RuntimeExecutionError", f"failed to launch the child execution {id.name}: {error}")
                return
        self._post(Event(int(EventKind.ATTEMPT_STARTED), *key), ())
        if existing is not None and existing.is_terminal:
            self.on_finished(record, existing)

    def on_finished(self, record: ExecutionRecord, child: ExecutionRecord) -> None:
        """Tell the node of `record` that started it how a child ended."""
        parent = child.details.parent
        assert parent is not None
        key = AttemptKey(parent.run, parent.node, parent.attempt)
        if child.phase == RunPhase.SUCCEEDED:
            self._data.write_outputs(record, key.node, key.attempt, self._data.execution_outputs(child))
            self._post(Event(int(EventKind.ATTEMPT_SUCCEEDED), *key), ())
        elif child.phase == RunPhase.ABORTED:
            self._fail(key, "RemoteChildWorkflowExecutionFailed", f"launchplan [{child.id.name}] aborted")
        elif child.error:
            self._post_failure(key, child.error)
        else:
            self._fail(key, "LaunchPlanExecutionFailed", "Unknown Error")

    def stop(self, record: ExecutionRecord, key: AttemptKey) -> None:
        """End the child of an attempt; its end then tells the node, and a child that never was is gone at once."""
        id = self.child_of(record, key)
        child = self._find(id)
        if child is None or child.is_terminal:
            self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), ())
            return
        reason = record.abort_cause if record.abort_cause is not None else "the parent execution failed"
        try:
            self._terminate(id, f"cascading abort from execution [{record.id.name}]: {reason}")
        except RequestError:  # it ended meanwhile, which tells the node
            self._post(Event(int(EventKind.ATTEMPT_ABORTED), *key), ())

    def _request(
        self, record: ExecutionRecord, key: AttemptKey, id: ExecutionId, plan: EntityId, inputs: bytes
    ) -> execution_pb2.ExecutionCreateRequest:
        parent = execution_pb2.ExecutionSpec.FromString(record.spec)
        request = execution_pb2.ExecutionCreateRequest(
            project=id.project,
            domain=id.domain,
            name=id.name,
            inputs=literals_pb2.LiteralMap.FromString(inputs),
        )
        spec = request.spec
        spec.launch_plan.CopyFrom(identifier(plan))
        spec.metadata.mode = execution_pb2.ExecutionMetadata.CHILD_WORKFLOW
        node = spec.metadata.parent_node_execution
        node.node_id = self._data.unique_id(record, key.node)
        node.execution_id.project, node.execution_id.domain, node.execution_id.name = record.id
        spec.labels.values.update({k: v for k, v in parent.labels.values.items() if k != _SHARD_LABEL})
        spec.annotations.CopyFrom(parent.annotations)
        spec.security_context.CopyFrom(parent.security_context)
        spec.max_parallelism = parent.max_parallelism
        spec.raw_output_data_config.CopyFrom(parent.raw_output_data_config)
        if parent.HasField("interruptible"):
            spec.interruptible.CopyFrom(parent.interruptible)
        spec.overwrite_cache = parent.overwrite_cache
        spec.envs.CopyFrom(parent.envs)
        return request

    def _fail(self, key: AttemptKey, code: str, message: str) -> None:
        error = core_execution_pb2.ExecutionError(
            code=code, message=message, kind=core_execution_pb2.ExecutionError.USER
        )
        self._post_failure(key, error.SerializeToString())

    def _post_failure(self, key: AttemptKey, error: bytes) -> None:
        event = Event(int(EventKind.ATTEMPT_FAILED), *key, argument=int(FailureClass.PERMANENT))
        self._post(event, (AttemptObserved(*key, error=error),))
