"""Closures of workflows with every kind of node, and every finding of the compiler that bindings do not make."""

from __future__ import annotations

import pytest
from flyteidl.core import interface_pb2, literals_pb2, workflow_pb2

from flyte_kernel.compile.identifiers import entity_id, identifier
from flyte_kernel.compile.requirements import required_entities
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.errors import CompileError
from tests.support.templates import (
    INT,
    NONE,
    STR,
    branch_node,
    compare,
    compiled,
    edges,
    findings_of,
    id_text,
    integer,
    interface,
    launch_plan_id,
    launch_plan_node,
    list_of,
    optional,
    promise,
    string,
    sub_workflow_node,
    task,
    task_id,
    task_node,
    variables,
    workflow,
    workflow_id,
)

INC = task("inc", {"a": INT}, {"o0": INT})
MAKE = task("make", {}, {"o0": INT})
NOTIFY = task("notify")


def test_nodes_connections_and_interface_of_a_small_workflow() -> None:
    template = workflow(
        "wf",
        [
            task_node("n0", "inc", promise("a", "", "a")),
            task_node("n1", "inc", promise("a", "n0", "o0"), upstream=["n0"]),
            task_node("n2", "notify"),
        ],
        inputs={"a": INT},
        outputs={"o0": INT},
        bindings=[promise("o0", "n1", "o0")],
    )
    before = template.SerializeToString(deterministic=True)

    closure = compiled(template, [INC, NOTIFY])

    primary = closure.primary
    assert [node.id for node in primary.template.nodes] == ["start-node", "end-node", "n0", "n1", "n2"]
    assert edges(primary.connections.downstream) == {
        "start-node": ["n0", "n2"],
        "n0": ["n1"],
        "n1": ["end-node"],
        "n2": ["end-node"],
    }
    assert edges(primary.connections.upstream) == {
        "n0": ["start-node"],
        "n1": ["n0"],
        "n2": ["start-node"],
        "end-node": ["n1", "n2"],
    }
    start, end, first, second, _ = primary.template.nodes
    assert start == workflow_pb2.Node(id="start-node")
    assert end == workflow_pb2.Node(id="end-node", inputs=[promise("o0", "n1", "o0")])
    assert first.inputs[0] == promise("a", "start-node", "a")
    assert list(first.upstream_node_ids) == []
    assert list(second.upstream_node_ids) == ["n0"]
    assert [entity_id(item.template.id) for item in closure.tasks] == [task_id("inc"), task_id("notify")]
    assert template.SerializeToString(deterministic=True) == before


def test_absent_variable_maps_become_empty_ones() -> None:
    template = workflow("wf", [task_node("n0", "notify")])
    template.ClearField("interface")

    closure = compiled(template, [NOTIFY])

    assert closure.primary.template.interface.HasField("inputs")
    assert closure.primary.template.interface.HasField("outputs")


def test_nested_promises_are_rewritten_too() -> None:
    template = workflow("wf", [task_node("n0", "sum")], inputs={"a": INT})
    item = literals_pb2.BindingData(promise=promise("", "", "a").binding.promise)
    template.nodes[0].inputs.add(var="xs").binding.collection.bindings.extend([item, item])

    closure = compiled(template, [task("sum", {"xs": list_of(INT)})])

    bindings = closure.primary.template.nodes[2].inputs[0].binding.collection.bindings
    assert [binding.promise.node_id for binding in bindings] == ["start-node", "start-node"]


def test_upstream_ids_are_sorted_and_without_start_node() -> None:
    nodes = [task_node(f"n{i}", "make") for i in range(12)]
    nodes.append(task_node("n12", "notify", upstream=["n9", "n10", "n1"]))

    closure = compiled(workflow("wf", nodes), [MAKE, NOTIFY])

    last = closure.primary.template.nodes[-1]
    assert list(last.upstream_node_ids) == ["n1", "n10", "n9"]
    assert edges(closure.primary.connections.upstream)["n12"] == ["n1", "n10", "n9"]


def test_a_compiled_template_compiles_again_to_the_same() -> None:
    template = workflow("wf", [task_node("n0", "inc", promise("a", "", "a"))], {"a": INT}, {"r": INT})
    template.outputs.append(promise("r", "n0", "o0"))
    closure = compiled(template, [INC])

    assert compiled(closure.primary.template, [INC]) == closure


