"""Branches: every operator over every type, all ways to end, arms of every kind."""

from datetime import datetime, timedelta

from flytekit import LaunchPlan, conditional, dynamic, task, workflow


@task
def say(text: str) -> str:
    return text


@task
def double(n: int) -> int:
    return 2 * n


@task
def negate(n: int) -> int:
    return -n


@task
def is_positive(n: int) -> bool:
    return n > 0


@task
def join(parts: list[str]) -> str:
    return " ".join(parts)


@workflow
def integers(a: int, b: int) -> str:
    equal = conditional("equal").if_(a == b).then(say(text="eq")).else_().then(say(text="-"))
    unequal = conditional("unequal").if_(a != b).then(say(text="ne")).else_().then(say(text="-"))
    less = conditional("less").if_(a < b).then(say(text="lt")).else_().then(say(text="-"))
    at_most = conditional("at_most").if_(a <= b).then(say(text="le")).else_().then(say(text="-"))
    greater = conditional("greater").if_(a > b).then(say(text="gt")).else_().then(say(text="-"))
    at_least = conditional("at_least").if_(a >= b).then(say(text="ge")).else_().then(say(text="-"))
    return join(parts=[equal, unequal, less, at_most, greater, at_least])


@workflow
def floats(a: float, b: float) -> str:
    equal = conditional("equal").if_(a == b).then(say(text="eq")).else_().then(say(text="-"))
    unequal = conditional("unequal").if_(a != b).then(say(text="ne")).else_().then(say(text="-"))
    less = conditional("less").if_(a < b).then(say(text="lt")).else_().then(say(text="-"))
    at_most = conditional("at_most").if_(a <= b).then(say(text="le")).else_().then(say(text="-"))
    greater = conditional("greater").if_(a > b).then(say(text="gt")).else_().then(say(text="-"))
    at_least = conditional("at_least").if_(a >= b).then(say(text="ge")).else_().then(say(text="-"))
    return join(parts=[equal, unequal, less, at_most, greater, at_least])


@workflow
def strings(a: str, b: str) -> str:
    equal = conditional("equal").if_(a == b).then(say(text="eq")).else_().then(say(text="-"))
    unequal = conditional("unequal").if_(a != b).then(say(text="ne")).else_().then(say(text="-"))
    less = conditional("less").if_(a < b).then(say(text="lt")).else_().then(say(text="-"))
    at_most = conditional("at_most").if_(a <= b).then(say(text="le")).else_().then(say(text="-"))
    greater = conditional("greater").if_(a > b).then(say(text="gt")).else_().then(say(text="-"))
    at_least = conditional("at_least").if_(a >= b).then(say(text="ge")).else_().then(say(text="-"))
    return join(parts=[equal, unequal, less, at_most, greater, at_least])


@workflow
def times(a: datetime, b: datetime, long: timedelta, short: timedelta) -> str:
    earlier = conditional("earlier").if_(a < b).then(say(text="earlier")).else_().then(say(text="-"))
    same = conditional("same").if_(a == b).then(say(text="same")).else_().then(say(text="-"))
    longer = conditional("longer").if_(long > short).then(say(text="longer")).else_().then(say(text="-"))
    return join(parts=[earlier, same, longer])


@workflow
def booleans(a: bool, b: bool) -> str:
    yes = conditional("yes").if_(a.is_true()).then(say(text="true")).else_().then(say(text="-"))
    no = conditional("no").if_(a.is_false()).then(say(text="false")).else_().then(say(text="-"))
    equal = conditional("equal").if_(a == b).then(say(text="eq")).else_().then(say(text="-"))
    unequal = conditional("unequal").if_(a != b).then(say(text="ne")).else_().then(say(text="-"))
    return join(parts=[yes, no, equal, unequal])


@workflow
def conjunctions(a: int, b: int, c: int) -> str:
    both = conditional("both").if_((a > 0) & (b > 0)).then(say(text="both")).else_().then(say(text="-"))
    either = conditional("either").if_((a > 0) | (b > 0)).then(say(text="either")).else_().then(say(text="-"))
    mixed = conditional("mixed").if_(((a > 0) & (b > 0)) | (c == 1)).then(say(text="mixed")).else_().then(say(text="-"))
    deeper = (
        conditional("deeper")
        .if_((a > 0) & ((b > 0) | ((c > 1) & (c <= 9))))
        .then(say(text="deeper"))
        .else_()
        .then(say(text="-"))
    )
    return join(parts=[both, either, mixed, deeper])


@workflow
def grade(score: float) -> str:
    return (
        conditional("grade")
        .if_(score >= 0.9)
        .then(say(text="very good"))
        .elif_(score >= 0.6)
        .then(say(text="good"))
        .elif_((score >= 0.3) & (score < 0.6))
        .then(say(text="fair"))
        .else_()
        .then(say(text="poor"))
    )


@workflow
def refusing(n: int) -> int:
    return (
        conditional("refusing")
        .if_(n > 0)
        .then(double(n=n))
        .elif_(n < -10)
        .then(negate(n=n))
        .else_()
        .fail("n must not be between -10 and 0")
    )


@workflow
def refusing_within(n: int) -> int:
    return (
        conditional("outer")
        .if_(n > 100)
        .then(double(n=n))
        .else_()
        .then(
            conditional("middle")
            .if_(n > 10)
            .then(negate(n=n))
            .else_()
            .then(conditional("inner").if_(n > 0).then(double(n=n)).else_().fail("not even positive"))
        )
    )


@workflow
def four_times(n: int) -> int:
    return double(n=double(n=n))


four_times_plan = LaunchPlan.get_or_create(four_times, "conditions.four_times_plan")


@dynamic
def power_of_two(n: int) -> int:
    value = 1
    for _ in range(n):
        value = double(n=value)
    return value


@workflow
def kinds_of_arms(which: str, n: int) -> int:
    return (
        conditional("kinds")
        .if_(which == "task")
        .then(double(n=n))
        .elif_(which == "workflow")
        .then(four_times(n=n))
        .elif_(which == "plan")
        .then(four_times_plan(n=n))
        .elif_(which == "dynamic")
        .then(power_of_two(n=n))
        .else_()
        .then(negate(n=n))
    )


@workflow
def of_results(n: int) -> int:
    """Conditions, arms and what follows hang on results of tasks."""
    doubled = double(n=n)
    positive = is_positive(n=n)
    chosen = (
        conditional("chosen")
        .if_((doubled > 10) & (positive.is_true()))
        .then(negate(n=doubled))
        .else_()
        .then(double(n=doubled))
    )
    return double(n=chosen)


@workflow
def within(n: int) -> int:
    return of_results(n=of_results(n=n))


@dynamic
def within_dynamic(n: int) -> int:
    doubled = double(n=n)
    return conditional("grown").if_(doubled > 10).then(negate(n=doubled)).else_().then(four_times(n=doubled))


@workflow
def grown(n: int) -> int:
    return within_dynamic(n=n)


@task
def complain(n: int) -> int:
    if n:
        raise ValueError(f"arm of {n}")
    return n


@workflow
def failing_arm(n: int) -> int:
    return conditional("failing").if_(n > 0).then(complain(n=n)).else_().then(double(n=n))
