"""Graphs with nested scopes, and whatever may happen to runs of them, out of a source of random numbers.

The source is hypothesis's in property tests, so that failures shrink, and a seeded one where the same walk is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from flyte_kernel.phases import EventKind, FailureClass, NodeKind, NodePhase
from tests.support.oracle import NONE, Event, Oracle, Shape
from tests.support.oracle_state import ACTIVE, Attempts, RunState

KINDS = (
    *[NodeKind.TASK] * 6,
    *[NodeKind.SUBWORKFLOW] * 3,
    NodeKind.BRANCH,
    NodeKind.BRANCH,
    NodeKind.MAP,
    NodeKind.GATE,
    NodeKind.CHILD_RUN,
    NodeKind.START,
    NodeKind.END,
)
_NODES_MAX = 40
_ATTEMPTED = (NodeKind.TASK, NodeKind.GATE, NodeKind.CHILD_RUN, NodeKind.MAP)
_SCOPES = (NodeKind.SUBWORKFLOW, NodeKind.BRANCH)
_ENDS = (EventKind.ATTEMPT_ABORTED, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_SUCCEEDED)


def a_shape(random: Random, nodes_max: int = 12, kinds: Sequence[NodeKind] = KINDS) -> Shape:
    """A graph: nodes in scopes nested at random, edges within scopes, some scopes with a failure handler."""
    count = random.randrange(nodes_max + 1)
    name = list(range(count))
    random.shuffle(name)
    kind, scope = [0] * count, [NONE] * count
    scopes = [NONE]
    for node in name:
        kind[node] = random.choice(kinds)
        scope[node] = random.choice(scopes)
        if kind[node] in _SCOPES:
            scopes.append(node)
    handlers = _handlers(random, kind, scope, scopes)
    pairs = [
        (source, target)
        for place, target in enumerate(name)
        for source in name[:place]
        if scope[source] == scope[target]
        and not {source, target} & handlers
        and (scope[source] == NONE or kind[scope[source]] != NodeKind.BRANCH)
    ]
    edges = [random.choice(pairs) for _ in range(random.randrange(2 * count))] if pairs else []
    # Without deadlines the core may take a shorter way.
    execution, active = ([0, 0, 4, 9], [0, 0, 0, 7, 20]) if random.randrange(2) else ([0], [0])
    return Shape(
        kind,
        scope,
        edges,
        [random.choice([1, 1, 2, 3]) for _ in name],
        [random.choice(execution) for _ in name],
        [random.choice(active) for _ in name],
        handlers,
    )


def _handlers(random: Random, kind: list[int], scope: list[int], scopes: list[int]) -> frozenset[int]:
    """Choose failure handlers for some scopes."""
    handlers = set()
    for around in scopes:
        if around != NONE and kind[around] == NodeKind.BRANCH:
            continue
        fit = [n for n, its in enumerate(scope) if its == around and kind[n] not in (NodeKind.START, NodeKind.END)]
        if fit and random.randrange(3) == 0:
            handlers.add(random.choice(fit))
    return frozenset(handlers)


def a_nest(random: Random) -> Shape:
    """A graph of scopes within scopes around single tasks, all of them with little time: it shows how stops meet."""
    kind: list[int] = []
    scope: list[int] = []
    handlers: set[int] = set()
    innermost = NONE
    for _ in range(random.randrange(2, 5)):
        workflow = len(kind)
        kind += [NodeKind.SUBWORKFLOW, random.choice([NodeKind.TASK, *_ATTEMPTED])]
        scope += [innermost, workflow]
        if random.randrange(3) == 0:
            handlers.add(len(kind))
            kind.append(random.choice([NodeKind.TASK, NodeKind.SUBWORKFLOW]))
            scope.append(workflow)
        innermost = random.choice([workflow, workflow, innermost, len(kind) - 1])
        if innermost != NONE and kind[innermost] != NodeKind.SUBWORKFLOW:
            innermost = workflow
    every = range(len(kind))
    return Shape(
        kind,
        scope,
        [],
        [random.choice([1, 2, 3]) for _ in every],
        [random.choice([0, 2, 4, 6]) for _ in every],
        [random.choice([0, 0, 5, 7]) for _ in every],
        frozenset(handlers),
    )


def a_pair(random: Random, kinds: Sequence[NodeKind] = _ATTEMPTED) -> Shape:
    """One node that is attempted and a task beside it, maybe in a scope that may start over; time is short."""
    nested = random.randrange(2)
    return Shape(
        [random.choice(kinds), NodeKind.TASK, *[NodeKind.SUBWORKFLOW] * nested],
        [2 if nested else NONE, NONE, *[NONE] * nested],
        [],
        [random.choice([1, 1, 2, 3]), 1, *[3] * nested],
        [random.choice([0, 2, 3, 5]), 0, *[random.choice([0, 4, 9])] * nested],
        [random.choice([0, 7, 20]), 0, *[0] * nested],
    )


def under_way(oracle: Oracle) -> list[tuple[int, int, int]]:
    """Everything that may be heard of next, as (run, node, element)."""
    found = []
    for index, run in enumerate(oracle.runs):
        for number, node in enumerate(run.nodes if run else ()):
            if not node.is_busy:
                continue
            if node.map is None or node.map.resolves:
                found.append((index, number, NONE))
            else:
                found += [(index, number, place) for place, element in enumerate(node.map.elements) if element.is_busy]
    return found


def an_event(random: Random, oracle: Oracle) -> Event:
    """An event that fits where the oracle's runs stand, or any event at all."""
    busy = under_way(oracle)
    if not busy or random.randrange(8) == 0:
        return _any_event(random, oracle)
    index, number, element = random.choice(busy)
    if random.randrange(25) == 0:
        return Event(EventKind.RUN_ABORTED, index)
    run = _run(oracle, index)
    what = state_of(run, number, element)
    kind = _likely_kind(random, run, number, element)
    attempt = max(0, what.attempt + random.choice([0] * 10 + [-1, 1]))
    return fitting_event(random, oracle, kind, (index, number, element), attempt)