def test_of_nodes_with_one_id_the_first_counts() -> None:
    template = workflow("wf", [task_node("n0", "make"), task_node("n0", "notify")])

    closure = compiled(template, [MAKE, NOTIFY])

    assert [node.id for node in closure.primary.template.nodes] == ["start-node", "end-node", "n0"]
    assert closure.primary.template.nodes[2].task_node.reference_id.name == "make"


def test_sub_workflows_get_their_own_connections() -> None:
    inner = workflow(
        "inner", [task_node("n0", "inc", promise("a", "", "x"))], {"x": INT}, {"y": INT}, [promise("y", "n0", "o0")]
    )
    outer = workflow(
        "outer",
        [
            sub_workflow_node("n0", "inner", promise("x", "", "x")),
            sub_workflow_node("n1", "inner", promise("x", "n0", "y")),
        ],
        {"x": INT},
    )
    unused = workflow("unused", [task_node("n0", "inc")])

    closure = compiled(outer, [INC], [unused, inner])

    raw, sub = closure.sub_workflows
    assert raw.template == unused
    assert not raw.HasField("connections")
    assert [node.id for node in sub.template.nodes] == ["start-node", "end-node", "n0"]
    assert edges(sub.connections.downstream) == {"start-node": ["n0"], "n0": ["end-node"]}
    assert edges(closure.primary.connections.downstream) == {
        "start-node": ["n0"],
        "n0": ["n1"],
        "n1": ["end-node"],
    }


def test_output_aliases_rename_outputs() -> None:
    make = task_node("n0", "make")
    make.output_aliases.add(var="o0", alias="count")
    template = workflow("wf", [make, task_node("n1", "inc", promise("a", "n0", "count"))])

    closure = compiled(template, [MAKE, INC])

    assert edges(closure.primary.connections.upstream)["n1"] == ["n0"]


def test_failure_node_has_upstream_edges_only() -> None:
    template = workflow("wf", [task_node("n0", "make")], {"a": INT})
    template.failure_node.CopyFrom(task_node("fn0", "clean", promise("a", "", "a"), upstream=["n0"]))

    closure = compiled(template, [MAKE, task("clean", {"a": INT, "err": optional(INT)})])

    assert [node.id for node in closure.primary.template.nodes] == ["start-node", "end-node", "n0"]
    assert closure.primary.template.failure_node.id == "fn0"
    assert edges(closure.primary.connections.upstream)["fn0"] == ["start-node"]
    assert "fn0" not in {target for ids in edges(closure.primary.connections.downstream).values() for target in ids}


def test_launch_plan_node_needs_what_has_no_default() -> None:
    expected = interface_pb2.ParameterMap()
    for name, required in (("a", True), ("b", False), ("c", False)):
        expected.parameters[name].var.type.CopyFrom(INT)
        expected.parameters[name].required = required
    plans = {launch_plan_id("lp"): (expected, variables({"o0": INT}))}

    def wf(*bindings: literals_pb2.Binding) -> workflow_pb2.WorkflowTemplate:
        return workflow(
            "wf", [launch_plan_node("n0", "lp", *bindings)], {"a": INT}, {"r": INT}, [promise("r", "n0", "o0")]
        )

    closure = compiled(wf(promise("a", "", "a"), promise("b", "", "a")), launch_plans=plans)
    assert edges(closure.primary.connections.downstream) == {"start-node": ["n0"], "n0": ["end-node"]}
    assert not closure.launch_plans
    assert findings_of(wf(promise("b", "", "a")), launch_plans=plans) == (
        ("ParameterNotBound", "n0", "Parameter not bound [a]."),
    )


def test_array_node_has_the_interface_of_its_inner_node() -> None:
    node = workflow_pb2.Node(id="n0", inputs=[promise("a", "", "xs")])
    node.array_node.node.CopyFrom(task_node("n0", "mapped"))
    template = workflow("wf", [node], {"xs": list_of(INT)}, {"r": list_of(INT)}, [promise("r", "n0", "o0")])
    mapped = task("mapped", {"a": list_of(INT)}, {"o0": list_of(INT)})

    closure = compiled(template, [mapped])

    assert edges(closure.primary.connections.upstream) == {"n0": ["start-node"], "end-node": ["n0"]}
    assert [item.template.id.name for item in closure.tasks] == ["mapped"]


