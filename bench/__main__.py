"""`make bench`: every workload in its own process, one table, raw records in bench/records/."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from bench.records import Record, in_own_process, print_table, write_records

MODULES = (
    "bench.core_drive",
    "bench.engine",
    "bench.library",
    "bench.journal_append",
    "bench.first_use",
    "bench.rpc",
    "bench.flytekit_tasks",
)


def main() -> None:
    """Run what is named on the command line, or everything."""
    console = Console(stderr=True)
    records: list[Record] = []
    for module in sys.argv[1:] or MODULES:
        with console.status(f"measuring {module}"):
            records += in_own_process(module)
    print_table(records)
    path = write_records(records, Path("bench/records"))
    console.print(f"raw records: {path}")


if __name__ == "__main__":
    main()
