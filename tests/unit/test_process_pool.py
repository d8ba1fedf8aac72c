"""A process that dies takes no other call with it, and what cannot travel is the fault of its own call alone."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import psutil
import pytest

import flyte_kernel
from flyte_kernel import Graph, NodePhase, RunPhase, errors
from flyte_kernel.errors import AdapterError, InvalidArgumentError, WorkerDiedError
from flyte_kernel.process_pool import ProcessExecutor

KILLERS = (3, 700)


def square(number: int) -> int:
    if number in KILLERS:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def square_at_second_try(place: tuple[str, int]) -> int:
    """Die at the first call for a number, which leaves a mark of it."""
    mark = Path(place[0]) / str(place[1])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return place[1] ** 2


class PickyError(Exception):
    """An error that pickle takes apart and cannot put together again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class Unreadable:
    """A result of the same kind."""

    def __reduce__(self) -> tuple[object, ...]:
        return int, ("no number",)


def raise_picky() -> None:
    raise PickyError("one", "other")


def raise_lookup() -> None:
    raise LookupError("lost")


def raise_broken() -> None:
    raise BrokenProcessPool("a pool of the function's own")


def say_after(seconds: float, word: str) -> str:
    time.sleep(seconds)
    return word


def wait_for(path: str) -> str:
    while not Path(path).exists():
        time.sleep(0.005)
    return "seen"


def test_only_the_culprit_fails() -> None:
    pool = ProcessExecutor(2)
    try:
        calls = [pool.submit(square, number) for number in range(6)]
        wait(calls)
        outcomes = [call.exception() or call.result() for call in calls]
        assert outcomes[:3] + outcomes[4:] == [0, 1, 4, 16, 25]
        assert isinstance(outcomes[3], WorkerDiedError)
        assert str(outcomes[3]).startswith("the process that called square died, and so did the one that called it")
        assert pool.submit(square, 7).result() == 49
    finally:
        pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 7)


def test_what_cannot_travel_is_its_own_calls_error() -> None:
    pool = ProcessExecutor(1)
    try:
        slow = pool.submit(say_after, 0.2, "still here")
        picky, lookup, broken = (pool.submit(function) for function in (raise_picky, raise_lookup, raise_broken))
        unreadable, unsendable = pool.submit(Unreadable), pool.submit(threading.Lock)
        assert repr(picky.exception()) == "RuntimeError(\"PickyError('one and other')\")"
        assert repr(lookup.exception()) == "LookupError('lost')"
        assert "in raise_lookup" in str(lookup.exception().__cause__)  # type: ignore[union-attr]
        assert isinstance(broken.exception(), BrokenProcessPool)
        assert isinstance(unreadable.exception(), ValueError)
        assert "cannot pickle" in str(unsendable.exception())
        assert slow.result() == "still here"
    finally:
        pool.shutdown()


_TAUGHT = """
import tblib.pickling_support
from flyte_kernel.process_pool import ProcessExecutor
tblib.pickling_support.install()
class PickyError(Exception):
    def __init__(self, first, second):
        super().__init__(first)
def fail():
    try:
        raise PickyError(1, 2)
    finally:
        raise ValueError("of its own")
def fail_picky():
    raise PickyError(1, 2)
pool = ProcessExecutor(1)
print(*[repr(pool.submit(call).exception()) for call in (fail_picky, fail, int)], sep="\\n")
pool.shutdown()
"""


def test_contexts_of_errors_need_not_travel() -> None:
    """Where pickle was taught to take them along."""
    done = subprocess.run([sys.executable, "-c", _TAUGHT], capture_output=True, text=True, check=True, timeout=60)
    outcomes = done.stdout.splitlines()
    assert outcomes == ["RuntimeError('PickyError(1)')", "RuntimeError(\"ValueError('of its own')\")", "None"]


def test_calls_that_have_not_begun_are_cancelled(tmp_path: Path) -> None:
    pool = ProcessExecutor(1)
    try:
        calls = [pool.submit(wait_for, str(tmp_path / "go")) for _ in range(8)]
        assert calls[7].cancel()
        assert calls[7].cancelled()
        while not calls[0].inner.running():  # type: ignore[attr-defined]
            time.sleep(0.005)
        assert not calls[0].cancel()
        (tmp_path / "go").touch()
        assert [call.result() for call in calls[:7]] == ["seen"] * 7
    finally:
        pool.shutdown(cancel_futures=True)


def test_a_suspect_that_has_not_begun_is_cancelled(tmp_path: Path) -> None:
    pool = ProcessExecutor(1)
    try:
        call = pool.submit(wait_for, str(tmp_path / "go"))
        while not call.inner.running():  # type: ignore[attr-defined]
            time.sleep(0.005)
        pool._alone = ProcessPoolExecutor(1)
        filling = [pool._alone.submit(wait_for, str(tmp_path / "go")) for _ in range(4)]
        first = call.inner  # type: ignore[attr-defined]
        for process in list(pool._pool._processes.values()):
            process.kill()
        while call.inner is first:  # type: ignore[attr-defined]
            time.sleep(0.005)
        assert call.cancel()
        (tmp_path / "go").touch()
        assert wait([call], timeout=60).done == {call}
        assert call.cancelled()
        assert [future.result() for future in filling] == ["seen"] * 4
    finally:
        (tmp_path / "go").touch()
        pool.shutdown()


