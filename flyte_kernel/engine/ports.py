"""What the engine needs from the outside, as small protocols; executors, stores and blob folders implement them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol, runtime_checkable

from flyteidl.core import literals_pb2, tasks_pb2

from flyte_kernel.ids import AttemptKey, EntityId, ExecutionId

__all__ = [
    "AttemptLaunch",
    "AttemptReport",
    "BlobNotFoundError",
    "Blobs",
    "Executor",
    "InstantResult",
    "JournalPort",
    "ReportKind",
    "TaskContext",
    "TaskPlugin",
    "WaitingPlugin",
]


@dataclass(frozen=True)
class AttemptLaunch:
    """All an executor must know to run one attempt of a container task as a process.

    `name` is unique over all executions and stable over restarts: executors use it for the attempt's folder.
    `command` and `environment` are rendered already. `output_prefix` is the folder or URI that the command writes
    outputs.pb or error.pb into.
    """

    key: AttemptKey
    execution: ExecutionId
    node_id: str
    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    output_prefix: str = ""


@dataclass(frozen=True)
class InstantResult:
    """An attempt that needs no process: it succeeds by itself `after_ns` nanoseconds later.

    `outputs` is the serialised core.LiteralMap that it puts out.
    """

    outputs: bytes = b""
    after_ns: int = 0


@dataclass(frozen=True)
class TaskContext:
    """All a plugin may know of the attempt that it makes runnable.

    `node_id` is the node's id within its execution, `generated_name` the one of the attempt, `task` and `workflow` are
    entity ids. Prefixes are URIs without a trailing slash; `previous_checkpoint_prefix` is empty if there is none.
    `environment` holds the variables of the execution's spec. `as_local_path` gives the path under which this machine
    sees a URI, or the URI itself if it does not; `write` stores a blob.
    """

    key: AttemptKey
    execution: ExecutionId
    node_id: str
    generated_name: str
    workflow: EntityId
    task: EntityId
    input_prefix: str
    output_prefix: str
    raw_output_prefix: str
    checkpoint_prefix: str
    previous_checkpoint_prefix: str = ""
    inputs: literals_pb2.LiteralMap = field(default_factory=literals_pb2.LiteralMap)
    environment: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    as_local_path: Callable[[str], str] = str
    write: Callable[[str, bytes], None] | None = None


class TaskPlugin(Protocol):
    """Knows how tasks of some types become something an executor can run; stateless and safe to use from any thread."""

    @property
    def task_types(self) -> Collection[str]:
        """The types of task templates that the plugin builds."""
        ...

    def build(self, task: tasks_pb2.TaskTemplate, context: TaskContext) -> AttemptLaunch | InstantResult:
        """Return what to run for one attempt; PluginError if the task can never be run."""
        ...


@runtime_checkable
class WaitingPlugin(Protocol):
    """A TaskPlugin some of whose tasks only wait: the engine then needs no worker and no blob for them."""

    def wait_ns(self, task: tasks_pb2.TaskTemplate, inputs: literals_pb2.LiteralMap) -> int | None:
        """Return how long a task without outputs waits before it succeeds, None if it must be built; may raise."""
        ...


class ReportKind(Enum):
    """What an executor tells about an attempt."""

    STARTED = "started"  # may be left out of an element's that ends within a moment
    EXITED = "exited"  # the process ended by itself; exit_code or signal is set
    ABORTED = "aborted"  # gone because `abort` asked for it, or never started and never will
    REFUSED = "refused"  # cannot be started; message says why; recoverable says whose budget pays


@dataclass(frozen=True)
class AttemptReport:
    """One thing an executor saw; reports of one attempt arrive in order, and again after a restart if in doubt."""

    key: AttemptKey
    kind: ReportKind
    exit_code: int | None = None
    signal: int | None = None
    message: str = ""
    recoverable: bool = False
    log_uri: str = ""


class Executor(Protocol):
    """Obeys effects about attempts; every call is idempotent per key and returns without waiting for user code."""

    def start(self, report: Callable[[AttemptReport], None]) -> None:
        """Begin work; `report` may be called from any thread."""

    def launch(self, launches: Sequence[AttemptLaunch]) -> None:
        """Queue attempts in order; a key that is known already is left alone."""

    def abort(self, keys: Sequence[AttemptKey]) -> None:
        """End attempts with all their processes, then report ABORTED (also for a key never seen)."""

    def reconcile(self, launches: Sequence[AttemptLaunch]) -> None:
        """After a restart: adopt the attempts whose process still runs, report the ended ones, run the others.

        An attempt is run again only when its earlier process is gone and left no result.
        """

    def close(self) -> None:
        """Stop taking work and end the own helper processes; running attempts are left to a later `reconcile`."""


class BlobNotFoundError(LookupError):
    """No blob of that name."""


class Blobs(Protocol):
    """Named byte strings under one base URI; writes are atomic and visible to tasks under the same URI."""

    base_uri: str

    def read(self, uri: str) -> bytes:
        """Return the whole blob; BlobNotFoundError if absent, AdapterError if the store fails."""
        ...

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob."""

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there."""
        ...

    def local_path(self, uri: str) -> Path | None:
        """Return where this machine sees the blob as a plain file, or None if it does not."""
        ...

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:
        """Return a URL that takes one PUT of the blob."""
        ...

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return a URL that answers a GET of the blob."""
        ...

    def task_environment(self) -> Mapping[str, str]:
        """Return the environment variables with which SDKs in tasks reach the store."""
        ...


class JournalPort(Protocol):
    """A journal; `flyte_kernel._core.Journal` is one."""

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest block."""
        ...

    def append(self, payload: bytes) -> int:
        """Buffer one block."""
        ...

    def commit(self) -> None:
        """Make every buffered block durable."""

    def rollback(self) -> None:
        """Drop what was buffered and not committed."""

    def replay(self, after: int) -> Iterator[tuple[int, bytes]]:
        """Yield the blocks after a sequence."""
        ...

    def write_snapshot(self, sequence: int, payload: bytes) -> None:
        """Keep the state as of a sequence."""

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest readable snapshot."""
        ...

    def close(self) -> None:
        """Release the folder."""
