"""Data of every shape between nodes: attributes, unions, enums, files, tables, pickles."""

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated

import pandas as pd
from flytekit import StructuredDataset, current_context, dynamic, kwtypes, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Inner:
    number: int
    ratio: float
    names: list[str]


@dataclass
class Outer:
    inner: Inner
    table: dict[str, int]
    rows: list[Inner]
    maybe: int | None = None
    flag: bool = True


@dataclass
class Holder:
    file: FlyteFile
    label: str = "held"
    tags: list[str] = field(default_factory=list)


class Opaque:
    """Travels as a pickle."""

    def __init__(self, value: int) -> None:
        self.value = value


@task
def make_outer(n: int) -> Outer:
    inner = Inner(number=n, ratio=n / 4, names=["a", "b", "c" * n])
    return Outer(inner=inner, table={"x": n, "y": 2 * n}, rows=[inner, Inner(n + 1, 0.5, [])], flag=n > 1)


@task
def lists(n: int) -> tuple[list[int], dict[str, int], list[dict[str, str]], dict[str, list[int]]]:
    return [n, n + 1], {"one": n}, [{"k": "first"}, {"k": "second"}], {"many": [1, 2, n]}


@task
def number(n: int) -> int:
    return n


@task
def ratio(f: float) -> float:
    return f


@task
def text(s: str) -> str:
    return s


@task
def flag(b: bool) -> bool:
    return b


@task
def take_inner(inner: Inner) -> int:
    return inner.number + len(inner.names)


@task
def take_names(names: list[str]) -> str:
    return "+".join(names)


@workflow
def attributes(n: int) -> tuple[int, float, str, int, int, int, str, bool]:
    outer = make_outer(n=n)
    return (
        number(n=outer.inner.number),
        ratio(f=outer.inner.ratio),
        text(s=outer.inner.names[2]),
        number(n=outer.table["y"]),
        number(n=outer.rows[1].number),
        take_inner(inner=outer.inner),
        take_names(names=outer.inner.names),
        flag(b=outer.flag),
    )


@workflow
def of_collections(n: int) -> tuple[int, int, str, int]:
    numbers, table, maps, many = lists(n=n)
    return number(n=numbers[1]), number(n=table["one"]), text(s=maps[1]["k"]), number(n=many["many"][2])


@workflow
def attributes_out(n: int) -> tuple[int, str, Inner]:
    """Attributes that are results of the workflow, with no task behind them."""
    outer = make_outer(n=n)
    return outer.inner.number, outer.inner.names[0], outer.inner


@workflow
def attributes_of_input(outer: Outer) -> tuple[int, int]:
    return number(n=outer.inner.number), take_inner(inner=outer.rows[0])


@task
def gather(values: list[int], table: dict[str, int], nested: dict[str, list[int]]) -> int:
    return sum(values) + sum(table.values()) + sum(sum(row) for row in nested.values())


@workflow
def bindings(n: int) -> int:
    """Lists and dicts of promises, constants and inputs."""
    made = number(n=n)
    return gather(values=[made, 1, n], table={"a": made, "b": 2}, nested={"p": [made, made], "q": [3]})


@task
def optional(n: int | None = None, s: str | None = "given") -> str:
    return f"{n}/{s}"


@task
def either(value: int | str) -> int | str:
    return value + 1 if isinstance(value, int) else value + "!"


@task
def perhaps(n: int) -> int | None:
    return n if n > 0 else None


@workflow
def optionals(n: int | None = None) -> tuple[str, str, str, int | None, int | None]:
    return optional(n=n), optional(n=perhaps(n=1), s=None), optional(), perhaps(n=1), perhaps(n=-1)


@workflow
def unions(a: int | str, b: int | str) -> tuple[int | str, int | str]:
    return either(value=either(value=a)), either(value=b)


@task
def paint(colour: Colour) -> Colour:
    return Colour.RED if colour == Colour.GREEN else Colour.GREEN


@workflow
def enums(colour: Colour) -> tuple[Colour, Colour]:
    once = paint(colour=colour)
    return once, paint(colour=once)


@task
def shift(when: datetime, by: timedelta, day: date) -> tuple[datetime, timedelta, date]:
    return when + by, by * 2, day + timedelta(days=1)


@workflow
def moments(when: datetime, by: timedelta, day: date) -> tuple[datetime, timedelta, date]:
    return shift(when=when, by=by, day=day)


