"""Every error the package raises, as one tree whose branches say who must act.

KernelError
├── GraphError        the caller built something impossible      CycleError, UnknownNodeError
├── CompileError      the caller's workflow does not hold together (carries coded findings)
├── RequestError      the caller asked for something wrong       InvalidArgument, NotFound, AlreadyExists, ...
├── StateError        a legal thing at the wrong time            (carries the story of the node)
├── StorageError      the disk refused or disagrees              CorruptRecordError, FolderLockedError, StorageFullError
├── AdapterError      the outside failed                         (retryable or not)
└── InternalError     our bug

A failed *task* is data, never an exception.
"""

from __future__ import annotations

import copyreg

__all__ = [
    "AdapterError",
    "AlreadyExistsError",
    "CompileError",
    "CorruptRecordError",
    "CycleError",
    "FailedPreconditionError",
    "FolderLockedError",
    "GraphError",
    "InternalError",
    "InvalidArgumentError",
    "KernelError",
    "NotFoundError",
    "PluginError",
    "RequestError",
    "StateError",
    "StorageError",
    "StorageFullError",
    "UnavailableError",
    "UnknownNodeError",
    "UnsupportedError",
    "WorkerDiedError",
]


class KernelError(Exception):
    """The root of every error this package raises."""


class GraphError(KernelError, ValueError):
    """The caller built a graph that cannot exist; nothing was changed."""


class CycleError(GraphError):
    """The edges close a cycle; the message names the nodes on one of them."""


class UnknownNodeError(GraphError, IndexError):
    """A node, run or graph index lies outside what was built."""


class CompileError(KernelError, ValueError):
    """A workflow does not hold together; `findings` lists (code, node id, description) in the reference's order."""

    def __init__(self, message: str, findings: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


class RequestError(KernelError):
    """The caller's request cannot be met as it stands; the text is the one a Flyte client expects.

    `detail` is an optional protobuf message that a gRPC edge attaches to the status.
    """

    def __init__(self, message: str, detail: object | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.detail = detail


class InvalidArgumentError(RequestError):
    """A field is missing, malformed or contradicts another."""


class NotFoundError(RequestError):
    """The entity named in the request does not exist."""


class AlreadyExistsError(RequestError):
    """The entity exists already, identical to the one in the request or holding its name."""


class FailedPreconditionError(RequestError):
    """The entity is in a state that rules the request out."""


class UnsupportedError(RequestError):
    """The request names a feature that this version does not have."""


class StateError(KernelError):
    """An event is illegal in the state its node is in; nothing was changed and the message tells the node's story."""


class StorageError(KernelError, OSError):
    """The disk refused or disagrees with what was written before."""


class CorruptRecordError(StorageError):
    """A record that was durable no longer matches its checksum; the message names file and offset."""


class FolderLockedError(StorageError):
    """Another process owns the folder."""


class StorageFullError(StorageError):
    """No space is left; nothing acknowledged was lost and the operation may be repeated once there is."""


class AdapterError(KernelError):
    """Something outside the process failed; `retryable` says whether trying again can help."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        # Pickling calls the class with the message alone otherwise.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class UnavailableError(AdapterError):
    """The server is draining or a peer cannot be reached; trying again later can help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class WorkerDiedError(AdapterError):
    """The process that made a call died, and did so again when that call was the only one."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retryable=True)


class PluginError(KernelError):
    """A plugin cannot make something runnable of a task, or third-party code broke the contract of plugins."""


class InternalError(KernelError):
    """A promise of this package does not hold: our bug, please report it."""
