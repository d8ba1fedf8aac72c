"""Checks a launch plan against its workflow and completes it with the inputs it leaves open.

The rules and texts are flyteadmin's (launch_plan_validator.go, validation.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from flyteidl.admin import common_pb2, launch_plan_pb2, schedule_pb2
from flyteidl.admin.launch_plan_pb2 import LaunchPlanSpec
from flyteidl.core import execution_pb2, identifier_pb2, interface_pb2, literals_pb2, types_pb2

from flyte_kernel.compile.cron import check_cron
from flyte_kernel.compile.inputs import check_datetime, check_literals
from flyte_kernel.compile.text import message_text
from flyte_kernel.compile.types import are_types_castable, literal_type
from flyte_kernel.errors import InvalidArgumentError

__all__ = ["check_labels", "check_notifications", "compile_launch_plan"]

_LABELS_MAX = 16
_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LABEL_LENGTH_MAX = 63
_SUBDOMAIN_LENGTH_MAX = 253
_NOTIFICATION_PHASES = frozenset(
    int(phase)
    for phase in (
        execution_pb2.WorkflowExecution.SUCCEEDED,
        execution_pb2.WorkflowExecution.FAILED,
        execution_pb2.WorkflowExecution.TIMED_OUT,
        execution_pb2.WorkflowExecution.ABORTED,
    )
)


def compile_launch_plan(
    id: identifier_pb2.Identifier, spec: LaunchPlanSpec, interface: interface_pb2.TypedInterface
) -> launch_plan_pb2.LaunchPlan:
    """Return a launch plan with expected inputs and outputs; the arguments are left as they are.

    `interface` is the workflow's. The spec of the result carries the expected inputs as its default inputs. State and
    times of the closure are the caller's to set. Raises InvalidArgumentError.
    """
    check_labels(spec.labels.values)
    check_literals(spec.fixed_inputs, "fixed_inputs")
    _check_defaults(spec.default_inputs)
    _check_against_workflow(spec, interface.inputs)
    expected = _expected_inputs(spec, interface.inputs)
    _check_schedule(spec.entity_metadata.schedule, expected)
    check_notifications(spec.entity_metadata.notifications)
    if spec.entity_metadata.HasField("launch_conditions"):
        raise InvalidArgumentError("launch conditions are not supported")
    launch_plan = launch_plan_pb2.LaunchPlan(id=id, spec=spec)
    launch_plan.spec.default_inputs.CopyFrom(expected)
    launch_plan.closure.expected_inputs.CopyFrom(expected)
    launch_plan.closure.expected_outputs.CopyFrom(interface.outputs)
    return launch_plan


def check_labels(labels: Mapping[str, str]) -> None:
    """Require at most 16 labels with Kubernetes' qualified names as keys and label values as values."""
    if len(labels) > _LABELS_MAX:
        raise InvalidArgumentError(f"labels map cannot exceed {_LABELS_MAX} entries")
    for key, value in sorted(labels.items()):
        prefix, slash, name = key.rpartition("/")
        prefix_is_valid = not slash or (len(prefix) <= _SUBDOMAIN_LENGTH_MAX and _DNS_SUBDOMAIN.fullmatch(prefix))
        if not prefix_is_valid or len(name) > _LABEL_LENGTH_MAX or not _LABEL_NAME.fullmatch(name):
            raise InvalidArgumentError(
                f"invalid label key [{key}]: a qualified name must be at most {_LABEL_LENGTH_MAX} characters, consist "
                "of alphanumeric characters, '-', '_' or '.', start and end with an alphanumeric character, and may "
                "have a DNS subdomain and '/' before it"
            )
        if value and (len(value) > _LABEL_LENGTH_MAX or not _LABEL_NAME.fullmatch(value)):
            raise InvalidArgumentError(
                f"invalid label value [{value}]: a valid label must be empty or at most {_LABEL_LENGTH_MAX} "
                "characters, consist of alphanumeric characters, '-', '_' or '.', and start and end with an "
                "alphanumeric character"
            )


def _check_defaults(defaults: interface_pb2.ParameterMap) -> None:
    for name in sorted(defaults.parameters):
        parameter = defaults.parameters[name]
        if not name:
            raise InvalidArgumentError("missing key in default_inputs")
        if parameter.WhichOneof("behavior") in ("artifact_query", "artifact_id"):
            raise InvalidArgumentError(f"artifact mode not enabled but query found default_inputs {name}")
        if not parameter.HasField("var") or not parameter.var.HasField("type"):
            raise InvalidArgumentError(
                f"The Variable component of the Parameter {name} in default_inputs either is missing, or has a "
                "missing Type"
            )
        if parameter.HasField("default"):
            _check_default(name, parameter.default, parameter.var.type)
        elif not parameter.required:
            raise InvalidArgumentError(
                f"Invalid variable {name} in default_inputs - variable has neither default, nor is required. "
                "One must be specified"
            )