def test_gates_give_what_they_were_given_or_signalled() -> None:
    approve = workflow_pb2.Node(id="n1", inputs=[promise("o0", "n0", "o0")])
    approve.gate_node.approve.signal_id = "ok"
    signal = workflow_pb2.Node(id="n2")
    signal.gate_node.signal.signal_id = "number"
    signal.gate_node.signal.type.CopyFrom(INT)
    signal.gate_node.signal.output_variable_name = "o0"
    sleep = workflow_pb2.Node(id="n3")
    sleep.gate_node.sleep.duration.seconds = 1
    consumers = [task_node("n4", "inc", promise("a", "n1", "o0")), task_node("n5", "inc", promise("a", "n2", "o0"))]

    closure = compiled(workflow("wf", [approve, task_node("n0", "make"), signal, sleep, *consumers]), [MAKE, INC])

    assert edges(closure.primary.connections.upstream) == {
        "n0": ["start-node"],
        "n1": ["n0"],
        "n2": ["start-node"],
        "n3": ["start-node"],
        "n4": ["n1"],
        "n5": ["n2"],
        "end-node": ["n3", "n4", "n5"],
    }


def test_branch_children_are_renamed_and_have_upstream_edges_only() -> None:
    inner = branch_node(
        "n1",
        [promise("y", "n0", "o0")],
        [(compare("y", 1), task_node("n0", "inc", promise("a", "", "x")))],
        task_node("n1", "inc", promise("a", "n0", "o0")),
    )
    branch = branch_node(
        "n1", [promise("x", "", "x")], [(compare("x", 0), task_node("n0", "inc", promise("a", "n0", "o0")))], inner
    )
    template = workflow("wf", [task_node("n0", "make"), branch], {"x": INT}, {"r": INT}, [promise("r", "n1", "o0")])

    closure = compiled(template, [MAKE, INC])

    if_else = closure.primary.template.nodes[3].branch_node.if_else
    assert if_else.case.then_node.id == "n1-n0"
    assert if_else.else_node.id == "n1-n1"
    nested = if_else.else_node.branch_node.if_else
    assert [nested.case.then_node.id, nested.else_node.id] == ["n1-n1-n0", "n1-n1-n1"]
    assert edges(closure.primary.connections.upstream) == {
        "n0": ["start-node"],
        "n1": ["start-node"],
        "n1-n0": ["n0"],
        "n1-n1": ["n0"],
        "n1-n1-n0": ["start-node"],
        "n1-n1-n1": ["n0"],
        "end-node": ["n0", "n1"],
    }
    assert edges(closure.primary.connections.downstream) == {
        "start-node": ["n0", "n1"],
        "n0": ["end-node"],
        "n1": ["end-node"],
    }


def test_branch_gives_only_what_all_cases_give() -> None:
    more = task("more", {}, {"o0": INT, "extra": STR})
    branch = branch_node(
        "n0", [promise("x", "", "x")], [(compare("x", 0), task_node("n0", "more"))], task_node("n1", "make")
    )

    def wf(output: str) -> workflow_pb2.WorkflowTemplate:
        return workflow("wf", [branch], {"x": INT}, {"r": INT}, [promise("r", "n0", output)])

    assert compiled(wf("o0"), [MAKE, more]).primary.template.id.name == "wf"
    assert ("VariableNameNotFound", "n0", "Variable [extra] not found on node [n0].") in findings_of(
        wf("extra"), [MAKE, more]
    )


def one_branch(
    cases: list[tuple[object, workflow_pb2.Node | None]], otherwise: workflow_pb2.Node | None = None
) -> workflow_pb2.WorkflowTemplate:
    return workflow("wf", [branch_node("n0", [promise("x", "", "x")], cases, otherwise)], {"x": INT})  # type: ignore[arg-type]


def test_findings_of_branches() -> None:
    then, other = task_node("a", "make"), task_node("b", "make")
    no_condition = ("BranchNodeHasNoCondition", "n0", "One of the branches on the node doesn't have a condition.")
    no_default = ("BranchNodeHasNoDefault", "n0", "Branch Node must have either the else case set or a default error.")
    assert findings_of(one_branch([(None, then)], other), [MAKE]) == (no_condition,)
    assert findings_of(one_branch([(compare("x", 1), then)]), [MAKE]) == (no_default,)
    assert ("BranchNodeIdNotFound", "n0", "BranchNode not assigned") in findings_of(
        one_branch([(compare("x", 1), then), (compare("x", 2), None)], other), [MAKE]
    )
    assert ("ValueRequired", "n0", "Value required [Branch.IfElse.Case.ThenNode].") in findings_of(
        one_branch([(compare("x", 1), None)], other), [MAKE]
    )
    assert findings_of(one_branch([(compare("y", 1), then)], other), [MAKE]) == (
        ("VariableNameNotFound", "n0", "Variable [y] not found on node [n0]."),
    )


