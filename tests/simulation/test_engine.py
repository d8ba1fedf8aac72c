"""Whatever the world does: nothing acknowledged is lost, nothing runs twice at once, outputs are flytekit's."""

from __future__ import annotations

import os

import pytest

from tests.simulation.world import World, quiet

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

FIRST = int(os.environ.get("FLYTE_KERNEL_SEED", "0"))
COUNT = int(os.environ.get("FLYTE_KERNEL_SEEDS", "10000"))
_PER_TEST = 500


def run(seed: int) -> World:
    """Let a world live and look at its end; what fails names the command that repeats it."""
    world = World(seed)
    try:
        world.live(world.random.randrange(20, 160), faults=world.random.choice([0, 0, 5, 20, 60]))
        world.settle()
        world.check()
        world.end()
    except BaseException as error:
        command = f"FLYTE_KERNEL_SEED={seed} FLYTE_KERNEL_SEEDS=1 pytest {__file__}"
        raise AssertionError(f"seed {seed} fails, repeat it with: {command}") from error
    return world


def _batches() -> list[range]:
    firsts = range(FIRST, FIRST + COUNT, _PER_TEST)
    return [range(first, min(first + _PER_TEST, FIRST + COUNT)) for first in firsts]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seeds", _batches(), ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_nothing_is_lost_whatever_happens(seeds: range) -> None:
    with quiet():
        for seed in seeds:
            run(seed)
