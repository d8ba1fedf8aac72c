"""Container and pod tasks as processes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from flyteidl.core import literals_pb2, tasks_pb2
from google.protobuf import struct_pb2
from google.protobuf.json_format import ParseDict

from flyte_kernel.errors import PluginError
from flyte_kernel.ids import AttemptKey
from flyte_kernel.plugins.container import ContainerPlugin
from tests.support.literals import literal_map, primitive
from tests.unit.test_templates import CONTEXT

PLUGIN = ContainerPlugin()


def container_task(**fields: Any) -> tasks_pb2.TaskTemplate:
    return tasks_pb2.TaskTemplate(type="python-task", container=tasks_pb2.Container(**fields))


def pod_task(
    spec: dict[str, Any], *, primary: str = "", config: dict[str, str] | None = None
) -> tasks_pb2.TaskTemplate:
    pod = tasks_pb2.K8sPod(pod_spec=ParseDict(spec, struct_pb2.Struct()), primary_container_name=primary)
    return tasks_pb2.TaskTemplate(type="sidecar", k8s_pod=pod, config=config)


def env(**pairs: str) -> list[literals_pb2.KeyValuePair]:
    return [literals_pb2.KeyValuePair(key=key, value=value) for key, value in pairs.items()]


def test_a_container_becomes_a_process() -> None:
    task = container_task(command=["sh", "-c"], args=["echo {{.inputs.a}} > {{.outputPrefix}}/x", "y"])
    context = dataclasses.replace(
        CONTEXT, inputs=literal_map(a=primitive(3)), as_local_path=lambda uri: uri.replace("s3:/", "/blobs")
    )
    launch = PLUGIN.build(task, context)
    output_prefix = "/blobs/flyte/metadata/propeller/p-d-e/n0/data/1"
    assert launch.command == ("sh", "-c", f"echo 3 > {output_prefix}/x", "y")
    assert launch.output_prefix == output_prefix
    assert (launch.key, launch.execution, launch.node_id) == (context.key, context.execution, "n0")


def test_names_tell_attempts_of_equal_generated_names_apart() -> None:
    task = container_task(args=["x"])
    keys = [AttemptKey(3, 5, 1), AttemptKey(4, 5, 1), AttemptKey(3, 6, 1), AttemptKey(3, 5, 2)]
    names = [PLUGIN.build(task, dataclasses.replace(CONTEXT, key=key)).name for key in keys]
    assert names == ["3-5-1-e-n0-1", "4-5-1-e-n0-1", "3-6-1-e-n0-1", "3-5-2-e-n0-1"]


def test_the_environment_of_a_task() -> None:
    task = container_task(args=["x"], env=env(OWN="{{.Input}}", FLYTE_INTERNAL_IMAGE="i"))
    assert PLUGIN.build(task, CONTEXT).environment == {
        "OWN": "{{.Input}}",
        "FLYTE_INTERNAL_IMAGE": "i",
        "FLYTE_INTERNAL_EXECUTION_WORKFLOW": "p:d:mod.wf",
        "FLYTE_INTERNAL_EXECUTION_ID": "e",
        "FLYTE_INTERNAL_EXECUTION_PROJECT": "p",
        "FLYTE_INTERNAL_EXECUTION_DOMAIN": "d",
        "FLYTE_ATTEMPT_NUMBER": "1",
        "FLYTE_INTERNAL_TASK_PROJECT": "p",
        "FLYTE_INTERNAL_TASK_DOMAIN": "d",
        "FLYTE_INTERNAL_TASK_NAME": "mod.task",
        "FLYTE_INTERNAL_TASK_VERSION": "v2",
    }


def test_later_variables_win() -> None:
    task = container_task(
        args=["x"],
        env=[*env(A="first", FLYTE_ATTEMPT_NUMBER="9", B="own", FLYTE_INTERNAL_TASK_NAME="mine"), *env(A="second")],
    )
    context = dataclasses.replace(CONTEXT, environment={"B": "execution", "FLYTE_INTERNAL_TASK_VERSION": "other"})
    environment = PLUGIN.build(task, context).environment
    assert environment["A"] == "second"
    assert environment["B"] == "execution"
    assert environment["FLYTE_ATTEMPT_NUMBER"] == "1"
    assert environment["FLYTE_INTERNAL_TASK_NAME"] == "mod.task"
    assert environment["FLYTE_INTERNAL_TASK_VERSION"] == "other"


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (container_task(image="i"), r"mod\.task names no command"),
        (
            container_task(
                args=["x"], data_config=tasks_pb2.DataLoadingConfig(enabled=True, input_path="/in", output_path="/out")
            ),
            "finds its data in /in and /out",
        ),
        (tasks_pb2.TaskTemplate(type="presto"), "type 'presto' says nothing about what to run"),
        (
            tasks_pb2.TaskTemplate(type="snowflake", sql=tasks_pb2.Sql(statement="select 1")),
            "'snowflake' is an SQL query",
        ),
    ],
)
def test_tasks_that_cannot_be_processes(task: tasks_pb2.TaskTemplate, told: str) -> None:
    with pytest.raises(PluginError, match=told):
        PLUGIN.build(task, CONTEXT)


def test_the_primary_container_of_a_pod_becomes_a_process() -> None:
    container = {
        "name": "main",
        "image": "i",
        "command": ["python"],
        "args": ["-c", "{{.Namespace}}"],
        "env": [{"name": "A", "value": "1"}, {"name": "EMPTY"}],
        "resources": {"limits": {"cpu": "1"}},
        "volumeMounts": None,
    }
    for task in (
        pod_task({"containers": [container], "volumes": [], "restartPolicy": "Never"}, primary="main"),
        pod_task({"containers": [container]}, config={"primary_container_name": "main"}),
        pod_task({"containers": [container], "initContainers": None}),
    ):
        launch = PLUGIN.build(task, CONTEXT)
        assert launch.command == ("python", "-c", "p-d")
        assert launch.environment["A"] == "1"
        assert launch.environment["EMPTY"] == ""
        assert launch.environment["FLYTE_ATTEMPT_NUMBER"] == "1"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"containers": [{"name": "a", "args": ["x"]}, {"name": "b"}]}, "with 2 containers: a process cannot"),
        ({"containers": [{"name": "a", "args": ["x"]}], "initContainers": [{"name": "b"}]}, "with init containers"),
        ({"containers": [{"name": "a", "args": ["x"], "volumeMounts": [{"name": "v"}]}]}, "with volume mounts"),
        ({"containers": [{"name": "a", "args": ["x"], "workingDir": "/w"}]}, "with a working directory"),
        ({"containers": [{"name": "a", "args": ["x"], "envFrom": [{}]}]}, "environment variables from elsewhere"),
        (
            {
                "containers": [{"name": "a", "args": ["x"], "env": [{"name": "A", "valueFrom": {}}]}],
                "initContainers": [1],
            },
            "with init containers, environment variables from elsewhere",
        ),
        ({"containers": [{"name": "other", "args": ["x"]}]}, "no primary container 'a'"),
        ({}, "no primary container 'a'"),
        ({"containers": [{"name": "a"}]}, "names no command"),
    ],
)
def test_pods_that_cannot_be_processes(spec: dict[str, Any], told: str) -> None:
    with pytest.raises(PluginError, match=told):
        PLUGIN.build(pod_task(spec, primary="a"), CONTEXT)


def test_pods_with_data_paths_cannot_be_processes() -> None:
    task = pod_task({"containers": [{"name": "a", "args": ["x"]}]}, primary="a")
    task.k8s_pod.data_config.enabled = True
    with pytest.raises(PluginError, match="a pod with data paths"):
        PLUGIN.build(task, CONTEXT)
