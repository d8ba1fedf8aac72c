"""What the Rust core is worth: the slow obvious model of the tests, as Python and compiled by Cython, beside the core.

The model looks at every node after every event, so the graph is small. Runs in the project's environment with Cython
and setuptools beside it, and needs a C compiler.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.core_drive import best_of, drive
from bench.records import Record
from bench.workloads import layered_graph
from flyte_kernel import Graph

SIZE, SMOKE_SIZE = (200, 400, 10), (20, 40, 4)
MODULES = ("oracle_state", "oracle_maps", "oracle")
_BUILD = """
from Cython.Build import cythonize
from setuptools import setup
setup(ext_modules=cythonize({paths}, compiler_directives={{"annotation_typing": False}}))
"""


def drive_model(size: tuple[int, int, int]) -> tuple[float, int]:
    """Drive the model that is first on the path; return the seconds and how many nodes succeeded."""
    from flyte_kernel.phases import EffectKind, EventKind
    from tests.support.oracle import NONE, Event, Oracle, Shape

    edges, oracle, count = layered_graph(*size, 1), Oracle(), size[0]
    pairs = sorted(set(zip(edges.source.tolist(), edges.target.tolist(), strict=True)))
    oracle.graphs.append(Shape([0] * count, [NONE] * count, pairs, [1] * count, [0] * count, [0] * count))
    began, succeeded = time.perf_counter(), 0
    turn = oracle.step(0, [Event(EventKind.RUN_CREATED, 0, 0, 0, NONE, 0)])
    while launched := [effect.node for effect in turn.effects if effect.kind == EffectKind.LAUNCH_ATTEMPTS]:
        succeeded += len(launched)
        turn = oracle.step(0, [Event(EventKind.ATTEMPT_SUCCEEDED, 0, node, 0, NONE, 0) for node in launched])
    return time.perf_counter() - began, succeeded


def compiled(folder: Path) -> None:
    """Compile the model's modules into a folder that looks like the tests' package."""
    package = folder / "tests" / "support"
    package.mkdir(parents=True)
    for place in (package, package.parent):
        (place / "__init__.py").touch()
    for module in MODULES:
        shutil.copy(Path("tests/support") / f"{module}.py", package)
    paths = [f"tests/support/{module}.py" for module in MODULES]
    command = [sys.executable, "-c", _BUILD.format(paths=paths), "build_ext", "--inplace", "--quiet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    for module in MODULES:
        (package / f"{module}.py").unlink()


def in_process_of_its_own(path: str, size: tuple[int, int, int]) -> tuple[float, int]:
    """Drive a model in a fresh interpreter."""
    code = f"from bench.rivals.cython_oracle import drive_model; print(*drive_model({size}))"
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    seconds, succeeded = output.split()
    return float(seconds), int(succeeded)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for a size that a test can afford."""
    size = SMOKE_SIZE if "--smoke" in arguments else SIZE
    workload, root = f"drive {size[0]:,} nodes, {size[1]:,} edges, the tests' model", str(Path.cwd())
    graph = Graph.from_edges(*layered_graph(*size, 1))
    core = best_of(50, lambda: drive(graph))
    rows = [("flyte_kernel", "ours", (core.seconds, core.succeeded))]
    with tempfile.TemporaryDirectory(prefix="bench-cython-") as folder:
        compiled(Path(folder))
        rows.append(("model in Python", "rival", in_process_of_its_own(root, size)))
        rows.append(("model compiled by Cython", "rival", in_process_of_its_own(f"{folder}{os.pathsep}{root}", size)))
    for name, role, (seconds, succeeded) in rows:
        print(json.dumps(asdict(Record(workload, name, role, seconds * 1e3, "ms", check=str(succeeded)))))


if __name__ == "__main__":
    main(sys.argv[1:])
