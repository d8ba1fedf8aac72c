"""What happens around one task: decks, checkpoints, retries, timeouts, its environment."""

import os
import time
from datetime import timedelta
from pathlib import Path

from flytekit import Deck, current_context, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.file import FlyteFile


def remotely() -> bool:
    return bool(os.environ.get("FLYTE_INTERNAL_EXECUTION_ID"))


def attempt_number() -> int:
    return int(os.environ.get("FLYTE_ATTEMPT_NUMBER") or 0)


@task(enable_deck=True)
def drawn(n: int) -> int:
    Deck("numbers", f"<b>the number is {n}</b>")
    return n


@workflow
def with_deck(n: int) -> int:
    return drawn(n=n)


@task(retries=3)
def counting(target: int) -> int:
    """Goes one step an attempt and remembers where it was."""
    checkpoint = current_context().checkpoint
    before = checkpoint.read() if checkpoint is not None else None
    reached = int(before.decode()) if before else 0
    if not remotely():
        return target
    if reached < target:
        checkpoint.write(f"{reached + 1}".encode())
        raise FlyteRecoverableException(f"reached {reached + 1}")
    assert attempt_number() == target
    return reached


@workflow
def with_checkpoints(target: int) -> int:
    return counting(target=target)


@task(retries=5)
def plain_error(folder: str) -> int:
    (Path(folder) / f"plain-{attempt_number()}").touch()
    if folder:
        raise ValueError("never again")
    return 1


@workflow
def not_recoverable(folder: str) -> int:
    return plain_error(folder=folder)


@task(retries=2)
def third_time(folder: str) -> int:
    (Path(folder) / f"third-{attempt_number()}").touch()
    if remotely() and attempt_number() < 2:
        raise FlyteRecoverableException("again")
    return 3


@workflow
def recoverable(folder: str) -> int:
    return third_time(folder=folder)


@task(retries=1)
def hopeless(n: int) -> int:
    if n > 0:
        raise FlyteRecoverableException("hopeless")
    return n


@workflow
def exhausted(n: int) -> int:
    return hopeless(n=n)


@task(timeout=timedelta(seconds=5))  # it must begin within twice as much
def slow(folder: str) -> int:
    (Path(folder) / f"slow-{os.getpid()}").touch()
    time.sleep(60)
    return 1


@workflow
def too_slow(folder: str) -> int:
    return slow(folder=folder)


@task(retries=1, timeout=timedelta(seconds=8))  # the second attempt must begin within as much again
def slow_once(folder: str) -> int:
    (Path(folder) / f"once-{attempt_number()}").touch()
    if remotely() and attempt_number() == 0:
        time.sleep(60)
    return 1


@workflow
def slow_at_first(folder: str) -> int:
    return slow_once(folder=folder)


@task
def quick(n: int) -> int:
    return n


@workflow
def overridden(n: int) -> int:
    """Retries and timeouts given where the task is called."""
    return quick(n=n).with_overrides(retries=2, timeout=timedelta(seconds=30), interruptible=True)


@task
def surroundings(names: list[str]) -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in names}


@task
def raw_file(content: str) -> FlyteFile:
    path = Path(current_context().working_directory) / "raw.txt"
    path.write_text(content)
    return FlyteFile(str(path))


@workflow
def showing(names: list[str], content: str) -> tuple[dict[str, str], FlyteFile]:
    return surroundings(names=names), raw_file(content=content)


@task(environment={"FROM_TASK": "task", "IN_BOTH": "task"})
def with_environment(names: list[str]) -> dict[str, str]:
    return {name: os.environ.get(name, "") for name in names}


@workflow
def with_task_environment(names: list[str]) -> dict[str, str]:
    return with_environment(names=names)


@task
def overlapping(n: int, folder: str) -> int:
    """How many of these are under way, this one included."""
    mark = Path(folder) / f"running-{n}"
    mark.touch()
    time.sleep(0.15)
    seen = len(list(Path(folder).glob("running-*")))
    mark.unlink()
    return seen


@task
def largest(values: list[int]) -> int:
    return max(values)


@workflow
def eight_at_once(folder: str) -> int:
    return largest(values=[overlapping(n=n, folder=folder) for n in range(8)])


@task
def wait_for(folder: str) -> int:
    (Path(folder) / f"pid-{os.environ.get('FLYTE_INTERNAL_EXECUTION_ID', '')}").write_text(str(os.getpid()))
    while not (Path(folder) / "go").exists():
        time.sleep(0.02)
    return 1


@task
def failing_unless(folder: str, name: str) -> int:
    if not (Path(folder) / name).exists():
        raise ValueError(f"{name} is missing")
    return 5
