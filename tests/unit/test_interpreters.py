"""The library in an interpreter beside the main one, as far as NumPy can be there."""

from __future__ import annotations

import subprocess
import sys

import pytest

_BESIDE = """
import sys
import _xxsubinterpreters as interpreters

work = '''
import sys
sys.path[:] = {path!r}
import numpy as np
from flyte_kernel import Graph, Run
run = Run(Graph.from_edges(3, np.array([0, 1], np.uint32), np.array([1, 2], np.uint32)))
done = []
while len(nodes := run.ready()):
    done += nodes.tolist()
    run.succeed(nodes)
print(done, run.phase)
'''.format(path=sys.path)
beside = interpreters.create()
interpreters.run_string(beside, work)
interpreters.destroy(beside)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there NumPy refuses to be imported beside itself")
def test_a_run_in_another_interpreter() -> None:
    """One a process may have NumPy, which says so itself; nothing here asks for more."""
    done = subprocess.run([sys.executable, "-c", _BESIDE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[0, 1, 2] ")