def state_of(run: RunState, number: int, element: int) -> Attempts:
    """What is known of a node or of one of its elements."""
    the_map = run.nodes[number].map
    return the_map.elements[element] if the_map is not None and element != NONE else run.nodes[number]


def _run(oracle: Oracle, index: int) -> RunState:
    run = oracle.runs[index]
    assert run is not None
    return run


def _likely_kind(random: Random, run: RunState, number: int, element: int) -> EventKind:
    what, kind = state_of(run, number, element), run.shape.kind[number]
    if what.phase not in ACTIVE:
        return random.choice(_ENDS)
    opening = {
        NodeKind.SUBWORKFLOW: EventKind.SCOPE_OPENED,
        NodeKind.BRANCH: EventKind.BRANCH_DECIDED,
        NodeKind.MAP: EventKind.MAP_OPENED,
    }.get(NodeKind(kind))
    if opening is not None and element == NONE and what.phase == NodePhase.QUEUED:
        return random.choice([*[opening] * 8, EventKind.ATTEMPT_FAILED, EventKind.ATTEMPT_SUCCEEDED])
    likely = [*[EventKind.ATTEMPT_SUCCEEDED] * 4, *[EventKind.ATTEMPT_STARTED] * 3, *[EventKind.ATTEMPT_FAILED] * 2]
    if kind == NodeKind.TASK and len(run.nodes) < _NODES_MAX:
        likely.append(EventKind.GRAPH_GROWN)
    return random.choice(likely)


def fitting_event(random: Random, oracle: Oracle, kind: EventKind, where: tuple[int, int, int], attempt: int) -> Event:
    """An event of a kind about a node or element, with an argument that means something."""
    index, number, element = where
    run = _run(oracle, index)
    argument = 0
    if kind == EventKind.ATTEMPT_STARTED:
        argument = random.choice([0, 0, 0, 1, 4, 5])
    elif kind == EventKind.ATTEMPT_SUCCEEDED:
        scope = run.shape.kind[number] in _SCOPES and not run.nodes[number].opened
        argument = random.choice([1, 1, 2]) if scope else random.choice([0, 0, 0, 0, 0, 0, 1, 2])
        if element != NONE:
            argument = argument % 2 | random.choice([0, 0, 0, 0, 1, 1, 2, 4]) << 32
    elif kind == EventKind.ATTEMPT_FAILED:
        argument = random.choice(list(FailureClass))
    elif kind == EventKind.BRANCH_DECIDED:
        argument = random.choice(run.shape.members(number) or [number])
    elif kind == EventKind.GRAPH_GROWN:
        argument = random.randrange(len(oracle.graphs))
    elif kind == EventKind.MAP_OPENED:
        size = random.choice([0, 1, 2, 3, 4, 6])
        argument = size | random.randrange(size + 1) << 32
        element = random.choice([0, 0, 1, 2, 3])
    return Event(kind, index, number, attempt, element, argument)


def _any_event(random: Random, oracle: Oracle) -> Event:
    kind = random.randrange(12)
    if kind == EventKind.RUN_ABORTED and random.randrange(8):
        kind = EventKind.RUN_CREATED  # a world where everything is aborted soon shows little
    argument = random.choice([0, 0, 0, 1, 1, 2, 3, -1])
    if kind == EventKind.RUN_CREATED:
        run = max(0, len(oracle.runs) + random.choice([0, 0, 0, -1, 1]))
        if run > 3 and len(oracle.runs) > 3:
            run = 0
        graph = random.randrange(len(oracle.graphs) + 1)
        return Event(kind, run, graph, random.randrange(4), NONE, argument)
    if kind in (EventKind.MAP_OPENED, EventKind.ATTEMPT_SUCCEEDED):
        argument |= random.choice([0, 1, 2, 4]) << 32
    run = random.randrange(len(oracle.runs) + 1)
    live = oracle.runs[run] if run < len(oracle.runs) else None
    node = random.randrange(len(live.nodes) + 1 if live is not None else 3)
    attempt = random.choice([0, 0, 0, 1, 2])
    return Event(kind, run, node, attempt, random.choice([NONE, NONE, NONE, 0, 1, 5]), argument)


def ending(oracle: Oracle) -> list[Event]:
    """Events that bring every run nearer to its end: what is under way succeeds, or is gone if it was called off."""
    events = []
    for index, number, element in under_way(oracle):
        run = _run(oracle, index)
        what = state_of(run, number, element)
        kind, argument = EventKind.ATTEMPT_SUCCEEDED, 0
        if what.phase not in ACTIVE:
            kind = EventKind.ATTEMPT_ABORTED
        elif what.phase == NodePhase.QUEUED and element == NONE:
            if run.shape.kind[number] == NodeKind.SUBWORKFLOW:
                kind = EventKind.SCOPE_OPENED
            elif run.shape.kind[number] == NodeKind.MAP:
                kind, argument, element = EventKind.MAP_OPENED, 2 | 1 << 32, 1
            elif run.shape.kind[number] == NodeKind.BRANCH:
                members = run.shape.members(number)
                kind, argument = EventKind.BRANCH_DECIDED, members[0] if members else 0
                if not members:
                    kind, argument = EventKind.ATTEMPT_FAILED, FailureClass.PERMANENT
        events.append(Event(kind, index, number, what.attempt, element, argument))
    return events
