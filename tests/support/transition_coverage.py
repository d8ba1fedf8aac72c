"""Which legal steps between phases random walks take, and what every phase does with every event.

`python -m tests.support.transition_coverage` prints both as tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from copy import deepcopy
from random import Random

from flyte_kernel import Kernel, Turn
from flyte_kernel.phases import EventKind, FailureClass, NodeKind, NodePhase, RefusalReason, RunPhase
from tests.support.oracle import NONE, Event
from tests.support.oracle_driver import SideBySide, transitions_of
from tests.support.oracle_state import ACTIVE, ENDED, STOPPING, OracleTurn, RunState
from tests.support.simulation import Watch, bring_to_an_end, go_on
from tests.support.worlds import a_nest, a_pair, a_shape, state_of

P = NodePhase
SEEDS = range(10_000)

NODE_STEPS: dict[NodePhase, set[NodePhase]] = {
    P.UNDEFINED: {P.QUEUED, P.SUCCEEDED, P.SKIPPED},
    P.QUEUED: {P.RUNNING, P.SUCCEEDED, P.RECOVERED, P.SKIPPED, P.FAILED, P.DYNAMIC_RUNNING, P.TIMING_OUT, P.ABORTING},
    P.RUNNING: {
        P.SUCCEEDED,
        P.SKIPPED,
        P.RECOVERED,
        P.FAILED,
        P.FAILING,
        P.RETRYING,
        P.TIMING_OUT,
        P.ABORTING,
        P.ABORTED,
        P.DYNAMIC_RUNNING,
    },
    P.DYNAMIC_RUNNING: {P.SUCCEEDED, P.FAILED, P.FAILING, P.RETRYING, P.TIMING_OUT, P.ABORTED},
    P.RETRYING: {P.QUEUED, P.RUNNING, P.TIMING_OUT, P.ABORTING, P.ABORTED},
    P.FAILING: {P.FAILED, P.ABORTING, P.ABORTED},
    P.TIMING_OUT: {P.TIMED_OUT, P.ABORTING, P.ABORTED},
    P.ABORTING: {P.ABORTED},
    **{ended: {P.UNDEFINED} for ended in sorted(ENDED)},
}
ELEMENT_STEPS: dict[NodePhase, set[NodePhase]] = {
    P.UNDEFINED: {P.QUEUED},
    P.QUEUED: {P.RUNNING, P.SUCCEEDED, P.RECOVERED, P.FAILED, P.TIMING_OUT, P.ABORTING},
    P.RUNNING: {P.SUCCEEDED, P.RECOVERED, P.FAILED, P.FAILING, P.RETRYING, P.TIMING_OUT, P.ABORTING},
    P.RETRYING: {P.RUNNING, P.TIMING_OUT, P.ABORTING},
    P.FAILING: {P.FAILED, P.ABORTING},
    P.TIMING_OUT: {P.TIMED_OUT, P.ABORTING},
    P.ABORTING: {P.ABORTED},
}
RUN_STEPS: dict[RunPhase, set[RunPhase]] = {
    RunPhase.RUNNING: {RunPhase.SUCCEEDED, RunPhase.FAILING, RunPhase.FAILED, RunPhase.ABORTING},
    RunPhase.FAILING: {RunPhase.FAILED, RunPhase.ABORTING},
    RunPhase.ABORTING: {RunPhase.ABORTED},
}

EVENTS: dict[str, tuple[EventKind, int]] = {
    "started": (EventKind.ATTEMPT_STARTED, 0),
    "succeeded": (EventKind.ATTEMPT_SUCCEEDED, 0),
    "recovered": (EventKind.ATTEMPT_SUCCEEDED, 1),
    "failed": (EventKind.ATTEMPT_FAILED, FailureClass.USER_RECOVERABLE),
    "aborted": (EventKind.ATTEMPT_ABORTED, 0),
    "opened": (EventKind.SCOPE_OPENED, 0),
    "decided": (EventKind.BRANCH_DECIDED, 0),
    "grown": (EventKind.GRAPH_GROWN, 0),
    "map opened": (EventKind.MAP_OPENED, 1),
}
LETTER_OF_REASON = {
    RefusalReason.NEVER_LAUNCHED: "n",
    RefusalReason.WRONG_NODE_KIND: "k",
    RefusalReason.NOT_AWAITED: "w",
    RefusalReason.BAD_ARGUMENT: "a",
}
MEANING = "+ applied, - absorbed, refused: n never launched, k wrong kind of node, w not awaited, a bad argument"


def _rows(kind: str, states: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Rows for one kind; a state may stand for several that behave the same."""
    several = {
        "waiting": ["UNDEFINED", "SKIPPED"],
        "ended": ["SUCCEEDED", "RECOVERED", "FAILED", "ABORTED", "TIMED_OUT"],
        "stopping": ["RETRYING", "FAILING", "TIMING_OUT", "ABORTING"],
        "stopping, open": ["RETRYING, open", "FAILING, open", "TIMING_OUT, open"],
    }
    return {
        (kind, state): outcomes.replace(" ", "")
        for states_of_row, outcomes in states.items()
        for state in several.get(states_of_row, [states_of_row])
    }


