"""Uses the SDK in all the ways that shortcuts touch and prints as JSON what came of each; `taken` takes them before."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import importlib
import json
import os
import runpy
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRATCH = Path.cwd()
WAY: dict[str, Callable[[], Any]] = {}


def way(function: Callable[[], Any]) -> Callable[[], Any]:
    """Note a way of use."""
    WAY[function.__name__] = function
    return function


def run_sync(function: Any, *arguments: Any) -> Any:
    """Have the SDK run a coroutine."""
    return importlib.import_module("flytekit.utils.asyn").loop_manager.run_sync(function, *arguments)


def raised(function: Callable[..., Any], *arguments: Any) -> str:
    """Return the kind of what a function raises."""
    try:
        return f"nothing, but {function(*arguments)}"
    except BaseException as error:
        return f"{type(error).__module__}.{type(error).__qualname__}: {error}".replace(str(SCRATCH), "SCRATCH")


def wait_until(is_so: Callable[[], bool]) -> bool:
    """Wait for something another thread does."""
    moment = threading.Event()
    for _ in range(1000):
        if is_so():
            return True
        moment.wait(0.01)
    return False


def provider(prefix: str = "s3://flyte/raw") -> Any:
    """Return a provider of files as attempts have it."""
    return importlib.import_module("flytekit.core.data_persistence").FileAccessProvider(
        local_sandbox_dir=tempfile.mkdtemp(dir=SCRATCH), raw_output_prefix=prefix
    )


# Coroutines


async def _add(one: int, other: int) -> int:
    return one + other


async def _sleep(result: str) -> str:
    await asyncio.sleep(0.01)
    return result


async def _fail() -> None:
    raise LookupError("lost")


async def _be_cancelled() -> None:
    raise asyncio.CancelledError


@way
def coroutines_that_do_not_wait() -> Any:
    """These need no other thread."""
    return [run_sync(_add, 1, number) for number in range(5)]


@way
def coroutines_that_wait() -> Any:
    """A timer, a thread's work, a pipe; one after the other on the same loop."""

    async def read_pipe() -> int:
        reader, writer = os.pipe()
        loop, found = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(reader, found.set)
        os.write(writer, b"x")
        await found.wait()
        loop.remove_reader(reader)
        return len(os.read(reader, 10))

    async def in_thread() -> int:
        return await asyncio.to_thread(sum, [1, 2, 3])

    async def process() -> bytes:
        made = await asyncio.create_subprocess_exec("echo", "said", stdout=asyncio.subprocess.PIPE)
        return (await made.communicate())[0]

    return [
        run_sync(in_thread),
        run_sync(_add, 1, 2),
        run_sync(_sleep, "slept"),
        run_sync(read_pipe),
        str(run_sync(process)),
    ]


@way
def coroutines_that_fail() -> Any:
    """What they raise comes out."""
    return [raised(run_sync, _fail), raised(run_sync, _be_cancelled), run_sync(_add, 1, 1)]


@way
def coroutines_in_coroutines() -> Any:
    """A coroutine that has others run, as converters of values in values may."""

    async def outer(depth: int) -> int:
        return depth if depth == 3 else run_sync(outer, depth + 1) + run_sync(_add, 10, 0)

    return run_sync(outer, 0)


@way
def coroutines_in_a_loop_of_the_users() -> Any:
    """The user's own coroutine calls a function of the SDK's that waits."""

    async def user() -> Any:
        await asyncio.sleep(0)
        return [run_sync(_add, 1, 2), run_sync(_sleep, "slept")]

    return asyncio.run(user())


