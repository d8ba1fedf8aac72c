"""Dynamic tasks: what an attempt put out as a workflow still to run, compiled against what is registered."""

from __future__ import annotations

import secrets
import string

from flyteidl.core import dynamic_job_pb2
from google.protobuf.message import DecodeError

from flyte_kernel.compile.dynamic import compile_dynamic, dynamic_template, required_by
from flyte_kernel.compile.program import build_program
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.registration import registered
from flyte_kernel.engine.state import Registry
from flyte_kernel.errors import CompileError, InternalError, RequestError

__all__ = ["Growths"]

_VERSION_LENGTH = 10  # the reference's
_VERSION_LETTERS = string.ascii_lowercase + string.digits


class Growths:
    """Compiles the futures.pb of dynamic tasks; safe to use from any thread."""

    def __init__(self, registry: Registry, programs: Programs) -> None:
        self._registry = registry
        self._programs = programs

    def compile(self, record: ExecutionRecord, node: int, futures: bytes) -> bytes:
        """Return the serialised CompiledWorkflowClosure of a dynamic job; CompileError says what is wrong with it."""
        program = self._programs.of_record(record)
        task = program.task[node]
        if task is None:
            raise InternalError(f"node {program.node_id[node]} has no task")
        try:
            job = dynamic_job_pb2.DynamicJobSpec.FromString(futures)
        except DecodeError as error:
            raise CompileError(f"the futures.pb that the task wrote is malformed: {error}") from error
        version = "".join(secrets.choice(_VERSION_LETTERS) for _ in range(_VERSION_LENGTH))
        template = dynamic_template(job, node_id=program.node_id[node], parent=task, version=version)
        tasks, launch_plans = registered(self._registry, required_by(job, template))
        try:
            closure = compile_dynamic(job, template, parent=task, tasks=tasks, launch_plans=launch_plans)
            build_program(closure)
        except RequestError as error:
            raise CompileError(str(error)) from error
        return bytes(closure.SerializeToString(deterministic=True))
