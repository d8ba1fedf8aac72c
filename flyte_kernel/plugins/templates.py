"""Commands of container tasks with their `{{ .Variable }}`s filled in.

Variables are written `{{ .Name }}` or `{{ $Name }}`, in any case, anywhere in an argument. What looks like a variable
but is none stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from flyteidl.core import literals_pb2, tasks_pb2

from flyte_kernel.engine.ports import TaskContext
from flyte_kernel.errors import PluginError
from flyte_kernel.plugins.formats import literal_text

__all__ = ["render"]

# What a previous checkpoint reads where there is none: SDKs take it for an absent argument.
_NO_CHECKPOINT = '""'


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(rf"\{{\{{\s*[.$]{name}\s*\}}\}}", re.IGNORECASE | re.ASCII)


_INPUT_VALUE = _pattern(r"Inputs\.([^}\s]+)")

# In this order, since values may hold variables themselves: a raw data prefix may be made of namespaces, for example.
_NAMES = (
    "Input",
    "OutputPrefix",
    "InputPrefix",
    "RawOutputDataPrefix",
    "PrevCheckpointPrefix",
    "CheckpointOutputPrefix",
    "PerRetryUniqueKey",
    "TaskTemplatePath",
    "Namespace",
)
_PATTERNS = {name: _pattern(name) for name in _NAMES}


def render(arguments: Iterable[str], task: tasks_pb2.TaskTemplate, context: TaskContext) -> tuple[str, ...]:
    """Fill in all variables; PluginError names an argument that cannot be.

    Inputs and outputs are named by plain paths where this machine has them as files; raw data and checkpoints keep
    their URI, since SDKs only treat data under a remote scheme as their own to download.
    """
    variables = _variables(task, context)
    return tuple(_render_one(argument, variables, context) for argument in arguments)


def _variables(task: tasks_pb2.TaskTemplate, context: TaskContext) -> dict[str, Callable[[], str]]:
    input_prefix = context.as_local_path(context.input_prefix)
    output_prefix = context.as_local_path(context.output_prefix)
    return {
        "Input": lambda: f"{input_prefix}/inputs.pb",
        "OutputPrefix": lambda: output_prefix,
        "InputPrefix": lambda: input_prefix,
        "RawOutputDataPrefix": lambda: context.raw_output_prefix,
        "PrevCheckpointPrefix": lambda: context.previous_checkpoint_prefix or _NO_CHECKPOINT,
        "CheckpointOutputPrefix": lambda: context.checkpoint_prefix,
        "PerRetryUniqueKey": lambda: _unique_key(context.generated_name),
        "TaskTemplatePath": lambda: _store_template(task, context),
        "Namespace": lambda: context.namespace,
    }


def _render_one(argument: str, variables: dict[str, Callable[[], str]], context: TaskContext) -> str:
    if "{{" not in argument:
        return argument
    text = argument
    for name, pattern in _PATTERNS.items():
        around = pattern.split(text)
        if len(around) > 1:
            text = variables[name]().join(around)
    if not context.inputs.literals:
        return text
    try:
        return _INPUT_VALUE.sub(lambda match: _input_text(match[1], context.inputs), text)
    except ValueError as error:
        raise PluginError(f"argument {argument!r} of task {context.task.name} cannot be filled in: {error}") from error


def _input_text(name: str, inputs: literals_pb2.LiteralMap) -> str:
    if name not in inputs.literals:
        raise ValueError(f"there is no input {name!r}")
    try:
        return literal_text(inputs.literals[name])
    except ValueError as error:
        raise ValueError(f"input {name!r}: {error}") from error


def _unique_key(generated_name: str) -> str:
    """Make an identifier of an attempt's name."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", re.sub(r"^[^A-Za-z_]+", "a", generated_name))


def _store_template(task: tasks_pb2.TaskTemplate, context: TaskContext) -> str:
    if context.write is None:
        raise PluginError(f"task {context.task.name} asks for its template, and there is no store to put it into")
    context.write(f"{context.input_prefix}/task.pb", task.SerializeToString())
    return f"{context.as_local_path(context.input_prefix)}/task.pb"
