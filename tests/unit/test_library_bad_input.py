"""What embedders get wrong is named, with the value, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pytest

import flyte_kernel
from flyte_kernel import Graph, Kernel, NodeKind, Run
from flyte_kernel.errors import (
    AdapterError,
    GraphError,
    InvalidArgumentError,
    KernelError,
    StateError,
    UnknownNodeError,
)

NOTHING = np.empty(0, np.uint32)
LINE = Graph.from_edges(3, np.array([0, 1], np.uint32), np.array([1, 2], np.uint32))


@pytest.mark.parametrize("count", [-1, 2**32 - 2, 2**32, 2**64, 10**30])
def test_a_graph_of_too_many_nodes_names_how_many(count: int) -> None:
    with pytest.raises(GraphError, match=str(count)):
        Graph.from_edges(count, NOTHING, NOTHING)


def test_a_graph_that_does_not_fit_the_machine_is_refused_before_it_is_built() -> None:
    with pytest.raises(GraphError, match="4294967293 nodes and 0 edges need 85899345860 bytes, more than this machine"):
        Graph.from_edges(2**32 - 3, NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Run(LINE, max_parallelism=-1), InvalidArgumentError, "not -1"),
        (lambda: Run(LINE, max_parallelism=2**40), InvalidArgumentError, f"not {2**40}"),
        (lambda: Run(LINE, now=2**63), InvalidArgumentError, f"not {2**63}"),
        (lambda: Run(LINE).take(-1), InvalidArgumentError, "not -1"),
        (lambda: Run(LINE).tick(2**70), InvalidArgumentError, f"not {2**70}"),
        (lambda: Kernel(story_capacity=-1), InvalidArgumentError, "not -1"),
        (lambda: Kernel().run_phase(-1), UnknownNodeError, "no run -1"),
        (lambda: Kernel().phases(2**32), UnknownNodeError, f"no run {2**32}"),
        (lambda: Kernel().release_graph(-3), UnknownNodeError, "no graph -3"),
        (lambda: LINE.ancestors(-1), UnknownNodeError, "no node -1"),
        (lambda: Run(LINE).story(2**32), UnknownNodeError, f"no node {2**32}"),
        (lambda: flyte_kernel.map(abs, [1], executor="threads", workers=0), InvalidArgumentError, "not 0"),
        (lambda: flyte_kernel.execute(LINE, abs, workers=-2), InvalidArgumentError, "not -2"),
        (lambda: flyte_kernel.execute(LINE, abs, workers=1.5), InvalidArgumentError, "whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: flyte_kernel.map(abs, [1], attempts_max=1.5), InvalidArgumentError, "whole number, not 1.5"),  # type: ignore[arg-type]
        (lambda: flyte_kernel.map(abs, [1], retry_on="x"), InvalidArgumentError, "exceptions .* not 'x'"),  # type: ignore[arg-type]
        (lambda: flyte_kernel.execute(LINE, abs, retry_on=(int,)), InvalidArgumentError, "exceptions .*int"),  # type: ignore[arg-type]
    ],
)
def test_numbers_out_of_range_are_named(call: Callable[[], object], error: type[KernelError], words: str) -> None:
    with pytest.raises(error, match=words):
        call()


def test_a_function_that_cannot_travel_is_refused_before_anything_runs() -> None:
    for call in (flyte_kernel.map, flyte_kernel.execute):
        with pytest.raises(InvalidArgumentError, match='at the top of a module, or use executor="threads"'):
            call(*((lambda n: n, [1]) if call is flyte_kernel.map else (LINE, lambda n: n)), executor="processes")


def odd_ones_cannot_travel(number: int) -> object:
    return (lambda: number) if number % 2 else number


def test_a_result_that_cannot_travel_is_the_error_of_its_item() -> None:
    mapped = flyte_kernel.map(odd_ones_cannot_travel, range(5), executor="processes", workers=2)
    assert mapped.results == [0, None, 2, None, 4]
    assert sorted(mapped.errors) == [1, 3]
    assert "pickle" in str(mapped.errors[1])


def stop_at_two(number: int) -> int:
    if number == 2:
        raise StopIteration
    return number


@pytest.mark.parametrize("executor", ["inline", "threads", "processes"])
def test_a_function_that_raises_stop_iteration_loses_no_item(executor: str) -> None:
    mapped = flyte_kernel.map(stop_at_two, range(5), executor=executor)
    assert mapped.results == [0, 1, None, 3, 4]
    assert {place: type(error) for place, error in mapped.errors.items()} == {2: StopIteration}


def test_items_that_change_while_they_are_mapped_are_noticed() -> None:
    items = list(range(40))

    def shrink(number: int) -> int:
        items.pop()
        return number

    with pytest.raises(InvalidArgumentError, match="items must not change while they are mapped"):
        flyte_kernel.map(shrink, items)


class CancellingPool(Executor):
    """Cancels whatever it is given, as a pool does that was shut down."""

    def submit(self, fn: Callable[..., object], /, *args: object, **kwargs: object) -> Future[object]:  # noqa: ARG002
        future: Future[object] = Future()
        future.cancel()
        future.set_running_or_notify_cancel()
        return future


def test_a_pool_that_cancels_calls_is_named() -> None:
    with pytest.raises(AdapterError, match="the pool cancelled calls"):
        flyte_kernel.map(abs, [1, 2], executor=CancellingPool())
    execution = flyte_kernel.execute(LINE, abs, executor=CancellingPool())
    assert isinstance(execution.errors[0], AdapterError)


def test_a_result_that_cannot_be_kept_is_the_error_of_its_node_or_item(tmp_path: Path) -> None:
    execution = flyte_kernel.execute(LINE, odd_ones_cannot_travel, executor="inline", folder=tmp_path / "execution")
    assert (sorted(execution.results), sorted(execution.errors)) == ([0], [1])
    mapped = flyte_kernel.map(odd_ones_cannot_travel, range(4), folder=tmp_path / "map")
    assert (mapped.results, sorted(mapped.errors)) == ([0, None, 2, None], [1, 3])
    again = flyte_kernel.map(odd_ones_cannot_travel, range(4), folder=tmp_path / "map")
    assert (again.results, sorted(again.errors)) == ([0, None, 2, None], [1, 3])
    with pytest.raises(StateError, match="holds something other than a map"):
        flyte_kernel.map(abs, [1], folder=tmp_path / "execution")


@pytest.mark.parametrize("upstream", [[1, 2], {"a": "bc"}, {"a": 5}])
def test_an_adjacency_that_is_none_is_named(upstream: object) -> None:
    with pytest.raises(InvalidArgumentError, match=r"\[1, 2\]|'bc'|not 5"):
        flyte_kernel.from_adjacency(upstream)  # type: ignore[arg-type]


def test_arms_of_a_branch_cannot_wait_for_each_other() -> None:
    branch, scope = np.array([NodeKind.BRANCH, 0, 0], np.uint8), np.array([2**32 - 1, 0, 0], np.uint32)
    with pytest.raises(GraphError, match="edge 0 joins node 1 and node 2, which are arms of the branch 0"):
        Graph.from_edges(3, np.array([1], np.uint32), np.array([2], np.uint32), kind=branch, scope=scope)
