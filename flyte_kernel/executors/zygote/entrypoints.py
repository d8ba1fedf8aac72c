"""The SDK's own commands, called in a process that has the SDK imported."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
import types
from typing import Any

from .sdk_folders import give_folders
from .shortcuts import inline_loop, lazy_literals, remembered_options
from .user_module import extend_path

__all__ = ["ENTRYPOINTS", "SDK", "call_entrypoint"]

SDK = "flytekit.bin.entrypoint"
_MAP_COMMAND = "pyflyte-map-execute"
ENTRYPOINTS = {"pyflyte-execute": "execute_task_cmd", _MAP_COMMAND: "map_execute_task_cmd"}


def call_entrypoint(command: list[str]) -> int:
    """Call the SDK's own command; return the exit code."""
    extend_path()
    sys.argv = list(command)
    sys.modules["__main__"] = types.ModuleType("__main__")
    entrypoint = getattr(importlib.import_module(SDK), ENTRYPOINTS[command[0]])
    give_folders()
    inline_loop.inherit()
    lazily = lazy_literals.lazily_converted if command[0] == _MAP_COMMAND else contextlib.nullcontext
    code: Any = 0
    try:
        with lazily():
            remembered_options.call(entrypoint, command[1:], command[0])
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        return 1
    return int(code or 0) & 0xFF