def _without(rows: dict[tuple[str, str], str], *states: str) -> dict[tuple[str, str], str]:
    return {key: outcomes for key, outcomes in rows.items() if key[1] not in states}


_ATTEMPTS = {
    "waiting": "n n n n n k k k k",
    "QUEUED": "+ + + + w k k k k",
    "RUNNING": "- + + + w k k k k",
    "RUNNING, launched again": "+ + + + w k k k k",
    "stopping": "- + + + + k k k k",
    "ended": "- - - - - k k k k",
}
_SCOPES = {
    "waiting": "k k n n n n k k k",
    "QUEUED": "k k + + w + k k k",
    "RUNNING, open": "k k w w w - k k k",
    "TIMING_OUT": "k k + + + - k k k",
    "ABORTING": "k k + + + - k k k",
    "stopping, open": "k k - - - - k k k",
    "ended": "k k - - - - k k k",
}
OUTCOMES: dict[tuple[str, str], str] = {
    **_rows("START", {"waiting": "k k k k k k k k k", "SUCCEEDED": "k k k k k k k k k"}),
    **_rows(
        "TASK",
        {
            "waiting": "n n n n n k k n k",
            "QUEUED": "+ + + + w k k + k",
            "RUNNING": "- + + + w k k + k",
            "RUNNING, launched again": "+ + + + w k k + k",
            "DYNAMIC_RUNNING, open": "- w w w w k k - k",
            "stopping": "- + + + + k k + k",
            "stopping, open": "- - - - - k k - k",
            "ended": "- - - - - k k - k",
        },
    ),
    **_rows("GATE", _ATTEMPTS),
    **_rows("CHILD_RUN", _ATTEMPTS),
    **_without(_rows("element", {state: row[:-1] + "." for state, row in _ATTEMPTS.items()}), "SKIPPED"),
    **_without(
        _rows(
            "END",
            {
                "waiting": "k n a n n k k k k",
                "QUEUED": "k + a + w k k k k",
                "RUNNING, launched again": "k + a + w k k k k",
                "TIMING_OUT": "k + a + + k k k k",
                "ABORTING": "k + a + + k k k k",
                "ended": "k - a - - k k k k",
            },
        ),
        "RECOVERED",
    ),
    **_rows("SUBWORKFLOW", _SCOPES),
    **_rows("BRANCH", {state: row[:10] + row[12] + " " + row[10] + row[13:] for state, row in _SCOPES.items()}),
    **_rows(
        "MAP",
        {
            "waiting": "k n n n n k k k n",
            "QUEUED": "k + + + w k k k +",
            "ABORTING": "k + + + + k k k -",
            "RUNNING, open": "k w w w w k k k -",
            "FAILING, open": "k - - - - k k k -",
            "ABORTING, open": "k - - - - k k k -",
            "RUNNING, resolving": "k + a + w k k k -",
            "ABORTING, resolving": "k + + + + k k k -",
            "ended": "k - - - - k k k -",
        },
    ),
}
del OUTCOMES["MAP", "TIMED_OUT"]


