"""Caching. A stamp is different at every run, so an equal one was taken from the cache."""

import time
import uuid
from pathlib import Path
from typing import Annotated

import pandas as pd
from flytekit import Cache, HashMethod, dynamic, task, workflow


@task(cache=Cache(version="1"))
def stamp(key: str) -> str:
    return f"{key}-{uuid.uuid4().hex}"


@workflow
def stamped(key: str) -> str:
    return stamp(key=key)


@task(cache=Cache(version="1", ignored_inputs=("noise",)))
def stamp_without(key: str, noise: int) -> str:
    return f"{key}-{noise}-{uuid.uuid4().hex}"


@workflow
def ignoring(key: str, noise: int) -> str:
    return stamp_without(key=key, noise=noise)


@task(cache=Cache(version="1", serialize=True))
def slow_stamp(key: str, folder: str) -> str:
    (Path(folder) / uuid.uuid4().hex).touch()
    time.sleep(0.5)
    return f"{key}-{uuid.uuid4().hex}"


@workflow
def serialised(key: str, folder: str) -> str:
    return slow_stamp(key=key, folder=folder)


def hash_table(table: pd.DataFrame) -> str:
    return str(pd.util.hash_pandas_object(table).sum())


@task
def make_table(rows: int, key: str) -> Annotated[pd.DataFrame, HashMethod(hash_table)]:
    return pd.DataFrame({"n": range(rows), "key": [key] * rows})


@task
def make_table_without_hash(rows: int, key: str) -> pd.DataFrame:
    return pd.DataFrame({"n": range(rows), "key": [key] * rows})


@task(cache=Cache(version="1"))
def stamp_table(table: pd.DataFrame) -> str:
    return f"{len(table)}-{uuid.uuid4().hex}"


@workflow
def hashed(rows: int, key: str) -> str:
    """Equal tables have other addresses every time; their hashes are equal."""
    return stamp_table(table=make_table(rows=rows, key=key))


@workflow
def not_hashed(rows: int, key: str) -> str:
    return stamp_table(table=make_table_without_hash(rows=rows, key=key))


@dynamic(cache=Cache(version="1"))
def grow(key: str) -> list[str]:
    return [fresh(key=key), fresh(key=key)]


@task
def fresh(key: str) -> str:
    return f"{key}-{uuid.uuid4().hex}"


@workflow
def cached_dynamic(key: str) -> list[str]:
    return grow(key=key)


@task(cache=Cache(version="1"))
def cached_failure(key: str) -> str:
    if key:
        raise ValueError(f"{key} {uuid.uuid4().hex}")
    return key


@workflow
def failing(key: str) -> str:
    return cached_failure(key=key)


@workflow
def chained(key: str) -> tuple[str, str]:
    """Two cached runs of the same key within one execution, one after the other."""
    first = stamp(key=key)
    second = stamp(key=key)
    first >> second
    return first, second