def test_scalars_are_no_operands() -> None:
    is_none = compare("x", 1)
    is_none.comparison.right_value.scalar.none_type.SetInParent()
    template = one_branch([(is_none, task_node("a", "make"))], task_node("b", "make"))
    assert findings_of(template, [MAKE]) == (("ValueRequired", "n0", "Value required [RightValue.Val]."),)


def test_cases_must_not_wait_for_what_waits_for_their_branch() -> None:
    cycle = "A cycle has been detected while traversing the Workflow"
    template = one_branch(
        [(compare("x", 1), task_node("a", "inc", promise("a", "late", "o0")))], task_node("b", "make")
    )
    template.nodes.append(task_node("late", "inc", promise("a", "n0", "o0")))
    assert findings_of(template, [INC, MAKE]) == (("CycleDetected", "start-node", f"{cycle} [n0>late>n0]."),)
    own = one_branch([(compare("x", 1), task_node("a", "inc", promise("a", "n0", "o0")))], task_node("b", "make"))
    assert findings_of(own, [INC, MAKE]) == (("CycleDetected", "start-node", f"{cycle} [n0>n0]."),)


def test_branch_error_is_a_default() -> None:
    template = one_branch([(compare("x", 1), task_node("a", "make"))])
    template.nodes[0].branch_node.if_else.error.message = "neither"
    assert compiled(template, [MAKE]).primary.template.nodes[2].branch_node.if_else.error.message == "neither"


def test_branch_cases_must_agree_on_types() -> None:
    text = task("text", {}, {"o0": STR})
    template = one_branch([(compare("x", 1), task_node("a", "make"))], task_node("b", "text"))
    assert (
        "MismatchingTypes",
        "n0-b",
        "Variable [o0] (type [simple:INTEGER]) doesn't match expected type [simple:STRING].",
    ) in (findings_of(template, [MAKE, text]))


def test_condition_compares_equal_types_only() -> None:
    condition = compare("x", 1)
    condition.comparison.right_value.primitive.string_value = "one"
    template = one_branch([(condition, task_node("a", "make"))], task_node("b", "make"))
    assert findings_of(template, [MAKE]) == (
        (
            "MismatchingTypes",
            "n0",
            "Variable [RightValue] (type [simple:STRING]) doesn't match expected type [simple:INTEGER].",
        ),
    )


def test_conjunctions_are_checked_on_both_sides() -> None:
    condition = compare("x", 1)
    both = type(condition)()
    both.conjunction.left_expression.CopyFrom(condition)
    both.conjunction.right_expression.CopyFrom(compare("z", 1))
    template = one_branch([(both, task_node("a", "make"))], task_node("b", "make"))
    assert findings_of(template, [MAKE]) == (("VariableNameNotFound", "n0", "Variable [z] not found on node [n0]."),)


def test_findings_of_gates() -> None:
    empty, untyped, unnamed = (workflow_pb2.Node(id=node_id) for node_id in ("n0", "n1", "n2"))
    empty.gate_node.SetInParent()
    untyped.gate_node.signal.output_variable_name = "o0"
    unnamed.gate_node.signal.type.CopyFrom(INT)
    assert findings_of(workflow("wf", [empty])) == (
        ("NoConditionFound", "n0", "Can't find any condition in gate node [n0]."),
    )
    assert findings_of(workflow("wf", [untyped])) == (
        ("ValueRequired", "n1", "Value required [GateNode.Signal.Type]."),
    )
    assert findings_of(workflow("wf", [unnamed])) == (
        ("ValueRequired", "n2", "Value required [GateNode.Signal.OutputVariableName]."),
    )


def test_no_nodes() -> None:
    name = id_text("WORKFLOW", "wf")
    with pytest.raises(CompileError) as caught:
        compiled(workflow("wf", []))
    assert caught.value.findings == (("NoNodesFound", name, f"Can't find any nodes in workflow [{name}]."),)
    assert str(caught.value) == (
        "Collected Errors: 1\n"
        f"\tError 0: Code: NoNodesFound, Node Id: {name}, Description: Can't find any nodes in workflow [{name}].\n"
    )


