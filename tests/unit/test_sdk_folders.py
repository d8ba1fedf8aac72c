"""The SDK's temporary folders in an attempt: kept as they are, emptied of everything, given up when changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_kernel.executors.zygote import sdk_folders

KEPT = [
    "flyte",
    "flyte/access",
    "flyte/access/local_flytekit",
    "flyte/access/local_flytekit/engine_dir",
    "flyte/sandbox",
]


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    for name in KEPT:
        (tmp_path / name).mkdir(mode=0o700, parents=True)
    for file in ("flyte/inputs.pb", "flyte/access/x", "flyte/access/local_flytekit/engine_dir/outputs.pb"):
        (tmp_path / file).write_text("of an attempt")
    (tmp_path / "flyte/sandbox/1a2b/deep").mkdir(parents=True)
    (tmp_path / "users").mkdir()
    (tmp_path / "users" / "file").touch()
    (tmp_path / "link").symlink_to("users")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_everything_but_the_kept_folders_is_removed(scratch: Path) -> None:
    sdk_folders.empty(str(scratch), others=True)
    assert names(scratch) == KEPT


def test_what_is_beside_them_can_stay(scratch: Path) -> None:
    sdk_folders.empty(str(scratch), others=False)
    assert names(scratch) == sorted([*KEPT, "link", "users", "users/file"])


def test_links_are_removed_and_not_followed(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "precious").touch()
    (scratch / "flyte/sandbox/out").symlink_to(outside)
    (scratch / "out").symlink_to(outside)
    sdk_folders.empty(str(scratch), others=True)
    assert names(scratch) == KEPT
    assert (outside / "precious").exists()


def link_instead(scratch: Path) -> None:
    (scratch / "users" / "sandbox").mkdir()
    (scratch / "flyte/sandbox").rename(scratch / "users" / "was")
    (scratch / "flyte/sandbox").symlink_to(scratch / "users" / "sandbox")


@pytest.mark.parametrize(
    "change", [link_instead, lambda scratch: (scratch / "flyte/access").chmod(0o500)], ids=["link", "mode"]
)
def test_a_changed_folder_is_refused(scratch: Path, change: Callable[[Path], None]) -> None:
    change(scratch)
    with pytest.raises(PermissionError, match="flyte/"):
        sdk_folders.empty(str(scratch), others=True)


_PROBE = """
import importlib.util, json, os, sys, tempfile

spec = importlib.util.spec_from_file_location("sdk_folders", sys.argv[1])
folders = importlib.util.module_from_spec(spec)
spec.loader.exec_module(folders)
import flytekit.bin.entrypoint as entrypoint
from flytekit.core import data_persistence

os.environ["TMPDIR"] = tempfile.tempdir = sys.argv[2]
folders.give_folders()
print(json.dumps([
    entrypoint.tempfile.mkdtemp(prefix="flyte"),
    os.path.dirname(entrypoint.tempfile.mkdtemp(prefix="flyte")),
    os.path.dirname(entrypoint.tempfile.mkdtemp(prefix="other")),
    entrypoint.tempfile.gettempdir(),
    data_persistence.flyte_tmp_dir,
    os.path.dirname(data_persistence.default_local_file_access_provider.get_random_local_directory()),
]))
"""


def test_the_sdk_uses_them(tmp_path: Path) -> None:
    """These are the SDK's own names, which a later SDK may change."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, sdk_folders.__file__, str(scratch)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kept, again, other, base, root, sandbox = json.loads(done.stdout.splitlines()[-1])
    assert kept == str(scratch / "flyte/access")
    assert (again, other, base) == (str(scratch), str(scratch), str(scratch))
    assert root == str(scratch / "flyte")
    assert Path(sandbox).is_relative_to(scratch / "flyte/sandbox")
