"""RPCs about executions, their nodes and attempts."""

from __future__ import annotations

import threading

from flyteidl.admin import common_pb2, execution_pb2, node_execution_pb2, task_execution_pb2

from flyte_kernel.adapters.grpc.listing import list_query
from flyte_kernel.adapters.grpc.rows import attempt_page, node_page
from flyte_kernel.engine import messages, submission
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.validation import (
    check_execution_identifier,
    check_limit,
    check_node_execution_identifier,
    check_task_execution_identifier,
    missing,
    not_found,
    require,
)
from flyte_kernel.errors import InvalidArgumentError, NotFoundError
from flyte_kernel.ids import EntityId, ExecutionId

__all__ = ["ExecutionCache", "ExecutionRpcs"]

_CACHED_MAX = 4096


class ExecutionCache:
    """Serialised executions by run and version: clients that wait ask for the same one again and again."""

    def __init__(self) -> None:
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._lock = threading.Lock()

    def get(self, record: ExecutionRecord) -> bytes | None:
        """Return the answer for the record as it is now, if it is kept."""
        answer = self._answers.get(record.run)
        return answer[1] if answer is not None and answer[0] == record.version else None

    def put(self, record: ExecutionRecord, version: int, answer: bytes) -> None:
        """Keep an answer that was made no earlier than the record reached `version`."""
        with self._lock:
            self._answers.pop(record.run, None)
            self._answers[record.run] = (version, answer)
            while len(self._answers) > _CACHED_MAX:
                del self._answers[next(iter(self._answers))]


