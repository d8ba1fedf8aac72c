"""Map tasks: elements, bound inputs, windows, tolerated failures, retries."""

import functools
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from flytekit import Cache, conditional, current_context, dynamic, map_task, task, workflow
from flytekit.core.legacy_map_task import map_task as legacy_map_task
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.file import FlyteFile


@dataclass
class Item:
    name: str
    weight: float


@task
def square(n: int) -> int:
    return n * n


@task
def scale(n: int, factor: int, text: str) -> str:
    return f"{text}{n * factor}"


@task
def weigh(item: Item) -> Item:
    return Item(item.name.upper(), item.weight * 2)


@task
def total(values: list[int]) -> int:
    return sum(values)


@task
def numbers(count: int) -> list[int]:
    return list(range(count))


@task
def write(text: str) -> FlyteFile:
    path = Path(current_context().working_directory) / f"{text}.txt"
    path.write_text(text * 2)
    return FlyteFile(str(path))


@task
def read(file: FlyteFile) -> str:
    return Path(file.download()).read_text()


@task
def odd_only(n: int) -> int:
    if n % 2 == 0:
        raise ValueError(f"{n} is even")
    return n


@task(retries=2)
def second_time(n: int) -> int:
    attempt = int(os.environ.get("FLYTE_ATTEMPT_NUMBER") or 0)
    if n % 2 == 1 and attempt == 0 and os.environ.get("FLYTE_INTERNAL_EXECUTION_ID"):
        raise FlyteRecoverableException(f"{n} wants to be asked twice")
    return n * 10


@task
def note(n: int) -> None:
    assert n >= 0


@task
def overlap(n: int, folder: str) -> int:
    """How many elements are under way, this one included."""
    mark = Path(folder) / f"running-{n}"
    mark.touch()
    time.sleep(0.15)
    seen = len(list(Path(folder).glob("running-*")))
    mark.unlink()
    return seen


@task
def count_present(values: list[int | None]) -> int:
    return sum(value is not None for value in values)


@workflow
def plain(values: list[int]) -> tuple[list[int], int]:
    squares = map_task(square)(n=values)
    return squares, total(values=squares)


@workflow
def of_results(count: int) -> int:
    return total(values=map_task(square)(n=map_task(square)(n=numbers(count=count))))


@workflow
def two_lists(values: list[int], factors: list[int], text: str) -> list[str]:
    return map_task(functools.partial(scale, text=text))(n=values, factor=factors)


@workflow
def bound(values: list[int], factor: int, text: str) -> list[str]:
    return map_task(functools.partial(scale, factor=factor, text=text))(n=values)


@workflow
def dataclasses(items: list[Item]) -> list[Item]:
    return map_task(weigh)(item=items)


@workflow
def files(words: list[str]) -> list[str]:
    return map_task(read)(file=map_task(write)(text=words))


@workflow
def legacy(values: list[int], factor: int) -> list[str]:
    return legacy_map_task(functools.partial(scale, factor=factor, text="old"), concurrency=2)(n=values)


@workflow
def silent(values: list[int]) -> None:
    map_task(note)(n=values)


@workflow
def tolerant(values: list[int]) -> tuple[list[int | None], int]:
    results = map_task(odd_only, min_success_ratio=0.5)(n=values)
    return results, count_present(values=results)


@workflow
def intolerant(values: list[int]) -> list[int | None]:
    return map_task(odd_only, min_success_ratio=0.9)(n=values)


@workflow
def strict(values: list[int]) -> list[int]:
    return map_task(odd_only)(n=values)


@workflow
def retried(values: list[int]) -> list[int]:
    return map_task(second_time)(n=values)


@workflow
def windowed(values: list[int], folder: str) -> list[int]:
    return map_task(functools.partial(overlap, folder=folder), concurrency=1)(n=values)


@workflow
def inner(values: list[int]) -> int:
    return total(values=map_task(square)(n=values))


@workflow
def in_subworkflows(values: list[int], others: list[int]) -> int:
    return total(values=[inner(values=values), inner(values=others)])


@workflow
def in_branch(values: list[int], square_them: bool) -> int:
    return (
        conditional("squares").if_(square_them.is_true()).then(inner(values=values)).else_().then(total(values=values))
    )


@dynamic
def several(rows: list[list[int]]) -> list[int]:
    return [total(values=map_task(square)(n=row)) for row in rows]


@workflow
def in_dynamic(rows: list[list[int]]) -> list[int]:
    return several(rows=rows)


@task(cache=Cache(version="1"))
def stamp_element(n: int, key: str) -> str:
    return f"{n}-{key}-{uuid.uuid4().hex}"


@workflow
def cached(values: list[int], key: str) -> list[str]:
    return map_task(functools.partial(stamp_element, key=key))(n=values)


@task
def element(n: int, folder: str) -> int:
    (Path(folder) / f"ran-element-{n}-{uuid.uuid4().hex}").touch()
    if n == 3 and not (Path(folder) / "key").exists():
        # The others have ended by then: their marks are what a recovered map must not leave again.
        while len({path.name.split("-")[2] for path in Path(folder).glob("ended-element-*")}) < 3:
            time.sleep(0.02)
        raise ValueError("key is missing")
    (Path(folder) / f"ended-element-{n}-{os.getpid()}").touch()
    return n * n


@workflow
def recoverable(folder: str) -> list[int]:
    return map_task(functools.partial(element, folder=folder), concurrency=4)(n=[0, 1, 2, 3])
