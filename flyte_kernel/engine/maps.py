"""Map nodes: how many elements there are, what each is given, what they come to together.

The rules are the reference's (flytepropeller, nodes/array): every input that is a collection and not bound is spread
over the elements and defines their number; outputs are gathered into collections in which elements without success are
none.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flyteidl.core import execution_pb2, interface_pb2, literals_pb2, tasks_pb2, types_pb2, workflow_pb2
from flyteidl.plugins import array_job_pb2
from google.protobuf.json_format import ParseDict, ParseError

from flyte_kernel.errors import KernelError

__all__ = [
    "LEGACY_TASK_TYPE",
    "MapError",
    "MapInputs",
    "MapShape",
    "collected_error",
    "element_environment",
    "element_task",
    "gathered",
    "map_inputs",
    "measure",
]

LEGACY_TASK_TYPE = "container_array"
WINDOW_MAX = 4096  # a guess: more than any executor runs at once, few enough to be told of in one turn
_ERROR_LENGTH_MAX = 102_400
_INDEX_VARIABLE = "FLYTE_K8S_ARRAY_INDEX"


class MapError(KernelError):
    """Inputs that no map can be made of; `code` is the reference's error code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class MapShape:
    """`parallelism` is how many elements may be under way at once, at least 1."""

    size: int
    parallelism: int
    min_successes: int


@dataclass(frozen=True, slots=True)
class MapInputs:
    """The inputs of a map: `spread` are collections of one length, `whole` are what every element gets as it is."""

    spread: Mapping[str, literals_pb2.LiteralCollection]
    whole: Mapping[str, literals_pb2.Literal]

    def of_element(self, element: int) -> literals_pb2.LiteralMap:
        """Return the inputs of one element."""
        inputs = literals_pb2.LiteralMap(literals=self.whole)
        for name, collection in self.spread.items():
            inputs.literals[name].CopyFrom(collection.literals[element])
        return inputs


def map_inputs(node: workflow_pb2.Node, inputs: literals_pb2.LiteralMap, read: Callable[[str], bytes]) -> MapInputs:
    """Split a map node's inputs; what is kept by reference is read."""
    bound = frozenset(node.array_node.bound_inputs)
    spread: dict[str, literals_pb2.LiteralCollection] = {}
    whole: dict[str, literals_pb2.Literal] = {}
    for name, literal in inputs.literals.items():
        if name not in bound and literal.WhichOneof("value") == "offloaded_metadata":
            literal = literals_pb2.Literal.FromString(read(literal.offloaded_metadata.uri))
        if name not in bound and literal.WhichOneof("value") == "collection":
            spread[name] = literal.collection
        else:
            whole[name] = literal
    return MapInputs(spread, whole)


def measure(node: workflow_pb2.Node, task: tasks_pb2.TaskTemplate, inputs: MapInputs) -> MapShape:
    """Return the shape of a map; MapError if its inputs do not say how many elements there are."""
    sizes = {name: len(collection.literals) for name, collection in inputs.spread.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{name} has {size}" for name, size in sorted(sizes.items()))
        raise MapError("InvalidArrayLength", f"input arrays have different lengths: {told}")
    if task.type == LEGACY_TASK_TYPE and not node.HasField("array_node"):
        return _measure_legacy(task, next(iter(sizes.values()), None))
    array = node.array_node
    if not sizes and not (inputs.whole and set(inputs.whole) <= set(array.bound_inputs)):
        raise MapError("InvalidArrayLength", "no input array provided")
    size = next(iter(sizes.values()), 1)
    match array.WhichOneof("success_criteria"):
        case "min_successes":
            min_successes = min(array.min_successes, size)
        case "min_success_ratio":
            min_successes = _ratio(array.min_success_ratio, size)
        case _:
            min_successes = size
    return MapShape(size, _window(array.parallelism), min_successes)


def _measure_legacy(task: tasks_pb2.TaskTemplate, size: int | None) -> MapShape:
    try:
        job = ParseDict(dict(task.custom), array_job_pb2.ArrayJob())
    except (ParseError, TypeError, ValueError) as error:
        raise MapError("BadTaskFormat", f"task {task.id.name} says no valid array job: {error}") from error
    if task.task_type_version == 0 or size is None:
        size = job.size if job.size or size is None else size
    if job.WhichOneof("success_criteria") == "min_success_ratio":
        min_successes = _ratio(job.min_success_ratio, size)
    else:
        min_successes = min(job.min_successes, size) if job.min_successes else size
    return MapShape(size, _window(job.parallelism), min_successes)


def _window(parallelism: int) -> int:
    return min(parallelism, WINDOW_MAX) if parallelism > 0 else WINDOW_MAX


def _ratio(ratio: float, size: int) -> int:
    """The reference multiplies the message's 32-bit number as a 64-bit one."""
    (single,) = struct.unpack("f", struct.pack("f", ratio))
    return min(size, max(0, math.ceil(float(single) * size)))


def element_task(task: tasks_pb2.TaskTemplate) -> tasks_pb2.TaskTemplate:
    """Return what an element runs: outputs are those of one element, inputs stay lists, as in the reference."""
    if not any(_is_list(variable) for variable in task.interface.outputs.variables.values()):
        return task
    element = tasks_pb2.TaskTemplate()
    element.CopyFrom(task)
    for variable in element.interface.outputs.variables.values():
        if _is_list(variable):
            inner = types_pb2.LiteralType()
            inner.CopyFrom(variable.type.collection_type)
            variable.type.CopyFrom(inner)
    return element


def _is_list(variable: interface_pb2.Variable) -> bool:
    return bool(variable.type.WhichOneof("type") == "collection_type")


def element_environment(element: int) -> dict[str, str]:
    """Return the environment variables that tell a process which element it is."""
    return {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": _INDEX_VARIABLE, _INDEX_VARIABLE: str(element)}


def gathered(
    names: Iterable[str], size: int, outputs_of: Callable[[int], literals_pb2.LiteralMap | None]
) -> dict[str, literals_pb2.Literal]:
    """Return the outputs of a map by name; `outputs_of` gives those of an element, None if it did not succeed."""
    collections = {name: literals_pb2.Literal(collection=literals_pb2.LiteralCollection()) for name in names}
    if collections:
        for element in range(size):
            outputs = outputs_of(element)
            for name, literal in collections.items():
                place = literal.collection.literals.add()
                if outputs is None or name not in outputs.literals:
                    place.scalar.none_type.SetInParent()
                else:
                    place.CopyFrom(outputs.literals[name])
    return collections


def collected_error(messages: Iterable[tuple[int, str]]) -> execution_pb2.ExecutionError:
    """Return the error of a map out of those of its elements, cut where the reference cuts it."""
    lines: list[str] = []
    length = 0
    for element, message in messages:
        line = f"[{element}]: {message}"
        lines.append(line[: max(0, _ERROR_LENGTH_MAX - length)])
        length += len(line) + 1
        if length >= _ERROR_LENGTH_MAX:
            break
    if not lines:
        return execution_pb2.ExecutionError(code="ArrayNodeFailing", message="too few elements can succeed")
    return execution_pb2.ExecutionError(message="\n".join(lines))
