"""Imports the user's module once for many attempts, if nobody could tell, and makes it at home in each of them.

Run by a warm process that was forked for the sake of one module, in the interpreter of the tasks. Importing is code of
the user's, which may do anything: what it did that attempts would notice if it had been done for all of them at once,
or that a fork would break, is looked for, and then every attempt imports the module by itself as before.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import random
import signal
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from .code_copies import is_untouched

__all__ = ["extend_path", "import_module", "modules_below", "move_modules"]


def extend_path() -> None:
    """Put what PYTHONPATH names first on the path, as the interpreter does when it starts."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    missing = [path for path in paths if path not in sys.path]
    first = len(paths) - len(missing)  # the others lead the path since the warm process started
    sys.path[first:first] = missing


def import_module(name: str, code: str, folder: Path, varying: set[str]) -> str:
    """Import a module from the copy of `code` in `folder`/work; return what speaks against its use, empty if nothing.

    `varying` are variables that differ from attempt to attempt.
    """
    work, printed = folder / "work", folder / "printed"
    own_path = list(sys.path)
    os.chdir(work)
    extend_path()
    began_ns = max(path.lstat().st_ctime_ns for path in [work, *work.rglob("*")])
    before = _traces()
    with _printing_to(printed), _watching(varying) as noticed:
        try:
            importlib.import_module(name)
        except BaseException as error:
            noticed.append(f"it cannot be imported: {type(error).__name__}: {error}")
    noticed += [f"it changed {what}" for what, trace in _traces().items() if trace != before[what]]
    if printed.stat().st_size:
        noticed.append("it printed something")
    if not is_untouched(code, str(work), began_ns):
        noticed.append("it wrote beside its modules")
    if any((folder / "tmp").iterdir()):
        noticed.append("it left files in the folder for temporary ones")
    if _has_children():
        noticed.append("it started processes")
    noticed += [f"{place} holds a path of the folder it was imported in" for place in _kept_paths(str(work))]
    sys.path[:] = own_path
    for known in [known for known in sys.path_importer_cache if known.startswith(str(work))]:
        del sys.path_importer_cache[known]
    return "; ".join(noticed)


def move_modules(names: frozenset[str], old: str, new: str) -> None:
    """Tell modules that were imported from below the folder `old` that they are below `new`."""
    for name in names:
        module: Any = sys.modules[name]
        for place in ("__file__", "__cached__"):
            path = getattr(module, place, None)
            if isinstance(path, str):
                setattr(module, place, _moved(path, old, new))
        _move_spec(getattr(module, "__spec__", None), old, new)
        if isinstance(getattr(module, "__path__", None), list):
            module.__path__[:] = [_moved(path, old, new) for path in module.__path__]


def _move_spec(spec: Any, old: str, new: str) -> None:
    if spec is None:
        return
    for place in ("origin", "cached"):
        path = getattr(spec, place, None)
        if isinstance(path, str):
            setattr(spec, place, _moved(path, old, new))
    path = getattr(spec.loader, "path", None)
    if isinstance(path, str):
        spec.loader.path = _moved(path, old, new)


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if path == old or path.startswith(f"{old}/") else path


def modules_below(folder: str) -> frozenset[str]:
    """Return the names of the modules that come from a folder; one without a file is a namespace package.

    Looking at all modules touches memory that a forked process shares until then: not for every attempt.
    """
    found = set()
    for name, module in list(sys.modules.items()):
        spec = _attributes(module).get("__spec__")
        places = [_attributes(module).get("__file__"), *(getattr(spec, "submodule_search_locations", None) or ())]
        if any(isinstance(place, str) and f"{place}/".startswith(f"{folder}/") for place in places):
            found.add(name)
    return frozenset(found)


def _attributes(module: Any) -> dict[str, Any]:
    """Return what a module has by now: one that is loaded when it is first looked at must not be."""
    try:
        attributes: dict[str, Any] = object.__getattribute__(module, "__dict__")
    except AttributeError:
        return {}
    return attributes


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Let what is printed meanwhile, by the interpreter or below it, go to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor in (1, 2):
        os.dup2(target, descriptor)
    os.close(target)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


@contextlib.contextmanager
def _watching(varying: set[str]) -> Iterator[list[str]]:
    """Note who asks for what differs from attempt to attempt: variables of these names, or randomness."""
    noticed: list[str] = []
    variables, seed, sources = type(os.environ), random.Random.seed, (os.urandom, random._urandom)  # type: ignore[attr-defined]
    get, iterate = variables.__getitem__, variables.__iter__

    def get_noticed(self: Any, name: Any) -> Any:
        if name in varying:
            noticed.append(f"it reads the variable {name}")
        return get(self, name)

    def iterate_noticed(self: Any) -> Any:
        noticed.append("it reads all variables")
        return iterate(self)

    def seed_noticed(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None:
            noticed.append("it makes random numbers")
        seed(self, a, version)

    def random_noticed(size: int) -> bytes:
        noticed.append("it makes random numbers")
        return sources[0](size)

    patched: Any = variables
    patched.__getitem__, patched.__iter__ = get_noticed, iterate_noticed
    random.Random.seed = seed_noticed  # type: ignore[method-assign]
    os.urandom = random._urandom = random_noticed  # type: ignore[attr-defined]
    try:
        yield noticed
    finally:
        patched.__getitem__, patched.__iter__ = get, iterate
        random.Random.seed = seed  # type: ignore[method-assign]
        os.urandom, random._urandom = sources  # type: ignore[attr-defined]


def _traces() -> dict[str, Any]:
    """Return what an import may change beside adding modules."""
    numpy_random = sys.modules.get("numpy.random")
    numbers: Any = str(numpy_random.get_state()) if numpy_random is not None else ""
    return {
        "the environment": dict(os.environ),
        "the working directory": os.getcwd(),  # noqa: PTH109
        "open files": sorted(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "the handling of signals": [signal.getsignal(number) for number in signal.valid_signals()],
        "timers": signal.getitimer(signal.ITIMER_VIRTUAL),
        "what is done at exit": atexit._ncallbacks(),
        "the path": list(sys.path),
        "hooks": (sys.excepthook, sys.stdout, sys.stderr, list(sys.meta_path), list(sys.path_hooks)),
        "random numbers": random.getstate(),
        "NumPy's random numbers": numbers,
        "the garbage collector": (gc.isenabled(), gc.get_threshold()),
    }


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kept_paths(folder: str) -> list[str]:
    """Return the global names of the user's modules whose value is a path below the folder."""
    return [
        f"{name}.{key}"
        for name in sorted(modules_below(folder))
        for key, value in list(_attributes(sys.modules[name]).items())
        if not key.startswith("__") and _is_path(value) and folder in os.fsdecode(value)
    ]


def _is_path(value: Any) -> bool:
    return issubclass(type(value), (str, bytes, PurePath))  # isinstance would look at it, which may load a module
