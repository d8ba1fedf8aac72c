"""How many elements a map has, what each is given, what they come to together."""

from __future__ import annotations

import pytest
from flyteidl.core import literals_pb2, tasks_pb2, types_pb2, workflow_pb2
from flyteidl.plugins import array_job_pb2
from google.protobuf.json_format import MessageToDict

from flyte_kernel.engine.maps import (
    LEGACY_TASK_TYPE,
    WINDOW_MAX,
    MapError,
    MapShape,
    collected_error,
    element_task,
    gathered,
    map_inputs,
    measure,
)


def integer(value: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(integer=value)))


def collection(*values: int) -> literals_pb2.Literal:
    return literals_pb2.Literal(collection=literals_pb2.LiteralCollection(literals=map(integer, values)))


def nowhere(uri: str) -> bytes:
    raise AssertionError(f"nothing was to be read, not {uri}")


def array(**fields: object) -> workflow_pb2.Node:
    return workflow_pb2.Node(id="n0", array_node=workflow_pb2.ArrayNode(**fields))  # type: ignore[arg-type]


def shape(
    node: workflow_pb2.Node, task: tasks_pb2.TaskTemplate | None = None, **inputs: literals_pb2.Literal
) -> MapShape:
    found = map_inputs(node, literals_pb2.LiteralMap(literals=inputs), nowhere)
    return measure(node, task or tasks_pb2.TaskTemplate(type="python-task"), found)


def test_collections_that_are_not_bound_say_how_many_elements_there_are() -> None:
    node = array(bound_inputs=["table"], parallelism=3)
    assert shape(node, a=collection(1, 2), table=collection(1, 2, 3), x=integer(7)) == MapShape(2, 3, 2)
    inputs = {"a": collection(1, 2), "table": collection(1, 2, 3), "x": integer(7)}
    found = map_inputs(node, literals_pb2.LiteralMap(literals=inputs), nowhere)
    expected = {"a": integer(2), "table": collection(1, 2, 3), "x": integer(7)}
    assert found.of_element(1) == literals_pb2.LiteralMap(literals=expected)


def test_an_empty_list_makes_no_elements() -> None:
    assert shape(array(), a=collection()) == MapShape(0, WINDOW_MAX, 0)


def test_what_is_kept_by_reference_is_read() -> None:
    literal = literals_pb2.Literal()
    literal.offloaded_metadata.uri = "s3://there"
    found = map_inputs(
        array(), literals_pb2.LiteralMap(literals={"a": literal}), lambda _: collection(4, 5, 6).SerializeToString()
    )
    assert measure(array(), tasks_pb2.TaskTemplate(), found).size == 3
    assert found.of_element(2).literals["a"] == integer(6)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 10),
        ({"min_successes": 3}, 3),
        ({"min_successes": 0}, 0),
        ({"min_successes": 99}, 10),
        ({"min_success_ratio": 0.5}, 5),
        ({"min_success_ratio": 0.41}, 5),
        ({"min_success_ratio": 0.0}, 0),
        ({"min_success_ratio": 1.0}, 10),
        ({"min_success_ratio": 0.1}, 2),  # 0.1 as a 32-bit number is a little more than that
    ],
)
def test_how_many_must_succeed(fields: dict[str, float], expected: int) -> None:
    assert shape(array(**fields), a=collection(*range(10))).min_successes == expected


def test_lengths_that_differ_are_the_users_mistake() -> None:
    with pytest.raises(MapError, match="a has 2, b has 3") as caught:
        shape(array(), a=collection(1, 2), b=collection(1, 2, 3))
    assert caught.value.code == "InvalidArrayLength"


def test_a_map_over_nothing_is_the_users_mistake() -> None:
    with pytest.raises(MapError, match="no input array provided"):
        shape(array(), a=integer(1))
    assert shape(array(bound_inputs=["a"]), a=integer(1)).size == 1


def legacy(version: int, **job: float) -> tasks_pb2.TaskTemplate:
    task = tasks_pb2.TaskTemplate(type=LEGACY_TASK_TYPE, task_type_version=version)
    task.custom.update(MessageToDict(array_job_pb2.ArrayJob(**job)))  # type: ignore[arg-type]
    return task


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (legacy(0, size=3, parallelism=2), MapShape(3, 2, 3)),
        (legacy(1, min_success_ratio=0.5), MapShape(4, WINDOW_MAX, 2)),
        (legacy(1, min_successes=1), MapShape(4, WINDOW_MAX, 1)),
    ],
)
def test_legacy_maps_say_it_in_their_custom(task: tasks_pb2.TaskTemplate, expected: MapShape) -> None:
    assert shape(workflow_pb2.Node(id="n0"), task, a=collection(*range(4))) == expected


def test_elements_put_out_what_the_lists_hold() -> None:
    task = tasks_pb2.TaskTemplate()
    task.interface.outputs.variables["o0"].type.collection_type.simple = types_pb2.INTEGER
    task.interface.inputs.variables["a"].type.collection_type.simple = types_pb2.INTEGER
    element = element_task(task)
    assert element.interface.outputs.variables["o0"].type.simple == types_pb2.INTEGER
    assert element.interface.inputs == task.interface.inputs
    assert task.interface.outputs.variables["o0"].type.HasField("collection_type")


def test_elements_without_success_are_none() -> None:
    def outputs_of(element: int) -> literals_pb2.LiteralMap | None:
        return None if element == 1 else literals_pb2.LiteralMap(literals={"o0": integer(element)})

    literals = gathered(["o0"], 3, outputs_of)["o0"].collection.literals
    assert [literals[0], literals[2]] == [integer(0), integer(2)]
    assert literals[1].scalar.HasField("none_type")
    assert gathered([], 3, outputs_of) == {}


def test_the_error_of_a_map_is_cut() -> None:
    assert collected_error([(0, "first"), (7, "second")]).message == "[0]: first\n[7]: second"
    assert len(collected_error((index, "x" * 1000) for index in range(10**9)).message) <= 102_400
    assert collected_error([]).code == "ArrayNodeFailing"
