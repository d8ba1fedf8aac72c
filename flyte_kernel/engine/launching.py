"""What an executor needs to know of an attempt at a task node."""

from __future__ import annotations

from collections.abc import Callable

from flyteidl.admin import execution_pb2
from flyteidl.core import literals_pb2, workflow_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.engine import paths
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.maps import LEGACY_TASK_TYPE, element_environment, element_task
from flyte_kernel.engine.ports import AttemptLaunch, Blobs, InstantResult, TaskContext, TaskPlugin
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.settings import Settings
from flyte_kernel.engine.takeover import TakeOver
from flyte_kernel.errors import PluginError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey

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
        if key.element == NO_ELEMENT:
            data = self._data.resolve_inputs(record, key.node)
            self._data.write_inputs(record, key.node, data)
            inputs = literals_pb2.LiteralMap.FromString(data)
        else:
            inputs = self._data.attempt_inputs(record, key)
        spec = execution_pb2.ExecutionSpec.FromString(record.spec)
        name = self._data.attempt_name(record, key)
        raw = paths.raw_output_prefix(self._raw_base(spec), name)
        context = TaskContext(
            key=key,
            execution=record.id,
            node_id=self._data.unique_id(record, key.node),
            generated_name=name,
            workflow=record.workflow,
            task=entity_id(task.id),
            input_prefix=self._input_prefix(record, key, inputs),
            output_prefix=self._output_prefix(record, key),
            raw_output_prefix=raw,
            checkpoint_prefix=paths.checkpoint_prefix(raw),
            previous_checkpoint_prefix=self._previous_checkpoint(record, key, spec),
            inputs=inputs,
            environment={
                **(element_environment(key.element) if key.element != NO_ELEMENT else {}),
                **{pair.key: pair.value for pair in spec.envs.values},
            },
            namespace=self._settings.namespace(record.id.project, record.id.domain),
            as_local_path=self._as_local_path,
            write=self._blobs.write,
        )
        if key.element != NO_ELEMENT:
            task = element_task(task)
        return self._plugin_of(task.type).build(task, context)

    def _input_prefix(self, record: ExecutionRecord, key: AttemptKey, inputs: literals_pb2.LiteralMap) -> str:
        """Elements read the inputs of their map, unless it says that each has a file of its own."""
        prefix = self._data.data_prefix(record, key.node)
        array = self._programs.of_record(record).template[key.node].array_node
        if key.element == NO_ELEMENT or array.data_mode != workflow_pb2.ArrayNode.INDIVIDUAL_INPUT_FILES:
            return prefix
        prefix = f"{prefix}/{key.element}"
        self._blobs.write(f"{prefix}/inputs.pb", inputs.SerializeToString())
        return prefix

    def _output_prefix(self, record: ExecutionRecord, key: AttemptKey) -> str:
        prefix = self._data.attempt_prefix(record, key)
        program = self._programs.of_record(record)
        task = program.task[key.node]
        is_legacy = key.element != NO_ELEMENT and task is not None and task.type == LEGACY_TASK_TYPE
        # The processes of legacy maps append the number of their element themselves.
        return prefix.rpartition("/")[0] if is_legacy else prefix

    def _raw_base(self, spec: execution_pb2.ExecutionSpec) -> str:
        return spec.raw_output_data_config.output_location_prefix or f"{self._blobs.base_uri}/data"

    def _previous_checkpoint(self, record: ExecutionRecord, key: AttemptKey, spec: execution_pb2.ExecutionSpec) -> str:
        """Return where the attempt before left its checkpoints, in an earlier execution if this one recovers it."""
        if key.attempt:
            name = self._data.attempt_name(record, key._replace(attempt=key.attempt - 1))
            return paths.checkpoint_prefix(paths.raw_output_prefix(self._raw_base(spec), name))
        earlier = self._take_over.earlier(record, key.node) if key.element == NO_ELEMENT else None
        if earlier is None or not earlier.record.nodes.created_at[earlier.node]:
            return ""
        attempt = int(earlier.record.nodes.attempt[earlier.node])
        name = self._data.generated_name(earlier.record, earlier.node, attempt)
        base = self._raw_base(execution_pb2.ExecutionSpec.FromString(earlier.record.spec))
        return paths.checkpoint_prefix(paths.raw_output_prefix(base, name))

    def _as_local_path(self, uri: str) -> str:
        path = self._blobs.local_path(uri)
        return uri if path is None else str(path)
