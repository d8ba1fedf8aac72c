"""Launch plans against their workflows; texts marked as observed were given by a running Flyte 1."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flyteidl.admin import launch_plan_pb2
from flyteidl.admin.launch_plan_pb2 import LaunchPlanSpec
from flyteidl.core import execution_pb2, interface_pb2, literals_pb2

from flyte_kernel.compile.cron import check_cron
from flyte_kernel.compile.identifiers import identifier
from flyte_kernel.compile.launch_plan import compile_launch_plan
from flyte_kernel.errors import InvalidArgumentError
from tests.support.templates import (
    DATETIME,
    INT,
    STR,
    LiteralType,
    integer,
    interface,
    launch_plan_id,
    literal,
    optional,
    string,
    workflow_id,
)

ID = identifier(launch_plan_id("lp"))
WORKFLOW = interface({"a": INT, "b": STR, "c": INT}, {"o0": INT})


def spec_of(
    defaults: dict[str, tuple[LiteralType, literals_pb2.Literal | None]] | None = None,
    fixed: dict[str, literals_pb2.Literal] | None = None,
) -> LaunchPlanSpec:
    spec = LaunchPlanSpec(workflow_id=identifier(workflow_id("wf")))
    for name, (kind, default) in (defaults or {}).items():
        parameter = spec.default_inputs.parameters[name]
        parameter.var.type.CopyFrom(kind)
        if default is None:
            parameter.required = True
        else:
            parameter.default.CopyFrom(default)
    for name, value in (fixed or {}).items():
        spec.fixed_inputs.literals[name].CopyFrom(value)
    return spec


def compiled(spec: LaunchPlanSpec, workflow: interface_pb2.TypedInterface = WORKFLOW) -> launch_plan_pb2.LaunchPlan:
    return compile_launch_plan(ID, spec, workflow)


def refusal(spec: LaunchPlanSpec, workflow: interface_pb2.TypedInterface = WORKFLOW) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        compiled(spec, workflow)
    return caught.value.message


FIVE, TEXT = literal(integer(5)), literal(string("x"))


def test_what_is_neither_defaulted_nor_fixed_is_required() -> None:
    spec = spec_of({"a": (INT, FIVE)}, {"b": TEXT})
    plan = compiled(spec)

    expected = plan.closure.expected_inputs.parameters
    assert sorted(expected) == ["a", "c"]
    assert expected["a"].default == FIVE
    assert expected["c"].required
    assert expected["c"].var == WORKFLOW.inputs.variables["c"]
    assert plan.spec.default_inputs == plan.closure.expected_inputs
    assert plan.closure.expected_outputs == WORKFLOW.outputs
    assert plan.spec.fixed_inputs == spec.fixed_inputs
    assert plan.id == ID
    assert sorted(spec.default_inputs.parameters) == ["a"]


def test_a_workflow_without_inputs_has_empty_maps() -> None:
    plan = compiled(spec_of(), interface())
    assert plan.closure.HasField("expected_inputs")
    assert plan.closure.HasField("expected_outputs")
    assert plan.spec.HasField("default_inputs")


def test_observed_refusals() -> None:
    assert refusal(spec_of({"nope": (INT, FIVE)})) == "unexpected default_input nope"
    assert refusal(spec_of({}, {"b": FIVE})) == (
        "invalid fixed_input wrong type b, expected simple:STRING, got simple:INTEGER instead"
    )


def test_refusals_of_inputs() -> None:
    assert refusal(spec_of({}, {"nope": FIVE})) == "unexpected fixed_input nope"
    assert refusal(spec_of({"b": (INT, FIVE)})) == (
        "invalid default_input wrong type b, expected simple:INTEGER, got simple:STRING instead"
    )
    assert refusal(spec_of({"a": (INT, TEXT)})) == (
        "Type mismatch for Parameter a in default_inputs has type simple:INTEGER, expected simple:STRING"
    )
    assert refusal(spec_of({"a": (INT, FIVE)}), interface()) == (
        "invalid launch plan default inputs, expected none but found 1"
    )
    assert refusal(spec_of({}, {"a": FIVE, "b": TEXT}), interface()) == (
        "invalid launch plan fixed inputs, expected none but found 2"
    )
    assert refusal(spec_of({}, {"a": literals_pb2.Literal()})) == "missing valid literal in fixed_inputs a"


def test_parameters_must_be_whole() -> None:
    untyped, undecided, artifact = spec_of(), spec_of(), spec_of()
    untyped.default_inputs.parameters["a"].required = True
    undecided.default_inputs.parameters["a"].var.type.CopyFrom(INT)
    artifact.default_inputs.parameters["a"].var.type.CopyFrom(INT)
    artifact.default_inputs.parameters["a"].artifact_query.SetInParent()
    assert refusal(untyped) == (
        "The Variable component of the Parameter a in default_inputs either is missing, or has a missing Type"
    )
    assert refusal(undecided) == (
        "Invalid variable a in default_inputs - variable has neither default, nor is required. One must be specified"
    )
    assert refusal(artifact) == "artifact mode not enabled but query found default_inputs a"
    unknown = literal(literals_pb2.Scalar(blob=literals_pb2.Blob(uri="x")))
    assert refusal(spec_of({"a": (INT, unknown)})).startswith("Failed to validate literal type for [a] with err: ")


def test_optional_inputs_stay_required_for_the_launch_plan() -> None:
    plan = compiled(spec_of(), interface({"a": optional(INT)}))
    assert plan.closure.expected_inputs.parameters["a"].required


@pytest.mark.parametrize(
    ("labels", "start"),
    [
        ({f"k{i}": "" for i in range(17)}, "labels map cannot exceed 16 entries"),
        ({"bad key": "v"}, "invalid label key [bad key]: "),
        ({"k" * 64: "v"}, f"invalid label key [{'k' * 64}]: "),
        ({"Bad_Prefix/k": "v"}, "invalid label key [Bad_Prefix/k]: "),
        ({"k": "-v"}, "invalid label value [-v]: "),
        ({"k": "v" * 64}, f"invalid label value [{'v' * 64}]: "),
    ],
)
def test_labels_must_be_kubernetes_labels(labels: dict[str, str], start: str) -> None:
    spec = spec_of()
    spec.labels.values.update(labels)
    assert refusal(spec).startswith(start)


def test_good_labels() -> None:
    spec = spec_of()
    spec.labels.values.update({"example.com/Team_1": "a.b-c", "k": "", "9": "V"})
    assert dict(compiled(spec).spec.labels.values) == {"example.com/Team_1": "a.b-c", "k": "", "9": "V"}


def scheduled(change: Callable[[LaunchPlanSpec], None], *, kickoff: str = "") -> LaunchPlanSpec:
    spec = spec_of({"a": (INT, FIVE), "b": (STR, TEXT)}, {"c": FIVE})
    change(spec)
    spec.entity_metadata.schedule.kickoff_time_input_arg = kickoff
    return spec


def test_schedules_need_all_inputs() -> None:
    def every_minute(spec: LaunchPlanSpec) -> None:
        spec.entity_metadata.schedule.rate.value = 1
        spec.fixed_inputs.literals.pop("c", None)

    assert refusal(scheduled(every_minute)) == (
        "Cannot create a launch plan with a schedule if there is an unbound required input. [c] is required"
    )
    assert refusal(scheduled(every_minute, kickoff="c")) == (
        "KickoffTimeInputArg must reference a datetime input. [c] is a [simple:INTEGER]"
    )
    timed = interface({"a": INT, "b": STR, "c": DATETIME})
    assert compiled(scheduled(every_minute, kickoff="c"), timed).spec.entity_metadata.schedule.rate.value == 1


def test_kickoff_must_be_a_free_input() -> None:
    def every_minute(spec: LaunchPlanSpec) -> None:
        spec.entity_metadata.schedule.rate.value = 1

    assert refusal(scheduled(every_minute, kickoff="c")) == (
        "Cannot create a schedule with a KickoffTimeInputArg that does not point to a free input. "
        "[c] is not free or does not exist."
    )


def test_cron_expressions_of_both_kinds_are_checked() -> None:
    def legacy(spec: LaunchPlanSpec) -> None:
        spec.entity_metadata.schedule.cron_expression = "99 * * * *"

    def current(spec: LaunchPlanSpec) -> None:
        spec.entity_metadata.schedule.cron_schedule.schedule = "* * * *"

    assert refusal(scheduled(legacy)) == (
        "invalid cron expression [99 * * * *]: minute: end of range (99) above maximum (59): 99"
    )
    assert refusal(scheduled(current)) == (
        "invalid cron expression [* * * *]: expected exactly 5 fields, found 4: [* * * *]"
    )


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/5 0-12/2 1,15 jan-MAR mon-fri",
        "? ? ? * SUN",
        "@hourly",
        "@every 1h30m",
        "TZ=UTC 0 0 * * *",
        "5/15 * * * *",
    ],
)
def test_good_cron(expression: str) -> None:
    check_cron(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 7",
        "5-1 * * * *",
        "*/0 * * * *",
        "x * * * *",
        "@sometimes",
        "@every",
        "@every 5",
        "*/x * * * *",
        "1,, * * * *",
        "-1 * * * *",
    ],
)
def test_bad_cron(expression: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_cron(expression)


def test_notifications_need_somebody_and_a_terminal_phase() -> None:
    spec = spec_of()
    notification = spec.entity_metadata.notifications.add(phases=[execution_pb2.WorkflowExecution.SUCCEEDED])
    notification.slack.SetInParent()
    assert refusal(spec) == "missing recipients"
    notification.slack.recipients_email.append("a@b")
    assert compiled(spec).spec.entity_metadata.notifications[0] == notification
    notification.phases.append(execution_pb2.WorkflowExecution.RUNNING)
    assert refusal(spec) == "invalid value for phase"


def test_launch_conditions_are_refused() -> None:
    spec = spec_of()
    spec.entity_metadata.launch_conditions.type_url = "x"
    assert refusal(spec) == "launch conditions are not supported"
