"""Subworkflows: in any depth, with several results or none, ordered by hand, named by hand."""

from typing import NamedTuple

from flytekit import Workflow, task, workflow
from flytekit.core.node_creation import create_node


class Pair(NamedTuple):
    low: int
    high: int


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def spread(n: int) -> Pair:
    return Pair(n - 1, n + 1)


@task
def shout(text: str) -> str:
    if text == "":
        raise ValueError("nothing to shout")
    return text.upper()


@task
def nothing(n: int) -> None:
    assert n > -100


@workflow
def level_three(n: int) -> Pair:
    pair = spread(n=n)
    return Pair(pair.low, add(a=pair.high, b=n))


@workflow
def level_two(n: int, step: int = 10) -> Pair:
    pair = level_three(n=n)
    again = level_three(n=pair.high)
    return Pair(add(a=pair.low, b=step), again.high)


@workflow
def level_one(n: int) -> tuple[int, int, int]:
    pair = level_two(n=n)
    other = level_two(n=pair.low, step=100)
    return pair.low, other.high, n


@workflow
def unchanged(a: int, text: str) -> tuple[str, int]:
    """Hands its inputs out again without a task touching them."""
    nothing(n=a)
    return text, a


@workflow
def passing_through(a: int, text: str) -> tuple[int, str]:
    said, number = unchanged(a=a, text=text)
    nothing(n=number)
    return number, said


@workflow
def silent(n: int) -> None:
    nothing(n=n)


@workflow
def ordered(n: int) -> int:
    first = create_node(nothing, n=n)
    second = create_node(silent, n=n)
    third = create_node(add, a=n, b=1)
    first >> second
    second >> third
    return third.o0


@workflow
def named(n: int) -> int:
    first = add(a=n, b=1).with_overrides(node_name="first-one")
    return add(a=first, b=2).with_overrides(node_name="last", name="renamed")


imperative = Workflow(name="nesting.imperative")
imperative.add_workflow_input("n", int)
_first = imperative.add_entity(add, a=imperative.inputs["n"], b=5)
_second = imperative.add_entity(level_three, n=_first.outputs["o0"])
imperative.add_workflow_output("both", [_first.outputs["o0"], _second.outputs["high"]], python_type=list[int])


@workflow
def shouting(text: str) -> str:
    return shout(text=shout(text=text))


@workflow
def failing_below(text: str) -> str:
    return shout(text=shouting(text=text))
