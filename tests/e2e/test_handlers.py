"""Failure handlers and failure policies."""

from __future__ import annotations

import pytest

from tests.support.parity import FOLDER, Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

NAMES = (
    "with_task",
    "with_workflow",
    "both",
    "only_inner",
    "failing_handler",
    "with_dynamic",
    "patient",
    "patient_with_handler",
)
CASES = {
    **{name: Case(f"handlers.{name}", {"n": 3, "folder": FOLDER}) for name in NAMES},
    **{f"{name}-good": Case(f"handlers.{name}", {"n": -3, "folder": FOLDER}) for name in NAMES},
}


def marks(runs: Runs, key: str) -> set[str]:
    """Return what the tasks of a run left in its folder."""
    return {path.name for path in runs.folder(key).iterdir()}


@pytest.mark.parametrize("name", NAMES)
def test_same_as_locally_without_a_failure(runs: Runs, name: str) -> None:
    runs.assert_same(f"{name}-good")
    assert not any(row.startswith("fn") for row in runs.outline(f"{name}-good"))
    assert not any("cleaned" in mark for mark in marks(runs, f"{name}-good"))


def test_a_task_handles_a_failure(runs: Runs) -> None:
    code, _ = runs.assert_both_fail("with_task", "refused 3")
    assert code == "USER:RuntimeError"
    n, node, message = (runs.folder("with_task") / "cleaned").read_text().split("\n", 2)
    assert (n, node) == ("3", "fn0")
    assert "refused 3" in message
    assert runs.outline("with_task") == {"start-node": "SUCCEEDED", "n0": "FAILED", "fn0": "SUCCEEDED"}


def test_a_workflow_handles_a_failure(runs: Runs) -> None:
    runs.assert_both_fail("with_workflow", "refused 3")
    assert marks(runs, "with_workflow") == {"first", "second"}
    outline = runs.outline("with_workflow")
    assert outline["fn0"] == "SUCCEEDED parent"
    assert outline["fn0-0-n1"] == "SUCCEEDED"


def test_handlers_of_both_levels_run_inner_first(runs: Runs) -> None:
    runs.assert_both_fail("both", "refused 3")
    inner, outer = (runs.folder("both") / name for name in ("cleaned-inner", "cleaned"))
    assert inner.stat().st_mtime_ns < outer.stat().st_mtime_ns
    assert "refused 3" in inner.read_text()
    assert "refused 3" in outer.read_text()
    outline = runs.outline("both")
    assert (outline["n0"], outline["n0-0-fn0"], outline["fn0"]) == ("FAILED parent", "SUCCEEDED", "SUCCEEDED")


def test_a_subworkflow_alone_has_a_handler(runs: Runs) -> None:
    runs.assert_both_fail("only_inner", "refused 3")
    assert marks(runs, "only_inner") == {"cleaned-inner"}


def test_a_failing_handler_masks_what_it_handles(runs: Runs) -> None:
    assert runs.phase("failing_handler") == "FAILED"
    assert "the handler fails too" in runs.error("failing_handler")[1]
    assert runs.outline("failing_handler")["fn0"] == "FAILED"


def test_a_failure_in_a_dynamic_is_handled(runs: Runs) -> None:
    runs.assert_both_fail("with_dynamic", "refused 3")
    assert "refused 3" in (runs.folder("with_dynamic") / "cleaned").read_text()


def test_fail_after_executable_nodes_complete(runs: Runs) -> None:
    assert runs.phase("patient") == "FAILED"
    assert "refused 3" in runs.error("patient")[1]
    assert marks(runs, "patient") == {"first", "second"}
    outline = runs.outline("patient")
    assert {name for name, flags in outline.items() if flags == "FAILED"} == {"n0"}
    assert {name for name, flags in outline.items() if flags == "SKIPPED"} == {"n1", "n2", "n6", "end-node"}
    assert {name for name, flags in outline.items() if flags == "SUCCEEDED"} == {"start-node", "n3", "n4", "n5"}


def test_fail_after_with_a_handler(runs: Runs) -> None:
    assert runs.phase("patient_with_handler") == "FAILED"
    assert marks(runs, "patient_with_handler") == {"other", "cleaned"}
    assert runs.outline("patient_with_handler")["fn0"] == "SUCCEEDED"