def _check_default(name: str, default: literals_pb2.Literal, wanted: types_pb2.LiteralType) -> None:
    kind = literal_type(default)
    if kind is None:
        raise InvalidArgumentError(
            f"Failed to validate literal type for [{name}] with err: the value of the literal does not tell its type"
        )
    if not are_types_castable(kind, wanted):
        raise InvalidArgumentError(
            f"Type mismatch for Parameter {name} in default_inputs has type {message_text(wanted)}, expected "
            f"{message_text(kind)}"
        )
    check_datetime(default)


def _check_against_workflow(spec: LaunchPlanSpec, inputs: interface_pb2.VariableMap) -> None:
    defaults, fixed = spec.default_inputs.parameters, spec.fixed_inputs.literals
    if not inputs.variables:
        for kind, count in (("default", len(defaults)), ("fixed", len(fixed))):
            if count:
                raise InvalidArgumentError(f"invalid launch plan {kind} inputs, expected none but found {count}")
        return
    for name in sorted(defaults):
        if name not in inputs.variables:
            raise InvalidArgumentError(f"unexpected default_input {name}")
        given, wanted = defaults[name].var.type, inputs.variables[name].type
        if not are_types_castable(given, wanted):
            raise InvalidArgumentError(
                f"invalid default_input wrong type {name}, expected {message_text(given)}, got {message_text(wanted)} "
                "instead"
            )
    for name in sorted(fixed):
        if name not in inputs.variables:
            raise InvalidArgumentError(f"unexpected fixed_input {name}")
        kind, wanted = literal_type(fixed[name]) or types_pb2.LiteralType(), inputs.variables[name].type
        if not are_types_castable(kind, wanted):
            raise InvalidArgumentError(
                f"invalid fixed_input wrong type {name}, expected {message_text(wanted)}, got {message_text(kind)} "
                "instead"
            )


def _expected_inputs(spec: LaunchPlanSpec, inputs: interface_pb2.VariableMap) -> interface_pb2.ParameterMap:
    """The launch plan's own parameters and every input of the workflow that it neither defaults nor fixes."""
    defaults, fixed = spec.default_inputs.parameters, spec.fixed_inputs.literals
    expected = interface_pb2.ParameterMap(parameters=defaults)
    for name, variable in inputs.variables.items():
        if name not in defaults and name not in fixed:
            parameter = expected.parameters[name]
            parameter.var.type.CopyFrom(variable.type)
            parameter.var.description = variable.description
            parameter.required = True
    return expected


def _check_schedule(schedule: schedule_pb2.Schedule, expected: interface_pb2.ParameterMap) -> None:
    kind = schedule.WhichOneof("ScheduleExpression")
    if kind is None or (kind == "cron_expression" and not schedule.cron_expression):
        return
    kickoff = schedule.kickoff_time_input_arg
    for name in sorted(expected.parameters):
        if expected.parameters[name].required and name != kickoff:
            raise InvalidArgumentError(
                "Cannot create a launch plan with a schedule if there is an unbound required input. "
                f"[{name}] is required"
            )
    if kickoff:
        _check_kickoff(kickoff, expected)
    expression = schedule.cron_schedule.schedule if kind == "cron_schedule" else schedule.cron_expression
    if kind in ("cron_schedule", "cron_expression"):
        try:
            check_cron(expression)
        except ValueError as error:
            raise InvalidArgumentError(f"invalid cron expression [{expression}]: {error}") from error


def _check_kickoff(name: str, expected: interface_pb2.ParameterMap) -> None:
    if name not in expected.parameters:
        raise InvalidArgumentError(
            "Cannot create a schedule with a KickoffTimeInputArg that does not point to a free input. "
            f"[{name}] is not free or does not exist."
        )
    kind = expected.parameters[name].var.type
    if kind.simple != types_pb2.DATETIME:
        raise InvalidArgumentError(
            f"KickoffTimeInputArg must reference a datetime input. [{name}] is a [{message_text(kind)}]"
        )


def check_notifications(notifications: Iterable[common_pb2.Notification]) -> None:
    """Require recipients of a known kind and phases that end an execution."""
    for notification in notifications:
        kind = notification.WhichOneof("type")
        if kind is None:
            raise InvalidArgumentError("invalid value for notification type")
        recipients = getattr(notification, kind).recipients_email
        if not recipients:
            raise InvalidArgumentError("missing recipients")
        if not all(recipients):
            raise InvalidArgumentError("missing recipient")
        if any(int(phase) not in _NOTIFICATION_PHASES for phase in notification.phases):
            raise InvalidArgumentError("invalid value for phase")
