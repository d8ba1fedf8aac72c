"""Are attempts on a module that was imported ahead of them as isolated as others, and does each import what it must?"""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from flyte_kernel.engine.ports import AttemptLaunch, ReportKind
from flyte_kernel.executors import LocalExecutor
from flyte_kernel.executors.zygote.processes import start_time
from flyte_kernel.executors.zygotes import ModuleUse, UserModule, ZygoteKey, ZygotePool, ZygoteProcess
from tests.support.attempts import INTERPRETER, Reports, TaskFiles, fast, files, launch_of, tarball, wait_until

URI = "s3://bucket/many.tar.gz"
MANY = """
import os, sys, time, uuid
from pathlib import Path
from flytekit import task

IMPORTED_BY = os.getpid()
NAME = {name}

@task
def who(a: int) -> str:
    return "|".join(map(str, [IMPORTED_BY, os.getpid(), NAME, __file__, sys.modules[__name__].__spec__.origin]))

@task
def wait(a: int) -> int:
    (Path(os.environ["MARKS"]) / f"{{os.getpid()}}-{{os.getppid()}}-{{IMPORTED_BY}}").touch()
    time.sleep(1000)
    return a

@task
def fail(a: int) -> int:
    if a >= 0:
        raise ValueError(f"no luck with {{a}}")
    return a
"""


