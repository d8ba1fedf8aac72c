"""Which plugin builds which task type, and what third parties can get wrong."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest
from flyteidl.core import tasks_pb2

from flyte_kernel.engine.ports import AttemptLaunch, TaskContext
from flyte_kernel.errors import PluginError
from flyte_kernel.ids import AttemptKey
from flyte_kernel.plugins.container import ContainerPlugin
from flyte_kernel.plugins.registry import ENTRY_POINT_GROUP, PluginRegistry
from tests.unit.test_templates import CONTEXT

TASK = tasks_pb2.TaskTemplate(type="echo")


class Echo:
    task_types = ("echo",)

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        return AttemptLaunch(context.key, context.execution, context.node_id, "n", ("echo", task.type))


class Greedy(Echo):
    task_types = ("echo", "python-task", "container_array")


class Raising(Echo):
    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        raise ZeroDivisionError(f"{task.type} {context.node_id}")


class Refusing(Echo):
    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        raise PluginError(f"no {task.type} for {context.node_id}")


class Wrong(Echo):
    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        return ("echo", task.type, context)  # type: ignore[return-value]


class OtherKey(Echo):
    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        return AttemptLaunch(AttemptKey(0, 0, 0), context.execution, "n", "n", (task.type,))


class Untyped:
    def build(self) -> None: ...


class Stringly(Echo):
    task_types = "echo"


class Empty(Echo):
    task_types = ()


class Buildless:
    task_types = ("echo",)


echo = Echo()


def make_echo() -> Echo:
    return Echo()


def entry(name: str) -> EntryPoint:
    return EntryPoint(name=name.lower(), value=f"tests.unit.test_plugin_registry:{name}", group=ENTRY_POINT_GROUP)


@pytest.mark.parametrize("task_type", ["python-task", "container", "raw-container", "sidecar", "spark", "", "nobody's"])
def test_types_that_nobody_claims_are_containers(task_type: str) -> None:
    assert isinstance(PluginRegistry([]).plugin_of(task_type), ContainerPlugin)


def test_installed_packages_are_looked_at() -> None:
    assert isinstance(PluginRegistry().plugin_of("python-task"), ContainerPlugin)


@pytest.mark.parametrize("name", ["Echo", "echo", "make_echo"])
def test_entry_points_name_a_class_an_object_or_a_factory(name: str) -> None:
    plugin = PluginRegistry([entry(name)]).plugin_of("echo")
    assert plugin.build(TASK, CONTEXT).command == ("echo", "echo")
    assert list(plugin.task_types) == ["echo"]


def test_third_parties_may_take_over_built_in_types() -> None:
    registry = PluginRegistry([entry("Greedy")])
    for task_type in Greedy.task_types:
        assert registry.plugin_of(task_type).build(TASK, CONTEXT).command[0] == "echo"
    assert isinstance(registry.plugin_of("sidecar"), ContainerPlugin)


def test_two_plugins_for_one_type_are_refused() -> None:
    with pytest.raises(PluginError, match=r"plugins echo \(.*\) and greedy \(.*\) both build tasks of type 'echo'"):
        PluginRegistry([entry("Echo"), entry("Greedy")])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Nope", r"plugin nope \(tests.unit.test_plugin_registry:Nope\) cannot be loaded: AttributeError"),
        ("TASK", "cannot be loaded: TypeError"),
        ("Buildless", "has no method build"),
        ("Untyped", "must list its task types in task_types, it has None"),
        ("Stringly", "it has 'echo'"),
        ("Empty", r"it has \(\)"),
    ],
)
def test_broken_plugins_are_named_at_once(name: str, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        PluginRegistry([entry(name)])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Raising", r"the plugin raising .* failed on task mod\.task: ZeroDivisionError\('echo n0'\)"),
        ("Refusing", "^no echo for n0$"),
        ("Wrong", "broke its contract on task mod.task: it returned tuple"),
        ("OtherKey", "for the attempt it was given"),
    ],
)
def test_plugins_that_fail_on_a_task_are_named(name: str, told: str) -> None:
    plugin = PluginRegistry([entry(name)]).plugin_of("echo")
    with pytest.raises(PluginError, match=told):
        plugin.build(TASK, CONTEXT)
