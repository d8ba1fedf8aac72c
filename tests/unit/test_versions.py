"""A record's version moves after everything it stands for, so that answers kept by version are never stale."""

from __future__ import annotations

from flyteidl.core import compiler_pb2

from flyte_kernel import Kernel
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.task import compile_task
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.engine.facts import ExecutionCreated, WorkflowRegistered
from flyte_kernel.engine.fold import Applied, Fold
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.registration import workflow_closure
from flyte_kernel.engine.state import State
from flyte_kernel.engine.steps import Step
from flyte_kernel.engine.turns import Event, EventColumns
from flyte_kernel.ids import ExecutionId
from flyte_kernel.phases import EventKind, RunPhase
from tests.support import flows


class WatchedFold(Fold):
    """Notes each record's version when all but the counting is done."""

    seen: dict[int, int]

    def _on_effects(self, step: Step, applied: Applied) -> None:
        super()._on_effects(step, applied)
        self.seen = {run: record.version for run, record in self.state.runs.items()}


def compiled() -> compiler_pb2.CompiledWorkflowClosure:
    """The chain n0, n1."""
    task = compile_task(flows.task_request().spec.template)
    request = flows.workflow_request()
    return compile_workflow(request.spec.template, [], {entity_id(task.template.id): task}, {})


def test_every_turn_that_touches_a_run_ends_with_a_new_version() -> None:
    state = State()
    fold = WatchedFold(state, Kernel(), Programs(state.registry), {})
    workflow = entity_id(flows.identifier(flows.WORKFLOW, "facts.wf"))
    plan = entity_id(flows.identifier(flows.LAUNCH_PLAN, "facts.wf"))
    id = ExecutionId(flows.PROJECT, flows.DOMAIN, "ex")
    facts = [
        WorkflowRegistered(workflow, workflow_closure(compiled()), b""),
        ExecutionCreated(0, id, plan, workflow, b"", b"", b""),
    ]
    node = 1  # start-node, n0, n1, end-node
    turns = [
        (facts, [Event(int(EventKind.RUN_CREATED), 0, 0)]),
        ([], [Event(int(EventKind.ATTEMPT_STARTED), 0, node)]),
        ([], [Event(int(EventKind.ATTEMPT_SUCCEEDED), 0, node)]),
        ([], [Event(int(EventKind.RUN_ABORTED), 0)]),
        ([], [Event(int(EventKind.ATTEMPT_ABORTED), 0, node + 1)]),
    ]
    for now, (given, events) in enumerate(turns, 1):
        applied = fold.apply(now, EventColumns.of(events), given)
        assert not applied.refusals
        assert state.runs[0].version > fold.seen[0]
    assert state.runs[0].phase == RunPhase.ABORTED
