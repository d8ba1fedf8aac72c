"""Code distributions of fast registration: fetched and unpacked once, shared by all attempts that name them."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.errors import PluginError

__all__ = ["Distributions"]


class Distributions:
    """Unpacked distributions below one folder, by URI; safe to use from any thread."""

    def __init__(self, folder: Path, fetch: Callable[[str], bytes]) -> None:
        self._folder = folder
        self._fetch = fetch
        self._lock = threading.Lock()

    def unpacked(self, uri: str) -> Path:
        """Return the folder with the distribution's files; PluginError says why it can never be had."""
        folder = self._folder / hashlib.sha256(uri.encode()).hexdigest()[:32]
        with self._lock:
            if not folder.exists():
                self._unpack(uri, folder)
        return folder

    def _unpack(self, uri: str, folder: Path) -> None:
        try:
            data = self._fetch(uri)
        except BlobNotFoundError as error:
            raise PluginError(f"the code distribution {uri} does not exist: register the workflow again") from error
        temporary = folder.with_name(folder.name + ".new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError) as error:
            raise PluginError(f"the code distribution {uri} cannot be unpacked: {error}") from error
        temporary.rename(folder)
