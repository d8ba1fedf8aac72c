"""Hypothesis strategies for graphs with nested scopes, and for whatever may happen to runs of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import strategies as st

from flyte_kernel.phases import EventKind, FailureClass, NodeKind, NodePhase
from tests.support.oracle import NONE, Event, Oracle, Shape

_KINDS = (NodeKind.TASK, NodeKind.TASK, NodeKind.TASK, NodeKind.SUBWORKFLOW, NodeKind.START, NodeKind.END)


class Choice(NamedTuple):
    """One event before it is known what it can be about; see `event_of`."""

    sensible: bool
    selector: int
    kind: int
    attempt_delta: int
    argument: int


class Turn(NamedTuple):
    """One step: time passes, events happen, and the core may be replaced by its snapshot before."""

    elapsed: int
    restores: bool
    choices: list[Choice]


@st.composite
def shapes(draw: st.DrawFn, nodes_max: int = 12) -> Shape:
    """A graph: nodes in scopes nested at random, edges within scopes, indices in no order."""
    count = draw(st.integers(0, nodes_max))
    name = draw(st.permutations(range(count)))
    kind, scope = [0] * count, [NONE] * count
    scopes = [NONE]
    for node in range(count):
        kind[name[node]] = draw(st.sampled_from(_KINDS))
        scope[name[node]] = draw(st.sampled_from(scopes))
        if kind[name[node]] == NodeKind.SUBWORKFLOW:
            scopes.append(name[node])
    pairs = [
        (name[source], name[target])
        for target in range(count)
        for source in range(target)
        if scope[name[source]] == scope[name[target]]
    ]
    edges = draw(st.lists(st.sampled_from(pairs), max_size=2 * count)) if pairs else []

    def column(values: list[int]) -> list[int]:
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    if not draw(st.booleans()):  # without deadlines the core may take a shorter way
        return Shape(kind, scope, edges, column([1, 1, 2, 3]), [0] * count, [0] * count)
    return Shape(kind, scope, edges, column([1, 1, 2, 3]), column([0, 0, 4, 9]), column([0, 0, 0, 7, 20]))


@st.composite
def nests(draw: st.DrawFn) -> Shape:
    """A graph of scopes within scopes around single tasks, all of them with little time: it shows how stops meet."""
    kind: list[int] = []
    scope: list[int] = []
    innermost = NONE
    for _ in range(draw(st.integers(2, 4))):
        kind += [NodeKind.SUBWORKFLOW, NodeKind.TASK]
        scope += [innermost, len(kind) - 2]
        innermost = draw(st.sampled_from([len(kind) - 2, len(kind) - 2, innermost]))
    count = len(kind)

    def column(values: list[int]) -> list[int]:
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    return Shape(kind, scope, [], column([1, 2, 3]), column([0, 2, 4, 6]), column([0, 0, 5, 7]))


def turns() -> st.SearchStrategy[list[Turn]]:
    """What happens, turn by turn."""
    choice = st.builds(
        Choice,
        sensible=st.sampled_from([True] * 7 + [False]),
        selector=st.integers(0, 2**16),
        kind=st.integers(0, 15),
        attempt_delta=st.sampled_from([0] * 10 + [-1, 1]),
        argument=st.sampled_from([0, 0, 0, 1, 1, 2, 3, -1]),
    )
    turn = st.builds(
        Turn,
        elapsed=st.sampled_from([0, 0, 1, 2, 5, 11]),
        restores=st.sampled_from([False] * 5 + [True]),
        choices=st.lists(choice, max_size=6),
    )
    return st.lists(turn, max_size=12)


def event_of(choice: Choice, oracle: Oracle) -> Event:
    """Turn a choice into an event that fits where the oracle's runs stand, or into any event at all."""
    busy = [
        (index, number)
        for index, run in enumerate(oracle.runs)
        if run is not None
        for number, node in enumerate(run.nodes)
        if oracle.is_busy(node)
    ]
    if not (choice.sensible and busy):
        return _any_event(choice, oracle)
    index, number = busy[choice.selector % len(busy)]
    run = oracle.runs[index]
    assert run is not None
    node = run.nodes[number]
    if run.shape.kind[number] == NodeKind.SUBWORKFLOW and node.phase == NodePhase.QUEUED:
        likely = [EventKind.SCOPE_OPENED] * 7 + [EventKind.ATTEMPT_FAILED]
    elif node.phase in (NodePhase.QUEUED, NodePhase.RUNNING):
        likely = [EventKind.ATTEMPT_SUCCEEDED] * 3 + [EventKind.ATTEMPT_STARTED] * 3 + [EventKind.ATTEMPT_FAILED] * 2
    else:
        likely = [EventKind.ATTEMPT_ABORTED, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_SUCCEEDED]
    kind = likely[choice.kind % len(likely)]
    argument = choice.argument % 3 if kind == EventKind.ATTEMPT_FAILED else 0
    return Event(kind, index, number, max(0, node.attempt + choice.attempt_delta), argument)


def _any_event(choice: Choice, oracle: Oracle) -> Event:
    kind = choice.kind % 9
    if kind == EventKind.RUN_ABORTED and choice.selector % 3:
        kind = EventKind.RUN_CREATED  # a world where everything is aborted soon shows little
    if kind == EventKind.RUN_CREATED:
        run = len(oracle.runs) + (choice.attempt_delta if choice.selector % 2 else 0)
        return Event(
            kind, max(0, run), choice.selector % (len(oracle.graphs) + 1), choice.selector % 4, choice.argument
        )
    run = choice.selector % (len(oracle.runs) + 1)
    return Event(kind, run, choice.selector // 7 % 14, max(0, choice.attempt_delta), choice.argument)


def ending(oracle: Oracle) -> list[Event]:
    """Events that bring every run nearer to its end: what is under way succeeds, or is gone if it was called off."""
    events = []
    for index, run in enumerate(oracle.runs):
        for number, node in enumerate(run.nodes if run else ()):
            if not oracle.is_busy(node):
                continue
            assert run is not None
            kind = EventKind.ATTEMPT_SUCCEEDED
            if node.phase not in (NodePhase.QUEUED, NodePhase.RUNNING):
                kind = EventKind.ATTEMPT_ABORTED
            elif run.shape.kind[number] == NodeKind.SUBWORKFLOW:
                kind = EventKind.SCOPE_OPENED
            events.append(Event(kind, index, number, node.attempt, FailureClass.USER_RECOVERABLE))
    return events