def test_what_is_not_registered_is_told_before_anything_else() -> None:
    broken = task_node("n0", "gone", promise("nope", "n9", "o0"))
    template = workflow("wf", [broken, launch_plan_node("n1", "plan"), sub_workflow_node("n2", "sub")])
    assert findings_of(template) == (
        ("TaskReferenceNotFound", "start-node", f"Referenced Task [{id_text('TASK', 'gone')}] not found."),
        ("WorkflowReferenceNotFound", "n2", f"Referenced Workflow [{id_text('WORKFLOW', 'sub')}] not found."),
        (
            "WorkflowReferenceNotFound",
            "start-node",
            f"Referenced Workflow [{id_text('LAUNCH_PLAN', 'plan')}] not found.",
        ),
    )


def test_nodes_need_ids_and_targets() -> None:
    template = workflow("wf", [workflow_pb2.Node(id="n0"), task_node("", "notify")])
    template.nodes.append(workflow_pb2.Node(id="n1"))
    template.nodes[2].task_node.SetInParent()
    template.nodes.append(workflow_pb2.Node(id="n2"))
    template.nodes[3].workflow_node.SetInParent()
    found = findings_of(template, [NOTIFY])
    assert ("ValueRequired", "n0", "Value required [Target].") in found
    assert ("ValueRequired", "<node>", "Value required [Id].") in found
    assert ("ValueRequired", "n1", "Value required [TaskNode.ReferenceId].") in found
    assert ("WorkflowReferenceNotFound", "n2", "Referenced Workflow [<nil>/<nil>] not found.") in found


def test_variables_need_types() -> None:
    template = workflow("wf", [task_node("n0", "notify")], {"a": INT})
    template.interface.inputs.variables["a"].ClearField("type")
    assert findings_of(template, [NOTIFY]) == (("ValueRequired", "start-node", "Value required [param.Type]."),)


def test_aliases_must_name_outputs_once() -> None:
    node = task_node("n0", "make")
    node.output_aliases.add(var="o0", alias="x")
    node.output_aliases.add(var="o0", alias="y")
    node.output_aliases.add(var="nope", alias="z")
    assert findings_of(workflow("wf", [node]), [MAKE]) == (
        (
            "DuplicateAlias",
            "n0",
            "Duplicate alias [y] found. An output alias can only be used once in the Workflow.",
        ),
        ("ParameterNotBound", "n0", "Parameter not bound [z]."),
    )


def test_two_sub_workflows_of_one_id() -> None:
    sub = workflow("sub", [task_node("n0", "make")])
    assert findings_of(workflow("wf", [sub_workflow_node("n0", "sub")]), [MAKE], [sub, sub]) == (
        ("DuplicateId", id_text("WORKFLOW", "sub"), "Trying to insert two nodes with the same id."),
    )


def test_cycle_that_start_leads_into() -> None:
    nodes = [
        task_node("n0", "inc", promise("a", "", "a"), upstream=["n2"]),
        task_node("n1", "inc", promise("a", "n0", "o0")),
        task_node("n2", "inc", promise("a", "n1", "o0")),
    ]
    assert findings_of(workflow("wf", nodes, {"a": INT}), [INC]) == (
        (
            "CycleDetected",
            "start-node",
            "A cycle has been detected while traversing the Workflow [n0>n1>n2>n0].",
        ),
    )


def test_cycle_that_nothing_leads_into() -> None:
    nodes = [
        task_node("n0", "notify"),
        task_node("n1", "notify", upstream=["n2"]),
        task_node("n2", "notify", upstream=["n1"]),
    ]
    assert findings_of(workflow("wf", nodes), [NOTIFY]) == (
        ("UnreachableNodes", "start-node", "The Workflow contain unreachable nodes [n1,n2]."),
    )


def test_declared_upstream_must_exist() -> None:
    template = workflow("wf", [task_node("n0", "notify", upstream=["ghost"])])
    assert ("NodeReferenceNotFound", "n0", "Referenced node [ghost] not found.") in findings_of(template, [NOTIFY])


