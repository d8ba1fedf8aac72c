"""`make bench`: every workload in its own process, one table, raw records in bench/records/, pictures in docs/."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.plots import draw
from bench.records import Record, in_environment_of_its_own, in_own_process, print_table, write_records

MODULES = (
    "bench.core_drive",
    "bench.many_runs",
    "bench.library",
    "bench.tasks",
    "bench.engine",
    "bench.journal_append",
    "bench.recovery",
    "bench.cache",
    "bench.memory",
    "bench.first_use",
    "bench.rpc",
    "bench.sleeping_tasks",
    "bench.flytekit_tasks",
)
RIVALS = (
    "standard_library",
    "joblib_pools",
    "dask_graphs",
    "ray_tasks",
    "dbos_workflows",
    "hyperqueue_jobs",
    "prefect_flows",
)
CYTHON = "bench.rivals.cython_oracle"


def measurements() -> dict[str, Callable[[], list[Record]]]:
    """Return everything that can be measured, by name."""
    return {
        **{module: partial(in_own_process, module) for module in MODULES},
        **{script: partial(in_environment_of_its_own, script) for script in RIVALS},
        CYTHON: partial(in_own_process, CYTHON, beside=("cython==3.2.1", "setuptools==80.9.0")),
    }


def main() -> None:
    """Run what is named on the command line, or everything."""
    console = Console(stderr=True)
    records: list[Record] = []
    known = measurements()
    for name in sys.argv[1:] or known:
        if name not in known:
            sys.exit(f"there is no measurement {name!r}, only {', '.join(known)}")
        with console.status(f"measuring {name}"):
            records += known[name]()
    print_table(records)
    path = write_records(records, Path("bench/records"))
    console.print(f"raw records: {path}")
    for picture in draw(records, Path("docs/images")):
        console.print(f"picture: {picture}")


if __name__ == "__main__":
    main()