@pytest.mark.parametrize("cancel", [False, True])
def test_a_pool_that_is_shut_settles_every_call(tmp_path: Path, cancel: bool) -> None:
    pool = ProcessExecutor(2)
    calls = [pool.submit(square, 3), *(pool.submit(wait_for, str(tmp_path / "go")) for _ in range(8))]
    while not pool._lane._threads:  # a process has died, and calls are made alone
        time.sleep(0.005)
    stopper = threading.Thread(target=pool.shutdown, kwargs={"cancel_futures": cancel})
    stopper.start()
    (tmp_path / "go").touch()
    stopper.join()
    done, left = wait(calls, timeout=60)
    assert not left
    for call in done:
        assert call.cancelled() or isinstance(call.exception(), WorkerDiedError) or call.result() == "seen"


def test_a_map_closes_in_on_the_items_that_end_their_process(tmp_path: Path) -> None:
    folder = tmp_path / "map"
    mapped = flyte_kernel.map(square, range(1_000), executor="processes", workers=2, folder=folder)
    failed = np.flatnonzero(mapped.phases == NodePhase.FAILED).tolist()
    assert failed == list(KILLERS)
    assert {item: type(error) for item, error in mapped.errors.items()} == dict.fromkeys(KILLERS, WorkerDiedError)
    expected = [None if item in KILLERS else item * item for item in range(1_000)]
    assert mapped.results == expected
    again = flyte_kernel.map(square, range(1_000), executor="processes", workers=2, folder=folder)
    assert (again.results, sorted(again.errors)) == (expected, list(KILLERS))
    assert type(again.errors[3]) is WorkerDiedError


def test_a_death_is_an_attempt(tmp_path: Path) -> None:
    places = [(str(tmp_path), number) for number in range(3)]
    mapped = flyte_kernel.map(square_at_second_try, places, executor="processes", workers=1, attempts_max=9)
    assert mapped.results == [0, 1, 4]


def test_an_item_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(InvalidArgumentError, match=r"<unlocked _thread.lock object at .*cannot be sent to another"):
        flyte_kernel.map(str, [1, 2, threading.Lock()], executor="processes", workers=1)


def leave(_: object) -> None:
    raise SystemExit(3)


def test_what_ends_interpreters_is_not_blamed_on_the_items() -> None:
    """Items that could not be sent to another process need not be, in threads."""
    with ThreadPoolExecutor(1) as pool, pytest.raises(SystemExit):
        flyte_kernel.map(leave, [threading.Lock()], executor=pool)


def test_a_node_that_ends_its_process_fails_alone() -> None:
    graph = Graph.from_edges(6, np.array([0, 3], np.uint32), np.array([4, 5], np.uint32))
    execution = flyte_kernel.execute(graph, square, executor="processes", workers=2, fails_late=True)
    assert execution.phase == RunPhase.FAILED
    assert execution.results == {0: 0, 1: 1, 2: 4, 4: 16}
    assert {node: type(error) for node, error in execution.errors.items()} == {3: WorkerDiedError}
    assert execution.phases[5] == NodePhase.SKIPPED


def test_a_broken_pool_of_the_callers_is_outside() -> None:
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(AdapterError, match="the pool is broken and takes no more calls"):
            flyte_kernel.map(square, [3, 4, 5, 6], executor=pool)
        with pytest.raises(AdapterError, match="the pool is broken and takes no more calls"):
            flyte_kernel.execute(
                Graph.from_edges(5, np.empty(0, np.uint32), np.empty(0, np.uint32)), square, executor=pool
            )


_MAPPING = """
import os, sys, time, flyte_kernel
def wait(_):
    open(os.path.join(sys.argv[1], str(os.getpid())), "w").close()
    time.sleep(600)
if __name__ == "__main__":
    flyte_kernel.map(wait, [1, 2], executor="processes", workers=2)
"""


def test_processes_end_with_the_one_that_asked_for_them(tmp_path: Path) -> None:
    script, folder = tmp_path / "mapping.py", tmp_path / "processes"
    script.write_text(_MAPPING)
    folder.mkdir()
    with subprocess.Popen([sys.executable, script, folder]) as caller:
        try:
            while len(list(folder.iterdir())) < 2:
                time.sleep(0.01)
            workers = [psutil.Process(int(path.name)) for path in folder.iterdir()]
        finally:
            caller.kill()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert (len(gone), alive) == (2, [])


@pytest.mark.parametrize("name", errors.__all__)
def test_errors_travel(name: str) -> None:
    kind = getattr(errors, name)
    options = {"AdapterError": {"retryable": False}, "CompileError": {"findings": (("code", "n0", "words"),)}}
    error = kind("words", **options.get(name, {}))
    travelled = pickle.loads(pickle.dumps(error))
    assert (type(travelled), str(travelled), travelled.__dict__) == (kind, "words", error.__dict__)
