"""The workflow and launch plan around a task that is run on its own."""

from __future__ import annotations

import pytest

from flyte_kernel.compile.identifiers import identifier
from flyte_kernel.compile.layout import lay_out
from flyte_kernel.compile.single_task import compile_single_task, single_task_name
from tests.support.templates import INT, STR, edges, launch_plan_id, promise, task, task_id, workflow_id


def test_inputs_and_outputs_pass_through() -> None:
    alone = compile_single_task(task("pkg.mod.add", {"b": INT, "a": INT}, {"o0": INT, "o1": STR}))

    assert alone.workflow == workflow_id(".flytegen.pkg.mod.add")
    template = alone.closure.primary.template
    assert template.id == identifier(alone.workflow)
    _, end, node = template.nodes
    assert (node.id, node.metadata.name) == ("pkgmodadd", "pkgmodadd")
    assert list(node.inputs) == [promise("a", "start-node", "a"), promise("b", "start-node", "b")]
    assert list(end.inputs) == [promise("o0", node.id, "o0"), promise("o1", node.id, "o1")]
    assert node.task_node.reference_id == identifier(task_id("pkg.mod.add"))
    assert edges(alone.closure.primary.connections.downstream) == {"start-node": [node.id], node.id: ["end-node"]}
    assert template.interface == alone.closure.tasks[0].template.interface


def test_launch_plan_has_the_references_quirk() -> None:
    template = task("t", {"a": INT}, {"o0": INT})
    template.template.security_context.run_as.k8s_service_account = "robot"
    plan = compile_single_task(template).launch_plan

    assert plan.id == identifier(launch_plan_id(".flytegen.t"))
    assert plan.spec.workflow_id == identifier(workflow_id("t"))
    assert plan.spec.security_context.run_as.k8s_service_account == "robot"
    assert plan.closure.expected_inputs.parameters["a"].required
    assert plan.closure.expected_outputs.variables["o0"].type == INT
    assert plan.spec.default_inputs == plan.closure.expected_inputs
    for field in ("entity_metadata", "fixed_inputs", "labels", "annotations"):
        assert plan.spec.HasField(field)


def test_retries_are_the_tasks_or_three() -> None:
    silent, modest = task("t"), task("t")
    modest.template.metadata.retries.retries = 0
    modest.template.metadata.retries.SetInParent()
    assert lay_out(compile_single_task(silent).closure).arrays.attempts_max.max() == 4
    assert lay_out(compile_single_task(modest).closure).arrays.attempts_max.max() == 1


@pytest.mark.parametrize(
    ("name", "node_id"),
    [
        ("a.b_c-d", "abc-d"),
        ("x" * 100, "x" * 63),
        ("äö", "task-"),
        ("start-node", "task-start-node"),
        ("end.-node", "task-end-node"),
    ],
)
def test_node_ids(name: str, node_id: str) -> None:
    assert compile_single_task(task(name)).closure.primary.template.nodes[2].id == node_id


def test_name() -> None:
    assert single_task_name("pkg.t") == ".flytegen.pkg.t"
