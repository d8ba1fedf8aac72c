"""Code distributions of fast registration: fetched and unpacked once, copied by all attempts that name them."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.errors import PluginError

__all__ = ["Distributions"]

# The SDK's name for a distribution that is one pickle, opened by that name in the task's folder.
_PICKLE = "pkl.gz"
# Compiling ahead saves each attempt some milliseconds a file; whole repositories of rarely used ones are not worth it.
_COMPILED_FILES_MAX = 500
_COMPILE_TIMEOUT_S = 60


class Distributions:
    """Unpacked distributions below `folder`, one folder per content; safe to use from any thread.

    `fetch` reads a blob by URI. `python` compiles the modules, so that attempts need not.
    """

    def __init__(self, folder: Path, fetch: Callable[[str], bytes], python: Path) -> None:
        self._folder = folder
        self._fetch = fetch
        self._python = python
        self._known: dict[str, Path] = {}
        self._lock = threading.Lock()

    def find(self, uri: str) -> Path | None:
        """Return the folder of a distribution that was unpacked before."""
        return self._known.get(uri)

    def unpacked(self, uri: str) -> Path:
        """Return the folder with the distribution's files; it must not be written to.

        PluginError says why it can never be had; other errors (AdapterError, OSError) may pass.
        """
        with self._lock:
            if uri not in self._known:
                self._known[uri] = self._unpack(uri)
            return self._known[uri]

    def _unpack(self, uri: str) -> Path:
        try:
            data = self._fetch(uri)
        except BlobNotFoundError as error:
            raise PluginError(f"the code distribution {uri} does not exist: register the workflow again") from error
        folder = self._folder / hashlib.sha256(data).hexdigest()[:32]
        if folder.exists():
            return folder
        temporary = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        if PurePosixPath(uri).name == _PICKLE:
            (temporary / _PICKLE).write_bytes(data)
        else:
            _extract(uri, data, temporary)
        self._compile(temporary)
        temporary.rename(folder)
        return folder

    def _compile(self, folder: Path) -> None:
        """Compile the modules; a file that does not compile is left to the task that imports it."""
        if sum(1 for _ in folder.rglob("*.py")) > _COMPILED_FILES_MAX:
            return
        # -s keeps this folder's name out of tracebacks: modules run from the attempts' copies.
        command = [str(self._python), "-I", "-S", "-m", "compileall", "-q", "-s", str(folder), str(folder)]
        try:
            subprocess.run(command, capture_output=True, timeout=_COMPILE_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return


def _extract(uri: str, data: bytes, target: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            members = archive.getmembers()
            links = {PurePosixPath(member.name) for member in members if member.issym()}
            for member in members:
                _check_member(uri, member, links)
            if hasattr(tarfile, "data_filter"):
                archive.extractall(target, filter="data")
            else:
                archive.extractall(target)
    except (tarfile.TarError, EOFError, UnicodeError) as error:
        raise PluginError(f"the code distribution {uri} cannot be unpacked: {error}") from error


def _check_member(uri: str, member: tarfile.TarInfo, links: set[PurePosixPath]) -> None:
    """Refuse what would reach out of the folder, by its name, through a link, or as a device."""
    name = PurePosixPath(member.name)
    escapes = _leaves(name) or any(parent in links for parent in name.parents)
    if member.issym():
        escapes = escapes or _leaves(name.parent / member.linkname)
    elif member.islnk():
        escapes = escapes or _leaves(PurePosixPath(member.linkname))
    if escapes or not (member.isfile() or member.isdir() or member.issym() or member.islnk()):
        raise PluginError(f"the code distribution {uri} holds {member.name!r}, which leads out of its folder")


def _leaves(path: PurePosixPath) -> bool:
    return path.is_absolute() or os.path.normpath(path).split("/")[0] == ".."
