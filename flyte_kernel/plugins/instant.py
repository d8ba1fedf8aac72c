"""Task types that need no process: `core-sleep` only waits, `echo` puts out what it was given."""

from __future__ import annotations

import json
from collections.abc import Collection

from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import Parse, ParseError

from flyte_kernel.engine.ports import InstantResult, TaskContext
from flyte_kernel.errors import PluginError

__all__ = ["EchoPlugin", "SleepPlugin"]


class SleepPlugin:
    """Waits for as long as its one input, a duration, says (flyteplugins, core/sleep)."""

    @property
    def task_types(self) -> Collection[str]:
        """The one type."""
        return ("core-sleep",)

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> InstantResult:
        """Return the wait; PluginError unless there is exactly one input, a duration that is not negative."""
        return InstantResult(after_ns=self.wait_ns(task, context.inputs))

    def wait_ns(self, task: tasks_pb2.TaskTemplate, inputs: literals_pb2.LiteralMap) -> int:
        """Return the wait; raises what `build` raises."""
        literals = list(inputs.literals.values())
        if len(literals) != 1 or literals[0].scalar.primitive.WhichOneof("value") != "duration":
            raise PluginError(f"task {task.id.name} of type core-sleep must have one input, a duration")
        if task.interface.outputs.variables:
            raise PluginError(f"task {task.id.name} of type core-sleep must have no outputs")
        return _nanoseconds(task, literals[0].scalar.primitive.duration)


class EchoPlugin:
    """Puts its one input out as its one output, after `sleep-duration` of its custom (flyteplugins, testing/echo)."""

    @property
    def task_types(self) -> Collection[str]:
        """The one type."""
        return ("echo",)

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> InstantResult:
        """Return the result; PluginError unless outputs are none, or as many as inputs and no more than one."""
        outputs, inputs = list(task.interface.outputs.variables), list(context.inputs.literals.values())
        if len(outputs) > 1 or (outputs and len(inputs) != 1):
            raise PluginError(f"task {task.id.name} of type echo must have one input and one output, or no output")
        echoed = literals_pb2.LiteralMap(literals={outputs[0]: inputs[0]} if outputs else {})
        return InstantResult(echoed.SerializeToString(deterministic=True), _nanoseconds(task, _pause(task)))

    def wait_ns(self, task: tasks_pb2.TaskTemplate, inputs: literals_pb2.LiteralMap) -> int | None:
        """Return the pause if there is nothing to put out; PluginError if it is none."""
        del inputs
        return None if task.interface.outputs.variables else _nanoseconds(task, _pause(task))


def _pause(task: tasks_pb2.TaskTemplate) -> Duration:
    if "sleep-duration" not in task.custom:
        return Duration()
    try:
        return Parse(json.dumps(str(task.custom["sleep-duration"])), Duration())
    except (ParseError, ValueError) as error:
        raise PluginError(f"task {task.id.name} has no valid sleep-duration: {error}") from error


def _nanoseconds(task: tasks_pb2.TaskTemplate, duration: Duration) -> int:
    nanoseconds = int(duration.ToNanoseconds())
    if nanoseconds < 0:
        raise PluginError(f"task {task.id.name} cannot wait for {duration.ToJsonString()}")
    return nanoseconds
