"""Has the SDK run two attempts of no consequence, so that what it keeps from then on is there for real ones.

Run by a warm process before it forks any. What the SDK makes when it is first used (parsers, type tables, specialised
bytecode) would otherwise be made, and the memory behind it copied, in every attempt anew. Threads that the SDK started
are ended, since none may live on through a fork.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import importlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["rehearse"]

_MODULE = "flyte_kernel_rehearsal"
_SOURCE = '''
import dataclasses
import datetime
import enum
from typing import Optional, Union

from flytekit import Cache, FlyteContextManager, map_task, task, workflow
from flytekit.types.file import FlyteFile


class Kind(enum.Enum):
    ONE = "one"


@dataclasses.dataclass
class Item:
    name: str
    weights: list[float]
    labels: dict[str, int]


@task
def rehearsed(number: int, text: str = "") -> str:
    """
    Do nothing.

    :param number: of no meaning
    """
    return str(number)


@task(cache=Cache(version="1"), retries=1)
def rehearsed_types(
    number: int,
    item: Item = Item("", [1.0], {"one": 1}),
    kind: Kind = Kind.ONE,
    when: datetime.datetime = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc),
    either: Union[int, str] = 1,
    file: Optional[FlyteFile] = None,
) -> tuple[Item, Kind, Optional[int], Union[int, str], list[dict[str, float]], bool]:
    FlyteContextManager.current_context().file_access.raw_output_fs  # as attempts with files have it made
    return item, kind, number, either, [{"one": 1.0}], True


@task
def rehearsed_element(number: int) -> str:
    return str(number)


@workflow
def rehearsals(numbers: list[int]) -> list[str]:
    return map_task(rehearsed_element)(number=numbers)
'''
_INDEX = "BATCH_JOB_ARRAY_INDEX_VAR_NAME"
_ENVIRONMENT = {
    **{f"FLYTE_INTERNAL_{name}": "rehearsal" for name in ("EXECUTION_PROJECT", "EXECUTION_DOMAIN", "EXECUTION_ID")},
    **{f"FLYTE_INTERNAL_TASK_{name}": "rehearsal" for name in ("PROJECT", "DOMAIN", "NAME", "VERSION")},
    _INDEX: "FLYTE_KERNEL_REHEARSED_INDEX",
    "FLYTE_KERNEL_REHEARSED_INDEX": "0",
}
_RESOLVER = "flytekit.core.python_auto_container.default_task_resolver"
_MAP_RESOLVER = "flytekit.core.array_node_map_task.ArrayNodeMapTaskResolver"
_TASK = ["task-module", _MODULE, "task-name", "rehearsed"]
_TYPES_TASK = [*_TASK[:-1], "rehearsed_types"]
_ELEMENT_TASK = [*_TASK[:-1], "rehearsed_element"]


def rehearse(call_entrypoint: Callable[[list[str]], int]) -> bool:
    """Run ordinary attempts and an element of a map; return whether all of them had results.

    `call_entrypoint` takes a command and returns its exit code.
    """
    folder = Path(tempfile.mkdtemp(prefix="flyte-kernel-rehearsal-"))
    try:
        with _as_before(), _inside(folder):
            _write_inputs(folder)
            return all(_run(call_entrypoint, command, folder) for command in _commands(folder))
    finally:
        _end_threads()
        shutil.rmtree(folder, ignore_errors=True)


def _run(call_entrypoint: Callable[[list[str]], int], command: list[str], folder: Path) -> bool:
    log, outputs = folder / "log.txt", folder / "outputs"
    with log.open("w") as printed, contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = call_entrypoint(command)
    has_results = code == 0 and (outputs / "outputs.pb").exists()
    if not has_results:
        print(f"zygote: {command[0]} did not rehearse:\n{log.read_text()}", file=sys.stderr)
    shutil.rmtree(outputs, ignore_errors=True)
    return has_results


def _write_inputs(folder: Path) -> None:
    literals: Any = importlib.import_module("flyteidl.core.literals_pb2")
    one = literals.Literal(scalar={"primitive": {"integer": 1}})
    (folder / f"{_MODULE}.py").write_text(_SOURCE)
    (folder / "inputs.pb").write_bytes(literals.LiteralMap(literals={"number": one}).SerializeToString())
    several = literals.LiteralMap(literals={"number": {"collection": {"literals": [one, one]}}})
    (folder / "map_inputs.pb").write_bytes(several.SerializeToString())


def _commands(folder: Path) -> list[list[str]]:
    store = "s3://rehearsal" if "FLYTE_AWS_ENDPOINT" in os.environ else str(folder)
    places = [
        *("--output-prefix", f"{folder}/outputs"),
        *("--raw-output-data-prefix", f"{store}/raw"),
        *("--checkpoint-path", f"{store}/raw/checkpoints"),
        *("--prev-checkpoint", ""),
    ]
    plain = ["pyflyte-execute", "--inputs", f"{folder}/inputs.pb", *places, "--resolver", _RESOLVER, "--"]
    return [
        [*plain, *_TASK],
        [*plain, *_TYPES_TASK],
        [
            *("pyflyte-map-execute", "--inputs", f"{folder}/map_inputs.pb", *places, "--resolver", _MAP_RESOLVER),
            *("--", "vars", "", "resolver", _RESOLVER, *_ELEMENT_TASK),
        ],
    ]


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Have what an attempt has: a folder, a path and an environment of its own."""
    environment, path, arguments = dict(os.environ), list(sys.path), sys.argv
    main, place = sys.modules["__main__"], Path.cwd()
    os.environ.update(_ENVIRONMENT, TMPDIR=str(folder))
    tempfile.tempdir = None
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        sys.path[:], sys.argv, sys.modules["__main__"] = path, arguments, main
        sys.path_importer_cache.pop(str(folder), None)
        sys.modules.pop(_MODULE, None)


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Have the SDK forget the tasks that were made, and signals mean what they meant."""
    entities: list[Any] = importlib.import_module("flytekit.core.context_manager").FlyteEntities.entities
    known = list(entities)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        entities[:] = known
        for number, handler in handlers.items():
            signal.signal(number, handler)
        faulthandler.unregister(signal.SIGUSR1)


def _end_threads() -> None:
    """End the SDK's loops and the file systems' one; whatever else runs makes this process unfit for forks."""
    asyn: Any = sys.modules.get("flytekit.utils.asyn")
    if asyn is not None:
        runners = asyn.loop_manager._runner_map
        for name, runner in list(runners.items()):
            if runner._TaskRunner__runner_thread is not None:
                _end_loop(runner._TaskRunner__loop, runner._TaskRunner__runner_thread)
                del runners[name]
    files: Any = sys.modules.get("fsspec.asyn")
    if files is not None and files.loop[0] is not None:
        _end_loop(files.loop[0], files.iothread[0])
        files.loop[0] = files.iothread[0] = None


def _end_loop(loop: asyncio.AbstractEventLoop | None, thread: Any) -> None:
    if loop is None or thread is None or loop.is_closed():
        return

    async def end_executor() -> None:
        await loop.shutdown_default_executor()

    asyncio.run_coroutine_threadsafe(end_executor(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
