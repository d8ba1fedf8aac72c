"""Runs `views` under valgrind and fails on any error that has to do with the core's memory: `make memcheck`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

_CORE = "_core"
_LOADER = "ld-linux"  # compares strings by whole words, beyond their ends
# Of the interpreter and its libraries many are known; reads of freed memory are nobody's right.
_ALWAYS_WRONG = frozenset({"InvalidRead", "InvalidWrite", "InvalidFree", "MismatchedFree", "InvalidJump", "Overlap"})


def is_ours(error: ET.Element) -> bool:
    """Say whether an error is to be mended: code of the core took part, or memory that it allocated or freed."""
    objects = [Path(place.text or "").name for place in error.iter("obj")]
    kind = error.findtext("kind") or ""
    if kind.startswith("Leak_") or not objects or _LOADER in objects[0]:
        return False
    return kind in _ALWAYS_WRONG or any(_CORE in name for name in objects)


def main() -> int:
    """Print what was found; return the exit code."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        print("memcheck needs valgrind, which is not installed", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        done = subprocess.run(
            [
                *(valgrind, "--tool=memcheck", "--xml=yes", f"--xml-file={report}", "--num-callers=30"),
                *(sys.executable, "-m", "tests.memcheck.views"),
            ],
            env={**os.environ, "PYTHONMALLOC": "malloc", "OPENBLAS_NUM_THREADS": "1"},
            check=False,
        )
        errors = list(ET.parse(report).getroot().iter("error"))
    found = [error for error in errors if is_ours(error)]
    for error in found:
        print(error.findtext("kind"), error.findtext("what"))
        for frame in list(error.iter("frame"))[:12]:
            print("   ", frame.findtext("fn"), frame.findtext("obj"))
    print(f"of {len(errors)} errors {len(found)} are of the core; the program ended with {done.returncode}")
    return 1 if found or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
