"""Folders that attempts leave for others: only fit ones, each to one attempt, and none is lost on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from flyte_kernel.executors.zygote import spares
from flyte_kernel.executors.zygote.attempt import Attempt


def attempt_in(folder: Path, code: Path | None, *, uses_sdk: bool = True) -> Attempt:
    folder.mkdir()
    command = ["pyflyte-execute" if uses_sdk else "program"]
    request = {"id": 0, "slot": 0, "folder": str(folder), "code": str(code or ""), "crew": "", "command": command}
    return Attempt({**request, "brief": False}, claim=-1)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "flows.py").write_text("VALUE = 1\n")
    return tmp_path / "code"


@pytest.fixture
def kept(tmp_path: Path) -> spares.Spares:
    (tmp_path / "zygote").mkdir()
    return spares.Spares(tmp_path / "zygote")


def run(kept: spares.Spares, attempt: Attempt) -> None:
    """Go through an attempt's life up to its user code."""
    kept.furnish(attempt)
    spares.make_folders(attempt)
    attempt.began_ns = max(path.lstat().st_ctime_ns for path in [attempt.folder / "work", *attempt.folder.rglob("*")])


def end(kept: spares.Spares, attempt: Attempt) -> None:
    """Let an attempt succeed."""
    spares.leave(attempt)
    kept.collect(attempt)


def test_an_untouched_copy_and_an_emptied_scratch_are_handed_on(
    tmp_path: Path, code: Path, kept: spares.Spares
) -> None:
    first, second = attempt_in(tmp_path / "1", code), attempt_in(tmp_path / "2", code)
    run(kept, first)
    marks = [(first.folder / name).stat().st_ino for name in ("work", "tmp")]
    (first.folder / "tmp" / "flyte").mkdir()
    (first.folder / "tmp" / "flyte" / "inputs.pb").write_text("of the first")
    (first.folder / "tmp" / "left").write_text("of the first")
    end(kept, first)
    assert [path.name for path in first.folder.iterdir()] == []
    run(kept, second)
    assert (second.has_copy, second.has_scratch) == (True, True)
    assert [(second.folder / name).stat().st_ino for name in ("work", "tmp")] == marks
    assert not [path for path in (second.folder / "tmp").rglob("*") if path.is_file()]
    assert (second.folder / "work" / "flows.py").read_text() == "VALUE = 1\n"


def test_a_changed_copy_is_removed(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    first, second = attempt_in(tmp_path / "1", code), attempt_in(tmp_path / "2", code)
    run(kept, first)
    (first.folder / "work" / "flows.py").write_text("VALUE = 22\n")
    end(kept, first)
    run(kept, second)
    assert not second.has_copy
    assert (second.folder / "work" / "flows.py").read_text() == "VALUE = 1\n"
    assert not (first.folder / "work").exists()


def test_what_does_not_say_that_it_is_fit_is_left(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    """A program that was run by exec cannot say so."""
    program, next_one = attempt_in(tmp_path / "1", code), attempt_in(tmp_path / "2", code)
    run(kept, program)
    kept.collect(program)
    run(kept, next_one)
    assert (next_one.has_copy, next_one.has_scratch) == (False, False)


def test_copies_go_to_attempts_on_the_same_code_only(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    other = tmp_path / "other"
    other.mkdir()
    first, second, third = (attempt_in(tmp_path / str(n), which) for n, which in enumerate((code, other, None)))
    run(kept, first)
    end(kept, first)
    run(kept, second)
    run(kept, third)
    assert (second.has_copy, second.has_scratch, third.has_copy, third.has_scratch) == (False, True, False, False)
    assert list((second.folder / "work").iterdir()) == []


def test_a_program_gets_no_scratch_of_the_sdk(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    first, program = attempt_in(tmp_path / "1", code), attempt_in(tmp_path / "2", code, uses_sdk=False)
    run(kept, first)
    end(kept, first)
    run(kept, program)
    assert (program.has_copy, program.has_scratch) == (True, False)
    assert list((program.folder / "tmp").iterdir()) == []


def test_what_an_earlier_try_left_is_removed(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    attempt = attempt_in(tmp_path / "1", code)
    for name in ("work", "tmp"):
        (attempt.folder / name).mkdir()
        (attempt.folder / name / "old").touch()
    run(kept, attempt)
    assert [path.name for path in (attempt.folder / "work").iterdir()] == ["flows.py"]
    assert list((attempt.folder / "tmp").iterdir()) == []


def test_spares_that_cannot_be_given_are_removed(tmp_path: Path, code: Path, kept: spares.Spares) -> None:
    first, second = attempt_in(tmp_path / "1", code), attempt_in(tmp_path / "2", code)
    run(kept, first)
    end(kept, first)
    (second.folder / "work").mkdir()
    (second.folder / "work" / "old").touch()
    run(kept, second)
    assert not second.has_copy
    assert [path.name for path in (second.folder / "work").iterdir()] == ["flows.py"]
    assert list((tmp_path / "zygote").iterdir()) == []


def test_no_more_are_kept_than_are_of_use(tmp_path: Path, kept: spares.Spares) -> None:
    limit = spares._SPARES_MAX
    for number in range(limit + 6):
        code = tmp_path / f"code-{number}"
        code.mkdir()
        attempt = attempt_in(tmp_path / str(number), code)
        run(kept, attempt)
        (attempt.folder / "tmp").rmdir()
        end(kept, attempt)
    assert len(list((tmp_path / "zygote").iterdir())) == limit
    newest, oldest = (attempt_in(tmp_path / f"new-{n}", tmp_path / f"code-{n}") for n in (limit + 5, 0))
    run(kept, newest)
    run(kept, oldest)
    assert (newest.has_copy, oldest.has_copy) == (True, False)
