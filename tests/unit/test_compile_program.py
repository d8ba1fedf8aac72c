"""What the engine looks up by core index."""

from __future__ import annotations

import pytest
from flyteidl.core import compiler_pb2, workflow_pb2

from flyte_kernel.compile.program import Program, build_program, grow
from flyte_kernel.errors import UnknownNodeError
from flyte_kernel.phases import NodeKind
from tests.support.templates import (
    INT,
    branch_node,
    compare,
    compiled,
    interface,
    promise,
    sleep_node,
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


def test_limits_are_tables_too(program: Program) -> None:
    assert program.kind.tolist() == program.graph.kind.tolist()
    assert program.attempts_max.tolist() == [1, 1, 1, 1, 1, 3, 1]
    assert program.execution_timeout.tolist() == [0, 0, 0, 0, 0, 3 * 10**9, 0]
    assert program.active_timeout.tolist() == [0, 0, 0, 0, 0, 6 * 10**9, 0]
    assert program.node_count == 7


def branching() -> compiler_pb2.CompiledWorkflowClosure:
    """n0, then a branch b over its result with a branch inside; a failure node."""
    renamed = task_node("n0", "inc", promise("a", "", "x"))
    renamed.output_aliases.add(var="o0", alias="more")
    inner = branch_node(
        "n1",
        [promise("x", "", "x")],
        [(compare("x", 1), task_node("n0", "inc", promise("a", "n0", "more")))],
        sleep_node("n1"),
    )
    branch = branch_node("b", [promise("x", "n0", "more")], [(compare("x", 5), inner)], sleep_node("n2"))
    template = workflow("wf", [renamed, branch], {"x": INT})
    template.failure_node.CopyFrom(task_node("efn", "inc", promise("a", "", "x")))
    return compiled(template, [INC])


def test_branches_are_scopes_with_the_names_around_them() -> None:
    program = build_program(branching())
    assert program.node_id == ("start-node", "n0", "b", "end-node", "efn", "b-n1", "b-n2", "b-n1-n0", "b-n1-n1")
    assert program.parent == (-1, -1, -1, -1, -1, 2, 2, 5, 5)
    assert program.arms == {2: {"b-n1": 5, "b-n2": 6}, 5: {"b-n1-n0": 7, "b-n1-n1": 8}}
    assert (program.children(2), program.children(5)) == (range(5, 7), range(7, 9))
    for scope in (-1, 2, 5):
        assert program.upstream_by_name(scope) == {"start-node": 0, "n0": 1, "b": 2, "end-node": 3, "efn": 4}
        assert program.aliases_by_name(scope) == {"n0": {"more": "o0"}}


def test_failure_handlers_are_found_by_scope() -> None:
    program = build_program(branching())
    assert [program.failure_handler(scope) for scope in (-1, 2, 5)] == [4, None, None]
    assert program.arrays.failure_handler.tolist() == [False] * 4 + [True] + [False] * 4


def test_a_program_grows() -> None:
    program, closure_of_branch = build_program(closure()), branching()
    grown = grow(program, 5, closure_of_branch)

    assert grown.node_count == 16
    assert grown.node_id[7:] == build_program(closure_of_branch).node_id
    assert grown.parent == (-1, -1, -1, -1, 2, 2, 2, 5, 5, 5, 5, 5, 9, 9, 12, 12)
    assert grown.kind.tolist()[5] == NodeKind.DYNAMIC
    assert [NodeKind(kind) for kind in grown.kind[7:12]] == [
        NodeKind.START,
        NodeKind.TASK,
        NodeKind.BRANCH,
        NodeKind.END,
        NodeKind.TASK,
    ]
    assert grown.attempts_max.tolist()[:7] == program.attempts_max.tolist()
    assert (len(grown.attempts_max), len(grown.execution_timeout), len(grown.active_timeout)) == (16, 16, 16)
    assert (grown.children(5), grown.children(9), grown.children(12)) == (range(7, 12), range(12, 14), range(14, 16))
    assert (grown.start_node(5), grown.end_node(5), grown.failure_handler(5)) == (7, 10, 11)
    assert grown.upstream_by_name(12) == {"start-node": 7, "n0": 8, "b": 9, "end-node": 10, "efn": 11}
    assert grown.arms == {9: {"b-n1": 12, "b-n2": 13}, 12: {"b-n1-n0": 14, "b-n1-n1": 15}}
    assert grown.interface(5) == interface({"x": INT})
    assert (grown.workflow, grown.levels[2], grown.levels[-1]) == (
        program.workflow,
        program.levels[2],
        program.levels[-1],
    )
    assert [node.id for node in grown.template] == list(grown.node_id)
    assert len(grown.task) == 16
    assert grown.task[8] == INC.template


def test_growing_leaves_the_program_as_it_was() -> None:
    program = build_program(closure())
    grown = grow(program, 5, branching())
    assert program.kind[5] == NodeKind.TASK
    assert (program.node_count, set(program.levels), program.arms) == (7, {-1, 2}, {})
    assert grown.graph.node_count == 7
    assert grown.graph.kind.tolist() == program.kind.tolist()


def test_what_grew_can_grow_and_a_node_can_grow_anew() -> None:
    once = grow(build_program(closure()), 5, branching())
    twice = grow(once, 8, branching())
    assert (twice.node_count, twice.parent[16], twice.children(8)) == (25, 8, range(16, 21))
    assert twice.kind[[5, 8]].tolist() == [NodeKind.DYNAMIC, NodeKind.DYNAMIC]

    anew = grow(once, 5, closure())
    assert anew.children(5) == range(16, 20)
    assert anew.parent[7:12] == (5, 5, 5, 5, 5)
    assert anew.failure_handler(5) is None
    assert (set(anew.levels), anew.arms) == ({-1, 2, 5, 18}, {})


@pytest.mark.parametrize("node", [-1, 7])
def test_only_nodes_grow(node: int) -> None:
    with pytest.raises(UnknownNodeError, match=f"no node {node} among 7"):
        grow(build_program(closure()), node, branching())
