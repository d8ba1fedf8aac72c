"""What embedders get wrong is named, with the value, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flyte_kernel
from flyte_kernel import Graph, Kernel, Run
from flyte_kernel.errors import GraphError, InvalidArgumentError, KernelError, UnknownNodeError

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
