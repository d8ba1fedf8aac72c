"""Executions that fail until a file appears, for relaunching and recovering; every run of a task leaves a mark."""

import uuid
from pathlib import Path

from flytekit import LaunchPlan, dynamic, task, workflow


@task
def record(folder: str, name: str, value: int) -> int:
    (Path(folder) / f"ran-{name}-{uuid.uuid4().hex}").touch()
    return value + 1


@task
def needs(folder: str, name: str, value: int) -> int:
    (Path(folder) / f"ran-{name}-{uuid.uuid4().hex}").touch()
    if not (Path(folder) / name).exists():
        raise ValueError(f"{name} is missing")
    return value * 10


@task
def total(values: list[int]) -> int:
    return sum(values)


@workflow
def inner(folder: str, value: int) -> int:
    return record(folder=folder, name="inner-b", value=record(folder=folder, name="inner-a", value=value))


@workflow
def chain(folder: str) -> int:
    first = record(folder=folder, name="first", value=1)
    second = inner(folder=folder, value=first)
    third = needs(folder=folder, name="key", value=second)
    return record(folder=folder, name="last", value=third)


@dynamic
def grow(folder: str) -> int:
    values = [record(folder=folder, name=f"grown-{n}", value=n) for n in range(3)]
    return needs(folder=folder, name="key", value=total(values=values))


@workflow
def grown(folder: str) -> int:
    return record(folder=folder, name="last", value=grow(folder=folder))


child_plan = LaunchPlan.get_or_create(chain, "recovery.child_plan")


@workflow
def with_child(folder: str) -> int:
    first = record(folder=folder, name="parent", value=1)
    done = inner_plan(folder=folder, value=first)
    return needs(folder=folder, name="key", value=done)


inner_plan = LaunchPlan.get_or_create(inner, "recovery.inner_plan")


@workflow
def with_failed_child(folder: str) -> int:
    return record(folder=folder, name="parent", value=child_plan(folder=folder))
