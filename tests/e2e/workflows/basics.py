"""Workflows that the end-to-end tests register with an unmodified flytekit."""

import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from flytekit import current_context, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile


class Both(NamedTuple):
    total: int
    text: str


@dataclass
class Point:
    x: int
    label: str


class Opaque:
    """Travels as a pickle."""

    def __init__(self, value: int) -> None:
        self.value = value


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def describe(total: int, prefix: str = "total") -> str:
    return f"{prefix}={total}"


@workflow
def inner(a: int) -> int:
    return add(a=add(a=a, b=1), b=1)


@workflow
def nested(a: int) -> int:
    return inner(a=inner(a=a))


@workflow
def basic(a: int, b: int = 2, prefix: str = "sum") -> Both:
    total = add(a=a, b=b)
    return Both(total, describe(total=inner(a=total), prefix=prefix))


@task
def echo_everything(
    i: int, f: float, s: str, t: bool, when: datetime, span: timedelta, points: list[Point], table: dict[str, int]
) -> tuple[int, float, str, bool, datetime, timedelta, list[Point], dict[str, int]]:
    return i, f, s, t, when, span, points, table


@workflow
def every_type(
    i: int, f: float, s: str, t: bool, when: datetime, span: timedelta, points: list[Point], table: dict[str, int]
) -> tuple[int, float, str, bool, datetime, timedelta, list[Point], dict[str, int]]:
    return echo_everything(i=i, f=f, s=s, t=t, when=when, span=span, points=points, table=table)


@task
def make_file(text: str) -> FlyteFile:
    path = Path(current_context().working_directory) / "made.txt"
    path.write_text(text)
    return FlyteFile(str(path))


@task
def read_file(file: FlyteFile) -> str:
    return Path(file.download()).read_text()


@task
def make_folder(text: str) -> FlyteDirectory:
    folder = Path(current_context().working_directory) / "folder"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.txt").write_text(text)
    (folder / "b.txt").write_text(text[::-1])
    return FlyteDirectory(str(folder))


@task
def read_folder(folder: FlyteDirectory) -> str:
    root = Path(folder.download())
    return (root / "below" / "a.txt").read_text() + (root / "b.txt").read_text()


@task
def make_table(rows: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "square": [n * n for n in range(rows)]})


@task
def sum_table(table: pd.DataFrame) -> int:
    return int(table["square"].sum())


@task
def make_opaque(value: int) -> Opaque:
    return Opaque(value)


@task
def open_opaque(opaque: Opaque) -> int:
    return opaque.value


@workflow
def data(text: str, rows: int) -> tuple[str, str, int, int, FlyteFile, pd.DataFrame]:
    file = make_file(text=text)
    table = make_table(rows=rows)
    opened = open_opaque(opaque=make_opaque(value=rows))
    folder = read_folder(folder=make_folder(text=text))
    return read_file(file=file), folder, sum_table(table=table), opened, file, table


@task
def fail(message: str) -> int:
    if message:
        raise ValueError(message)
    return 0


@workflow
def failing(message: str) -> int:
    return add(a=fail(message=message), b=1)


@task(retries=3)
def recover_after(failures: int) -> int:
    attempt = int(os.environ["FLYTE_ATTEMPT_NUMBER"])
    if attempt < failures:
        raise FlyteRecoverableException(f"attempt {attempt}")
    return attempt


@workflow
def recovering(failures: int) -> int:
    return recover_after(failures=failures)


@task
def crash() -> int:
    os.kill(os.getpid(), signal.SIGSEGV)
    return 0


@workflow
def crashing() -> int:
    return crash()


@task
def wait_for(path: str, seconds: float) -> str:
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "waited"


@workflow
def waiting(path: str, seconds: float = 60.0) -> str:
    return wait_for(path=path, seconds=seconds)


@task(timeout=timedelta(seconds=1), retries=1)
def too_slow(path: str) -> str:
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(60)
    return "never"


@workflow
def timing_out(path: str) -> str:
    return too_slow(path=path)


@task
def record(folder: str, value: int) -> int:
    """Leave a mark that shows how often this ran: one line a process that got this far."""
    name = f"{os.environ['FLYTE_INTERNAL_EXECUTION_ID']}-{value}-{os.environ['FLYTE_ATTEMPT_NUMBER']}"
    with (Path(folder) / name).open("a") as file:
        file.write(f"start {os.getpid()}\n")
    time.sleep(0.05)
    with (Path(folder) / name).open("a") as file:
        file.write(f"end {os.getpid()}\n")
    return value + 1


@workflow
def recorded_chain(folder: str) -> int:
    a = record(folder=folder, value=0)
    b = record(folder=folder, value=a)
    c = record(folder=folder, value=b)
    return add(a=c, b=record(folder=folder, value=c))
