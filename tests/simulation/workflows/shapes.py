"""Workflows of every construct over integers; each task's outputs follow from its inputs alone.

The simulated executor computes what a process would have put out by calling the task's function, so that flytekit's
local run of the same workflow is the oracle of its outputs.
"""

from __future__ import annotations

from datetime import timedelta

from flytekit import Cache, LaunchPlan, conditional, dynamic, map_task, sleep, task, wait_for_input, workflow
from flytekit.core.base_task import PythonTask
from flytekit.core.interface import Interface
from flytekit.types.error import FlyteError


@task
def add(a: int, b: int) -> int:
    return a + b


@task(retries=3)
def increment(a: int) -> int:
    return a + 1


@task(timeout=timedelta(seconds=30), retries=2)
def double(a: int) -> int:
    return 2 * a


@task(retries=2)
def spread(a: int) -> list[int]:
    return list(range(a % 7))


@task(retries=2)
def square(a: int) -> int:
    return a * a


@task
def total(values: list[int]) -> int:
    return sum(values)


@workflow
def chain(a: int) -> int:
    return double(a=increment(a=increment(a=a)))


@workflow
def diamond(a: int) -> int:
    left, right = increment(a=a), double(a=a)
    return add(a=add(a=left, b=right), b=chain(a=left))


@workflow
def nested(a: int) -> int:
    return diamond(a=chain(a=a))


@workflow
def chosen(a: int) -> int:
    first = increment(a=a)
    return (
        conditional("size")
        .if_(first > 10)
        .then(diamond(a=first))
        .elif_(first > 4)
        .then(double(a=first))
        .else_()
        .then(increment(a=first))
    )


@workflow
def mapped(a: int) -> int:
    return total(values=map_task(square, concurrency=3)(a=spread(a=a)))


@workflow
def slept(a: int) -> int:
    first = increment(a=a)
    pause = sleep(timedelta(seconds=5))
    second = double(a=first)
    pause >> second
    return second


@dynamic(retries=2)
def grown(a: int) -> int:
    values = [increment(a=n) for n in range(a % 4)]
    return total(values=[a, *values])


@workflow
def growing(a: int) -> int:
    return double(a=grown(a=increment(a=a)))


child = LaunchPlan.get_or_create(chain, name="child")


@workflow
def parent(a: int) -> int:
    return add(a=child(a=a), b=child(a=increment(a=a)))


@workflow
def everything(a: int) -> int:
    one, two = chosen(a=a), mapped(a=a)
    return add(a=growing(a=one), b=add(a=two, b=nested(a=parent(a=a))))


class Rest(PythonTask[None]):
    """A task that the engine itself waits for."""

    def __init__(self) -> None:
        interface = Interface(inputs={"duration": timedelta})
        super().__init__(task_type="core-sleep", name="rest", task_config=None, interface=interface)

    def execute(self, **_: timedelta) -> None:
        pass


rest = Rest()


@workflow
def waiting(a: int, pause: timedelta = timedelta(seconds=3)) -> int:
    first = increment(a=a)
    one, two, three = rest(duration=timedelta(seconds=5)), rest(duration=timedelta(0)), rest(duration=pause)
    second = double(a=first)
    first >> one >> two >> three >> second
    return second


@workflow
def waiting_inside(a: int, pause: timedelta = timedelta(seconds=3)) -> int:
    return add(a=waiting(a=a, pause=pause), b=waiting(a=a))


@workflow
def waiting_much(a: int) -> int:
    first = increment(a=a)
    last = first
    for _ in range(35):
        one, two = rest(duration=timedelta(0)), rest(duration=timedelta(0))
        last >> one
        last >> two
        last = rest(duration=timedelta(0))
        one >> last
        two >> last
    return first


@task(cache=Cache(version="1", serialize=True), retries=2)
def remember(a: int) -> int:
    return a * 3


@workflow
def remembered(a: int) -> int:
    return add(a=remember(a=a), b=add(a=remember(a=a), b=remember(a=increment(a=a))))


@workflow
def answered(a: int) -> int:
    given = wait_for_input("given", timeout=timedelta(hours=1), expected_type=int)
    return add(a=increment(a=a), b=add(a=given, b=given))


@task
def clean_up(a: int, err: FlyteError | None = None) -> None:
    pass


@workflow(on_failure=clean_up)
def handled(a: int) -> int:
    return chain(a=increment(a=a))


WORKFLOWS = (
    chain,
    diamond,
    nested,
    chosen,
    mapped,
    slept,
    growing,
    parent,
    everything,
    waiting,
    waiting_inside,
    waiting_much,
    remembered,
    answered,
    handled,
)
