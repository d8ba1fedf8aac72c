"""Which plugin builds which task type: built-in ones, and those that installed packages offer as entry points."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from flyteidl.core import tasks_pb2

from flyte_kernel.engine.ports import AttemptLaunch, InstantResult, TaskContext, TaskPlugin
from flyte_kernel.errors import PluginError
from flyte_kernel.plugins.container import ContainerPlugin
from flyte_kernel.plugins.instant import EchoPlugin, SleepPlugin

__all__ = ["ENTRY_POINT_GROUP", "PluginRegistry"]

ENTRY_POINT_GROUP = "flyte_kernel.plugins"


class PluginRegistry:
    """Finds plugins by task type.

    An entry point in the group `flyte_kernel.plugins` names a TaskPlugin or something that makes one when called
    without arguments. It may take over a built-in type; two of them for one type, or one that cannot be loaded, are a
    PluginError here and now, so that a server does not start with half of what was installed.
    """

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self._default: TaskPlugin = ContainerPlugin()
        self._plugins: dict[str, TaskPlugin] = {}
        for built_in in (self._default, SleepPlugin(), EchoPlugin()):
            self._plugins.update(dict.fromkeys(built_in.task_types, built_in))
        origins: dict[str, str] = {}
        for entry in entry_points(group=ENTRY_POINT_GROUP) if entries is None else entries:
            plugin = _load(entry)
            for task_type in _task_types(plugin, entry):
                if task_type in origins:
                    raise PluginError(
                        f"the plugins {origins[task_type]} and {_origin(entry)} both build tasks of type "
                        f"{task_type!r}: uninstall one of them"
                    )
                origins[task_type] = _origin(entry)
                self._plugins[task_type] = _Guarded(plugin, _origin(entry))

    def plugin_of(self, task_type: str) -> TaskPlugin:
        """Return the plugin for a task type; a type that nobody claims is built as a container."""
        return self._plugins.get(task_type, self._default)


class _Guarded:
    """A third party's plugin whose faults are named as such."""

    def __init__(self, plugin: TaskPlugin, origin: str) -> None:
        self._plugin = plugin
        self._origin = origin
        self.task_types = plugin.task_types

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch | InstantResult:
        try:
            launch = self._plugin.build(task, context)
        except PluginError:
            raise
        except Exception as error:
            raise PluginError(f"the plugin {self._origin} failed on task {context.task.name}: {error!r}") from error
        if isinstance(launch, InstantResult):
            return launch
        if not isinstance(launch, AttemptLaunch) or launch.key != context.key:
            raise PluginError(
                f"the plugin {self._origin} broke its contract on task {context.task.name}: "
                f"it returned {type(launch).__name__} instead of an AttemptLaunch for the attempt it was given"
            )
        return launch


def _origin(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name}" if entry.dist is not None else ""
    return f"{entry.name} ({entry.value}{package})"


def _load(entry: EntryPoint) -> TaskPlugin:
    try:
        loaded = entry.load()
        plugin: TaskPlugin = loaded() if isinstance(loaded, type) or not hasattr(loaded, "build") else loaded
    except Exception as error:
        raise PluginError(f"the plugin {_origin(entry)} cannot be loaded: {error!r}") from error
    if not callable(getattr(plugin, "build", None)):
        raise PluginError(f"the plugin {_origin(entry)} has no method build(task, context)")
    return plugin


def _task_types(plugin: TaskPlugin, entry: EntryPoint) -> list[str]:
    types = getattr(plugin, "task_types", None)
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise PluginError(f"the plugin {_origin(entry)} must list its task types in task_types, it has {types!r}")
    names = list(types)
    if not names or not all(isinstance(name, str) for name in names):
        raise PluginError(f"the plugin {_origin(entry)} must list its task types in task_types, it has {types!r}")
    return names
