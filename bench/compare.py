"""`make bench-compare`: are we farther from the limit of the same run than the baseline was?

Times differ from machine to machine; what is compared is each row's ratio to the limit of its workload, measured in the
same run. `--write` makes the newest records the baseline, `--widen` takes into it what the same code was seen to need
beyond it: a machine's caches and neighbours move some rows to twice their ratio.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.records import Record, times_the_limit

RECORDS = Path("bench/records")
BASELINE = Path("bench/baseline.json")
WORSE_MAX = 1.25  # a guess: what two runs on a busy machine differ by


def ratios(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the same for records as they are stored."""
    return ratios_of([Record(**record) for record in records])


def ratios_of(records: Sequence[Record]) -> dict[str, float]:
    """Return by row how many times worse than its limit it is; more is worse, whatever the unit."""
    limits = {(record.workload, record.unit): record.value for record in records if record.role == "limit"}
    found = {}
    for record in records:
        limit = limits.get((record.workload, record.unit))
        if record.role == "ours" and limit and record.value:
            found[f"{record.workload}: {record.name}"] = round(times_the_limit(record, limit), 3)
    return found


def compare(now: dict[str, float], baseline: dict[str, float]) -> list[str]:
    """Return the rows that are worse than the baseline allows, or are not measured any more."""
    return [row for row, before in baseline.items() if now.get(row, float("inf")) > before * WORSE_MAX]


def widened(now: dict[str, float], baseline: dict[str, float]) -> dict[str, float]:
    """Return the farthest that each row was in either; what was not measured now stays as it is."""
    return {row: max(before, now.get(row, before)) for row, before in {**now, **baseline}.items()}


def main(arguments: Sequence[str] = ()) -> int:
    """Print the table; 1 if something regressed."""
    newest = max(RECORDS.glob("*.json"), default=None)
    if newest is None:
        sys.exit("there are no records: run `make bench` first")
    now = ratios(json.loads(newest.read_text())["records"])
    if "--write" in arguments:
        BASELINE.write_text(json.dumps(now, indent=1) + "\n")
    if "--widen" in arguments:
        seen = widened(now, json.loads(BASELINE.read_text()))
        BASELINE.write_text(json.dumps(seen, indent=1) + "\n")
    baseline: dict[str, float] = json.loads(BASELINE.read_text())
    worse = compare(now, baseline)
    table = Table(title=f"times the limit, {newest.name} beside the baseline", title_justify="left")
    for column in ("row", "now", "baseline", ""):
        table.add_column(column, justify="left" if column in ("row", "") else "right")
    for row, before in baseline.items():
        table.add_row(
            row, f"{now[row]:.2f}x" if row in now else "absent", f"{before:.2f}x", "WORSE" if row in worse else ""
        )
    Console(width=150).print(table)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
