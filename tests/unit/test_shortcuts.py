"""Shortcuts give what the SDK gives without them, in every way of use that they touch, and are given up when unsure."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from flyte_kernel.executors.zygote.shortcuts import inline_loop, remembered_options, remembered_tasks
from flyte_kernel.executors.zygote.shortcuts.known import expect
from flyte_kernel.executors.zygotes import PROGRAM
from tests.support import sdk_probe

STORE = {
    "FLYTE_AWS_ENDPOINT": "http://127.0.0.1:1",
    "FLYTE_AWS_ACCESS_KEY_ID": "key",
    "FLYTE_AWS_SECRET_ACCESS_KEY": "secret",
}


def probe(mode: str, folder: Path) -> dict[str, Any]:
    """Return what came of all ways of use, in a process of its own."""
    done = subprocess.run(
        [sys.executable, sdk_probe.__file__, PROGRAM, mode],
        env={"TMPDIR": str(folder), "HOME": str(folder), "PATH": "/usr/bin:/bin", **STORE},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "was not taken" not in done.stderr
    results: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return results


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return {mode: probe(mode, tmp_path_factory.mktemp(mode)) for mode in ("plain", "taken")}


@pytest.mark.parametrize("way", sdk_probe.WAY)
def test_the_sdk_does_the_same(results: dict[str, dict[str, Any]], way: str) -> None:
    assert results["taken"][way] == results["plain"][way]


@pytest.mark.parametrize(
    ("way", "result"),
    [
        ("coroutines_that_wait", [6, 3, "slept", 1, "b'said\\n'"]),
        ("coroutines_that_fail", ["builtins.LookupError: lost", "concurrent.futures._base.CancelledError: ", 2]),
        ("coroutines_in_coroutines", 33),
        ("tasks_that_are_left_behind", True),
        ("loops_that_others_count_on", ["slept", 4, 6]),
        ("own_inputs_and_outputs", ["inputs", "inputs", "deck", "outputs", True, 1]),
        ("checkpoints", ["as far as here", True, False, "prev_cp"]),
    ],
)
def test_that_is_what_it_should_do(results: dict[str, dict[str, Any]], way: str, result: object) -> None:
    assert results["taken"][way] == result


def test_coroutines_that_do_not_wait_need_no_thread(results: dict[str, dict[str, Any]]) -> None:
    assert results["plain"]["threads after coroutines_that_do_not_wait"] == 2
    assert results["taken"]["threads after coroutines_that_do_not_wait"] == 1


def test_own_inputs_are_linked(results: dict[str, dict[str, Any]]) -> None:
    assert results["plain"]["links of own inputs"] == [1]
    assert results["taken"]["links of own inputs"] == [2]


def test_another_sdk_is_left_alone() -> None:
    def changed(path: str, force: bool) -> None: ...

    with pytest.raises(TypeError, match=r"changed takes path, force and not path$"):
        expect(changed, "path")


# Loops


@pytest.fixture
def loop() -> Iterator[inline_loop.InlineLoop]:
    loop = inline_loop.InlineLoop(lambda: threads.append(threading.Thread(target=loop.run_forever, daemon=True)))
    threads: list[threading.Thread] = []
    yield loop
    loop.close()


def test_a_loop_is_for_one_at_a_time(loop: inline_loop.InlineLoop) -> None:
    assert loop.begin()
    assert not loop.begin()
    loop.end()
    assert loop.begin()


def test_a_loop_that_was_used_up_is_not_inherited(loop: inline_loop.InlineLoop) -> None:
    assert loop.is_unused()
    loop.call_soon_threadsafe(print)
    assert not loop.is_unused()
    assert not loop.begin()


# Options


@click.command("execute")
@click.option("--inputs", required=True)
@click.option("--prev", required=False)
@click.option("--count", type=int, default=7)
@click.option("--test", is_flag=True)
@click.argument("rest", type=click.UNPROCESSED, nargs=-1)
def execute(**parameters: Any) -> None:
    """Keep what is given, and what click's own context says of it."""
    given.append((parameters, click.get_current_context().params, click.get_current_context().info_name))


given: list[Any] = []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--inputs", "a", "--", "b"],
        ["--inputs", "other", "--", "c", "--d", "e"],
        ["--inputs", "a", "--prev", "", "--", "b"],
        ["--prev", "b", "--inputs", "a", "--", "b"],
        ["--inputs", "value 0", "--", "value 0"],
        ["--inputs=a", "--", "b"],
        ["--inputs", "a", "--inputs", "c", "--", "b"],
        ["--inputs", "a", "--count", "3", "--", "b"],
        ["--inputs", "-a", "--", "b"],
        ["--inputs", "a", "--test", "--", "b"],
        ["--inputs", "a", "b", "c"],
        ["--inputs", "a", "--"],
        ["--prev", "a", "--", "b"],
        ["--inputs", "a", "--unknown", "x", "--", "b"],
        ["--inputs", "a", "--count", "x", "--", "b"],
        ["--inputs"],
        [],
    ],
)
def test_options_are_read_as_click_reads_them(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = []
    for read in (lambda: execute.main(args=arguments, prog_name="p"), *2 * [lambda: called(arguments)]):
        given.clear()
        code = 0
        try:
            read()
        except SystemExit as leave:
            code = int(leave.code or 0)
        outcomes.append((code, list(given), capsys.readouterr().err))
    assert outcomes[1] == outcomes[2] == outcomes[0]


def called(arguments: list[str]) -> None:
    remembered_options.call(execute, list(arguments), "p")


# Tasks


def test_a_task_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Resolver:
        __module__ = "some.module"
        __qualname__ = __name__ = "Resolver"
        loaded: list[tuple[str, ...]] = []  # noqa: RUF012

        def load_task(self, loader_args: list[str], **options: object) -> object:
            assert [*options] == ["max_concurrency"]
            self.loaded.append(tuple(loader_args))
            return object()

    monkeypatch.setattr(remembered_tasks, "_resolvers", lambda: [Resolver])
    remembered_tasks.remember()
    remembered_tasks.remember()
    remembered_tasks.load(["pyflyte-map-execute", "--resolver", "some.module.Resolver", "--", "task-name", "one"])
    remembered_tasks.load(["pyflyte-map-execute", "--resolver", "other.Resolver", "--", "task-name", "two"])
    remembered_tasks.load(["pyflyte-execute"])
    first = Resolver().load_task(loader_args=("task-name", "one"), max_concurrency=None)  # type: ignore[arg-type]
    assert first is Resolver().load_task(loader_args=["task-name", "one"], max_concurrency=None)
    assert first is not Resolver().load_task(loader_args=["task-name", "one"], max_concurrency=3)
    assert Resolver.loaded == [("task-name", "one")] * 2
