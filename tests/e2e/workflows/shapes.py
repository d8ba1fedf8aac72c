"""A chain of 50 and a fan-out of 200 trivial tasks."""

from __future__ import annotations

from flytekit import task, workflow


@task
def increment(a: int) -> int:
    return a + 1


@task
def total(values: list[int]) -> int:
    return sum(values)


@workflow
def chain_50(a: int) -> int:
    for _ in range(50):
        a = increment(a=a)
    return a


@workflow
def fan_out_200(a: int) -> int:
    return total(values=[increment(a=a) for _ in range(200)])
