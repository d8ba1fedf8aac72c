"""Checks of task templates, resource quantities among them."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest
from flyteidl.core import tasks_pb2
from google.protobuf.struct_pb2 import Struct

from flyte_kernel.compile.quantities import is_quantity, parse_quantity
from flyte_kernel.compile.task import compile_task
from flyte_kernel.errors import InvalidArgumentError
from tests.support.templates import INT, id_text, task

Resources = tasks_pb2.Resources
Template = tasks_pb2.TaskTemplate
NAME = id_text("TASK", "t")


def template() -> Template:
    return task("t", {"a": INT}, {"o0": INT}).template


def refusal(change: Callable[[Template], object], limits: dict[int, Fraction] | None = None) -> str:
    changed = template()
    change(changed)
    with pytest.raises(InvalidArgumentError) as caught:
        compile_task(changed, limits=limits)
    return caught.value.message


def test_a_good_task_comes_back_whole() -> None:
    assert compile_task(template()).template == template()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda t: t.ClearField("type"), "missing type"),
        (lambda t: t.ClearField("metadata"), "missing metadata"),
        (lambda t: t.metadata.runtime.ClearField("version"), "missing runtime version"),
        (lambda t: t.ClearField("interface"), "missing typed interface"),
        (lambda t: t.container.ClearField("image"), "missing image"),
        (lambda t: t.k8s_pod.SetInParent(), "missing pod spec"),
    ],
)
def test_what_must_be_there(change: Callable[[Template], object], text: str) -> None:
    assert refusal(change) == text


def test_runtime_and_target_may_be_absent() -> None:
    bare = template()
    bare.metadata.ClearField("runtime")
    bare.ClearField("container")
    assert compile_task(bare).template == bare


def test_a_container_with_data_needs_a_command() -> None:
    assert refusal(lambda t: t.container.ClearField("args")) == (
        "task failed compilation with Collected Errors: 1\n"
        "\tError 0: Code: ValueRequired, Node Id: container, Description: Value required [command].\n"
    )
    idle = task("t").template
    idle.container.ClearField("args")
    assert compile_task(idle).template == idle


def with_resources(requests: dict[str, str], limits: dict[str, str]) -> Callable[[Template], None]:
    def change(changed: Template) -> None:
        for entries, values in (
            (changed.container.resources.requests, requests),
            (changed.container.resources.limits, limits),
        ):
            for name, value in values.items():
                entries.add(name=name, value=value)

    return change


LIMITS = {int(Resources.CPU): Fraction(2), int(Resources.MEMORY): Fraction(1024**3), int(Resources.GPU): Fraction(1)}


@pytest.mark.parametrize(
    ("requests", "limits"),
    [
        ({"CPU": "500m", "MEMORY": "1Gi"}, {"CPU": "1", "MEMORY": "1024Mi"}),
        ({"CPU": "900m"}, {"CPU": "500m"}),  # both count as one whole CPU
        ({"GPU": "1"}, {"GPU": "1"}),
        ({}, {"CPU": "64"}),  # a limit without a request is not compared
    ],
)
def test_good_resources(requests: dict[str, str], limits: dict[str, str]) -> None:
    changed = template()
    with_resources(requests, limits)(changed)
    assert compile_task(changed, limits=LIMITS).template == changed


@pytest.mark.parametrize(
    ("requests", "limits", "text"),
    [
        (
            {"CPU": "2"},
            {"CPU": "1"},
            "Requested CPU default [2] is greater than the limit [1]. Please fix your configuration",
        ),
        (
            {"GPU": "1"},
            {"GPU": "2"},
            f"For extended resource 'gpu' the default value must equal the limit value for task [{NAME}]",
        ),
        ({"GPU": "500m"}, {}, f"gpu for [{NAME}] must be a whole number, got: 500m instead"),
        (
            {"MEMORY": "2Gi"},
            {},
            "Requested MEMORY default [2Gi] is greater than current limit set in the platform configuration "
            "[1073741824]. Please contact Flyte Admins to change these limits or consult the configuration",
        ),
        (
            {"CPU": "1"},
            {"CPU": "3"},
            "Requested CPU limit [3] is greater than current limit set in the platform configuration [2]. "
            "Please contact Flyte Admins to change these limits or consult the configuration",
        ),
    ],
)
def test_bad_resources(requests: dict[str, str], limits: dict[str, str], text: str) -> None:
    assert refusal(with_resources(requests, limits), LIMITS) == text


def test_without_platform_limits_all_goes() -> None:
    changed = template()
    with_resources({"CPU": "64", "MEMORY": "1Ti", "GPU": "8"}, {})(changed)
    assert compile_task(changed).template == changed
    assert compile_task(changed, limits={int(Resources.CPU): Fraction(0)}).template == changed


def test_quantities_must_parse() -> None:
    assert refusal(with_resources({"CPU": "lots"}, {})).startswith(
        "Parsing of CPU request failed for value lots - reason  quantities must match the regular expression"
    )
    assert refusal(with_resources({"STORAGE": "lots"}, {})) == (
        "task failed compilation with Collected Errors: 1\n"
        "\tError 0: Code: UnrecognizedValue, Node Id: resources.STORAGE, Description: Unrecognized value [lots].\n"
    )


def test_a_resource_comes_once() -> None:
    def twice(changed: Template) -> None:
        for value in ("1", "2"):
            changed.container.resources.requests.add(name="CPU", value=value)

    assert refusal(twice) == f"can't specify CPU limit for task [{NAME}] multiple times"


def pod(*containers: object) -> Callable[[Template], None]:
    def change(changed: Template) -> None:
        spec = Struct()
        spec.update({"containers": list(containers)})
        changed.k8s_pod.pod_spec.CopyFrom(spec)

    return change


def test_pods_are_checked_by_container() -> None:
    small = {"name": "main", "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "2", "other": "x"}}}
    large = {"name": "side", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "2"}}}
    assert refusal(pod(small, large)).startswith("Requested CPU default [3] is greater than the limit [2].")
    assert "Invalid value [k8s pod spec container name]." in refusal(pod(small, {"name": "Not_A_Label"}))
    assert refusal(pod("text")) == "invalid value for pod spec"
    good = template()
    pod(small)(good)
    assert compile_task(good).template == good


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", Fraction(1)),
        ("500m", Fraction(1, 2)),
        ("1.5", Fraction(3, 2)),
        (".5", Fraction(1, 2)),
        ("2Ki", Fraction(2048)),
        ("1M", Fraction(10**6)),
        ("1Ei", Fraction(2**60)),
        ("1E", Fraction(10**18)),
        ("1e3", Fraction(1000)),
        ("1E-2", Fraction(1, 100)),
        ("-3u", Fraction(-3, 10**6)),
        ("+7", Fraction(7)),
    ],
)
def test_quantity(text: str, value: Fraction) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "1KiB", "--1", "1.2.3", "1e9999", "Gi", "\u0661"])
def test_no_quantity(text: str) -> None:
    assert not is_quantity(text)
    with pytest.raises(ValueError, match="quantities must"):
        parse_quantity(text)