def test_sub_workflows_that_contain_themselves() -> None:
    first = workflow("first", [sub_workflow_node("n0", "second")])
    second = workflow("second", [sub_workflow_node("n1", "first")])
    assert findings_of(workflow("wf", [sub_workflow_node("n9", "first")]), [], [first, second]) == (
        (
            "CycleDetected",
            "n1",
            "A cycle has been detected while traversing the Workflow [first>second>first].",
        ),
    )
    own = workflow("wf", [sub_workflow_node("n0", "wf")])
    assert findings_of(own, [], [own])[0][0] == "CycleDetected"


def test_findings_of_sub_workflows_are_told_with_the_rest() -> None:
    sub = workflow("sub", [task_node("s0", "inc")])
    found = findings_of(workflow("wf", [sub_workflow_node("n0", "sub"), task_node("n1", "inc")]), [INC], [sub])
    assert found == (
        ("ParameterNotBound", "n1", "Parameter not bound [a]."),
        ("ParameterNotBound", "s0", "Parameter not bound [a]."),
    )


def test_deep_chain_of_sub_workflows() -> None:
    depth = 2_000
    subs = [workflow(f"w{i}", [sub_workflow_node("n0", f"w{i + 1}")]) for i in range(depth)]
    subs.append(workflow(f"w{depth}", [task_node("n0", "notify")]))

    closure = compiled(workflow("wf", [sub_workflow_node("n0", "w0")]), [NOTIFY], subs)

    assert all(sub.HasField("connections") for sub in closure.sub_workflows)


def test_required_entities_are_found_everywhere() -> None:
    branch = branch_node(
        "n0",
        [],
        [(compare("x", 1), task_node("a", "t1")), (compare("x", 2), launch_plan_node("b", "lp1"))],
        task_node("c", "t2"),
    )
    array = workflow_pb2.Node(id="n1")
    array.array_node.node.CopyFrom(task_node("m", "t3"))
    sub = workflow("sub", [task_node("s0", "t4"), launch_plan_node("s1", "lp2")])
    template = workflow("wf", [branch, array, sub_workflow_node("n2", "sub"), task_node("n3", "t1")])
    template.failure_node.CopyFrom(task_node("fn0", "t5"))
    unused = workflow("unused", [task_node("u0", "t6")])

    required = required_entities(template, [sub, unused])

    assert required.tasks == tuple(task_id(f"t{i}") for i in range(1, 6))
    assert required.launch_plans == (launch_plan_id("lp1"), launch_plan_id("lp2"))


def test_a_launch_plan_node_may_name_the_workflow_itself() -> None:
    template = workflow("wf", [launch_plan_node("n0", "wf", promise("x", "", "x"))], {"x": INT}, {})
    template.nodes[0].workflow_node.launchplan_ref.CopyFrom(template.id)
    plans = {workflow_id("wf"): (interface_pb2.ParameterMap(), interface_pb2.VariableMap())}

    closure = compile_workflow(template, [], {}, plans)

    assert edges(closure.primary.connections.upstream)["n0"] == ["start-node"]


def test_bindings_in_a_branch_are_checked() -> None:
    template = one_branch(
        [(compare("x", 1), task_node("a", "inc", literals_pb2.Binding(var="a")))],
        task_node("b", "inc", promise("a", "", "x"), promise("b", "", "x")),
    )
    assert findings_of(template, [INC]) == (
        ("ParameterNotBound", "n0-a", "Parameter not bound [a]."),
        ("ValueRequired", "n0-a", "Value required [Binding]."),
        ("VariableNameNotFound", "n0-b", "Variable [b] not found on node [n0-b]."),
    )


def test_interface_of_a_task_without_one_is_empty() -> None:
    bare = task("bare")
    bare.template.ClearField("interface")
    closure = compiled(workflow("wf", [task_node("n0", "bare")]), [bare])
    assert closure.tasks[0].template.interface == interface()
    assert closure.tasks[0].template.interface.HasField("inputs")
    assert closure.tasks[0].template.id == identifier(task_id("bare"))


def test_scalars_feed_inputs() -> None:
    template = workflow("wf", [task_node("n0", "inc")])
    template.nodes[0].inputs.add(var="a").binding.scalar.CopyFrom(integer(1))
    assert edges(compiled(template, [INC]).primary.connections.upstream) == {"n0": ["start-node"], "end-node": ["n0"]}
    template.nodes[0].inputs[0].binding.scalar.CopyFrom(string("1"))
    assert findings_of(template, [INC]) == (
        ("MismatchingTypes", "n0", "Variable [a] (type [simple:STRING]) doesn't match expected type [simple:INTEGER]."),
    )
    assert NONE.simple == 0
