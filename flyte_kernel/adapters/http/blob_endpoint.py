"""The life of the S3-compatible endpoint that serves the blob folder to SDKs in tasks and clients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flyte_kernel._core import BlobServer

__all__ = ["BlobEndpoint"]


class BlobEndpoint:
    """Serves a folder on HOST:PORT from the moment it is made; AdapterError if the port is in use."""

    def __init__(
        self, root: Path, host: str, port: int, *, buckets: Sequence[str], access_key: str, secret_key: str
    ) -> None:
        self._server = BlobServer.start(root, host, port, access_key, secret_key, buckets=list(buckets))
        bound_host, bound_port = self._server.address
        self.address = f"[{bound_host}]:{bound_port}" if ":" in bound_host else f"{bound_host}:{bound_port}"

    def close(self) -> None:
        """Answer what is in flight and stop."""
        self._server.close()
