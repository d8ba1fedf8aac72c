"""Has the SDK make the task of a map's elements once in a process, and in the forks of that process not at all.

The SDK's resolvers of maps look the user's task up and wrap it anew for each element.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

__all__ = ["load", "remember"]

_RESOLVERS = {
    "flytekit.core.array_node_map_task": "ArrayNodeMapTaskResolver",
    "flytekit.core.legacy_map_task": "MapTaskResolver",
}
_END = "--"
_MARK = "flyte_kernel_remembers"


def remember() -> None:
    """Have the resolvers of maps load each task once: this process keeps the user's module and what is in it."""
    for resolver in _resolvers():
        if not hasattr(resolver.load_task, _MARK):
            resolver.load_task = _remembering(resolver.load_task)


def load(command: list[str]) -> None:
    """Load the task that a command for elements names, if it can be; whoever runs it says what is wrong."""
    with contextlib.suppress(Exception):
        name = command[command.index("--resolver") + 1]
        for resolver in _resolvers():
            if name == f"{resolver.__module__}.{resolver.__name__}":
                resolver().load_task(loader_args=command[command.index(_END) + 1 :], max_concurrency=None)


def _resolvers() -> list[Any]:
    found = []
    for module, name in _RESOLVERS.items():
        with contextlib.suppress(ImportError, AttributeError):
            found.append(getattr(importlib.import_module(module), name))
    return found


def _remembering(load_task: Any) -> Any:
    known: dict[Any, Any] = {}

    @functools.wraps(load_task)
    def load_once(self: Any, loader_args: list[str], *arguments: Any, **options: Any) -> Any:
        key = (tuple(loader_args), arguments, tuple(sorted(options.items())))
        if key not in known:
            known[key] = load_task(self, loader_args, *arguments, **options)
        return known[key]

    setattr(load_once, _MARK, True)
    return load_once
