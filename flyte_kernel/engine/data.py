"""Names and contents of what flows between nodes: unique ids, blob folders, inputs and outputs of an execution's nodes.

Outputs of live executions are kept in a bounded cache, since every consumer asks for them again.
"""

from __future__ import annotations

import threading
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256

from flyteidl.core import execution_pb2, literals_pb2, types_pb2

from flyte_kernel.compile.program import Program
from flyte_kernel.engine import paths
from flyte_kernel.engine.gates import gate_outputs
from flyte_kernel.engine.literals import BindingError, resolve_bindings
from flyte_kernel.engine.maps import LEGACY_TASK_TYPE, MapInputs, map_inputs
from flyte_kernel.engine.ports import BlobNotFoundError, Blobs
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.errors import StorageFullError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey, unique_node_id
from flyte_kernel.phases import NodeKind, NodePhase

__all__ = ["NodeData"]

_SCOPES_MAX = 256  # scopes whose nodes are kept by id
_MAPS_MAX = 8  # maps whose inputs are kept, however large
_ERROR_INPUT = "err"  # what a failure node is told of the failure, if it asks for it under this name
_CACHE_BYTES_MAX = 64 * 1024 * 1024  # a guess: a few thousand ordinary output maps


class NodeData:
    """Answers for any node of any execution where its data is and what it is; safe to use from any thread."""

    def __init__(self, blobs: Blobs, programs: Programs) -> None:
        self._blobs = blobs
        self._programs = programs
        self._outputs: OrderedDict[tuple[int, int, int], bytes] = OrderedDict()
        self._outputs_bytes = 0
        self._unique_ids: OrderedDict[tuple[int, int, str, int], Mapping[str, int]] = OrderedDict()
        self._map_inputs: OrderedDict[tuple[int, int, int], MapInputs] = OrderedDict()
        self._lock = threading.Lock()

    def unique_id(self, record: ExecutionRecord, node: int) -> str:
        """Return the node's id within its execution."""
        program = self._programs.of_record(record)
        parent = program.parent[node]
        if parent < 0:
            return program.node_id[node]
        parent_attempt = int(record.nodes.attempt[parent])
        return unique_node_id(self.unique_id(record, parent), parent_attempt, program.node_id[node])

    def data_prefix(self, record: ExecutionRecord, node: int) -> str:
        """Return the folder of the node's inputs.pb."""
        program = self._programs.of_record(record)
        parent = program.parent[node]
        if parent < 0:
            return paths.top_data_prefix(self._blobs.base_uri, record.id, program.node_id[node])
        return paths.nested_data_prefix(self.output_prefix(record, parent), program.node_id[node])

    def output_prefix(self, record: ExecutionRecord, node: int, attempt: int | None = None) -> str:
        """Return the folder of the outputs of an attempt, the current one if none is named."""
        if attempt is None:
            attempt = self._output_attempt(record, node)
        return paths.output_prefix(self.data_prefix(record, node), attempt)

    def _output_attempt(self, record: ExecutionRecord, node: int) -> int:
        """End nodes put out what others did: there is one place for it, however often it was tried."""
        return 0 if self._kind(record, node) == NodeKind.END else int(record.nodes.attempt[node])

    def attempt_prefix(self, record: ExecutionRecord, key: AttemptKey) -> str:
        """Return the folder of the outputs of an attempt at a node or at an element of a map."""
        if key.element == NO_ELEMENT:
            return self.output_prefix(record, key.node, key.attempt)
        prefix = self._map_prefix(record, key.node)
        task = self._programs.of_record(record).task[key.node]
        if task is not None and task.type == LEGACY_TASK_TYPE:
            return paths.legacy_element_prefix(prefix, key.element, key.attempt)
        return paths.element_prefix(prefix, key.element, key.attempt)

    def _map_prefix(self, record: ExecutionRecord, node: int) -> str:
        """Elements stay below the attempt that opened the map, however often its outputs are gathered."""
        return self.output_prefix(record, node, record.details.maps[node].attempt)

    def attempt_name(self, record: ExecutionRecord, key: AttemptKey) -> str:
        """Return the name of the process or pod of an attempt at a node or at an element of a map."""
        if key.element == NO_ELEMENT:
            return self.generated_name(record, key.node, key.attempt)
        name = self.generated_name(record, key.node, record.details.maps[key.node].attempt)
        return paths.element_name(name, key.element, key.attempt)

    def attempt_inputs(self, record: ExecutionRecord, key: AttemptKey) -> literals_pb2.LiteralMap:
        """Return what an attempt at a node, or at an element of a map, is given."""
        if key.element == NO_ELEMENT:
            return literals_pb2.LiteralMap.FromString(self.node_inputs(record, key.node))
        return self.map_inputs(record, key.node).of_element(key.element)

    def map_inputs(self, record: ExecutionRecord, node: int) -> MapInputs:
        """Return the inputs of a map node, which are stored; BindingError if what they refer to is gone."""
        key = (record.run, node, int(record.nodes.attempt[node]))
        with self._lock:
            found = self._map_inputs.get(key)
            if found is not None:
                self._map_inputs.move_to_end(key)
                return found
        inputs = literals_pb2.LiteralMap.FromString(self.node_inputs(record, node))
        found = map_inputs(self._programs.of_record(record).template[node], inputs, self._blobs.read)
        with self._lock:
            self._map_inputs[key] = found
            while len(self._map_inputs) > _MAPS_MAX:
                self._map_inputs.popitem(last=False)
        return found

    def write_attempt_outputs(self, record: ExecutionRecord, key: AttemptKey, outputs: bytes) -> None:
        """Store outputs that the engine itself makes, of a node or of an element of a map."""
        if key.element == NO_ELEMENT:
            self.write_outputs(record, key.node, key.attempt, outputs)
        else:
            self._blobs.write(f"{self.attempt_prefix(record, key)}/outputs.pb", outputs)

    def element_outputs(self, record: ExecutionRecord, key: AttemptKey) -> bytes:
        """Return what an element that succeeded put out; BlobNotFoundError if it is gone."""
        return self._blobs.read(f"{self.attempt_prefix(record, key)}/outputs.pb")

    def write_map_outputs(
        self, record: ExecutionRecord, key: AttemptKey, collections: Mapping[str, literals_pb2.Literal], bytes_max: int
    ) -> None:
        """Store the gathered outputs of a map; a collection of more than `bytes_max` bytes is kept by reference."""
        outputs = literals_pb2.LiteralMap()
        types = self._programs.of_record(record).task[key.node]
        for name, literal in collections.items():
            data = literal.SerializeToString()
            if len(data) <= bytes_max or types is None:
                outputs.literals[name].CopyFrom(literal)
                continue
            uri = f"{self.output_prefix(record, key.node, key.attempt)}/{name}_offloaded_metadata.pb"
            self._blobs.write(uri, data)
            offloaded = outputs.literals[name]
            offloaded.offloaded_metadata.uri = uri
            offloaded.offloaded_metadata.size_bytes = len(data)
            offloaded.offloaded_metadata.inferred_type.CopyFrom(types.interface.outputs.variables[name].type)
            offloaded.hash = urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")
        self.write_outputs(record, key.node, key.attempt, outputs.SerializeToString())

    def generated_name(self, record: ExecutionRecord, node: int, attempt: int) -> str:
        """Return the name of an attempt's process or pod."""
        return paths.generated_name(record.id, self.unique_id(record, node), attempt)

    def node_inputs(self, record: ExecutionRecord, node: int) -> bytes:
        """Return the node's inputs as a serialised LiteralMap, empty if it has none or they are not known yet."""
        kind = self._kind(record, node)
        if kind == NodeKind.START:
            return b""
        found = self._read(f"{self.data_prefix(record, node)}/inputs.pb")
        return self._late_inputs(record, node) if kind == NodeKind.TASK and not found else found

    def _late_inputs(self, record: ExecutionRecord, node: int) -> bytes:
        """A task node that only waits has no inputs.pb until somebody asks."""
        has_begun = record.nodes.phase[node] not in (NodePhase.UNDEFINED, NodePhase.SKIPPED)
        if not has_begun or not self._programs.of_record(record).template[node].inputs:
            return b""
        try:
            inputs = self.resolve_inputs(record, node)
        except BindingError:
            return b""
        with suppress(StorageFullError):
            self._blobs.write(f"{self.data_prefix(record, node)}/inputs.pb", inputs)
        return inputs

    def node_outputs(self, record: ExecutionRecord, node: int) -> bytes:
        """Return the node's outputs as a serialised LiteralMap, empty if it has none or they are not known yet."""
        key = (record.run, node, self._output_attempt(record, node))
        with self._lock:
            cached = self._outputs.get(key)
            if cached is not None:
                self._outputs.move_to_end(key)
                return cached
        program = self._programs.of_record(record)
        kind = program.kind[node]
        if kind == NodeKind.START:
            scope = program.parent[node]
            return record.inputs if scope < 0 else self.node_inputs(record, scope)
        if record.nodes.phase[node] != NodePhase.RECOVERED:
            if kind == NodeKind.BRANCH:
                return self._branch_outputs(record, program, node)
            if kind == NodeKind.GATE:
                return gate_outputs(record, program.template[node].gate_node, self.node_inputs(record, node))
        return self._read(f"{self.output_prefix(record, node)}/outputs.pb")

    def _branch_outputs(self, record: ExecutionRecord, program: Program, branch: int) -> bytes:
        """A branch puts out what the arm that was taken puts out."""
        for arm in program.arms[branch].values():
            if record.nodes.phase[arm] in (NodePhase.SUCCEEDED, NodePhase.RECOVERED):
                return self.node_outputs(record, arm)
        return b""

    def execution_outputs(self, record: ExecutionRecord) -> bytes:
        """Return the execution's outputs as a serialised LiteralMap, empty if there are none."""
        return self.node_outputs(record, self._programs.of_record(record).end_node(-1))

    def remember_outputs(self, record: ExecutionRecord, node: int, attempt: int, outputs: bytes) -> None:
        """Keep outputs that were just read or made, for the node's consumers."""
        with self._lock:
            key = (record.run, node, attempt)
            self._outputs_bytes += len(outputs) - len(self._outputs.pop(key, b""))
            self._outputs[key] = outputs
            while self._outputs_bytes > _CACHE_BYTES_MAX:
                _, dropped = self._outputs.popitem(last=False)
                self._outputs_bytes -= len(dropped)

    def write_inputs(self, record: ExecutionRecord, node: int, inputs: bytes) -> None:
        """Store the inputs of a node; on a full disk it is enough that they are there already."""
        uri = f"{self.data_prefix(record, node)}/inputs.pb"
        try:
            self._blobs.write(uri, inputs)
        except StorageFullError:
            if not self._blobs.exists(uri) or self._blobs.read(uri) != inputs:
                raise

    def write_outputs(self, record: ExecutionRecord, node: int, attempt: int, outputs: bytes) -> None:
        """Store outputs that the engine itself makes."""
        self._blobs.write(f"{self.output_prefix(record, node, attempt)}/outputs.pb", outputs)
        self.remember_outputs(record, node, attempt, outputs)

    def deck_uri(self, record: ExecutionRecord, node: int) -> str:
        """Return where the page is that a task may draw, empty if it draws none."""
        task = self._programs.of_record(record).task[node]
        if task is None or not task.metadata.generates_deck.value:
            return ""
        return f"{self.output_prefix(record, node)}/deck.html"

    def copy_deck(self, earlier: ExecutionRecord, earlier_node: int, record: ExecutionRecord, node: int) -> None:
        """Take over the page that a task of an earlier execution drew."""
        uri = self.deck_uri(earlier, earlier_node)
        if uri and self._blobs.exists(uri):
            self._blobs.write(self.deck_uri(record, node), self._blobs.read(uri))

    def resolve_inputs(self, record: ExecutionRecord, node: int) -> bytes:
        """Resolve the node's bindings to a serialised LiteralMap; BindingError if one cannot be."""
        program = self._programs.of_record(record)
        template = program.template[node]
        if not template.inputs:
            return b""
        upstream = program.upstream_by_name(program.parent[node])
        parsed: dict[str, literals_pb2.LiteralMap] = {}

        def outputs_of(node_id: str) -> literals_pb2.LiteralMap:
            if node_id not in parsed:
                source = upstream.get(node_id or "start-node")
                if source is None:
                    raise BindingError("BindingResolutionFailure", f"no node {node_id!r} beside {template.id!r}")
                parsed[node_id] = literals_pb2.LiteralMap.FromString(self.node_outputs(record, source))
            return parsed[node_id]

        aliases = program.aliases_by_name(program.parent[node])
        resolved = resolve_bindings(template.inputs, outputs_of, aliases=aliases, read=self._blobs.read)
        scope = program.parent[node]
        if program.failure_handler(scope) == node and _ERROR_INPUT in resolved.literals:
            error = record.error if scope < 0 else record.nodes.error.get(scope, b"")
            resolved.literals[_ERROR_INPUT].CopyFrom(_error_literal(error, program.node_id[node]))
        return bytes(resolved.SerializeToString())

    def nodes_by_unique_id(self, record: ExecutionRecord, scope: int) -> Mapping[str, int]:
        """Return the nodes of a scope (-1 is the top) by the ids they have within the execution."""
        program = self._programs.of_record(record)
        if scope < 0:
            return {program.node_id[node]: node for node in program.children(scope)}
        key = (record.run, scope, self.unique_id(record, scope), int(record.nodes.attempt[scope]))
        found = self._unique_ids.get(key)
        if found is None:
            found = {self.unique_id(record, node): node for node in program.children(scope)}
            with self._lock:
                self._unique_ids[key] = found
                while len(self._unique_ids) > _SCOPES_MAX:
                    self._unique_ids.popitem(last=False)
        return found

    def _kind(self, record: ExecutionRecord, node: int) -> int:
        return int(self._programs.of_record(record).kind[node])

    def _read(self, uri: str) -> bytes:
        try:
            return self._blobs.read(uri)
        except BlobNotFoundError:
            return b""


def _error_literal(error: bytes, node_id: str) -> literals_pb2.Literal:
    """The reference names the failure node itself as the one that failed (nodes/resolve.go)."""
    literal = literals_pb2.Literal()
    union = literal.scalar.union
    union.value.scalar.error.message = execution_pb2.ExecutionError.FromString(error).message
    union.value.scalar.error.failed_node_id = node_id
    union.type.simple = types_pb2.ERROR
    union.type.structure.tag = "FlyteError"
    return literal
