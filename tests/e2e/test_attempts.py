"""Around one task: checkpoints, retries, timeouts, environment, options of executions."""

from __future__ import annotations

import pytest
from flytekit.core.options import Options
from flytekit.models.common import Annotations, Labels, RawOutputDataConfig

from tests.support.client import DOMAIN, PROJECT
from tests.support.parity import FOLDER, Case, Runs, is_gone

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

NAMES = [
    "GIVEN",
    "FLYTE_INTERNAL_EXECUTION_PROJECT",
    "FLYTE_INTERNAL_EXECUTION_DOMAIN",
    "FLYTE_INTERNAL_EXECUTION_WORKFLOW",
    "FLYTE_INTERNAL_EXECUTION_ID",
    "FLYTE_INTERNAL_TASK_NAME",
    "FLYTE_INTERNAL_TASK_VERSION",
    "FLYTE_ATTEMPT_NUMBER",
]
CASES = {
    "checkpoints": Case("attempts.with_checkpoints", {"target": 3}),
    "not-recoverable": Case("attempts.not_recoverable", {"folder": FOLDER}),
    "recoverable": Case("attempts.recoverable", {"folder": FOLDER}),
    "exhausted": Case("attempts.exhausted", {"n": 1}),
    "too-slow": Case("attempts.too_slow", {"folder": FOLDER}, local=False),
    "slow-at-first": Case("attempts.slow_at_first", {"folder": FOLDER}),
    "overridden": Case("attempts.overridden", {"n": 3}),
    "showing": Case(
        "attempts.showing",
        {"names": NAMES, "content": "raw"},
        options=Options(
            labels=Labels({"k": "v"}),
            annotations=Annotations({"a": "b"}),
            raw_output_data_config=RawOutputDataConfig("s3://flyte/elsewhere"),
        ),
        more={"envs": {"GIVEN": "yes"}, "interruptible": True, "tags": ["one", "two"], "overwrite_cache": True},
        local=False,
    ),
    "task-environment": Case(
        "attempts.with_task_environment",
        {"names": ["FROM_TASK", "IN_BOTH", "FROM_EXECUTION"]},
        more={"envs": {"FROM_EXECUTION": "execution"}},
        local=False,
    ),
    "one-at-once": Case("attempts.eight_at_once", {"folder": FOLDER}, options=Options(max_parallelism=1), local=False),
}


def numbers(runs: Runs, key: str) -> list[int]:
    """Return the attempts of the first node."""
    return [attempt.id.retry_attempt for attempt in runs.admin.attempts(runs.ended(key), "n0")]


@pytest.mark.parametrize("key", ["checkpoints", "recoverable", "slow-at-first", "overridden"])
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_checkpoints_go_from_attempt_to_attempt(runs: Runs) -> None:
    assert runs.outputs("checkpoints") == {"o0": 3}
    assert numbers(runs, "checkpoints") == [0, 1, 2, 3]


def test_a_plain_exception_is_not_retried(runs: Runs) -> None:
    code, _ = runs.assert_both_fail("not-recoverable", "never again")
    assert code == "USER:RuntimeError"
    assert [path.name for path in runs.folder("not-recoverable").iterdir()] == ["plain-0"]


def test_recoverable_failures_use_up_the_retries(runs: Runs) -> None:
    assert sorted(path.name for path in runs.folder("recoverable").iterdir()) == ["third-0", "third-1", "third-2"]
    code, message = runs.assert_both_fail("exhausted", "hopeless")
    assert code == "RetriesExhausted|USER:Recoverable"
    assert message.startswith("[2/2] currentAttempt done. Last Error: USER::")
    assert numbers(runs, "exhausted") == [0, 1]


def test_timeouts(runs: Runs) -> None:
    assert runs.phase("too-slow") == "FAILED"
    assert "timeout" in runs.error("too-slow")[1].lower()
    (mark,) = runs.folder("too-slow").iterdir()
    assert is_gone(int(mark.name.partition("-")[2]))
    assert numbers(runs, "slow-at-first") == [0, 1]
    assert sorted(path.name for path in runs.folder("slow-at-first").iterdir()) == ["once-0", "once-1"]


def test_environment_of_a_task(runs: Runs) -> None:
    name = runs.ended("showing").id.name
    assert runs.outputs("showing")["o0"] == {
        "GIVEN": "yes",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": PROJECT,
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": DOMAIN,
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": f"{PROJECT}:{DOMAIN}:attempts.showing",
        "FLYTE_INTERNAL_EXECUTION_ID": name,
        "FLYTE_INTERNAL_TASK_NAME": "attempts.surroundings",
        "FLYTE_INTERNAL_TASK_VERSION": "v1",
        "FLYTE_ATTEMPT_NUMBER": "0",
    }
    expected = {"FROM_TASK": "task", "IN_BOTH": "task", "FROM_EXECUTION": "execution"}
    assert runs.outputs("task-environment") == {"o0": expected}


def test_raw_output_prefix(runs: Runs) -> None:
    file = runs.ended("showing").outputs["o1"]
    assert file.remote_source.startswith("s3://flyte/elsewhere/")
    assert runs.outputs("showing")["o1"] == {"file": "raw"}


def test_options_are_kept(runs: Runs) -> None:
    spec = runs.ended("showing").spec
    assert spec.labels.values == {"k": "v"}
    assert spec.annotations.values == {"a": "b"}
    assert spec.raw_output_data_config.output_location_prefix == "s3://flyte/elsewhere"
    assert spec.interruptible is True
    assert spec.overwrite_cache is True
    assert sorted(spec.tags) == ["one", "two"]


def test_max_parallelism(runs: Runs) -> None:
    assert runs.outputs("one-at-once") == {"o0": 1}
    assert runs.ended("one-at-once").spec.max_parallelism == 1
