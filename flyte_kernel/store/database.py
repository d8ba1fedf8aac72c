"""The DuckDB file: opening it, moving it aside when it is of no use, and telling its errors apart."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from flyte_kernel.errors import FolderLockedError, StorageError, StorageFullError
from flyte_kernel.store.schema import SCHEMA, SCHEMA_VERSION

__all__ = ["Database", "storage_error"]

logger = logging.getLogger(__name__)

# The default of 16 MB makes scattered changes checkpoint at once: 130 ms instead of 13 on a million rows.
_CHECKPOINT_THRESHOLD = "256MB"
# DuckDB guesses the type of a column of Python objects from a sample, which fails where most are None: look at all.
_ANALYZE_ALL = 2**31 - 1


class Database:
    """An open file. Every use takes a cursor of its own, so that readers see whole transactions beside the writer."""

    def __init__(self, path: Path, *, memory_limit: str, threads: int) -> None:
        """Open or create the file; one that cannot be used is moved aside and a fresh one made in its place."""
        self._path = path
        self._options: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory_limit,
            "threads": threads,
            "checkpoint_threshold": _CHECKPOINT_THRESHOLD,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = self._open()

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Give a cursor for one use; DuckDB's errors come out as StorageError."""
        try:
            connection = self._connection.cursor()
            try:
                yield Cursor(connection)
            finally:
                connection.close()
        except duckdb.Error as error:
            raise storage_error(error, self._path) from error

    def reopen(self) -> None:
        """Start over with the file, which DuckDB demands after some errors while it wrote."""
        self._connection.close()
        try:
            self._connection = self._connect()
        except duckdb.Error as error:
            raise storage_error(error, self._path) from error

    def start_over(self, reason: str) -> None:
        """Move a file aside that opened but cannot be read, and make a fresh one in its place."""
        self._connection.close()
        self._move_aside(reason)
        self._connection = self._create()

    def close(self) -> None:
        """Release the file."""
        self._connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self._path.exists()
        try:
            connection = self._connect()
        except duckdb.Error as error:
            if not _is_useless(error):
                raise storage_error(error, self._path) from error
            reason = str(error)
        else:
            if is_new:
                connection.close()
                return self._create()
            if _schema_version(connection) == SCHEMA_VERSION:
                return connection
            connection.close()
            reason = f"it does not have schema version {SCHEMA_VERSION}"
        self._move_aside(reason)
        return self._create()

    def _create(self) -> duckdb.DuckDBPyConnection:
        try:
            return _created(self._connect())
        except duckdb.Error as error:
            raise storage_error(error, self._path) from error

    def _connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(str(self._path), config=self._options)
        connection.execute(f"SET GLOBAL pandas_analyze_sample = {_ANALYZE_ALL}").fetchall()
        return connection

    def _move_aside(self, reason: str) -> None:
        name = self._path.name
        companions = [path for path in self._path.parent.glob(f"{name}*") if ".corrupt-" not in path.name]
        number = 1
        while any(self._path.parent.glob(f"{name}.corrupt-{number}*")):
            number += 1
        for path in companions:
            path.replace(path.with_name(f"{name}.corrupt-{number}{path.name[len(name) :]}"))
        logger.warning(
            "%s was moved aside as %s.corrupt-%d and is rebuilt from the journal: %s", self._path, name, number, reason
        )


class Cursor:
    """One connection to the file, for one thread at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, text: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Execute and return all rows; statements without any return counts."""
        return self._connection.execute(text, list(parameters)).fetchall()

    def columns(self, text: str, parameters: Sequence[object] = ()) -> Mapping[str, NDArray[Any]]:
        """Execute and return the result's columns."""
        columns: Any = self._connection.execute(text, list(parameters)).fetchnumpy()
        return dict(columns)

    @contextmanager
    def table(self, name: str, columns: Mapping[str, NDArray[np.generic]]) -> Iterator[None]:
        """Let statements read `columns` as a table."""
        self._connection.register(name, dict(columns))
        try:
            yield
        finally:
            self._connection.unregister(name)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what happens inside, or nothing of it."""
        self._connection.begin()
        try:
            yield
            self._connection.commit()
        except BaseException:
            self._rollback()
            raise

    def _rollback(self) -> None:
        try:
            self._connection.rollback()
        except duckdb.Error:  # a failed commit has ended the transaction already
            logger.debug("nothing to roll back", exc_info=True)


def storage_error(error: Exception, path: Path) -> StorageError:
    """Return the StorageError that an error of DuckDB stands for."""
    text = str(error)
    if "No space left" in text or "disk quota" in text.lower():
        return StorageFullError(f"no space is left for {path}: {text}")
    if "Could not set lock" in text or "Conflicting lock" in text:
        return FolderLockedError(f"another process has {path} open: {text}")
    return StorageError(
        f"DuckDB failed on {path} ({type(error).__name__}: {text}): if this goes on, stop the server and remove the "
        "file, it is rebuilt from the journal"
    )


def _is_useless(error: duckdb.Error) -> bool:
    """Whether the file's content is to blame, not the disk's space, its rights or another process."""
    text = str(error)
    blameless = ("No space left", "disk quota", "Could not set lock", "Conflicting lock", os.strerror(13))
    return not any(part.lower() in text.lower() for part in blameless) and not isinstance(
        error, duckdb.OutOfMemoryException
    )


def _schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    try:
        rows = connection.execute("SELECT schema_version FROM kernel.progress").fetchall()
    except duckdb.Error:
        return 0
    return int(rows[0][0]) if rows else 0


def _created(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    connection.begin()
    for statement in SCHEMA:
        connection.execute(statement).fetchall()
    connection.execute("INSERT INTO kernel.progress VALUES (?, 0)", [SCHEMA_VERSION]).fetchall()
    connection.commit()
    return connection
