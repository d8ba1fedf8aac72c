"""A Run against a model that keeps sets and looks at every node again and again."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte_kernel import Graph, NodePhase, Run, RunPhase

ENDED = {NodePhase.SUCCEEDED, NodePhase.FAILED, NodePhase.SKIPPED}


class Model:
    """What a run of tasks must say, fails_late: nothing is called off."""

    def __init__(
        self, upstream: list[set[int]], attempts_max: list[int], priority: list[int], parallelism: int
    ) -> None:
        self.upstream, self.attempts_left, self.priority = upstream, list(attempts_max), priority
        self.parallelism = parallelism
        self.phase = [NodePhase.UNDEFINED] * len(upstream)
        self.line: list[int] = []
        self.taken: set[int] = set()
        self.settle()

    def settle(self) -> None:
        """Queue and skip until nothing more follows."""
        while True:
            moved = False
            fresh = []
            for node, needed in enumerate(self.upstream):
                if self.phase[node] != NodePhase.UNDEFINED or not all(self.phase[up] in ENDED for up in needed):
                    continue
                moved = True
                if all(self.phase[up] == NodePhase.SUCCEEDED for up in needed):
                    self.phase[node] = NodePhase.QUEUED
                    fresh.append(node)
                else:
                    self.phase[node] = NodePhase.SKIPPED
            self.line += fresh
            if not moved:
                return

    def ready(self) -> list[int]:
        """The line by priority, as much as there is room for."""
        order = sorted(range(len(self.line)), key=lambda place: (-self.priority[self.line[place]], place))
        room = len(order) if not self.parallelism else max(0, self.parallelism - len(self.taken))
        return [self.line[place] for place in order[:room]]

    def end(self, node: int, phase: NodePhase) -> None:
        """A node ends, or is tried again."""
        self.taken.discard(node)
        if node in self.line:
            self.line.remove(node)
        if phase == NodePhase.FAILED and (left := self.attempts_left[node] - 1):
            self.attempts_left[node] = left
            self.phase[node] = NodePhase.RUNNING
            self.line.append(node)
            return
        self.phase[node] = phase
        self.settle()


@settings(max_examples=300, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_a_run_says_what_the_model_says(random: Random) -> None:
    count = random.randrange(1, 12)
    upstream = [{up for up in range(node) if random.randrange(4) == 0} for node in range(count)]
    pairs = [(up, node) for node, needed in enumerate(upstream) for up in needed]
    attempts_max = [random.choice([1, 1, 2, 3]) for _ in range(count)]
    priority = [random.choice([0, 0, 1, 5]) for _ in range(count)]
    parallelism = random.choice([0, 0, 1, 2])
    columns = np.array(pairs, np.uint32).reshape(-1, 2)
    graph = Graph.from_edges(
        count,
        np.ascontiguousarray(columns[:, 0]),
        np.ascontiguousarray(columns[:, 1]),
        attempts_max=np.array(attempts_max, np.uint16),
    )
    run = Run(graph, fails_late=True, max_parallelism=parallelism, priority=np.array(priority))
    model = Model(upstream, attempts_max, priority, parallelism)
    while not run.is_done:
        if random.randrange(2):
            run.check_invariants()
        assert run.ready().tolist() == model.ready()
        if random.randrange(3) and model.ready():
            expected = model.ready()[: random.randrange(1, 4)]
            assert run.take(len(expected)).tolist() == expected
            for node in expected:
                model.line.remove(node)
                model.taken.add(node)
                model.phase[node] = NodePhase.RUNNING
            continue
        node = random.choice([*model.taken, *model.line])
        match random.randrange(4):
            case 0:
                run.fail(node)
                model.end(node, NodePhase.FAILED)
            case 1:
                run.skip(node)
                model.end(node, NodePhase.SKIPPED)
            case 2:
                run.succeed(node)
                model.end(node, NodePhase.SUCCEEDED)
            case _:
                following = run.succeed_and_take(node)
                model.end(node, NodePhase.SUCCEEDED)
                assert following == next(iter(model.ready()), None)
                if following is not None:
                    model.line.remove(following)
                    model.taken.add(following)
                    model.phase[following] = NodePhase.RUNNING
        if random.randrange(2):
            assert [NodePhase(phase) for phase in run.phases()] == model.phase
    broken = NodePhase.FAILED in model.phase
    assert run.phase == (RunPhase.FAILED if broken else RunPhase.SUCCEEDED)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_looking_at_a_run_changes_nothing(seed: int) -> None:
    random = Random(seed)
    count = random.randrange(1, 9)
    pairs = [(up, node) for node in range(count) for up in range(node) if random.randrange(3) == 0]
    columns = np.array(pairs, np.uint32).reshape(-1, 2)
    graph = Graph.from_edges(
        count,
        np.ascontiguousarray(columns[:, 0]),
        np.ascontiguousarray(columns[:, 1]),
        attempts_max=np.array([random.choice([1, 2]) for _ in range(count)], np.uint16),
        active_timeout=np.array([random.choice([0, 0, 3]) for _ in range(count)]),
        execution_timeout=np.array([random.choice([0, 0, 2]) for _ in range(count)]),
    )
    fails_late, parallelism = random.choice([False, True]), random.choice([0, 2])
    watched, left_alone = (Run(graph, fails_late=fails_late, max_parallelism=parallelism) for _ in range(2))
    now = 0
    while not watched.is_done:
        taken = np.flatnonzero(watched.phases() == NodePhase.RUNNING).tolist()
        gone = watched.cancelled().tolist()
        ways = [("take_one", ()), ("tick", (now := now + 1,))]
        ways += [(way, (node,)) for node in taken for way in ("succeed", "succeed_and_take", "fail", "skip")]
        ways += [("gone", (node,)) for node in gone]
        ways += [("abort", ())] * (random.randrange(9) == 0)
        way, arguments = random.choice(ways)
        assert getattr(watched, way)(*arguments) == getattr(left_alone, way)(*arguments)
        watched.check_invariants()
        assert (watched.ready().tolist(), watched.phase) == (left_alone.ready().tolist(), left_alone.phase)
    assert watched.snapshot() == left_alone.snapshot()
    assert [watched.story(node) for node in range(count)] == [left_alone.story(node) for node in range(count)]
