"""What one measurement is, and how measurements become a table and a file."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table

__all__ = [
    "Record",
    "in_environment_of_its_own",
    "in_own_process",
    "machine",
    "print_table",
    "times_the_limit",
    "write_records",
]

PACKAGES = ("numpy", "grpcio", "duckdb", "flyteidl", "flytekit", "rustworkx", "networkx")


@dataclass
class Record:
    """One row: `value` in `unit`; `role` says whether it is ours, a rival's or the limit; `check` is a result hash.

    `goal` is what the row is held against, as text; `error` tells why there is no value.
    """

    workload: str
    name: str
    role: str
    value: float | None
    unit: str
    goal: str = ""
    check: str = ""
    error: str = ""
    details: dict[str, float] = field(default_factory=dict)


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    installed = {distribution.name: distribution.version for distribution in metadata.distributions()}
    versions = {package: installed.get(package, "absent") for package in PACKAGES}
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        **versions,
    }


def in_own_process(module: str, *arguments: str, beside: Sequence[str] = (), timeout_s: int = 600) -> list[Record]:
    """Run a bench module that prints records as JSON lines; what goes wrong becomes a row that says so.

    `beside` are packages that it needs beside the project's own.
    """
    packages = [word for package in beside for word in ("--with", package)]
    python = [_uv(), "run", "--quiet", "--no-sync", *packages, "python"] if beside else [sys.executable]
    return _records_of(module, [*python, "-m", module, *arguments], timeout_s, dict(os.environ))


def _uv() -> str:
    """Return the uv that the Makefile names, or the one on the path, or the one that the Makefile fetched."""
    return os.environ.get("UV") or shutil.which("uv") or str(Path(__file__).parents[1] / ".tools/bin/uv")


def _records_of(what: str, command: list[str], timeout_s: int, environment: dict[str, str]) -> list[Record]:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=timeout_s, env=environment
        )
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        return [Record(what, "", "ours", None, "", error=str(error)[:200])]
    records = [Record(**json.loads(line)) for line in result.stdout.splitlines() if line.startswith("{")]
    if result.returncode:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        records.append(Record(what, "", "ours", None, "", error=last[:200]))
    return records


def in_environment_of_its_own(script: str, *arguments: str, timeout_s: int = 600) -> list[Record]:
    """Run a script of bench/rivals in the environment that its header pins; what goes wrong becomes a row that says so.

    uv makes the environment.
    """
    path, root = Path("bench/rivals") / f"{script}.py", Path(__file__).parents[1]
    command = [_uv(), "run", "--quiet", "--no-project", "--script", str(path), *arguments]
    return _records_of(script, command, timeout_s, {**os.environ, "PYTHONPATH": str(root)})


def write_records(records: list[Record], folder: Path) -> Path:
    """Keep the raw records with machine and versions."""
    folder.mkdir(parents=True, exist_ok=True)
    about = machine()
    path = folder / f"{about['time'].replace(':', '')}.json"
    path.write_text(json.dumps({"machine": about, "records": [asdict(r) for r in records]}, indent=1) + "\n")
    return path


def times_the_limit(record: Record, limit: float) -> float:
    """Return how many times worse than its limit a row is; more is worse, whatever the unit."""
    value = record.value or 0.0
    return limit / value if record.unit.endswith(("/s", "a second")) else value / limit


def print_table(records: list[Record]) -> None:
    """Print one table: every row beside the limit of its workload, if it has one in the same unit."""
    table = Table(title="flyte-kernel: measured here and now", title_justify="left")
    for column in ("workload", "what", "role", "value", "times the limit", "goal"):
        table.add_column(column, justify="right" if column in ("value", "times the limit") else "left")
    limits = {(r.workload, r.unit): r.value for r in records if r.role == "limit" and r.value}
    for record in records:
        limit = limits.get((record.workload, record.unit))
        ratio = f"{times_the_limit(record, limit):,.2f}x" if limit and record.value and record.role != "limit" else ""
        value = f"{record.value:,.4g} {record.unit}" if record.value is not None else f"failed: {record.error}"
        table.add_row(record.workload, record.name, record.role, value, ratio, record.goal)
    Console(width=150).print(table)
