"""What an exception of the engine's own work means for the attempt it was about."""

from __future__ import annotations

import logging

from flyteidl.core import execution_pb2

from flyte_kernel.engine.conditions import BranchError
from flyte_kernel.engine.literals import BindingError
from flyte_kernel.engine.maps import MapError
from flyte_kernel.errors import CompileError, PluginError, RequestError, StorageError
from flyte_kernel.phases import FailureClass

__all__ = ["failure_of", "is_passing"]

logger = logging.getLogger(__name__)

_SYSTEM = execution_pb2.ExecutionError.SYSTEM
_USER = execution_pb2.ExecutionError.USER


def failure_of(error: Exception) -> tuple[FailureClass, execution_pb2.ExecutionError]:
    """Say whose fault an error is: a store that fails may recover, a binding or a condition that fails never does."""
    match error:
        case BindingError():
            return _permanent(error.code, error.message, _SYSTEM)
        case BranchError():
            return _permanent(error.code, error.message, error.kind)
        case MapError():
            return _permanent(error.code, error.message, _USER)
        case CompileError():
            return _permanent("DynamicWorkflowBuildFailed", str(error), _USER)
        case PluginError() | RequestError():
            return _permanent("FailedToBuildResource", str(error), _USER)
    if is_passing(error):
        message = execution_pb2.ExecutionError(code="StorageFailure", message=str(error), kind=_SYSTEM)
        return FailureClass.SYSTEM_RECOVERABLE, message
    logger.error("an attempt could not be obeyed: this is a bug", exc_info=error)
    return _permanent("InternalError", repr(error), _SYSTEM)


def is_passing(error: Exception) -> bool:
    """Say whether what failed may succeed later."""
    return isinstance(error, (OSError, StorageError)) or bool(getattr(error, "retryable", False))


def _permanent(
    code: str, message: str, kind: execution_pb2.ExecutionError.ErrorKind
) -> tuple[FailureClass, execution_pb2.ExecutionError]:
    return FailureClass.PERMANENT, execution_pb2.ExecutionError(code=code, message=message, kind=kind)
