"""Workflows as unmodified flytekit serialises them compile, and run in the order they were written."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from flyteidl.admin import launch_plan_pb2
from flyteidl.core import compiler_pb2, tasks_pb2, workflow_pb2
from flytekit import LaunchPlan, conditional, dynamic, map_task, task, workflow
from flytekit.configuration import Image, ImageConfig, SerializationSettings
from flytekit.models.admin.workflow import WorkflowSpec
from flytekit.models.launch_plan import LaunchPlan as LaunchPlanModel
from flytekit.models.task import TaskSpec
from flytekit.tools.translator import get_serializable
from flytekit.types.file import FlyteFile

from flyte_kernel.compile.digest import structural_digest
from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.launch_plan import compile_launch_plan
from flyte_kernel.compile.layout import lay_out
from flyte_kernel.compile.requirements import required_entities
from flyte_kernel.compile.task import compile_task
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.ids import EntityId
from tests.support.templates import edges


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float


class Pair(NamedTuple):
    left: int
    right: str


@task(retries=2, timeout=60)
def inc(a: int) -> int:
    return a + 1


@task
def total(values: list[int], extra: int | None = None) -> int:
    return sum(values) + (extra or 0)


@task
def split(text: str) -> Pair:
    return Pair(len(text), text)


@task
def point(x: int) -> Point:
    return Point(x, 0.5)


@task
def norm(p: Point, color: Color = Color.RED) -> float:
    return p.x + (p.y if color is Color.RED else -p.y)


@task
def read(source: FlyteFile, tags: dict[str, list[int]]) -> None: ...


@workflow
def chain(a: int = 3) -> int:
    for _ in range(5):
        a = inc(a=a)
    return a


@workflow
def outer(a: int, text: str) -> tuple[int, str]:
    first = chain(a=a)
    second = chain(a=first)
    left, right = split(text=text)
    return total(values=[first, second, left, 7]), right


@workflow
def shapes(x: int, source: FlyteFile) -> float:
    p = point(x=x)
    read(source=source, tags={"a": [x, 1], "b": [p.x]})
    return norm(p=p, color=Color.BLUE)


@workflow
def mapped(values: list[int]) -> int:
    return total(values=map_task(inc)(a=values))


@workflow
def branching(x: int) -> int:
    return (
        conditional("size")
        .if_((x > 10) & (x < 20))
        .then(inc(a=x))
        .elif_(x > 5)
        .then(chain(a=x))
        .else_()
        .then(conditional("sign").if_(x > 0).then(inc(a=x)).else_().fail("negative"))
    )


@task
def clean(a: int) -> None: ...


@workflow(on_failure=clean)
def guarded(a: int) -> int:
    return inc(a=a)


@dynamic
def unfold(n: int) -> int:
    return inc(a=n)


@workflow
def with_plan(n: int) -> int:
    return inc(a=LaunchPlan.get_or_create(chain, "chain_plan", default_inputs={"a": 4})(a=unfold(n=n)))


SETTINGS = SerializationSettings(
    image_config=ImageConfig(default_image=Image("default", "image", "tag")), project="p", domain="d", version="v"
)


class Registered(NamedTuple):
    closure: compiler_pb2.CompiledWorkflowClosure
    launch_plans: list[launch_plan_pb2.LaunchPlan]


def register(entity: object) -> Registered:
    """Do what a server does with everything that flytekit makes of a workflow, in flytekit's order."""
    entities: OrderedDict[object, object] = OrderedDict()
    get_serializable(entities, SETTINGS, entity)
    tasks: dict[EntityId, compiler_pb2.CompiledTask] = {}
    workflows: dict[EntityId, compiler_pb2.CompiledWorkflowClosure] = {}
    plans: dict[EntityId, launch_plan_pb2.LaunchPlan] = {}
    closure = compiler_pb2.CompiledWorkflowClosure()
    for model in entities.values():
        if isinstance(model, TaskSpec):
            template: tasks_pb2.TaskTemplate = model.to_flyte_idl().template
            tasks[entity_id(template.id)] = compile_task(template)
        elif isinstance(model, WorkflowSpec):
            spec = model.to_flyte_idl()
            needed = required_entities(spec.template, spec.sub_workflows)
            assert set(needed.tasks) <= set(tasks)
            interfaces = {
                key: (plans[key].closure.expected_inputs, plans[key].closure.expected_outputs)
                for key in needed.launch_plans
            }
            closure = compile_workflow(spec.template, spec.sub_workflows, tasks, interfaces)
            workflows[entity_id(spec.template.id)] = closure
        elif isinstance(model, LaunchPlanModel):
            plan = model.to_flyte_idl()
            interface = workflows[entity_id(plan.spec.workflow_id)].primary.template.interface
            plans[entity_id(plan.id)] = compile_launch_plan(plan.id, plan.spec, interface)
    return Registered(closure, list(plans.values()))


