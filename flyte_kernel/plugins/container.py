"""Container tasks, run as processes: the default for every task type whose template says what to run.

The image is not looked at: the process runs in the environment that the executor offers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flyteidl.core import tasks_pb2

from flyte_kernel.engine.ports import AttemptLaunch, TaskContext
from flyte_kernel.errors import PluginError
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.plugins.pods import pod_process
from flyte_kernel.plugins.templates import render

__all__ = ["ContainerPlugin"]


class ContainerPlugin:
    """Builds processes from container and pod targets."""

    @property
    def task_types(self) -> Collection[str]:
        """The types that the reference runs as plain pods."""
        return ("container", "python-task", "raw-container", "sidecar")

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch:
        """Return the process for one attempt; PluginError if the task names none that can run here."""
        command, environment = _target(task, context)
        if not command:
            raise PluginError(
                f"task {context.task.name} names no command: it relies on its image's entry point, "
                "which a process does not have"
            )
        return AttemptLaunch(
            key=context.key,
            execution=context.execution,
            node_id=context.node_id,
            name=_launch_name(context),
            command=render(command, task, context),
            environment=_environment(environment, context),
            output_prefix=context.as_local_path(context.output_prefix),
        )


def _target(task: tasks_pb2.TaskTemplate, context: TaskContext) -> tuple[list[str], dict[str, str]]:
    match task.WhichOneof("target"):
        case "container":
            container = task.container
            if container.data_config.enabled:
                raise PluginError(
                    f"task {context.task.name} is a raw container that finds its data in {_data_paths(container)}: "
                    "that needs a container, a process cannot run it"
                )
            environment = {pair.key: pair.value for pair in container.env}
            return [*container.command, *container.args], environment
        case "k8s_pod":
            return pod_process(task, context.task.name)
        case "sql":
            raise PluginError(
                f"task {context.task.name} of type {task.type!r} is an SQL query: nothing here can run it"
            )
        case _:
            raise PluginError(
                f"task {context.task.name} of type {task.type!r} says nothing about what to run, "
                "and no plugin is installed for this type"
            )


def _data_paths(container: tasks_pb2.Container) -> str:
    config = container.data_config
    return " and ".join(path for path in (config.input_path, config.output_path) if path) or "a mounted folder"


def _launch_name(context: TaskContext) -> str:
    """Make the attempt's name unique: it is so within an execution name only, and not always where it is a hash."""
    key = context.key
    element = "" if key.element == NO_ELEMENT else f"-e{key.element}"
    return f"{key.run}-{key.node}-{key.attempt}{element}-{context.generated_name}"


def _environment(own: Mapping[str, str], context: TaskContext) -> dict[str, str]:
    """Later entries win: the user's variables of an execution override even what the engine says."""
    workflow, task, execution = context.workflow, context.task, context.execution
    return {
        **own,
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": f"{workflow.project}:{workflow.domain}:{workflow.name}",
        "FLYTE_INTERNAL_EXECUTION_ID": execution.name,
        "FLYTE_INTERNAL_EXECUTION_PROJECT": execution.project,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": execution.domain,
        "FLYTE_ATTEMPT_NUMBER": str(context.key.attempt),
        "FLYTE_INTERNAL_TASK_PROJECT": task.project,
        "FLYTE_INTERNAL_TASK_DOMAIN": task.domain,
        "FLYTE_INTERNAL_TASK_NAME": task.name,
        "FLYTE_INTERNAL_TASK_VERSION": task.version,
        **context.environment,
    }
