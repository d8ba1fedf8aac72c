"""Pod tasks as processes: the primary container of a pod spec, where nothing else in the spec is needed to run it."""

from __future__ import annotations

from typing import Any

from flyteidl.core import tasks_pb2
from google.protobuf.json_format import MessageToDict

from flyte_kernel.errors import PluginError

__all__ = ["pod_process"]

_PRIMARY_KEY = "primary_container_name"


def pod_process(task: tasks_pb2.TaskTemplate, task_name: str) -> tuple[list[str], dict[str, str]]:
    """Return command with arguments, and environment, of the primary container.

    PluginError says what the pod has that a process cannot have: other containers, volumes, values from secrets.
    """
    spec = MessageToDict(task.k8s_pod.pod_spec)
    containers = [container for container in _items(spec, "containers") if isinstance(container, dict)]
    primary = _primary(containers, task.k8s_pod.primary_container_name or task.config.get(_PRIMARY_KEY, ""), task_name)
    if task.k8s_pod.data_config.enabled:
        raise PluginError(f"task {task_name} is a pod with data paths: that needs a container, a process cannot run it")
    obstacles = _obstacles(spec, primary, len(containers))
    if obstacles:
        raise PluginError(f"task {task_name} is a pod with {', '.join(obstacles)}: a process cannot run it")
    command = [str(part) for key in ("command", "args") for part in _items(primary, key)]
    environment = {str(pair["name"]): str(pair.get("value", "")) for pair in _items(primary, "env")}
    return command, environment


def _items(holder: dict[str, Any], key: str) -> list[Any]:
    """Kubernetes clients write absent lists as null."""
    return holder.get(key) or []


def _primary(containers: list[dict[str, Any]], name: str, task_name: str) -> dict[str, Any]:
    if not name and len(containers) == 1:
        return containers[0]
    for container in containers:
        if name and container.get("name") == name:
            return container
    raise PluginError(f"the pod of task {task_name} has no primary container {name!r}")


def _obstacles(spec: dict[str, Any], primary: dict[str, Any], container_count: int) -> list[str]:
    found = []
    if container_count > 1:
        found.append(f"{container_count} containers")
    if _items(spec, "initContainers"):
        found.append("init containers")
    if _items(primary, "volumeMounts"):
        found.append("volume mounts")
    if primary.get("workingDir"):
        found.append("a working directory")
    if _items(primary, "envFrom") or any("valueFrom" in pair for pair in _items(primary, "env")):
        found.append("environment variables from elsewhere")
    return found
