"""Checks a task template as flyteadmin does and compiles it as flytepropeller does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction

from flyteidl.core import compiler_pb2, tasks_pb2

from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.quantities import is_quantity, parse_quantity
from flyte_kernel.compile.text import message_json, message_text
from flyte_kernel.errors import CompileError, InvalidArgumentError

__all__ = ["compile_task"]

Resources = tasks_pb2.Resources

_LABELS = {int(number): name for name, number in Resources.ResourceName.items()}
_CHECKED_RESOURCES = (Resources.CPU, Resources.GPU, Resources.MEMORY, Resources.EPHEMERAL_STORAGE)
_POD_RESOURCES = {
    "cpu": Resources.CPU,
    "memory": Resources.MEMORY,
    "ephemeral-storage": Resources.EPHEMERAL_STORAGE,
    "nvidia.com/gpu": Resources.GPU,
}
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_QUANTITIES_PAGE = "https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/"

_Entries = Iterable[tuple[int, str]]


def compile_task(
    template: tasks_pb2.TaskTemplate, *, limits: Mapping[int, Fraction] | None = None
) -> compiler_pb2.CompiledTask:
    """Return the compiled form of a task whose id is set; the argument is left as it is.

    `limits` are the platform's by number of core.Resources.ResourceName; what it does not hold is unlimited. Raises
    InvalidArgumentError, for a compile failure too.
    """
    _check_template(template, limits or {})
    findings = Findings()
    if template.HasField("container"):
        _check_container_command(template, findings)
    elif template.HasField("k8s_pod"):
        _check_pod_names(template.k8s_pod, findings)
    try:
        findings.raise_if_any()
    except CompileError as error:
        raise InvalidArgumentError(f"task failed compilation with {error}") from error
    compiled = compiler_pb2.CompiledTask()
    compiled.template.CopyFrom(template)
    return compiled


def _check_template(template: tasks_pb2.TaskTemplate, limits: Mapping[int, Fraction]) -> None:
    _require(bool(template.type), "type")
    _require(template.HasField("metadata"), "metadata")
    if template.metadata.HasField("runtime"):
        _require(bool(template.metadata.runtime.version), "runtime version")
    _require(template.HasField("interface"), "typed interface")
    name = message_text(template.id)
    if template.HasField("container"):
        _require(bool(template.container.image), "image")
        resources = template.container.resources
        _check_resources(
            name,
            ((int(entry.name), entry.value) for entry in resources.requests),
            ((int(entry.name), entry.value) for entry in resources.limits),
            limits,
        )
    elif template.HasField("k8s_pod"):
        _require(template.k8s_pod.HasField("pod_spec"), "pod spec")
        for container in _pod_containers(template.k8s_pod):
            resources = container.get("resources")
            resources = resources if isinstance(resources, dict) else {}
            _check_resources(name, _pod_entries(resources, "requests"), _pod_entries(resources, "limits"), limits)


def _require(present: bool, name: str) -> None:
    if not present:
        raise InvalidArgumentError(f"missing {name}")


def _pod_containers(pod: tasks_pb2.K8sPod) -> Iterator[dict[str, object]]:
    containers = message_json(pod.pod_spec).get("containers", [])
    if not isinstance(containers, list) or not all(isinstance(container, dict) for container in containers):
        raise InvalidArgumentError("invalid value for pod spec")
    yield from containers


def _pod_entries(resources: dict[str, object], kind: str) -> list[tuple[int, str]]:
    entries = resources.get(kind)
    entries = entries if isinstance(entries, dict) else {}
    return [(int(_POD_RESOURCES[name]), _pod_value(value)) for name, value in entries.items() if name in _POD_RESOURCES]


def _pod_value(value: object) -> str:
    """Numbers in a Struct are doubles; a whole one is written as Kubernetes writes it."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_resources(name: str, requests: _Entries, limits: _Entries, platform: Mapping[int, Fraction]) -> None:
    requested, limited = _quantities(name, requests), _quantities(name, limits)
    for resource, (request_text, request) in requested.items():
        label = _LABELS[resource]
        ceiling = platform.get(resource)
        limit_text, limit = limited.get(resource, ("", None))
        if resource == Resources.GPU:
            if limit is not None and _rounded(limit) != _rounded(request):
                raise InvalidArgumentError(
                    f"For extended resource 'gpu' the default value must equal the limit value for task [{name}]"
                )
        elif limit is not None and _rounded(limit) < _rounded(request):
            raise InvalidArgumentError(
                f"Requested {label} default [{request_text}] is greater than the limit [{limit_text}]."
                " Please fix your configuration"
            )
        if not ceiling:
            continue
        # The platform's limit is compared with what the task asks for, not with what it leaves open.
        for what, text, value in (("limit", limit_text, limit), ("default", request_text, request)):
            if value is not None and _rounded(value) > _rounded(ceiling):
                raise InvalidArgumentError(
                    f"Requested {label} {what} [{text}] is greater than current limit set in the platform "
                    f"configuration [{_rounded(ceiling)}]. Please contact Flyte Admins to change these limits or "
                    "consult the configuration"
                )


def _rounded(quantity: Fraction) -> int:
    """Kubernetes' Quantity.Value(): whole units, rounded up, so that 500m of a CPU counts as 1."""
    return math.ceil(quantity)


def _quantities(name: str, entries: _Entries) -> dict[int, tuple[str, Fraction]]:
    quantities: dict[int, tuple[str, Fraction]] = {}
    for resource, text in entries:
        if resource not in _CHECKED_RESOURCES:
            continue
        label = _LABELS[resource]
        if resource in quantities:
            raise InvalidArgumentError(f"can't specify {label} limit for task [{name}] multiple times")
        try:
            value = parse_quantity(text)
        except ValueError as error:
            raise InvalidArgumentError(
                f"Parsing of {label} request failed for value {text} - reason  {error}. "
                f"Please follow K8s conventions for resources {_QUANTITIES_PAGE}"
            ) from error
        if resource == Resources.GPU and value.denominator != 1:
            raise InvalidArgumentError(f"gpu for [{name}] must be a whole number, got: {text} instead")
        quantities[resource] = (text, value)
    return quantities


def _check_container_command(template: tasks_pb2.TaskTemplate, findings: Findings) -> None:
    container = template.container
    has_data = bool(template.interface.inputs.variables or template.interface.outputs.variables)
    if has_data and not container.command and not container.args:
        findings.value_required("container", "command")
    for entry in [*container.resources.requests, *container.resources.limits]:
        if not is_quantity(entry.value):
            label = _LABELS.get(entry.name, str(entry.name))
            findings.add("UnrecognizedValue", f"resources.{label}", f"Unrecognized value [{entry.value}].")


def _check_pod_names(pod: tasks_pb2.K8sPod, findings: Findings) -> None:
    for container in _pod_containers(pod):
        if not _DNS_LABEL.fullmatch(str(container.get("name", ""))):
            findings.add("InvalidValue", "root", "Invalid value [k8s pod spec container name].")
