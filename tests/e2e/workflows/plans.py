"""Launch plan nodes: child executions with their own inputs, labels, failures and ends."""

import os
import time
from pathlib import Path

from flytekit import LaunchPlan, dynamic, task, workflow
from flytekit.models.common import Annotations, Labels


@task
def combine(a: int, b: int, text: str) -> str:
    return f"{text}:{a + b}"


@task
def refuse(n: int) -> int:
    if n > 0:
        raise ValueError(f"child of {n}")
    return n


@task
def add_one(n: int) -> int:
    return n + 1


@task
def wait_for(path: str) -> int:
    (Path(path) / f"pid-{os.environ['FLYTE_INTERNAL_EXECUTION_ID']}").write_text(str(os.getpid()))
    while not (Path(path) / "go").exists():
        time.sleep(0.02)
    return 1


@workflow
def child(a: int, b: int = 2, text: str = "sum") -> str:
    return combine(a=a, b=b, text=text)


plain = LaunchPlan.get_or_create(child)
with_defaults = LaunchPlan.get_or_create(child, "plans.with_defaults", default_inputs={"a": 40, "text": "default"})
with_fixed = LaunchPlan.get_or_create(child, "plans.with_fixed", fixed_inputs={"b": 1000}, default_inputs={"a": 7})
labelled = LaunchPlan.get_or_create(
    child,
    "plans.labelled",
    default_inputs={"a": 3},
    labels=Labels({"team": "plans"}),
    annotations=Annotations({"note": "from the plan"}),
    max_parallelism=3,
)


@workflow
def parent(a: int) -> tuple[str, str, str, str]:
    return plain(a=a), with_defaults(b=a), with_fixed(), with_fixed(a=a, text="given")


@workflow
def middle(n: int) -> int:
    return add_one(n=add_one(n=n))


middle_plan = LaunchPlan.get_or_create(middle, "plans.middle_plan")


@workflow
def upper(n: int) -> int:
    return add_one(n=middle_plan(n=n))


upper_plan = LaunchPlan.get_or_create(upper, "plans.upper_plan")


@workflow
def top(n: int) -> int:
    """Children of children, with a result on the way in and out."""
    return add_one(n=upper_plan(n=add_one(n=n)))


@workflow
def below(n: int) -> int:
    return middle_plan(n=n)


@workflow
def in_subworkflow(n: int) -> int:
    return below(n=below(n=n))


@dynamic
def many(count: int) -> list[int]:
    return [middle_plan(n=n) for n in range(count)]


@workflow
def in_dynamic(count: int) -> list[int]:
    return many(count=count)


@workflow
def refusing(n: int) -> int:
    return refuse(n=n)


refusing_plan = LaunchPlan.get_or_create(refusing, "plans.refusing_plan")


@workflow
def failing_child(n: int) -> int:
    return add_one(n=refusing_plan(n=n))


@workflow
def waiting(path: str) -> int:
    return wait_for(path=path)


waiting_plan = LaunchPlan.get_or_create(waiting, "plans.waiting_plan")


@workflow
def waiting_child(path: str) -> int:
    return add_one(n=waiting_plan(path=path))