class Coverage:
    """What walks have shown: steps taken, and outcomes by (kind, state)."""

    def __init__(self) -> None:
        self.node_steps: Counter[tuple[NodePhase, NodePhase]] = Counter()
        self.element_steps: Counter[tuple[NodePhase, NodePhase]] = Counter()
        self.run_steps: Counter[tuple[RunPhase, RunPhase]] = Counter()
        self.outcomes: dict[tuple[str, str], str] = {}

    def walk(self, seed: int) -> None:
        """Let one world live to its end and look on."""
        random = Random(seed)
        make = random.choice([a_shape, a_nest, a_pair, a_pair])
        both = SideBySide([make(random), a_shape(random)], random.randrange(3))
        watch = self.watch(both)
        watch(*both.step(0, [Event(EventKind.RUN_CREATED, 0, 0, random.randrange(3), NONE, random.randrange(2))]))
        bring_to_an_end(both, go_on(both, random, turns_max=14, events_max=5, watch=watch), watch=watch)

    def watch(self, both: SideBySide) -> Watch:
        """Make what notes the steps of every turn and tries every event in every state not seen before."""
        nodes: dict[tuple[int, int], NodePhase] = {}
        runs: dict[int, RunPhase] = {}

        def look(turn: Turn, expected: OracleTurn) -> None:
            self.element_steps.update(expected.moves)
            for run, node, phase, _ in transitions_of(turn):
                if node != NONE:
                    before = nodes.get((run, node), P.UNDEFINED)
                    nodes[run, node] = NodePhase(phase)
                    self.node_steps[before, nodes[run, node]] += 1
                else:
                    if run in runs:
                        self.run_steps[runs[run], RunPhase(phase)] += 1
                    runs[run] = RunPhase(phase)
            self.try_new_states(both)

        return look

    def try_new_states(self, both: SideBySide) -> None:
        """Try every event in every state not seen before."""
        for index, run in enumerate(both.oracle.runs):
            for number, node in enumerate(run.nodes if run else ()):
                assert run is not None
                for element in (NONE, *range(len(node.map.elements) if node.map else 0)):
                    key = state_name(run, number, element)
                    if key not in self.outcomes and (key[0] != "BRANCH" or run.shape.members(number)):
                        self.outcomes[key] = self.outcomes_of(both, index, number, element)

    def outcomes_of(self, both: SideBySide, index: int, number: int, element: int) -> str:
        """Tell copies of both every event about one node or element; say what came of each."""
        data, letters = both.kernel.snapshot(), ""
        run = both.oracle.runs[index]
        assert run is not None
        for kind, argument in EVENTS.values():
            if kind == EventKind.MAP_OPENED and element != NONE:
                letters += "."
                continue
            if kind == EventKind.BRANCH_DECIDED and run.shape.members(number):
                argument = run.shape.members(number)[0]
            copied = SideBySide([])
            copied.kernel, copied.oracle = Kernel.restore(data), deepcopy(both.oracle)
            attempt = state_of(run, number, element).attempt
            turn, _ = copied.step(both.oracle.now, [Event(kind, index, number, attempt, element, argument)])
            reasons = turn.refused_reason.tolist()
            letters += LETTER_OF_REASON[RefusalReason(reasons[0])] if reasons else "-" if turn.absorbed else "+"
        return letters


def state_name(run: RunState, number: int, element: int) -> tuple[str, str]:
    """Name a kind and a state as the rows of OUTCOMES do."""
    node, what = run.nodes[number], state_of(run, number, element)
    kind = "element" if element != NONE else NodeKind(run.shape.kind[number]).name
    state = what.phase.name
    if what.phase not in ACTIVE | STOPPING | {P.ABORTING, P.DYNAMIC_RUNNING}:
        return kind, state
    if element == NONE and node.map is not None:
        return kind, f"{state}, {'resolving' if node.map.resolves else 'open'}"
    if element == NONE and node.opened:
        return kind, f"{state}, open"
    if what.phase == P.RUNNING and not what.started:
        return kind, f"{state}, launched again"
    return kind, state


def covered(seeds: Iterable[int] = SEEDS) -> Coverage:
    """Walk with every seed."""
    coverage = Coverage()
    for seed in seeds:
        coverage.walk(seed)
    return coverage


def _print_steps(
    title: str, legal: Mapping[NodePhase, set[NodePhase]], taken: Counter[tuple[NodePhase, NodePhase]]
) -> None:
    print(f"\n{title}: how often each step was taken (. is illegal)\n")
    print(" " * 16 + " ".join(f"{phase.name[:8]:>8}" for phase in NodePhase))
    for before in NodePhase:
        cells = [str(taken[before, after]) if after in legal.get(before, ()) else "." for after in NodePhase]
        print(f"{before.name:16}" + " ".join(f"{cell:>8}" for cell in cells))


def main() -> None:
    """Print what was covered."""
    coverage = covered()
    _print_steps("Nodes", NODE_STEPS, coverage.node_steps)
    _print_steps("Elements", ELEMENT_STEPS, coverage.element_steps)
    print("\nRuns\n")
    for (before, after), count in sorted(coverage.run_steps.items()):
        print(f"{before.name:16}{after.name:10}{count:8}")
    print(f"\nEvents about the current attempt: {MEANING}\n")
    print(" " * 38 + " ".join(f"{name:>10}" for name in EVENTS))
    for key, expected in OUTCOMES.items():
        found = coverage.outcomes.get(key, "?" * len(EVENTS))
        mark = "" if found == expected else f"  expected {expected}"
        print(f"{key[0]:12}{key[1]:26}" + " ".join(f"{letter:>10}" for letter in found) + mark)


if __name__ == "__main__":
    main()
