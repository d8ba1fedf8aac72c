"""What the engine looks up by core index."""

from __future__ import annotations

import pytest
from flyteidl.core import compiler_pb2, workflow_pb2

from flyte_kernel.compile.program import Program, build_program
from flyte_kernel.errors import UnsupportedError
from flyte_kernel.phases import NodeKind
from tests.support.templates import (
    INT,
    compiled,
    interface,
    promise,
    sub_workflow_node,
    task,
    task_node,
    workflow,
    workflow_id,
)

INC = task("inc", {"a": INT}, {"o0": INT})


def closure() -> compiler_pb2.CompiledWorkflowClosure:
    renamed = task_node("t", "inc", promise("a", "", "x"))
    renamed.output_aliases.add(var="o0", alias="more")
    renamed.metadata.retries.retries = 2
    renamed.metadata.timeout.FromSeconds(3)
    leaf = workflow("leaf", [renamed], {"x": INT}, {"y": INT}, [promise("y", "t", "more")])
    nodes = [task_node("n0", "inc", promise("a", "", "x")), sub_workflow_node("n1", "leaf", promise("x", "n0", "o0"))]
    return compiled(workflow("top", nodes, {"x": INT}, {"r": INT}, [promise("r", "n1", "y")]), [INC], [leaf])


@pytest.fixture(scope="module")
def program() -> Program:
    return build_program(closure())


def test_tables_are_indexed_by_core_node(program: Program) -> None:
    assert program.workflow == workflow_id("top")
    assert program.node_id == ("start-node", "n0", "n1", "end-node", "start-node", "t", "end-node")
    assert program.parent == (-1, -1, -1, -1, 2, 2, 2)
    assert [node.id for node in program.template] == list(program.node_id)
    assert [None if task is None else task.id.name for task in program.task] == [
        None,
        "inc",
        None,
        None,
        None,
        "inc",
        None,
    ]


def test_graph_has_the_same_nodes(program: Program) -> None:
    graph = program.graph
    assert (graph.node_count, graph.edge_count) == (7, 5)
    assert graph.kind.tolist() == [
        NodeKind.START,
        NodeKind.TASK,
        NodeKind.SUBWORKFLOW,
        NodeKind.END,
        NodeKind.START,
        NodeKind.TASK,
        NodeKind.END,
    ]
    assert graph.attempts_max.tolist() == [1, 1, 1, 1, 1, 3, 1]
    assert graph.execution_timeout[5] == 3 * 10**9
    assert graph.active_timeout[5] == 6 * 10**9


def test_scopes(program: Program) -> None:
    assert (program.children(-1), program.children(2)) == (range(4), range(4, 7))
    assert (program.start_node(-1), program.end_node(-1)) == (0, 3)
    assert (program.start_node(2), program.end_node(2)) == (4, 6)
    assert program.upstream_by_name(2) == {"start-node": 4, "t": 5, "end-node": 6}
    assert program.aliases_by_name(2) == {"t": {"more": "o0"}}
    assert program.aliases_by_name(-1) == {}
    assert list(program.output_bindings(2)) == [promise("y", "t", "more")]
    assert list(program.output_bindings(-1)) == [promise("r", "n1", "y")]
    assert program.interface(2) == interface({"x": INT}, {"y": INT})


def test_failure_policy_is_the_top_workflows() -> None:
    assert not build_program(closure()).fails_late
    late = closure()
    late.primary.template.metadata.on_failure = workflow_pb2.WorkflowMetadata.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE
    assert build_program(late).fails_late


def test_what_cannot_run_is_refused() -> None:
    failing = workflow("wf", [task_node("n0", "inc", promise("a", "", "a"))], {"a": INT})
    failing.failure_node.CopyFrom(task_node("fn0", "inc", promise("a", "", "a")))
    with pytest.raises(UnsupportedError, match="node fn0 is a failure node"):
        build_program(compiled(failing, [INC]))