@way
def coroutines_of_threads_with_one_name() -> Any:
    """The SDK tells threads apart by name, and these have the same."""
    results: list[str] = []
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        results.extend(run_sync(_sleep, "slept") for _ in range(5))
        results.append(str(run_sync(_add, 1, 1)))

    threads = [threading.Thread(target=work, name="alike") for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return sorted(results)


@way
def tasks_that_are_left_behind() -> Any:
    """A task that nobody waits for comes to its end after the call."""
    ended = threading.Event()

    async def background() -> None:
        await asyncio.sleep(0.02)
        ended.set()

    async def leave() -> None:
        kept.append(asyncio.create_task(background()))

    kept: list[Any] = []
    run_sync(leave)
    return ended.wait(30)


@way
def loops_that_others_count_on() -> Any:
    """Another thread has something run on the loop of a call that has ended."""

    async def own_loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = run_sync(own_loop)
    first = asyncio.run_coroutine_threadsafe(_sleep("slept"), loop).result(30)
    return [first, run_sync(_add, 2, 2), asyncio.run_coroutine_threadsafe(_add(3, 3), loop).result(30)]


@way
def conversions() -> Any:
    """Values to literals and back."""
    types: Any = importlib.import_module("flytekit.core.type_engine")
    literals: Any = importlib.import_module("flytekit.models.literals")
    context = importlib.import_module("flytekit.core.context_manager").FlyteContextManager.current_context()
    kinds: dict[str, Any] = {"number": int, "texts": list[str], "table": dict[str, list[float]], "maybe": int | None}
    values = {"number": 3, "texts": ["a", "b"], "table": {"x": [1.5]}, "maybe": None}
    made = {
        name: types.TypeEngine.to_literal(context, values[name], kind, types.TypeEngine.to_literal_type(kind))
        for name, kind in kinds.items()
    }
    back = types.TypeEngine.literal_map_to_kwargs(context, literals.LiteralMap(made), kinds)
    wrong = {"number": made["texts"]}
    return [back, raised(types.TypeEngine.literal_map_to_kwargs, context, literals.LiteralMap(wrong), {"number": int})]


# Files


@way
def files_are_brought() -> Any:
    """A file, one over another, one that is not there, a folder in place of one, a URI."""
    access = provider()
    (SCRATCH / "source").write_text("content")
    target = SCRATCH / "deep" / "er" / "target"
    results = [access.get_data(str(SCRATCH / "source"), str(target)), target.read_text()]
    (SCRATCH / "source").write_text("other")
    results += [access.get_data(f"file://{SCRATCH}/source", str(target)), target.read_text()]
    target.write_text("mine")
    results.append((SCRATCH / "source").read_text())
    return [*results, raised(access.get_data, str(SCRATCH / "absent"), str(target)).splitlines()[0]]


@way
def folders_are_taken_away() -> Any:
    """A flat folder, one over another, one with folders in it, none at all, a single file."""
    access = provider()
    flat, deep = SCRATCH / "flat", SCRATCH / "tree"
    (deep / "below").mkdir(parents=True)
    flat.mkdir()
    (flat / "a").write_text("a")
    (flat / "b").write_bytes(b"\0" * 3_000_000)
    (deep / "below" / "c").write_text("c")
    for number, source in enumerate((flat, flat, deep)):
        access.put_data(str(source), str(SCRATCH / f"away-{number % 2}"), is_multipart=True)
    results: list[Any] = [access.put_data(str(flat / "a"), str(SCRATCH / "single"))]
    results.append(raised(access.put_data, str(SCRATCH / "absent"), str(SCRATCH / "x"), True))
    found = sorted(SCRATCH.glob("away-*/**/*"))
    results += [[str(path), path.stat().st_size] for path in found if path.is_file()]
    results += [(flat / "a").read_text(), (SCRATCH / "single").read_text()]
    return json.loads(json.dumps(results).replace(str(SCRATCH), "SCRATCH"))


links: list[int] = []


@way
def own_inputs_and_outputs() -> Any:
    """What the SDK reads and writes around a task."""
    manager: Any = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    blobs = SCRATCH / "blobs"
    blobs.mkdir()
    (blobs / "inputs.pb").write_text("inputs")
    builder = manager.current_context().new_builder().with_file_access(provider())
    with manager.with_context(builder) as context:
        state = context.new_execution_state()
        with manager.with_context(context.new_builder().with_execution_state(state)) as inner:
            inputs = Path(inner.execution_state.working_dir, "inputs.pb")
            for _ in range(2):
                inner.file_access.get_data(str(blobs / "inputs.pb"), str(inputs))
            other = Path(inner.execution_state.working_dir, "other.pb")
            inner.file_access.get_data(str(blobs / "inputs.pb"), str(other))
            Path(inner.execution_state.engine_dir, "outputs.pb").write_text("outputs")
            Path(inner.execution_state.engine_dir, "deck.html").write_text("deck")
            said = inner.file_access.put_data(inner.execution_state.engine_dir, str(blobs / "0"), is_multipart=True)
    links.append(inputs.stat().st_nlink)
    texts = [path.read_text() for path in (inputs, other, *sorted((blobs / "0").iterdir()))]
    return [*texts, said == str(blobs / "0"), other.stat().st_nlink]


@way
def stores() -> Any:
    """The client of the store, however it is asked for."""
    results = []
    for prefix in ("s3://flyte/raw", "s3://flyte/raw/", str(SCRATCH / "raw")):
        access = provider(prefix)
        results.append([access.raw_output_prefix.replace(str(SCRATCH), "SCRATCH"), access.join("s3://a", "b")])
        stores = [access.raw_output_fs, access.get_filesystem(None), access._default_remote]
        stores.append(access.get_filesystem("s3"))
        results += [[type(store).__name__, store.sep, str(store.protocol)] for store in stores]
        results.append(access.raw_output_fs is access._default_remote)
        access._default_remote = "replaced"
        results.append(access.raw_output_fs)
    return [*results, raised(provider, "unheard-of://x").split(":")[0]]


@way
def checkpoints() -> Any:
    """What one attempt saves the next restores; one that does neither leaves no folder."""
    checkpointer: Any = importlib.import_module("flytekit.core.checkpointer")
    manager: Any = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    builder = manager.current_context().new_builder().with_file_access(provider(str(SCRATCH / "raw")))
    with manager.with_context(builder):
        first = checkpointer.SyncCheckpoint(str(SCRATCH / "saved"))
        first.write(b"as far as here")
        second = checkpointer.SyncCheckpoint(str(SCRATCH / "again"), str(SCRATCH / "saved"))
        results = [second.read().decode(), second.prev_exists(), first.prev_exists(), second.restore().name]
        del first, second
    return results


# Where and how


@way
def origins_of_contexts() -> Any:
    """Where a context began."""
    manager: Any = importlib.import_module("flytekit.core.context_manager").FlyteContextManager
    with manager.with_context(manager.current_context().new_builder()) as context:
        frame = context.origin_stackframe
    pushed = manager.push_context(manager.current_context().new_builder().build())
    manager.pop_context()
    frames = [frame, pushed.origin_stackframe, manager.get_origin_stackframe(100)]
    return [[frame.filename, frame.name, frame.lineno, frame.line] for frame in frames]


def main() -> None:
    """Print the results, and how many threads there are after coroutines that do not wait."""
    runpy.run_path(sys.argv[1])["make_package"]()
    warming = importlib.import_module("flyte_kernel_zygote.warming")
    warming.import_all([importlib.import_module("flyte_kernel_zygote.entrypoints").SDK, "s3fs"])
    if sys.argv[2] == "taken":
        warming.take_shortcuts()
    results = {}
    for name, use in WAY.items():
        with contextlib.suppress(concurrent.futures.TimeoutError):
            results[name] = use()
        results[f"threads after {name}"] = threading.active_count()
    results["links of own inputs"] = links
    print(json.dumps(results))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
