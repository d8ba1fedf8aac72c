"""For every graph and every order of events the core says what the oracle says, and its invariants hold."""

from __future__ import annotations

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte_kernel.phases import EventKind, NodeKind
from tests.support.oracle import NONE, Event
from tests.support.oracle_driver import SideBySide
from tests.support.simulation import bring_to_an_end, go_on
from tests.support.worlds import a_nest, a_pair, a_shape, ending

_RANDOMS = st.randoms(use_true_random=False)
_MANY = settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@_MANY
@given(random=_RANDOMS)
def test_core_and_oracle_agree(random: Random) -> None:
    both = SideBySide([a_shape(random) for _ in range(random.randrange(1, 4))], random.randrange(3))
    for index in range(random.randrange(1, 3)):
        graph, parallelism = random.randrange(len(both.oracle.graphs)), random.choice([0, 0, 1, 2, 3])
        both.step(0, [Event(EventKind.RUN_CREATED, index, graph, parallelism, NONE, random.randrange(2))])
    bring_to_an_end(both, go_on(both, random, turns_max=12, events_max=6))


@_MANY
@given(random=_RANDOMS)
def test_stops_that_meet(random: Random) -> None:
    both = SideBySide([a_nest(random)])
    both.step(0, [Event(EventKind.RUN_CREATED, 0, 0, 0, NONE, random.randrange(2))])
    for _ in range(3):  # open what can be opened before time passes
        both.step(0, [event for event in ending(both.oracle) if event.kind != EventKind.ATTEMPT_SUCCEEDED])
    bring_to_an_end(both, go_on(both, random, turns_max=12, events_max=2))


@_MANY
@given(random=_RANDOMS)
def test_maps(random: Random) -> None:
    both = SideBySide([a_pair(random, [NodeKind.MAP])], random.randrange(3))
    both.step(0, [Event(EventKind.RUN_CREATED, 0, 0, random.randrange(3), NONE, random.randrange(2))])
    both.step(0, [event for event in ending(both.oracle) if event.kind == EventKind.SCOPE_OPENED])
    bring_to_an_end(both, go_on(both, random, turns_max=12, events_max=8))
