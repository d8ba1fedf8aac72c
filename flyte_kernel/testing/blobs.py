"""Blobs in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlencode

from flyte_kernel.engine.ports import BlobNotFoundError

__all__ = ["MemoryBlobs"]


class MemoryBlobs:
    """A blob store that forgets everything at the end; safe to use from any thread.

    `fault` is called with ("read" | "write" | "exists", uri) before the operation and may raise what a store raises.
    Signed URLs are the blob's URI with what was signed as a query.
    """

    def __init__(self, base_uri: str = "memory://flyte", fault: Callable[[str, str], None] | None = None) -> None:
        self.base_uri = base_uri
        self.fault = fault
        self._data: dict[str, bytes] = {}
        self._lock = threading.Lock()

    @property
    def uris(self) -> list[str]:
        """The names of all blobs, sorted."""
        with self._lock:
            return sorted(self._data)

    def read(self, uri: str) -> bytes:
        """Return the whole blob; BlobNotFoundError if absent."""
        self._before("read", uri)
        with self._lock:
            try:
                return self._data[uri]
            except KeyError:
                raise BlobNotFoundError(uri) from None

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob."""
        self._before("write", uri)
        with self._lock:
            self._data[uri] = bytes(data)

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there."""
        self._before("exists", uri)
        with self._lock:
            return uri in self._data

    def local_path(self, uri: str) -> Path | None:  # noqa: ARG002
        """Return None: no blob is a file."""
        return None

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:
        """Return the URI with method, lifetime, hexadecimal MD5 and metadata as its query."""
        md5 = {} if content_md5 is None else {"md5": content_md5.hex()}
        return f"{uri}?{urlencode({'method': 'PUT', 'expires': expires_s, **md5, **metadata})}"

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return the URI with method and lifetime as its query."""
        return f"{uri}?{urlencode({'method': 'GET', 'expires': expires_s})}"

    def task_environment(self) -> Mapping[str, str]:
        """Return nothing: no task can reach this memory."""
        return {}

    def _before(self, operation: str, uri: str) -> None:
        if self.fault is not None:
            self.fault(operation, uri)
