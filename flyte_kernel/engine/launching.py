"""What an executor needs to know of an attempt at a task node."""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.admin import execution_pb2
from flyteidl.core import literals_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.engine import paths
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.ports import AttemptLaunch, Blobs, InstantResult, TaskContext, TaskPlugin
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.takeover import TakeOver
from flyte_kernel.errors import PluginError
from flyte_kernel.ids import AttemptKey

__all__ = ["TaskLauncher"]


class TaskLauncher:
    """Turns the current attempt of a task node into what its plugin makes of it; safe to use from any thread."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        data: NodeData,
        programs: Programs,
        plugin_of: Callable[[str], TaskPlugin],
        settings: Settings,
        take_over: TakeOver,
    ) -> None:
        self._blobs = blobs
        self._data = data
        self._programs = programs
        self._plugin_of = plugin_of
        self._settings = settings
        self._take_over = take_over

    def prepare(self, record: ExecutionRecord, key: AttemptKey) -> AttemptLaunch | InstantResult:
        """Store the inputs of a task node and return what to run; whatever cannot be run is raised."""
        program = self._programs.of_record(record)
        task = program.task[key.node]
        if task is None:
            raise PluginError(f"node {program.node_id[key.node]} has no task")
        inputs = self._data.resolve_inputs(record, key.node)
        self._data.write_inputs(record, key.node, inputs)
        spec = execution_pb2.ExecutionSpec.FromString(record.spec)
        name = self._data.generated_name(record, key.node, key.attempt)
        raw = paths.raw_output_prefix(self._raw_base(spec), name)
        context = TaskContext(
            key=key,
            execution=record.id,
            node_id=self._data.unique_id(record, key.node),
            generated_name=name,
            workflow=record.workflow,
            task=entity_id(task.id),
            input_prefix=self._data.data_prefix(record, key.node),
            output_prefix=self._data.output_prefix(record, key.node, key.attempt),
            raw_output_prefix=raw,
            checkpoint_prefix=paths.checkpoint_prefix(raw),
            previous_checkpoint_prefix=self._previous_checkpoint(record, key, spec),
            inputs=literals_pb2.LiteralMap.FromString(inputs),
            environment={pair.key: pair.value for pair in spec.envs.values},
            namespace=self._settings.namespace(record.id.project, record.id.domain),
            as_local_path=self._as_local_path,
            write=self._blobs.write,
        )
        return self._plugin_of(task.type).build(task, context)

    def _raw_base(self, spec: execution_pb2.ExecutionSpec) -> str:
        return spec.raw_output_data_config.output_location_prefix or f"{self._blobs.base_uri}/data"

    def _previous_checkpoint(self, record: ExecutionRecord, key: AttemptKey, spec: execution_pb2.ExecutionSpec) -> str:
        """Return where the attempt before left its checkpoints, in an earlier execution if this one recovers it."""
        if key.attempt:
            name = self._data.generated_name(record, key.node, key.attempt - 1)
            return paths.checkpoint_prefix(paths.raw_output_prefix(self._raw_base(spec), name))
        earlier = self._take_over.earlier(record, key.node)
        if earlier is None or not earlier.record.nodes.created_at[earlier.node]:
            return ""
        attempt = int(earlier.record.nodes.attempt[earlier.node])
        name = self._data.generated_name(earlier.record, earlier.node, attempt)
        base = self._raw_base(execution_pb2.ExecutionSpec.FromString(earlier.record.spec))
        return paths.checkpoint_prefix(paths.raw_output_prefix(base, name))

    def _as_local_path(self, uri: str) -> str:
        path = self._blobs.local_path(uri)
        return uri if path is None else str(path)
