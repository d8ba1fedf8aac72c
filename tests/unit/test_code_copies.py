"""Is a copy of code that anything happened to told from one that nothing did?"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_kernel.executors.zygote.code_copies import copy_folder, is_untouched
from tests.support.attempts import wait_until


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "package").mkdir(parents=True)
    (source / "flows.py").write_text("VALUE = 1\n")
    (source / "package" / "table.csv").write_text("a,b\n")
    (source / "link").symlink_to("flows.py")
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    return source


@pytest.fixture
def copied(source: Path, tmp_path: Path) -> tuple[Path, int]:
    """Return a copy and a moment after which the clock of the file system has moved on."""
    copy = tmp_path / "copy"
    copy_folder(str(source), str(copy))
    probe = tmp_path / "probe"
    probe.touch()
    since_ns = probe.stat().st_ctime_ns

    def moved_on() -> bool:
        os.utime(probe)
        return probe.stat().st_ctime_ns > since_ns

    wait_until(moved_on, "a later change time")
    return copy, since_ns


def test_a_copy_is_like_its_source(source: Path, copied: tuple[Path, int]) -> None:
    copy, since_ns = copied
    assert sorted(path.relative_to(copy) for path in copy.rglob("*")) == sorted(
        path.relative_to(source) for path in source.rglob("*")
    )
    assert (copy / "run.sh").stat().st_mode == (source / "run.sh").stat().st_mode
    assert (copy / "flows.py").stat().st_mtime_ns == (source / "flows.py").stat().st_mtime_ns
    assert (copy / "link").readlink() == Path("flows.py")
    (copy / "flows.py").read_text()
    list(copy.iterdir())
    assert is_untouched(str(source), str(copy), since_ns)


def forge(copy: Path) -> None:
    """Change a file, but neither its size nor the time of its last change that can be set."""
    file = copy / "flows.py"
    status = file.stat()
    file.write_text("VALUE = 2\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_with_directory(copy: Path) -> None:
    (copy / "flows.py").unlink()
    (copy / "flows.py").mkdir()


def replace_with_link(copy: Path) -> None:
    (copy / "flows.py").rename(copy.parent / "elsewhere.py")
    (copy / "flows.py").symlink_to(copy.parent / "elsewhere.py")


def append(copy: Path) -> None:
    with (copy / "package" / "table.csv").open("a") as file:
        file.write("c,d\n")


def redirect(copy: Path) -> None:
    (copy / "link").unlink()
    (copy / "link").symlink_to("run.sh")


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file is added": lambda copy: (copy / "new.txt").touch(),
    "bytecode is added": lambda copy: (copy / "package" / "__pycache__").mkdir(),
    "a file is added below": lambda copy: (copy / "package" / "new.txt").touch(),
    "a file is removed": lambda copy: (copy / "package" / "table.csv").unlink(),
    "a file is appended to": append,
    "a file is rewritten in disguise": forge,
    "a file becomes a folder": replace_with_directory,
    "a file becomes a link": replace_with_link,
    "a link points elsewhere": redirect,
    "a mode changes": lambda copy: (copy / "run.sh").chmod(0o700),
    "a folder's mode changes": lambda copy: (copy / "package").chmod(0o700),
    "a file gets another name too": lambda copy: os.link(copy / "flows.py", copy.parent / "outside.py"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_copy_is_found_out(source: Path, copied: tuple[Path, int], change: Callable[[Path], object]) -> None:
    copy, since_ns = copied
    change(copy)
    assert not is_untouched(str(source), str(copy), since_ns)