def upstream(closure: compiler_pb2.CompiledWorkflowClosure) -> dict[str, list[str]]:
    return edges(closure.primary.connections.upstream)


def test_chain() -> None:
    closure = register(chain).closure
    assert upstream(closure) == {
        "n0": ["start-node"],
        **{f"n{i + 1}": [f"n{i}"] for i in range(4)},
        "end-node": ["n4"],
    }
    layout = lay_out(closure)
    assert list(layout.levels[0].index_of) == ["start-node", "n0", "n1", "n2", "n3", "n4", "end-node"]
    assert layout.arrays.attempts_max.tolist() == [1, 3, 3, 3, 3, 3, 1]
    assert layout.arrays.execution_timeout.tolist() == [0, *[60 * 10**9] * 5, 0]


def test_start_node_is_nobodys_declared_upstream() -> None:
    for entity in (chain, outer, shapes, mapped, branching, guarded):
        for node in register(entity).closure.primary.template.nodes:
            assert "start-node" not in node.upstream_node_ids


def test_sub_workflows() -> None:
    closure = register(outer).closure
    assert upstream(closure) == {
        "n0": ["start-node"],
        "n1": ["n0"],
        "n2": ["start-node"],
        "n3": ["n0", "n1", "n2"],
        "end-node": ["n2", "n3"],
    }
    assert [sub.template.id.name.rsplit(".", 1)[1] for sub in closure.sub_workflows] == ["chain"]
    assert len(closure.tasks) == 3
    assert lay_out(closure).arrays.node_count == 6 + 2 * 7


def test_dataclasses_files_enums_and_attributes() -> None:
    assert upstream(register(shapes).closure) == {
        "n0": ["start-node"],
        "n1": ["n0", "start-node"],
        "n2": ["n0"],
        "end-node": ["n1", "n2"],
    }


def test_map_tasks() -> None:
    closure = register(mapped).closure
    array = next(node for node in closure.primary.template.nodes if node.HasField("array_node"))
    assert upstream(closure) == {array.id: ["start-node"], "n1": [array.id], "end-node": ["n1"]}


def test_conditionals() -> None:
    closure = register(branching).closure
    branch = closure.primary.template.nodes[2].branch_node.if_else
    assert [branch.case.then_node.id, branch.other[0].then_node.id, branch.else_node.id] == ["n0-n0", "n0-n1", "n0-n2"]
    assert branch.else_node.branch_node.if_else.case.then_node.id == "n0-n2-n0"
    assert upstream(closure) == {
        "n0": ["start-node"],
        "n0-n0": ["start-node"],
        "n0-n1": ["start-node"],
        "n0-n2": ["start-node"],
        "n0-n2-n0": ["start-node"],
        "end-node": ["n0"],
    }
    assert closure.sub_workflows[0].HasField("connections")


def test_failure_nodes() -> None:
    closure = register(guarded).closure
    assert closure.primary.template.failure_node.id == "fn0"
    assert upstream(closure)["fn0"] == ["start-node"]


def test_launch_plans_and_dynamic_tasks() -> None:
    registered = register(with_plan)
    assert upstream(registered.closure) == {"n0": ["start-node"], "n1": ["n0"], "n2": ["n1"], "end-node": ["n2"]}
    plan = next(plan for plan in registered.launch_plans if plan.id.name == "chain_plan")
    assert plan.closure.expected_inputs.parameters["a"].default.scalar.primitive.integer == 4


def test_default_launch_plan() -> None:
    entities: OrderedDict[object, object] = OrderedDict()
    model = get_serializable(entities, SETTINGS, LaunchPlan.get_default_launch_plan(None, chain)).to_flyte_idl()
    plan = compile_launch_plan(model.id, model.spec, register(chain).closure.primary.template.interface)
    assert plan.closure.expected_inputs.parameters["a"].default.scalar.primitive.integer == 3
    assert list(plan.closure.expected_outputs.variables) == ["o0"]


def test_serialising_twice_gives_the_same_structure() -> None:
    one, other = register(outer).closure, register(outer).closure
    assert structural_digest(one) == structural_digest(other)
    other.primary.template.nodes[2].metadata.name = "else"
    assert structural_digest(one) != structural_digest(other)
    assert isinstance(one.primary.template, workflow_pb2.WorkflowTemplate)
