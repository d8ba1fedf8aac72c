"""What a zygote does once so that its attempts need not: imports, shortcuts, a rehearsal."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path
from types import ModuleType

from . import rehearsal
from .entrypoints import call_entrypoint
from .processes import fork
from .shortcuts import inline_loop, lazy_checkpoint, lazy_store, stack_frames, transfers

__all__ = ["import_all", "quiet_after_fork", "rehearse", "take_shortcuts"]

_SHORTCUTS: tuple[ModuleType, ...] = (inline_loop, transfers, lazy_store, lazy_checkpoint, stack_frames)
# Threads that may live on through a fork: jemalloc prepares for forks by itself. BLAS ends its threads before one.
_THREADS_MADE_FOR_FORKS = frozenset({"jemalloc_bg_thd"})


def import_all(modules: list[str]) -> None:
    """Import what can be imported; the rest is left to the attempts, which say in their own words what is wrong."""
    for name in modules:
        _import_if_possible(name)


def _import_if_possible(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException as error:
        print(f"zygote: {name} was not imported: {type(error).__name__}: {error}", file=sys.stderr)


def take_shortcuts() -> None:
    """Have the SDK do with less what it does for each attempt, as far as it is one that this is known of."""
    for shortcut in _SHORTCUTS:
        _take_if_possible(shortcut)


def _take_if_possible(shortcut: ModuleType) -> None:
    try:
        shortcut.take()
    except Exception as error:
        name = shortcut.__name__.rpartition(".")[2]
        print(f"zygote: {name} was not taken: {type(error).__name__}: {error}", file=sys.stderr)


def rehearse() -> bool:
    """Let the SDK run attempts of no consequence, so that what it keeps from then on is there for real ones.

    Return whether they came to their ends.
    """
    try:
        return rehearsal.rehearse(call_entrypoint)
    except BaseException as error:
        print(f"zygote: the SDK did not rehearse: {type(error).__name__}: {error}", file=sys.stderr)
        return False


def quiet_after_fork() -> bool:
    """Say whether no thread remains that a fork would tear from its locks; handlers that end threads have run."""
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    strange = [name for name in names if name not in _THREADS_MADE_FOR_FORKS]
    return threading.active_count() == 1 and len(strange) == 1
