"""Gates: sleep, approval, signals with typed values."""

from dataclasses import dataclass
from datetime import timedelta

from flytekit import approve, conditional, sleep, task, wait_for_input, workflow

HOUR = timedelta(hours=1)


@dataclass
class Reply:
    count: int
    words: list[str]
    ratio: float


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def describe(reply: Reply) -> str:
    return f"{reply.count * 2}|{','.join(reply.words)}|{reply.ratio}"


@task
def render(number: int, word: str, sure: bool, ratio: float) -> str:
    return f"{number + 1} {word.upper()} {not sure} {ratio * 2}"


@task
def mark(n: int) -> int:
    return n


@workflow
def sleeping(n: int) -> int:
    first = add(a=n, b=1)
    pause = sleep(timedelta(seconds=1))
    last = add(a=first, b=1)
    first >> pause
    pause >> last
    return last


@workflow
def asking() -> str:
    number = wait_for_input("number", timeout=HOUR, expected_type=int)
    word = wait_for_input("word", timeout=HOUR, expected_type=str)
    sure = wait_for_input("sure", timeout=HOUR, expected_type=bool)
    ratio = wait_for_input("ratio", timeout=HOUR, expected_type=float)
    return render(number=number, word=word, sure=sure, ratio=ratio)


@workflow
def asking_for_a_dataclass() -> str:
    return describe(reply=wait_for_input("reply", timeout=HOUR, expected_type=Reply))


@workflow
def approving(n: int) -> int:
    made = add(a=n, b=1)
    return add(a=approve(made, "made-is-right", timeout=HOUR), b=10)


@workflow
def rejected(n: int) -> int:
    made = add(a=n, b=1)
    return add(a=approve(made, "made-is-wrong", timeout=HOUR), b=10)


@workflow
def chosen(n: int) -> int:
    """A human decides which arm runs."""
    up = wait_for_input("up", timeout=HOUR, expected_type=bool)
    return conditional("direction").if_(up.is_true()).then(add(a=n, b=1)).else_().then(add(a=n, b=-1))


@workflow
def one_question(n: int) -> int:
    return add(a=n, b=wait_for_input("shared", timeout=HOUR, expected_type=int))


@workflow
def asked_twice(n: int) -> int:
    """Two gates of one name in two subworkflows share their signal."""
    return add(a=one_question(n=n), b=one_question(n=n))


@workflow
def impatient(n: int) -> int:
    return add(a=n, b=wait_for_input("too-late", timeout=timedelta(seconds=1), expected_type=int))