class Many:
    """An executor and attempts on one module, as many as it takes."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.marks, self.reports = folder, folder / "marks", Reports()
        self.marks.mkdir()
        blobs = {URI: tarball({"many.py": MANY.format(name=name)})}
        self.executor = LocalExecutor(folder, python=INTERPRETER, fetch=files(blobs), concurrency=2, grace_s=0.2)
        self.executor.start(self.reports)
        self.count = 0

    def launch(self, task: str) -> tuple[TaskFiles, AttemptLaunch]:
        """Launch one."""
        self.count += 1
        place = TaskFiles(self.folder / "io" / str(self.count))
        command = fast(URI, place.command("many", task, a=self.count))
        launch = launch_of(self.count, command, {"MARKS": str(self.marks)})
        self.executor.launch([launch])
        return place, launch

    def who(self) -> list[str]:
        """Have one tell who imported the module, who it is, the name, and twice where the module is."""
        place, launch = self.launch("who")
        report = self.reports.end_of(launch)
        told = place.outputs()["o0"].scalar.primitive.string_value.split("|")
        work = Path(urlparse(report.log_uri).path).parent / "work"
        assert told[3:] == [str(work / "many.py")] * 2
        return told

    def until_imported_ahead(self) -> list[list[str]]:
        """Go on until one need not import the module; return what all told."""
        told: list[list[str]] = []

        def is_ahead() -> bool:
            told.append(self.who())
            return told[-1][0] != told[-1][1]

        wait_until(is_ahead, "a process that did not import the module itself")
        return told

    def waiting(self) -> tuple[AttemptLaunch, int, int]:
        """Return a launch that waits on a module imported ahead, its process and its parent."""
        self.until_imported_ahead()
        _, launch = self.launch("wait")
        wait_until(lambda: any(self.marks.iterdir()), "an attempt to run")
        pid, parent, importer = (int(word) for word in next(self.marks.iterdir()).name.split("-"))
        assert parent == importer
        return launch, pid, parent


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Many]]:
    started: list[Many] = []

    def many(name: str) -> Many:
        started.append(Many(tmp_path, name))
        return started[-1]

    yield many
    for each in started:
        each.executor.close()


def test_attempts_are_isolated_as_before(start: Callable[[str], Many]) -> None:
    many = start("'none'")
    told = many.until_imported_ahead()
    assert len(told) > 16
    told += [many.who() for _ in range(4)]
    assert len({pid for _, pid, *_ in told}) == len(told)
    assert len({importer for importer, *_ in told[-5:]}) == 1
    place, launch = many.launch("fail")
    assert many.reports.end_of(launch).exit_code == 0
    assert "no luck with" in place.error().message


def test_a_module_that_makes_something_of_its_own_is_imported_by_each(start: Callable[[str], Many]) -> None:
    many = start("uuid.uuid4()")
    told = [many.who() for _ in range(30)]
    assert len({name for _, _, name, *_ in told}) == 30
    assert all(importer == pid for importer, pid, *_ in told)
    wait_until(lambda: "it makes random numbers" in (many.folder / "zygotes.log").read_text(), "the reason in the log")


def test_the_process_that_imported_it_may_die(start: Callable[[str], Many]) -> None:
    many = start("'none'")
    launch, pid, parent = many.waiting()
    os.kill(parent, signal.SIGKILL)
    assert many.reports.end_of(launch).signal == signal.SIGKILL
    wait_until(lambda: start_time(pid) == 0, "it to end with its warm process")
    many.until_imported_ahead()


def test_an_attempt_is_aborted(start: Callable[[str], Many]) -> None:
    many = start("'none'")
    launch, pid, _ = many.waiting()
    many.executor.abort([launch.key])
    assert many.reports.end_of(launch).kind is ReportKind.ABORTED
    assert start_time(pid) == 0


# Which attempts are worth it


class Zygotes:
    """A pool and a zygote that forks branches which do nothing; `asked` are the keys of those."""

    def __init__(self, folder: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.pool = ZygotePool(folder, INTERPRETER, {}, self.selector)
        self.folder, self.asked = folder, list[ZygoteKey]()
        self.descriptors: list[int] = []
        self.ours, self.theirs = socket.socketpair()
        self.process = self.ready(ZygoteKey(frozenset(), ()))

    def ready(self, key: ZygoteKey) -> ZygoteProcess:
        """Return a zygote that is ready and never says anything."""
        self.descriptors += os.pipe()
        return ZygoteProcess(key, None, self.folder, self.ours, self.descriptors[-2], is_ready=True)

    def branch(self, _: ZygoteProcess, key: ZygoteKey, *__: object) -> ZygoteProcess:
        """Stand in for ZygoteProcess.branch."""
        self.asked.append(key)
        return self.ready(key)

    def has_branch(self, **environment: str) -> bool:
        """Say whether an attempt would be given to a branch."""
        return self.pool.branch_of(self.process, use_of(99, **environment), ()) is not self.process

    def close(self) -> None:
        """Close what was opened."""
        self.selector.close()
        self.ours.close()
        self.theirs.close()
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture
def zygotes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zygotes]:
    zygotes = Zygotes(tmp_path)
    monkeypatch.setattr(ZygoteProcess, "branch", lambda *arguments: zygotes.branch(*arguments))
    yield zygotes
    zygotes.close()


def use_of(element: int, **environment: str) -> ModuleUse:
    own = {"BATCH_JOB_ARRAY_INDEX_VAR_NAME": "INDEX", "INDEX": str(element), "FLYTE_ATTEMPT_NUMBER": str(element)}
    return ModuleUse.of({**own, "SHARED": "yes", **environment}, UserModule("flows", "/code"))


def test_attempts_that_were_given_count_and_tries_do_not(zygotes: Zygotes) -> None:
    for element in range(15):
        assert not any(zygotes.has_branch() for _ in range(3))
        zygotes.pool.count(use_of(element))
        zygotes.pool.count(use_of(element, FLYTE_INTERNAL_EXECUTION_ID="other"))
    assert not zygotes.has_branch()
    zygotes.pool.count(use_of(15))
    assert all(zygotes.has_branch() for _ in range(3))
    assert zygotes.asked == [ZygoteKey(frozenset({("SHARED", "yes")}), (), UserModule("flows", "/code"))]


def test_what_is_unfit_is_so_for_other_executions_too(zygotes: Zygotes) -> None:
    runs = [{"FLYTE_INTERNAL_EXECUTION_ID": name} for name in ("one", "two")]
    for element in range(16):
        for run in runs:
            zygotes.pool.count(use_of(element, **run))
    assert zygotes.has_branch(**runs[0])
    zygotes.pool.on_ready(zygotes.pool.branch_of(zygotes.process, use_of(0, **runs[0]), ()), fit=False)
    assert not any(zygotes.has_branch(**run) for run in runs)
    assert len(zygotes.asked) == 1
