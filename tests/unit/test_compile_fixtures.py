"""What Flyte's own compiler made of workflows with conditionals, we make too."""

from __future__ import annotations

from pathlib import Path

import pytest
from flyteidl.core import compiler_pb2, workflow_closure_pb2
from google.protobuf.json_format import Parse

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.requirements import required_entities
from flyte_kernel.compile.workflow import compile_workflow

FOLDER = Path(__file__).parent.parent / "fixtures" / "flyte1" / "branch"
NAMES = sorted(path.name for path in FOLDER.glob("*.json"))


def test_all_fixtures_are_there() -> None:
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_closure_equals_the_recorded_one(name: str) -> None:
    given = Parse((FOLDER / name).read_text(), workflow_closure_pb2.WorkflowClosure())
    expected = Parse((FOLDER / "compiled" / name).read_text(), compiler_pb2.CompiledWorkflowClosure())
    tasks = {entity_id(task.id): compiler_pb2.CompiledTask(template=task) for task in given.tasks}

    closure = compile_workflow(given.workflow, [], tasks, {})

    assert closure.primary == expected.primary
    assert not closure.sub_workflows
    required = required_entities(given.workflow, []).tasks
    recorded = {entity_id(task.template.id): as_compiled(task) for task in expected.tasks}
    assert {entity_id(task.template.id): task for task in closure.tasks} == {key: recorded[key] for key in required}


def as_compiled(task: compiler_pb2.CompiledTask) -> compiler_pb2.CompiledTask:
    """Without the entries that the recording test added to every container after compiling."""
    config = task.template.container.config
    kept = [entry for entry in config if not entry.key.startswith("testKey")]
    del config[:]
    config.extend(kept)
    return task