@task
def make_file(content: str) -> FlyteFile:
    path = Path(current_context().working_directory) / "made.txt"
    path.write_text(content)
    return FlyteFile(str(path))


@task
def typed_file(content: str) -> FlyteFile["csv"]:  # noqa: F821
    path = Path(current_context().working_directory) / "made.csv"
    path.write_text(content)
    return FlyteFile["csv"](str(path))


@task
def streamed(file: FlyteFile) -> str:
    with file.open("r") as stream:
        return str(stream.read())


@task
def read_files(files: list[FlyteFile]) -> str:
    return "&".join(Path(file.download()).read_text() for file in files)


@task
def hold(content: str) -> Holder:
    path = Path(current_context().working_directory) / "held.txt"
    path.write_text(content)
    return Holder(file=FlyteFile(str(path)), tags=[content])


@task
def open_holder(holder: Holder) -> str:
    return Path(holder.file.download()).read_text() + holder.label + "".join(holder.tags)


@workflow
def files(content: str, given: FlyteFile) -> tuple[str, str, str, FlyteFile, str]:
    made = make_file(content=content)
    held = hold(content=content)
    return (
        streamed(file=made),
        read_files(files=[made, given]),
        open_holder(holder=held),
        typed_file(content=content),
        streamed(file=held.file),
    )


@task
def make_folder(content: str) -> FlyteDirectory:
    folder = Path(current_context().working_directory) / "folder"
    (folder / "below" / "deeper").mkdir(parents=True)
    (folder / "below" / "deeper" / "a.txt").write_text(content)
    (folder / "b.txt").write_text(content[::-1])
    return FlyteDirectory(str(folder))


@task
def list_folder(folder: FlyteDirectory) -> list[str]:
    root = Path(folder.download())
    return sorted(f"{path.relative_to(root)}={path.read_text()}" for path in root.rglob("*") if path.is_file())


@workflow
def folders(content: str) -> tuple[list[str], FlyteDirectory]:
    made = make_folder(content=content)
    return list_folder(folder=made), made


@task
def make_table(rows: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"n": range(rows), "square": [n * n for n in range(rows)], "name": [f"r{n}" for n in range(rows)]}
    )


@task
def as_dataset(table: pd.DataFrame) -> Annotated[StructuredDataset, kwtypes(n=int, square=int)]:
    return StructuredDataset(dataframe=table)


@task
def of_dataset(dataset: StructuredDataset) -> int:
    return int(dataset.open(pd.DataFrame).all()["square"].sum())


@task
def of_columns(dataset: Annotated[StructuredDataset, kwtypes(n=int)]) -> list[str]:
    return list(dataset.open(pd.DataFrame).all().columns)


@workflow
def tables(rows: int) -> tuple[int, list[str], pd.DataFrame, StructuredDataset]:
    table = make_table(rows=rows)
    dataset = as_dataset(table=table)
    return of_dataset(dataset=dataset), of_columns(dataset=dataset), table, dataset


@task
def make_opaque(value: int) -> Opaque:
    return Opaque(value)


@task
def make_opaques(value: int) -> list[Opaque]:
    return [Opaque(value), Opaque(value + 1)]


@task
def open_opaque(opaque: Opaque) -> int:
    return opaque.value


@task
def open_opaques(opaques: list[Opaque]) -> int:
    return sum(opaque.value for opaque in opaques)


@workflow
def pickles(value: int) -> tuple[int, int]:
    return open_opaque(opaque=make_opaque(value=value)), open_opaques(opaques=make_opaques(value=value))


@dynamic
def read_each(contents: list[str]) -> list[str]:
    return [streamed(file=make_file(content=content)) for content in contents]


@workflow
def files_in_dynamic(contents: list[str]) -> list[str]:
    return read_each(contents=contents)


@task
def everything(
    numbers: list[list[int]], table: dict[str, list[Inner]], nothing: list[int], empty: dict[str, int]
) -> tuple[list[list[int]], dict[str, list[Inner]], list[int], dict[str, int]]:
    return numbers[::-1], table, nothing, empty


@workflow
def nested_collections(
    numbers: list[list[int]], table: dict[str, list[Inner]], nothing: list[int], empty: dict[str, int]
) -> tuple[list[list[int]], dict[str, list[Inner]], list[int], dict[str, int]]:
    return everything(numbers=numbers, table=table, nothing=nothing, empty=empty)
