"""What it costs to import the kernel and to let a server idle."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import psutil

from bench.records import Record
from tests.support.server import ServerProcess


def import_ms(module: str, rounds: int) -> float:
    """Return the median time of a fresh interpreter's import of a module, without the interpreter's own start."""
    code = f"import time; t = time.perf_counter(); import {module}; print((time.perf_counter() - t) * 1e3)"
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(rounds)]
    return statistics.median(float(run.stdout) for run in runs)


def main(rounds: int = 9) -> None:
    """Print the records."""
    kernel, numpy = import_ms("flyte_kernel", rounds), import_ms("numpy", rounds)
    print(json.dumps(asdict(Record("import", "flyte_kernel", "ours", kernel, "ms", goal="< 80 ms"))))
    print(json.dumps(asdict(Record("import", "numpy alone", "limit", numpy, "ms"))))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        server = ServerProcess(Path(folder) / "data").start()
        ready_s = time.perf_counter() - began
        family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        rss_mb = sum(process.memory_info().rss for process in family) / 1e6
        server.stop()
    print(json.dumps(asdict(Record("idle server", "memory", "ours", rss_mb, "MB", goal="< 150 MB"))))
    print(json.dumps(asdict(Record("idle server", "start to serving", "ours", ready_s, "s"))))


if __name__ == "__main__":
    main()