class ExecutionRpcs:
    """Starting, stopping, reading and listing executions; mixed into AdminService."""

    _engine: Backend
    _cache: ExecutionCache

    # Executions

    def CreateExecution(self, request: execution_pb2.ExecutionCreateRequest) -> execution_pb2.ExecutionCreateResponse:
        """Start an execution."""
        id = submission.create_execution(self._engine, request)
        return execution_pb2.ExecutionCreateResponse(id=messages.execution_identifier(id))

    def RelaunchExecution(
        self, request: execution_pb2.ExecutionRelaunchRequest
    ) -> execution_pb2.ExecutionCreateResponse:
        """Start an execution once more."""
        id = submission.relaunch_execution(self._engine, request)
        return execution_pb2.ExecutionCreateResponse(id=messages.execution_identifier(id))

    def RecoverExecution(self, request: execution_pb2.ExecutionRecoverRequest) -> execution_pb2.ExecutionCreateResponse:
        """Start an execution once more, taking over what had succeeded."""
        id = submission.recover_execution(self._engine, request)
        return execution_pb2.ExecutionCreateResponse(id=messages.execution_identifier(id))

    def GetExecution(self, request: execution_pb2.WorkflowExecutionGetRequest) -> bytes:
        """Return an execution."""
        id = check_execution_identifier(request, "id")
        live = self._engine.state.executions.get(id)
        answer = None if live is None else self._cache.get(live)
        if answer is not None:
            return answer
        record = live or self._record(id)
        version = record.version
        answer = bytes(messages.execution_message(self._engine, record).SerializeToString())
        if live is not None:
            self._cache.put(live, version, answer)
        return answer

    def GetExecutionData(
        self, request: execution_pb2.WorkflowExecutionGetDataRequest
    ) -> execution_pb2.WorkflowExecutionGetDataResponse:
        """Return inputs and outputs of an execution."""
        return messages.execution_data(self._engine, self._record(check_execution_identifier(request, "id")))

    def ListExecutions(self, request: common_pb2.ResourceListRequest) -> execution_pb2.ExecutionList:
        """List executions, running and finished ones alike."""
        if not request.HasField("id"):
            raise missing("id")
        require(request.id.project, "project")
        require(request.id.domain, "domain")
        query = list_query(request, "ListExecutions", filters=request.filters)
        project, domain = request.id.project, request.id.domain
        # Those that have just ended too: the views may not have been told of them yet.
        in_memory = list(self._engine.state.executions.values())
        known = [record for record in in_memory if record.id.project == project and record.id.domain == domain]
        page = self._engine.views.list_executions(project, domain, request.id.name, query, known)
        executions = [messages.execution_message(self._engine, record, listed=True) for record in page.items]
        return execution_pb2.ExecutionList(executions=executions, token=page.token)

    def TerminateExecution(
        self, request: execution_pb2.ExecutionTerminateRequest
    ) -> execution_pb2.ExecutionTerminateResponse:
        """Ask a run to end."""
        submission.terminate_execution(self._engine, request)
        return execution_pb2.ExecutionTerminateResponse()

    def UpdateExecution(self, request: execution_pb2.ExecutionUpdateRequest) -> execution_pb2.ExecutionUpdateResponse:
        """Archive an execution or make it active again."""
        submission.set_execution_state(self._engine, request)
        return execution_pb2.ExecutionUpdateResponse()

    # Nodes

    def GetNodeExecution(self, request: node_execution_pb2.NodeExecutionGetRequest) -> node_execution_pb2.NodeExecution:
        """Return one node of an execution."""
        record, node = self._node(*check_node_execution_identifier(request, "id"))
        return messages.node_message(self._engine, record, node)

    def ListNodeExecutions(
        self, request: node_execution_pb2.NodeExecutionListRequest
    ) -> node_execution_pb2.NodeExecutionList:
        """List the nodes of the top level, or those below a node."""
        id = _execution_of_list(request)
        check_limit(request.limit)
        query = list_query(request, "ListNodeExecutions", filters=request.filters)
        scope = -1
        if request.unique_parent_id:
            record, scope = self._node(id, request.unique_parent_id)
        else:
            found = self._engine.find_execution(id)
            if found is None:
                return node_execution_pb2.NodeExecutionList()
            record = found
        page = node_page(self._engine, record, messages.node_rows(self._engine, record, scope), query)
        nodes = [messages.node_message(self._engine, record, node, listed=True) for node in page.items]
        return node_execution_pb2.NodeExecutionList(node_executions=nodes, token=page.token)

    def GetNodeExecutionData(
        self, request: node_execution_pb2.NodeExecutionGetDataRequest
    ) -> node_execution_pb2.NodeExecutionGetDataResponse:
        """Return inputs and outputs of a node."""
        record, node = self._node(*check_node_execution_identifier(request, "id"))
        return messages.node_data(self._engine, record, node)

    def GetDynamicNodeWorkflow(
        self, request: node_execution_pb2.GetDynamicNodeWorkflowRequest
    ) -> node_execution_pb2.DynamicNodeWorkflowResponse:
        """Return the workflow that a dynamic task put out."""
        record, node = self._node(*check_node_execution_identifier(request, "id"))
        dynamic = messages.dynamic_workflow(self._engine, record, node)
        if dynamic is None:
            raise NotFoundError("node does not contain dynamic workflow")
        return node_execution_pb2.DynamicNodeWorkflowResponse(compiled_workflow=dynamic.compiled_workflow)

    # Attempts

    def GetTaskExecution(self, request: task_execution_pb2.TaskExecutionGetRequest) -> task_execution_pb2.TaskExecution:
        """Return one attempt at a task node."""
        record, row = self._attempt(request, *check_task_execution_identifier(request, "id"))
        return messages.task_message(self._engine, record, row)

    def ListTaskExecutions(
        self, request: task_execution_pb2.TaskExecutionListRequest
    ) -> task_execution_pb2.TaskExecutionList:
        """List the attempts at a task node."""
        id, node_id = check_node_execution_identifier(request, "node_execution_id")
        query = list_query(request, "ListTaskExecutions", filters=request.filters)
        record = self._engine.find_execution(id)
        node = None if record is None else messages.find_node(self._engine, record, node_id)
        if record is None or node is None:
            return task_execution_pb2.TaskExecutionList()
        page = attempt_page(self._engine, record, record.attempts.rows_of(node), query)
        attempts = [messages.task_message(self._engine, record, row) for row in page.items]
        return task_execution_pb2.TaskExecutionList(task_executions=attempts, token=page.token)

    def GetTaskExecutionData(
        self, request: task_execution_pb2.TaskExecutionGetDataRequest
    ) -> task_execution_pb2.TaskExecutionGetDataResponse:
        """Return inputs and outputs of an attempt."""
        record, row = self._attempt(request, *check_task_execution_identifier(request, "id"))
        return messages.task_data(self._engine, record, row)

    def _record(self, id: ExecutionId) -> ExecutionRecord:
        record = self._engine.find_execution(id)
        if record is None:
            raise not_found("execution", messages.execution_identifier(id))
        return record

    def _node(self, id: ExecutionId, node_id: str) -> tuple[ExecutionRecord, int]:
        record = self._engine.find_execution(id)
        node = None if record is None else messages.find_node(self._engine, record, node_id)
        if record is None or node is None:
            raise not_found("node execution", messages.node_identifier(id, node_id))
        return record, node

    def _attempt(
        self,
        request: task_execution_pb2.TaskExecutionGetRequest | task_execution_pb2.TaskExecutionGetDataRequest,
        id: ExecutionId,
        node_id: str,
        task: EntityId,
        attempt: int,
    ) -> tuple[ExecutionRecord, int]:
        record = self._engine.find_execution(id)
        node = None if record is None else messages.find_node(self._engine, record, node_id)
        row = None if record is None or node is None else record.attempts.row_of.get((node, attempt))
        if record is None or node is None or row is None or messages.task_of(self._engine, record, node) != task:
            raise not_found("task execution", request.id)
        return record, row


def _execution_of_list(request: node_execution_pb2.NodeExecutionListRequest) -> ExecutionId:
    try:
        return check_execution_identifier(request, "workflow_execution_id")
    except InvalidArgumentError as error:
        raise missing("execution_id") from error
