"""Closures as flat arrays: indices, scopes, kinds, budgets, and what cannot be laid out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flyteidl.core import compiler_pb2, interface_pb2, workflow_pb2

from flyte_kernel.compile.layout import NO_SCOPE, Layout, lay_out
from flyte_kernel.errors import CompileError, InternalError, UnsupportedError
from flyte_kernel.phases import NodeKind
from tests.support.templates import (
    INT,
    array_node,
    branch_node,
    compare,
    compiled,
    launch_plan_id,
    launch_plan_node,
    promise,
    sleep_node,
    sub_workflow_node,
    task,
    task_node,
    workflow,
)

INC, MAKE = task("inc", {"a": INT}, {"o0": INT}), task("make", {}, {"o0": INT})
SECOND = 10**9


def names(layout: Layout) -> list[str]:
    return [name for level in layout.levels for name in level.index_of]


def pairs(layout: Layout) -> list[tuple[int, int]]:
    return sorted(zip(layout.arrays.source.tolist(), layout.arrays.target.tolist(), strict=True))


def test_a_level_is_in_topological_order_and_by_id_among_equals() -> None:
    nodes = [
        task_node("n10", "make"),
        task_node("n2", "make"),
        task_node("n1", "inc", promise("a", "n2", "o0")),
        task_node("a", "inc", promise("a", "n10", "o0"), upstream=["n1"]),
    ]
    layout = lay_out(compiled(workflow("wf", nodes), [INC, MAKE]))

    assert names(layout) == ["start-node", "n10", "n2", "n1", "a", "end-node"]
    assert pairs(layout) == [(0, 1), (0, 2), (1, 4), (2, 3), (3, 4), (4, 5)]
    assert layout.arrays.kind.tolist() == [
        NodeKind.START,
        NodeKind.TASK,
        NodeKind.TASK,
        NodeKind.TASK,
        NodeKind.TASK,
        NodeKind.END,
    ]
    assert set(layout.arrays.scope.tolist()) == {NO_SCOPE}
    assert layout.levels[0].scope == -1


def nested() -> compiler_pb2.CompiledWorkflowClosure:
    leaf = workflow("leaf", [task_node("t", "make")], {}, {"r": INT}, [promise("r", "t", "o0")])
    middle = workflow(
        "middle", [sub_workflow_node("l", "leaf"), task_node("t", "inc", promise("a", "l", "r"))], {}, {"r": INT}
    )
    middle.outputs.append(promise("r", "t", "o0"))
    top = workflow(
        "top", [sub_workflow_node("m0", "middle"), sub_workflow_node("m1", "middle"), sub_workflow_node("z", "leaf")]
    )
    return compiled(top, [INC, MAKE], [leaf, middle])


def test_every_use_of_a_sub_workflow_is_a_level() -> None:
    layout = lay_out(nested())

    assert [(level.scope, level.first, len(level.shape.nodes)) for level in layout.levels] == [
        (-1, 0, 5),
        (1, 5, 4),
        (2, 9, 4),
        (3, 13, 3),
        (6, 16, 3),
        (10, 19, 3),
    ]
    assert names(layout)[:13] == ["start-node", "m0", "m1", "z", "end-node", *["start-node", "l", "t", "end-node"] * 2]
    scopes = layout.arrays.scope.tolist()
    assert scopes == [NO_SCOPE] * 5 + [1] * 4 + [2] * 4 + [3] * 3 + [6] * 3 + [10] * 3
    assert all(scopes[source] == scopes[target] for source, target in pairs(layout))
    assert [index for index, kind in enumerate(layout.arrays.kind) if kind == NodeKind.SUBWORKFLOW] == [1, 2, 3, 6, 10]
    assert layout.levels[4].index_of == {"start-node": 16, "t": 17, "end-node": 18}
    assert layout.arrays.node_count == 22


def test_the_same_closure_gives_the_same_layout() -> None:
    one, other = (
        lay_out(nested()).arrays,
        lay_out(compiler_pb2.CompiledWorkflowClosure.FromString(nested().SerializeToString())).arrays,
    )
    for name, column, again in zip(one._fields, one, other, strict=True):
        assert np.array_equal(column, again), name


def test_types_are_the_cores() -> None:
    arrays = lay_out(nested()).arrays
    assert {name: column.dtype.name for name, column in arrays._asdict().items() if name != "node_count"} == {
        "source": "uint32",
        "target": "uint32",
        "kind": "uint8",
        "scope": "uint32",
        "attempts_max": "uint16",
        "execution_timeout": "int64",
        "active_timeout": "int64",
        "failure_handler": "bool",
    }
    assert all(column.flags.c_contiguous for column in arrays[1:])


def budgets(change: Callable[[workflow_pb2.Node, compiler_pb2.CompiledTask], object]) -> tuple[int, int, int]:
    made, node = task("make", {}, {"o0": INT}), task_node("n0", "make")
    change(node, made)
    arrays = lay_out(compiled(workflow("wf", [node]), [made])).arrays
    return int(arrays.attempts_max[1]), int(arrays.execution_timeout[1]), int(arrays.active_timeout[1])


def test_retries_are_the_nodes_then_the_tasks() -> None:
    def both(node: workflow_pb2.Node, made: compiler_pb2.CompiledTask) -> None:
        node.metadata.retries.retries = 2
        made.template.metadata.retries.retries = 5

    def only_task(_: workflow_pb2.Node, made: compiler_pb2.CompiledTask) -> None:
        made.template.metadata.retries.retries = 5

    def huge(node: workflow_pb2.Node, _: compiler_pb2.CompiledTask) -> None:
        node.metadata.retries.retries = 2**32 - 1

    assert budgets(lambda *_: None) == (1, 0, 0)
    assert budgets(both)[0] == 3
    assert budgets(only_task)[0] == 6
    assert budgets(huge)[0] == 65535


def test_timeouts_are_the_nodes_and_twice_that_over_all_attempts() -> None:
    def short(node: workflow_pb2.Node, made: compiler_pb2.CompiledTask) -> None:
        node.metadata.timeout.FromMilliseconds(1500)
        made.template.metadata.timeout.FromSeconds(9)

    def huge(node: workflow_pb2.Node, _: compiler_pb2.CompiledTask) -> None:
        node.metadata.timeout.seconds = 2**62

    def negative(node: workflow_pb2.Node, _: compiler_pb2.CompiledTask) -> None:
        node.metadata.timeout.seconds = -5

    assert budgets(short)[1:] == (3 * SECOND // 2, 3 * SECOND)
    assert budgets(huge)[1:] == (2**63 - 1, 2**63 - 1)
    assert budgets(negative)[1:] == (0, 0)


def test_budgets_of_sub_workflow_nodes_are_their_own() -> None:
    leaf = workflow("leaf", [task_node("t", "make")])
    node = sub_workflow_node("m", "leaf")
    node.metadata.retries.retries = 1
    node.metadata.timeout.FromSeconds(7)
    arrays = lay_out(compiled(workflow("top", [node]), [MAKE], [leaf])).arrays
    assert arrays.attempts_max.tolist() == [1, 2, 1, 1, 1, 1]
    assert arrays.execution_timeout.tolist() == [0, 7 * SECOND, 0, 0, 0, 0]


def refusal(template: workflow_pb2.WorkflowTemplate, **parts: object) -> str:
    with pytest.raises(UnsupportedError) as caught:
        lay_out(compiled(template, [INC, MAKE], **parts))  # type: ignore[arg-type]
    return caught.value.message


def test_arrays_are_of_tasks_only() -> None:
    plans = {launch_plan_id("lp"): (interface_pb2.ParameterMap(), interface_pb2.VariableMap())}
    text = "is an array over something other than a task, which cannot be run"
    of_plans = workflow("wf", [array_node("n0", launch_plan_node("n0", "lp"))])
    assert refusal(of_plans, launch_plans=plans) == f"workflow wf: node n0 {text}"
    leaf = workflow("leaf", [task_node("t", "make")])
    of_workflows = workflow("wf", [array_node("many", sub_workflow_node("n0", "leaf"))])
    assert refusal(of_workflows, sub_workflows=[leaf]) == f"workflow wf: node many {text}"
    assert (
        refusal(
            workflow("top", [sub_workflow_node("n0", "leaf")]),
            sub_workflows=[leaf_of(of_plans)],
            **{"launch_plans": plans},
        )
        == f"workflow leaf: node n0 {text}"
    )


def leaf_of(template: workflow_pb2.WorkflowTemplate) -> workflow_pb2.WorkflowTemplate:
    renamed = workflow("leaf", [])
    renamed.nodes.extend(template.nodes)
    return renamed


def test_ids_that_would_make_two_nodes_one_are_refused() -> None:
    failing = workflow("wf", [task_node("n0", "make")])
    failing.failure_node.CopyFrom(task_node("n0", "make"))
    assert refusal(failing) == "workflow wf: node n0 has the id of the failure node"
    same = branch_node(
        "b", [promise("x", "", "x")], [(compare("x", 0), task_node("n0", "make"))], task_node("n0", "make")
    )
    assert refusal(workflow("wf", [same], {"x": INT})) == "workflow wf: node b has two cases with the same node id"


def branching() -> compiler_pb2.CompiledWorkflowClosure:
    """n0 and n1 feed the cases of z, one of them a branch, one a subworkflow; a comes after z."""
    leaf = workflow("leaf", [task_node("t", "make")], {}, {"o0": INT}, [promise("o0", "t", "o0")])
    x = promise("x", "", "x")
    inner = branch_node(
        "n2",
        [x],
        [(compare("x", 1), task_node("n0", "inc", promise("a", "n1", "o0")))],
        sub_workflow_node("n1", "leaf"),
    )
    outer = branch_node(
        "b",
        [x],
        [(compare("x", 5), task_node("n1", "inc", promise("a", "n0", "o0"))), (compare("x", 3), inner)],
        sub_workflow_node("n0", "leaf"),
    )
    nodes = [task_node("n0", "make"), task_node("n1", "make"), outer, task_node("a", "inc", promise("a", "b", "o0"))]
    return compiled(workflow("wf", nodes, {"x": INT}), [INC, MAKE], [leaf])


def test_cases_of_a_branch_are_a_level_without_edges() -> None:
    layout = lay_out(branching())

    assert names(layout)[:6] == ["start-node", "n0", "n1", "b", "a", "end-node"]
    assert [(level.scope, level.workflow_scope, level.first, list(level.index_of)) for level in layout.levels[1:]] == [
        (3, -1, 6, ["b-n1", "b-n2", "b-n0"]),
        (7, -1, 9, ["b-n2-n0", "b-n2-n1"]),
        (8, 8, 11, ["start-node", "t", "end-node"]),
        (10, 10, 14, ["start-node", "t", "end-node"]),
    ]
    assert [NodeKind(kind) for kind in layout.arrays.kind[6:11]] == [
        NodeKind.TASK,
        NodeKind.BRANCH,
        NodeKind.SUBWORKFLOW,
        NodeKind.TASK,
        NodeKind.SUBWORKFLOW,
    ]
    assert layout.arrays.kind[3] == NodeKind.BRANCH
    assert layout.arrays.scope.tolist()[6:] == [3, 3, 3, 7, 7, 8, 8, 8, 10, 10, 10]


def test_a_branch_waits_for_what_its_cases_need_at_any_depth() -> None:
    closure = branching()
    assert "b" not in closure.primary.connections.downstream["n0"].ids
    top = [pair for pair in pairs(lay_out(closure)) if pair[1] < 6]
    assert top == [(0, 1), (0, 2), (0, 3), (1, 3), (1, 5), (2, 3), (2, 5), (3, 4), (4, 5)]


def test_every_kind_of_node_has_its_number() -> None:
    legacy = task("legacy", {}, {"o0": INT})
    legacy.template.type = "container_array"
    plans = {launch_plan_id("lp"): (interface_pb2.ParameterMap(), interface_pb2.VariableMap())}
    nodes = [
        array_node("array", task_node("n0", "make")),
        task_node("legacy", "legacy"),
        launch_plan_node("plan", "lp"),
        sleep_node("wait"),
    ]
    layout = lay_out(compiled(workflow("wf", nodes), [MAKE, legacy], launch_plans=plans))
    found = dict(zip(names(layout), map(NodeKind, layout.arrays.kind.tolist()), strict=True))
    assert found == {
        "start-node": NodeKind.START,
        "array": NodeKind.MAP,
        "legacy": NodeKind.MAP,
        "plan": NodeKind.CHILD_RUN,
        "wait": NodeKind.GATE,
        "end-node": NodeKind.END,
    }
    tasks = [None if found is None else found.id.name for found in layout.levels[0].shape.tasks]
    assert tasks == [None, "make", "legacy", None, None, None]


def test_limits_of_an_array_are_its_elements() -> None:
    element = task_node("n0", "make")
    element.metadata.retries.retries = 4
    element.metadata.timeout.FromSeconds(2)
    array = array_node("n0", element)
    array.metadata.retries.retries = 9
    array.metadata.timeout.FromSeconds(9)
    arrays = lay_out(compiled(workflow("wf", [array]), [MAKE])).arrays
    assert (arrays.attempts_max[1], arrays.execution_timeout[1], arrays.active_timeout[1]) == (
        5,
        2 * SECOND,
        4 * SECOND,
    )


def test_limits_of_gates_and_launch_plans_are_their_nodes() -> None:
    plans = {launch_plan_id("lp"): (interface_pb2.ParameterMap(), interface_pb2.VariableMap())}
    gate, plan = sleep_node("gate"), launch_plan_node("plan", "lp")
    gate.metadata.timeout.FromSeconds(3)
    plan.metadata.retries.retries = 1
    arrays = lay_out(compiled(workflow("wf", [gate, plan]), launch_plans=plans)).arrays
    assert arrays.execution_timeout.tolist() == [0, 3 * SECOND, 0, 0]
    assert arrays.attempts_max.tolist() == [1, 1, 2, 1]


def failing(name: str, handler: workflow_pb2.Node) -> workflow_pb2.WorkflowTemplate:
    template = workflow(name, [task_node("n0", "make")], {"x": INT})
    template.failure_node.CopyFrom(handler)
    return template


def test_a_failure_node_comes_last_and_alone_and_is_tried_once() -> None:
    handler = task_node("efn", "inc", promise("a", "", "x"))
    handler.metadata.retries.retries = 3
    top = failing("top", handler)
    top.nodes.append(sub_workflow_node("n1", "leaf", promise("x", "", "x")))
    layout = lay_out(compiled(top, [INC, MAKE], [failing("leaf", handler)]))

    assert names(layout) == ["start-node", "n0", "n1", "end-node", "efn", "start-node", "n0", "end-node", "efn"]
    assert np.flatnonzero(layout.arrays.failure_handler).tolist() == [4, 8]
    assert layout.arrays.scope.tolist()[4:] == [NO_SCOPE, 2, 2, 2, 2]
    assert not {4, 8} & {index for pair in pairs(layout) for index in pair}
    assert layout.arrays.attempts_max.max() == 1


def test_failure_nodes_open_levels_as_others_do() -> None:
    cases = [(compare("x", 0), task_node("n0", "make"))]
    layout = lay_out(
        compiled(failing("wf", branch_node("efn", [promise("x", "", "x")], cases, sleep_node("n1"))), [MAKE])
    )
    assert (layout.levels[1].scope, list(layout.levels[1].index_of)) == (3, ["efn-n0", "efn-n1"])
    element = task_node("n0", "make")
    element.metadata.retries.retries = 2
    arrays = lay_out(compiled(failing("wf", array_node("efn", element)), [MAKE])).arrays
    assert arrays.attempts_max.tolist() == [1, 1, 1, 3]


def test_what_the_compiler_did_not_make_is_refused() -> None:
    closure = nested()
    closure.primary.connections.downstream["m0"].ids.append("ghost")
    with pytest.raises(InternalError, match="the edge m0 to ghost leads nowhere"):
        lay_out(closure)
    closure = nested()
    del closure.tasks[:]
    with pytest.raises(InternalError, match="lacks the task of node"):
        lay_out(closure)
    closure = nested()
    del closure.primary.template.nodes[0]
    closure.primary.connections.downstream.pop("start-node")
    with pytest.raises(InternalError, match="was not compiled"):
        lay_out(closure)


def test_sub_workflows_that_contain_themselves_are_refused() -> None:
    closure = nested()
    closure.sub_workflows[0].template.nodes.append(sub_workflow_node("again", "middle"))
    with pytest.raises(CompileError, match="middle>leaf>middle"):
        lay_out(closure)


def test_unfolding_is_bounded() -> None:
    subs = [
        workflow(f"w{i}", [sub_workflow_node(f"n{j}", f"w{i + 1}") for j in range(8)])
        if i < 20
        else workflow("w20", [task_node("t", "make")])
        for i in range(21)
    ]
    assert "unfold to more than" in refusal(workflow("top", [sub_workflow_node("n", "w0")]), sub_workflows=subs)


def test_aliases_are_kept_by_node() -> None:
    node = task_node("n0", "make")
    node.output_aliases.add(var="o0", alias="count")
    layout = lay_out(compiled(workflow("wf", [node, task_node("n1", "make")]), [MAKE]))
    assert layout.levels[0].shape.aliases == {"n0": {"count": "o0"}}
