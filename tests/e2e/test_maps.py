"""Map tasks, element by element."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from flyteidl.core import catalog_pb2, execution_pb2

from tests.e2e.workflows import maps
from tests.support.client import DOMAIN, PROJECT
from tests.support.parity import FOLDER, Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

KEY = uuid.uuid4().hex[:6]
CASES = {
    "plain": Case("maps.plain", {"values": [3, 1, 2]}),
    "empty": Case("maps.plain", {"values": []}),
    "of-results": Case("maps.of_results", {"count": 4}),
    "two-lists": Case("maps.two_lists", {"values": [1, 2], "factors": [10, 100], "text": "t"}),
    "bound": Case("maps.bound", {"values": [1, 2], "factor": 7, "text": "t"}),
    "dataclasses": Case("maps.dataclasses", {"items": [maps.Item("a", 0.5), maps.Item("b", 2.0)]}),
    "files": Case("maps.files", {"words": ["one", "two"]}),
    "legacy": Case("maps.legacy", {"values": [1, 2, 3], "factor": 4}),
    "silent": Case("maps.silent", {"values": [1, 2]}),
    "tolerant": Case("maps.tolerant", {"values": [1, 2, 3, 4]}),
    "intolerant": Case("maps.intolerant", {"values": [1, 2, 3, 5]}),
    "strict": Case("maps.strict", {"values": [1, 2, 3]}),
    "retried": Case("maps.retried", {"values": [0, 1, 2, 3]}),
    "windowed": Case("maps.windowed", {"values": list(range(8)), "folder": FOLDER}, local=False),
    "cached": Case("maps.cached", {"values": [1, 2, 3], "key": KEY}, local=False),
    "recoverable": Case("maps.recoverable", {"folder": FOLDER}, local=False),
    "in-subworkflows": Case("maps.in_subworkflows", {"values": [1, 2], "others": [3]}),
    "in-branch": Case("maps.in_branch", {"values": [1, 2], "square_them": True}),
    "in-dynamic": Case("maps.in_dynamic", {"rows": [[1, 2], [3], []]}),
}
DIFFERENT = ("intolerant", "strict", "windowed", "cached", "recoverable")


def elements(runs: Runs, key: str, node: str = "n0") -> list[tuple[int, str, int]]:
    """Return index, phase and retry of each element, as the last state of the node's task execution shows them."""
    (attempt,) = runs.admin.attempts(runs.ended(key), node)
    assert attempt.closure.task_type == "container_array"
    assert attempt.closure.metadata.plugin_identifier == "k8s-array"
    phase = execution_pb2.TaskExecution.Phase.Name
    resources = attempt.closure.metadata.external_resources
    return sorted((resource.index, phase(resource.phase), resource.retry_attempt) for resource in resources)


@pytest.mark.parametrize("key", [key for key in CASES if key not in DIFFERENT])
def test_same_as_locally(runs: Runs, key: str) -> None:
    runs.assert_same(key)


def test_a_map_is_one_row_with_one_task_execution(runs: Runs) -> None:
    assert runs.outline("plain") == {
        "start-node": "SUCCEEDED",
        "n0": "SUCCEEDED array",
        "n1": "SUCCEEDED",
        "end-node": "SUCCEEDED",
    }
    assert elements(runs, "plain") == [(0, "SUCCEEDED", 0), (1, "SUCCEEDED", 0), (2, "SUCCEEDED", 0)]


def test_elements_are_named_after_node_index_and_retry(runs: Runs) -> None:
    (attempt,) = runs.admin.attempts(runs.ended("plain"), "n0")
    name = runs.ended("plain").id.name
    resources = sorted(attempt.closure.metadata.external_resources, key=lambda resource: resource.index)
    assert [resource.external_id for resource in resources] == [f"{name}-n0-0-n{index}-0" for index in range(3)]


def test_sync_of_a_map(runs: Runs) -> None:
    node = runs.ended("plain").node_executions["n0"]
    assert node.inputs["n"] == [3, 1, 2]
    assert node.outputs["o0"] == [9, 1, 4]
    assert len(node.task_executions) == 1


def test_tolerated_failures_are_none(runs: Runs) -> None:
    assert runs.outputs("tolerant") == {"o0": [1, None, 3, None], "o1": 2}
    phases = [phase for _, phase, _ in elements(runs, "tolerant")]
    assert phases == ["SUCCEEDED", "FAILED", "SUCCEEDED", "FAILED"]


@pytest.mark.parametrize("key", ["intolerant", "strict"])
def test_too_many_failures_fail_the_map(runs: Runs, key: str) -> None:
    _, message = runs.assert_both_fail(key, "2 is even")
    assert "[1]: " in message
    assert runs.outline(key) == {"start-node": "SUCCEEDED", "n0": "FAILED array"}


def test_elements_are_retried_one_by_one(runs: Runs) -> None:
    assert elements(runs, "retried") == [
        (0, "SUCCEEDED", 0),
        (1, "SUCCEEDED", 1),
        (2, "SUCCEEDED", 0),
        (3, "SUCCEEDED", 1),
    ]


def test_no_more_elements_at_once_than_allowed(runs: Runs) -> None:
    assert runs.outputs("windowed")["o0"] == [1] * 8


def test_elements_are_cached_one_by_one(runs: Runs) -> None:
    first = runs.outputs("cached")["o0"]
    again = runs.client.finish(runs.start("cached"))
    assert runs.outputs_of(again, "maps.cached")["o0"] == first
    plan = runs.client.remote.fetch_launch_plan(name="maps.cached", version="v1")
    inputs = {"values": [3, 4, 1], "key": KEY}
    mixed = runs.client.finish(
        runs.client.remote.execute(plan, inputs=inputs, type_hints={"values": list[int], "key": str})
    )
    values = runs.outputs_of(mixed, "maps.cached")["o0"]
    assert [values[0], values[2]] == [first[2], first[0]]
    assert values[1].startswith(f"4-{KEY}-")
    (attempt,) = runs.admin.attempts(mixed, "n0")
    statuses = {
        resource.index: catalog_pb2.CatalogCacheStatus.Name(resource.cache_status)
        for resource in attempt.closure.metadata.external_resources
    }
    assert statuses == {0: "CACHE_HIT", 1: "CACHE_POPULATED", 2: "CACHE_HIT"}


def test_recover_keeps_finished_elements(runs: Runs) -> None:
    assert runs.phase("recoverable") == "FAILED"
    folder = runs.folder("recoverable")
    (folder / "key").touch()
    recovered = runs.client.remote.client.recover_execution(runs.ended("recoverable").id)
    execution = runs.client.finish(runs.client.remote.fetch_execution(PROJECT, DOMAIN, recovered.name))
    assert runs.outputs_of(execution, "maps.recoverable") == {"o0": [0, 1, 4, 9]}
    ran = Counter(path.name.split("-")[2] for path in folder.glob("ran-element-*"))
    assert ran == {"0": 1, "1": 1, "2": 1, "3": 2}
