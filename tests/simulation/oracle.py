"""What each workflow puts out, what each task's process would write: flytekit itself says so, once for each input."""

from __future__ import annotations

from collections import OrderedDict
from functools import cache
from typing import Any
from unittest import mock

import click
from flyteidl.admin import launch_plan_pb2, task_pb2, workflow_pb2
from flyteidl.core import literals_pb2
from flytekit import LaunchPlan
from flytekit.configuration import FastSerializationSettings, Image, ImageConfig, SerializationSettings
from flytekit.core.context_manager import ExecutionState, FlyteContextManager
from flytekit.core.python_function_task import PythonFunctionTask
from flytekit.tools.translator import get_serializable

from flyte_kernel.engine.ports import AttemptLaunch
from tests.simulation.workflows import shapes
from tests.support.client import DOMAIN, PROJECT

__all__ = ["ANSWER", "expected", "requests", "written"]

ANSWER = 7  # what everybody says who is asked for a signal

_SETTINGS = SerializationSettings(
    image_config=ImageConfig(default_image=Image("default", "image", "tag")),
    project=PROJECT,
    domain=DOMAIN,
    version="v1",
    fast_serialization_settings=FastSerializationSettings(enabled=False),
)
_TASKS = {task.name: task for task in vars(shapes).values() if isinstance(task, PythonFunctionTask)}
_WORKFLOWS = {workflow.name: workflow for workflow in shapes.WORKFLOWS}


@cache
def requests() -> list[
    task_pb2.TaskCreateRequest | workflow_pb2.WorkflowCreateRequest | launch_plan_pb2.LaunchPlanCreateRequest
]:
    """Return what registers everything, in flytekit's order."""
    entities: OrderedDict[Any, Any] = OrderedDict()
    for workflow in shapes.WORKFLOWS:
        plan = LaunchPlan.get_default_launch_plan(FlyteContextManager.current_context(), workflow)
        get_serializable(entities, _SETTINGS, plan)
    kinds = {
        "TaskSpec": task_pb2.TaskCreateRequest,
        "WorkflowSpec": workflow_pb2.WorkflowCreateRequest,
        "LaunchPlan": launch_plan_pb2.LaunchPlanCreateRequest,
    }
    made = []
    for model in entities.values():
        kind = kinds.get(type(model).__name__)
        if kind is not None:
            message = model.to_flyte_idl()
            id_ = message.id if type(model).__name__ == "LaunchPlan" else message.template.id
            made.append(kind(id=id_, spec=message.spec if type(model).__name__ == "LaunchPlan" else message))
    return made


@cache
def expected(workflow: str, a: int) -> int:
    """Return what a workflow puts out when flytekit runs it."""
    with mock.patch.object(click, "prompt", return_value=ANSWER):
        return int(_WORKFLOWS[workflow](a=a))


def written(launch: AttemptLaunch, inputs: literals_pb2.LiteralMap) -> dict[str, bytes]:
    """Return the files that a process would leave, by name."""
    name = launch.environment["FLYTE_INTERNAL_TASK_NAME"]
    index = launch.environment.get("FLYTE_K8S_ARRAY_INDEX")
    values: dict[str, Any] = {key: _value(literal) for key, literal in inputs.literals.items()}
    if index is not None:
        values = {key: value[int(index)] for key, value in values.items()}
        name = shapes.square.name
    return _files(name, tuple(sorted(values.items(), key=str)) if not _lists(values) else _frozen(values))


def _lists(values: dict[str, Any]) -> bool:
    return any(isinstance(value, list) for value in values.values())


def _frozen(values: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in sorted(values.items()))


@cache
def _files(name: str, values: tuple[tuple[str, Any], ...]) -> dict[str, bytes]:
    task = _TASKS[name]
    arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in values}
    if task is shapes.grown:
        return _job(task, arguments)
    if not task.python_interface.outputs:
        return {"outputs.pb": b""}
    result = task.task_function(**arguments)
    return {"outputs.pb": literals_pb2.LiteralMap(literals={"o0": _literal(result)}).SerializeToString()}


def _job(task: PythonFunctionTask[Any], arguments: dict[str, Any]) -> dict[str, bytes]:
    """Do what flytekit does with a dynamic task in a process."""
    context = FlyteContextManager.current_context()
    assert context.execution_state is not None
    state = context.execution_state.with_params(mode=ExecutionState.Mode.TASK_EXECUTION)
    task._wf = None  # a process compiles once, this one again and again
    builder = context.with_serialization_settings(_SETTINGS).with_execution_state(state)
    with FlyteContextManager.with_context(builder) as inside:
        made = task.compile_into_workflow(inside, task.task_function, **arguments)  # type: ignore[attr-defined]
    message = made.to_flyte_idl()
    name = "outputs.pb" if isinstance(message, literals_pb2.LiteralMap) else "futures.pb"
    return {name: message.SerializeToString()}


def _value(literal: literals_pb2.Literal) -> Any:
    if literal.HasField("collection"):
        return [_value(item) for item in literal.collection.literals]
    return literal.scalar.primitive.integer


def _literal(value: Any) -> literals_pb2.Literal:
    if isinstance(value, list):
        items = [_literal(item) for item in value]
        return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=items))
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))
