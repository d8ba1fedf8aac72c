"""Values as JSON, so that results of two runs in two processes can be compared."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
from flytekit import StructuredDataset
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile


def plain(value: object) -> object:
    """Return what is in a value, as JSON can hold it: contents of files, rows of tables, fields of dataclasses."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case enum.Enum():
            return f"{type(value).__name__}.{value.name}"
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return f"{value / timedelta(microseconds=1):.0f} us"
        case FlyteFile():
            return {"file": Path(value.download()).read_text()}
        case FlyteDirectory():
            return {"directory": directory(Path(value.download()))}
        case StructuredDataset():
            return plain(value.open(pd.DataFrame).all())
        case pd.DataFrame():
            return {"table": {str(name): column.tolist() for name, column in value.items()}}
        case Mapping():
            return {str(key): plain(below) for key, below in value.items()}
        case list() | tuple():
            return [plain(below) for below in value]
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    raise TypeError(f"no plain form of {type(value)}")


def directory(root: Path) -> dict[str, str]:
    """Return the content of each file below a folder, by its path."""
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}
