"""Maps whose elements tell which process they ran in."""

import os
import sys
import time
from pathlib import Path

from flytekit import map_task, task, workflow

SEEN: list[int] = []


@task
def who(n: int) -> list[int]:
    """Return the process, how many elements it has had so far, and the number itself."""
    SEEN.append(n)
    print(f"element {n}")
    print(f"warning {n}", file=sys.stderr)
    assert Path.cwd() == Path(os.environ["HOME"])
    return [os.getpid(), len(SEEN), n]


@task(retries=2)
def fragile(n: int, folder: str) -> list[int]:
    """Take the whole process along when 3 comes for the first time."""
    mark = Path(folder) / "broken"
    if n == 3 and not mark.exists():
        mark.touch()
        os._exit(7)
    return [os.getpid(), n]


@task
def linger(n: int, folder: str) -> int:
    """Wait for a file called go, if this is not one of the first two."""
    with (Path(folder) / f"ran-{n}").open("a") as mark:
        mark.write(f"{os.getpid()}\n")
    while n > 1 and not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return n


@task
def stock(n: int) -> list[int]:
    """Return the process and how many files and folders there are in its scratch folder."""
    return [os.getpid(), sum(1 for _ in Path(os.environ["TMPDIR"]).rglob("*"))]


@workflow
def stocktaking(numbers: list[int]) -> list[list[int]]:
    return map_task(stock)(n=numbers)


@workflow
def everybody(numbers: list[int]) -> list[list[int]]:
    return map_task(who)(n=numbers)


@workflow
def breaking(numbers: list[int], folders: list[str]) -> list[list[int]]:
    return map_task(fragile)(n=numbers, folder=folders)


@workflow
def lingering(numbers: list[int], folders: list[str]) -> list[int]:
    return map_task(linger)(n=numbers, folder=folders)
