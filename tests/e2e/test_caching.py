"""Caching: an equal stamp is one that was taken from the cache."""

from __future__ import annotations

import uuid

import pytest
from flyteidl.core import catalog_pb2
from flytekit.remote.executions import FlyteWorkflowExecution

from tests.support.parity import FOLDER, Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

KEY = uuid.uuid4().hex[:6]
CASES = {
    "stamped": Case("caching.stamped", {"key": f"s{KEY}"}, local=False),
    "other": Case("caching.stamped", {"key": f"o{KEY}"}, local=False),
    "ignoring": Case("caching.ignoring", {"key": KEY, "noise": 1}, local=False),
    "serialised": Case("caching.serialised", {"key": KEY, "folder": FOLDER}, local=False),
    "hashed": Case("caching.hashed", {"rows": 3, "key": KEY}, local=False),
    "not-hashed": Case("caching.not_hashed", {"rows": 3, "key": KEY}, local=False),
    "dynamic": Case("caching.cached_dynamic", {"key": KEY}, local=False),
    "chained": Case("caching.chained", {"key": f"c{KEY}"}, local=False),
    "failing": Case("caching.failing", {"key": KEY}, local=False),
}


def again(runs: Runs, key: str, **more: object) -> FlyteWorkflowExecution:
    """Run a case once more after its first run has ended."""
    runs.ended(key)
    return runs.client.finish(runs.start(key, **more))


def output(runs: Runs, key: str, execution: FlyteWorkflowExecution) -> object:
    """Return the only output."""
    (value,) = runs.outputs_of(execution, CASES[key].name).values()
    return value


def status(runs: Runs, execution: FlyteWorkflowExecution, node: str = "n0") -> str:
    """Return the cache status of a node."""
    metadata = runs.admin.tree(execution)[node].closure.task_node_metadata
    return catalog_pb2.CatalogCacheStatus.Name(metadata.cache_status)


def test_hit(runs: Runs) -> None:
    first, second = runs.ended("stamped"), again(runs, "stamped")
    assert output(runs, "stamped", first) == output(runs, "stamped", second)
    assert output(runs, "other", runs.ended("other")) != output(runs, "stamped", first)
    assert (status(runs, first), status(runs, second)) == ("CACHE_POPULATED", "CACHE_HIT")
    rows = runs.admin.tree(second)["n0"]
    populated, hit = runs.admin.tree(first)["n0"].closure, rows.closure
    assert hit.task_node_metadata.catalog_key.dataset_id.name == "flyte_task-caching.stamp"
    assert hit.task_node_metadata.catalog_key.artifact_tag == populated.task_node_metadata.catalog_key.artifact_tag
    source = hit.task_node_metadata.catalog_key.source_task_execution
    assert source.node_execution_id.execution_id.name == first.id.name
    assert not hit.HasField("started_at")
    assert runs.admin.attempts(second, "n0") == []


def test_hit_within_an_execution(runs: Runs) -> None:
    first, second = runs.outputs("chained").values()
    assert first == second
    assert status(runs, runs.ended("chained"), "n1") == "CACHE_HIT"


def test_overwrite(runs: Runs) -> None:
    first = runs.ended("other")
    overwritten = again(runs, "other", overwrite_cache=True)
    assert output(runs, "other", overwritten) != output(runs, "other", first)
    assert status(runs, overwritten) == "CACHE_POPULATED"
    assert output(runs, "other", again(runs, "other")) == output(runs, "other", overwritten)


def test_ignored_inputs(runs: Runs) -> None:
    plan = runs.client.remote.fetch_launch_plan(name="caching.ignoring", version="v1")
    first = output(runs, "ignoring", runs.ended("ignoring"))
    second = runs.client.finish(runs.client.remote.execute(plan, inputs={"key": KEY, "noise": 2}))
    assert output(runs, "ignoring", second) == first
    third = runs.client.finish(runs.client.remote.execute(plan, inputs={"key": KEY + "x", "noise": 1}))
    assert output(runs, "ignoring", third) != first


def test_serialised(runs: Runs) -> None:
    others = [runs.start("serialised") for _ in range(3)]
    results = {output(runs, "serialised", runs.client.finish(execution)) for execution in others}
    results.add(output(runs, "serialised", runs.ended("serialised")))
    assert len(results) == 1
    assert len(list(runs.folder("serialised").iterdir())) == 1


def test_hash_methods(runs: Runs) -> None:
    hashed = output(runs, "hashed", runs.ended("hashed"))
    assert output(runs, "hashed", again(runs, "hashed")) == hashed
    not_hashed = output(runs, "not-hashed", runs.ended("not-hashed"))
    assert output(runs, "not-hashed", again(runs, "not-hashed")) != not_hashed


def test_a_hit_dynamic_grows_nothing(runs: Runs) -> None:
    first, second = runs.ended("dynamic"), again(runs, "dynamic")
    assert output(runs, "dynamic", second) == output(runs, "dynamic", first)
    assert runs.admin.outline(second) == dict.fromkeys(("start-node", "n0", "end-node"), "SUCCEEDED")


def test_failures_are_not_cached(runs: Runs) -> None:
    assert runs.phase("failing") == "FAILED"
    first = runs.error("failing")[1]
    second = again(runs, "failing")
    assert len(runs.admin.attempts(second, "n0")) == 1
    assert second.closure.error.message != first
