"""Dynamic tasks: graphs that grow while they run."""

import os
from pathlib import Path

from flytekit import conditional, dynamic, task, workflow
from flytekit.core.node_creation import create_node
from flytekit.exceptions.user import FlyteRecoverableException


@task
def square(n: int) -> int:
    return n * n


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def total(values: list[int]) -> int:
    return sum(values)


@task
def numbers(count: int) -> list[int]:
    return list(range(count))


@task
def refuse(n: int) -> int:
    if n > 0:
        raise ValueError(f"grown {n}")
    return n


@dynamic
def squares(count: int) -> list[int]:
    return [square(n=n) for n in range(count)]


@workflow
def loop(count: int) -> int:
    return total(values=squares(count=count))


@dynamic
def running_sum(values: list[int]) -> tuple[int, str]:
    """A chain over a list that is only known at run time; one result is plain."""
    so_far = square(n=0)
    for value in values:
        so_far = add(a=so_far, b=value)
    return so_far, f"{len(values)} values"


@workflow
def chain(count: int) -> tuple[int, str]:
    return running_sum(values=numbers(count=count))


@dynamic
def inner(count: int) -> int:
    return total(values=[square(n=n) for n in range(count)])


@dynamic
def outer(depth: int, count: int) -> int:
    if depth == 0:
        return inner(count=count)
    return add(a=inner(count=count), b=outer(depth=depth - 1, count=count))


@workflow
def nested(depth: int, count: int) -> int:
    return outer(depth=depth, count=count)


@dynamic
def fibonacci_of(n: int) -> int:
    if n < 2:
        return n
    return add(a=fibonacci_of(n=n - 1), b=fibonacci_of(n=n - 2))


@workflow
def fibonacci(n: int) -> int:
    return fibonacci_of(n=n)


@task
def merge(left: list[int], right: list[int]) -> list[int]:
    return sorted(left + right)


@task
def halves(values: list[int]) -> tuple[list[int], list[int]]:
    middle = len(values) // 2
    return values[:middle], values[middle:]


@dynamic
def sort_of(values: list[int], count: int) -> list[int]:
    if count < 2:
        return values
    left, right = halves(values=values)
    half = count // 2
    return merge(left=sort_of(values=left, count=half), right=sort_of(values=right, count=count - half))


@workflow
def merge_sort(values: list[int], count: int) -> list[int]:
    return sort_of(values=values, count=count)


@workflow
def sum_of_squares(a: int, b: int) -> int:
    return add(a=square(n=a), b=square(n=b))


@dynamic
def subworkflows(count: int) -> list[int]:
    return [sum_of_squares(a=n, b=n + 1) for n in range(count)]


@workflow
def with_subworkflows(count: int) -> list[int]:
    return subworkflows(count=count)


@dynamic
def branched(values: list[int]) -> list[int]:
    results = []
    for value in values:
        doubled = add(a=value, b=value)
        results.append(conditional("big").if_(doubled > 4).then(square(n=doubled)).else_().then(add(a=doubled, b=1)))
    return results


@workflow
def with_branches(count: int) -> list[int]:
    return branched(values=numbers(count=count))


@dynamic
def plain_value(n: int) -> int:
    """Never grows anything."""
    return n + 1


@workflow
def ungrown(n: int) -> int:
    return square(n=plain_value(n=n))


@dynamic
def no_result(count: int) -> None:
    first = create_node(square, n=count)
    second = create_node(square, n=count + 1)
    first >> second


@workflow
def silent(count: int) -> int:
    grown = create_node(no_result, count=count)
    after = create_node(square, n=count)
    grown >> after
    return after.o0


@dynamic
def failing_inside(n: int) -> int:
    return add(a=square(n=n), b=refuse(n=n))


@workflow
def failing(n: int) -> int:
    return failing_inside(n=n)


@dynamic
def failing_to_grow(n: int) -> int:
    if n > 0:
        raise ValueError("cannot decide what to grow")
    return square(n=n)


@workflow
def not_growing(n: int) -> int:
    return failing_to_grow(n=n)


@dynamic(retries=2)
def grown_at_the_second(folder: str) -> int:
    attempt = int(os.environ.get("FLYTE_ATTEMPT_NUMBER") or 0)
    (Path(folder) / f"attempt-{attempt}").touch()
    if attempt < 1 and os.environ.get("FLYTE_INTERNAL_EXECUTION_ID"):
        raise FlyteRecoverableException("not yet")
    return add(a=square(n=3), b=1)


@workflow
def growing_late(folder: str) -> int:
    return grown_at_the_second(folder=folder)
