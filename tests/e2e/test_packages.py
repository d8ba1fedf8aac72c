"""The wheel and the sdist, built from this tree and installed into environments that have nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = os.environ.get("UV") or shutil.which("uv") or str(ROOT / ".tools/bin/uv")
USE = """
import sys
before = set(sys.modules)
import flyte_kernel
import numpy
roots = {name.partition(".")[0] for name in set(sys.modules) - before}
outside = {name for name in roots if name not in sys.stdlib_module_names and not name.startswith("__")}
print(sorted(outside))
print(flyte_kernel.map(abs, [-1, 2]).results)
print(len(flyte_kernel.Graph.from_edges(2, numpy.array([0], "u4"), numpy.array([1], "u4"))))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # the sdist compiles the core once more


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command and return what it prints."""
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def use_in_clean_environment(package: Path, folder: Path, **environment: str) -> list[str]:
    """Install a package into an environment of its own and use it there, far from this tree."""
    python = folder / "clean" / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, str(folder / "clean"))
    run(UV, "pip", "install", "--quiet", "--python", str(python), str(package), **environment)
    installed = run(UV, "pip", "list", "--quiet", "--python", str(python), "--format", "freeze").split()
    assert {line.partition("==")[0] for line in installed} == {"flyte-kernel", "numpy"}
    return run(str(python), "-c", USE, cwd=folder).splitlines()


def test_the_wheel_needs_numpy_and_no_rust(tmp_path: Path) -> None:
    run(sys.executable, "-m", "maturin", "build", "--release", "--locked", "--out", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp310-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.partition("/")[0] for name in names}
        assert {top for top in tops if not top.endswith((".dist-info", ".libs"))} == {"flyte_kernel"}
        assert not [name for name in names if "test_" in name or name.endswith(".rs")]
        assert "flyte_kernel/py.typed" in names
        assert "flyte_kernel/_core.pyi" in names
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra ==" not in line]
    assert required == ["Requires-Dist: numpy>=1.26"]
    without_rust = {
        "PATH": os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "cargo").exists())
    }
    assert use_in_clean_environment(wheel, tmp_path, **without_rust) == ["['flyte_kernel', 'numpy']", "[1, 2]", "2"]


def test_the_sdist_builds_where_there_is_rust(tmp_path: Path) -> None:
    run(sys.executable, "-m", "maturin", "sdist", "--out", str(tmp_path))
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert any(name.endswith("/core/src/phase.rs") for name in names)
    assert any(name.endswith("/LICENSE") for name in names)
    # The compiled dependencies of this tree are used again, which saves a minute.
    found = use_in_clean_environment(sdist, tmp_path, CARGO_TARGET_DIR=str(ROOT / "target"))
    assert found == ["['flyte_kernel', 'numpy']", "[1, 2]", "2"]
