"""Commands with their variables filled in; vectors marked "reference" are those of the reference's own tests."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf import duration_pb2, timestamp_pb2

from flyte_kernel.engine.ports import TaskContext
from flyte_kernel.errors import PluginError
from flyte_kernel.ids import AttemptKey, EntityId, ExecutionId
from flyte_kernel.plugins.formats import literal_text
from flyte_kernel.plugins.templates import render
from flyte_kernel.testing import MemoryBlobs
from tests.support.literals import Literal, collection, generic, literal_map, mapping, packed, primitive

CONTEXT = TaskContext(
    key=AttemptKey(3, 5, 1),
    execution=ExecutionId("p", "d", "e"),
    node_id="n0",
    generated_name="e-n0-1",
    workflow=EntityId(2, "p", "d", "mod.wf", "v1"),
    task=EntityId(1, "p", "d", "mod.task", "v2"),
    input_prefix="s3://flyte/metadata/propeller/p-d-e/n0/data",
    output_prefix="s3://flyte/metadata/propeller/p-d-e/n0/data/1",
    raw_output_prefix="s3://flyte/data/ab/e-n0-1",
    checkpoint_prefix="s3://flyte/data/ab/e-n0-1/_flytecheckpoints",
    previous_checkpoint_prefix="s3://flyte/data/xy/e-n0-0/_flytecheckpoints",
    namespace="p-d",
)


def filled(argument: str, **changes: Any) -> str:
    context = dataclasses.replace(CONTEXT, **changes)
    return render([argument], tasks_pb2.TaskTemplate(), context)[0]


def with_input(value: Literal) -> str:
    return filled("{{.Inputs.x}}", inputs=literal_map(x=value))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("Input", "s3://flyte/metadata/propeller/p-d-e/n0/data/inputs.pb"),
        ("InputPrefix", "s3://flyte/metadata/propeller/p-d-e/n0/data"),
        ("OutputPrefix", "s3://flyte/metadata/propeller/p-d-e/n0/data/1"),
        ("RawOutputDataPrefix", "s3://flyte/data/ab/e-n0-1"),
        ("CheckpointOutputPrefix", "s3://flyte/data/ab/e-n0-1/_flytecheckpoints"),
        ("PrevCheckpointPrefix", "s3://flyte/data/xy/e-n0-0/_flytecheckpoints"),
        ("PerRetryUniqueKey", "e_n0_1"),
        ("Namespace", "p-d"),
    ],
)
def test_every_variable_in_every_form(variable: str, value: str) -> None:
    forms = [
        f"{{{{.{variable}}}}}",
        f"{{{{ .{variable} }}}}",
        f"{{{{ ${variable} }}}}",
        f"{{{{\t.{variable.lower()}  }}}}",
        f"{{{{.{variable.upper()}}}}}",
    ]
    assert [filled(form) for form in forms] == [value] * 5
    assert filled(f"--a={forms[0]}/b {forms[1]}") == f"--a={value}/b {value}"


def test_the_command_of_an_sdk() -> None:
    command = [
        "pyflyte-execute",
        "--inputs",
        "{{.input}}",
        "--output-prefix",
        "{{.outputPrefix}}",
        "--raw-output-data-prefix",
        "{{.rawOutputDataPrefix}}",
        "--checkpoint-path",
        "{{.checkpointOutputPrefix}}",
        "--prev-checkpoint",
        "{{.prevCheckpointPrefix}}",
        "--resolver",
        "r",
        "--",
        "task-module",
        "m",
        "task-name",
        "t",
    ]
    context = dataclasses.replace(
        CONTEXT, previous_checkpoint_prefix="", as_local_path=lambda uri: uri.replace("s3://flyte", "/data/blobs/flyte")
    )
    assert render(command, tasks_pb2.TaskTemplate(), context) == (
        "pyflyte-execute",
        "--inputs",
        "/data/blobs/flyte/metadata/propeller/p-d-e/n0/data/inputs.pb",
        "--output-prefix",
        "/data/blobs/flyte/metadata/propeller/p-d-e/n0/data/1",
        "--raw-output-data-prefix",
        "s3://flyte/data/ab/e-n0-1",
        "--checkpoint-path",
        "s3://flyte/data/ab/e-n0-1/_flytecheckpoints",
        "--prev-checkpoint",
        '""',
        "--resolver",
        "r",
        "--",
        "task-module",
        "m",
        "task-name",
        "t",
    )


@pytest.mark.parametrize(
    "argument",
    ["", "plain", "{{", "{{.}}", "{{Input}}", "{{.Nope}}", "{ {.Input}}", "{{.Inputs}}", "{{.Input.x}}", "{{. Input}}"],
)
def test_what_is_no_variable_stays(argument: str) -> None:
    assert filled(argument, inputs=literal_map(x=primitive(1))) == argument


def test_no_arguments_give_none() -> None:
    assert render([], tasks_pb2.TaskTemplate(), CONTEXT) == ()


def test_the_first_attempt_has_no_checkpoint() -> None:
    assert filled("{{.PrevCheckpointPrefix}}", previous_checkpoint_prefix="") == '""'


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("per-retry-unique-key", "per_retry_unique_key"),  # reference
        ("33 per retry-unique-key", "aper_retry_unique_key"),  # reference
        ("_a1--b", "_a1_b"),
        ("1", "a"),
        ("fuaa3aji", "fuaa3aji"),
    ],
)
def test_unique_keys_are_identifiers(name: str, key: str) -> None:
    assert filled("{{.PerRetryUniqueKey}}", generated_name=name) == key


def test_namespaces_may_stand_in_other_values() -> None:
    raw = "s3://{{ .Namespace }}/{{.perRetryUniqueKey}}"
    assert filled("x {{.RawOutputDataPrefix}}", raw_output_prefix=raw) == "x s3://p-d/e_n0_1"


def test_values_are_taken_literally() -> None:
    assert filled("{{.RawOutputDataPrefix}}", raw_output_prefix=r"a\1$1\g<0>") == r"a\1$1\g<0>"
    assert filled("{{.Inputs.x}}", inputs=literal_map(x=primitive(r"{{.Input}} \1"))) == r"{{.Input}} \1"


def test_the_template_is_stored_when_it_is_asked_for() -> None:
    blobs = MemoryBlobs("s3://flyte")
    task = tasks_pb2.TaskTemplate(type="t")
    context = dataclasses.replace(CONTEXT, write=blobs.write, as_local_path=lambda uri: uri.replace("s3:/", ""))
    assert render(["{{.Input}}"], task, context) == ("/flyte/metadata/propeller/p-d-e/n0/data/inputs.pb",)
    assert blobs.uris == []
    assert render(["{{.TaskTemplatePath}}"], task, context) == ("/flyte/metadata/propeller/p-d-e/n0/data/task.pb",)
    assert blobs.read(f"{CONTEXT.input_prefix}/task.pb") == task.SerializeToString()
    with pytest.raises(PluginError, match=r"mod\.task asks for its template"):
        filled("{{.TaskTemplatePath}}")


# Inputs


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (primitive(-12), "-12"),
        (primitive(True), "true"),
        (primitive(False), "false"),
        (primitive("a b"), "a b"),
        (primitive(1.0), "1"),
        (primitive(0.0), "0"),
        (primitive(-0.0), "-0"),
        (primitive(0.1), "0.1"),
        (primitive(-1234.5), "-1234.5"),
        (primitive(1e20), "100000000000000000000"),
        (primitive(1e21), "1e+21"),
        (primitive(1.25e100), "1.25e+100"),
        (primitive(0.0001), "0.0001"),
        (primitive(0.00001), "1e-05"),
        (primitive(-1.5e-7), "-1.5e-07"),
        (primitive(math.inf), "+Inf"),
        (primitive(-math.inf), "-Inf"),
        (primitive(math.nan), "NaN"),
        (collection(), "[]"),
        (collection(primitive(1), primitive("b")), "[1,b]"),
        (
            collection(collection(primitive("a"), primitive("b")), collection(primitive(1), primitive(2))),
            "[[a,b],[1,2]]",  # reference
        ),
        (packed(5), "5"),
        (packed("s"), "s"),
        (packed(None), "<nil>"),
        (packed([1, "x", [True, 2.5]]), "[1 x [true 2.5]]"),
        (packed({"b": 1, "a": {"c": None}}), "map[a:map[c:<nil>] b:1]"),
        (packed({2: "x", 10: "y", "k": "z"}), "map[2:x 10:y k:z]"),
        (packed(b"\x01\xff"), "[1 255]"),
    ],
)
def test_input_values(value: Literal, text: str) -> None:
    assert with_input(value) == text


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [
        (0, 0, "1970-01-01T00:00:00Z"),
        (1709209801, 5000, "2024-02-29T12:30:01.000005Z"),
        (1709209801, 1, "2024-02-29T12:30:01.000000001Z"),
        (1709209801, 500_000_000, "2024-02-29T12:30:01.5Z"),
        (-62135596800, 0, "0001-01-01T00:00:00Z"),
    ],
)
def test_dates(seconds: int, nanos: int, text: str) -> None:
    moment = timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)
    value = Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(datetime=moment)))
    assert literal_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "nanos", "text"),
    [(86400, 7000, "seconds:86400 nanos:7000"), (60, 0, "seconds:60"), (0, -5, "nanos:-5"), (0, 0, "")],
)
def test_durations(seconds: int, nanos: int, text: str) -> None:
    span = duration_pb2.Duration(seconds=seconds, nanos=nanos)
    value = Literal(scalar=literals_pb2.Scalar(primitive=literals_pb2.Primitive(duration=span)))
    assert literal_text(value) == text


def test_blobs_and_schemas_are_their_uris() -> None:
    assert with_input(Literal(scalar=literals_pb2.Scalar(blob=literals_pb2.Blob(uri="s3://b/f")))) == "s3://b/f"
    assert with_input(Literal(scalar=literals_pb2.Scalar(schema=literals_pb2.Schema(uri="s3://b/s")))) == "s3://b/s"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (mapping(a=primitive(1)), "a map cannot be written"),
        (generic({"a": 1}), "a generic cannot be written"),
        (Literal(scalar=literals_pb2.Scalar(union=literals_pb2.Union(value=primitive(1)))), "a union cannot"),
        (Literal(scalar=literals_pb2.Scalar(none_type=literals_pb2.Void())), "a none_type cannot"),
        (
            Literal(scalar=literals_pb2.Scalar(structured_dataset=literals_pb2.StructuredDataset())),
            "structured_dataset",
        ),
        (collection(Literal()), "literal without a value"),
        (packed(1, tag="pickle"), "tag 'pickle'"),
        (
            Literal(
                scalar=literals_pb2.Scalar(
                    primitive=literals_pb2.Primitive(datetime=timestamp_pb2.Timestamp(seconds=2**60))
                )
            ),
            "is no date",
        ),
    ],
)
def test_inputs_without_a_text_fail_and_are_named(value: Literal, told: str) -> None:
    with pytest.raises(PluginError, match=told) as caught:
        with_input(value)
    assert "argument '{{.Inputs.x}}' of task mod.task" in str(caught.value)
    assert "input 'x'" in str(caught.value)


def test_input_names_keep_their_case_and_must_exist() -> None:
    inputs = literal_map(aB=primitive(1), **{"a-b.c": primitive(2)})
    assert filled("{{ $inputs.aB }}-{{.INPUTS.a-b.c}}", inputs=inputs) == "1-2"
    with pytest.raises(PluginError, match="there is no input 'ab'"):
        filled("{{.Inputs.ab}}", inputs=inputs)


def test_input_values_stay_unreplaced_where_the_task_has_no_inputs() -> None:
    assert filled("{{.Inputs.x}} {{.Namespace}}") == "{{.Inputs.x}} p-d"
