"""The S3-compatible endpoint over the blob folder, as a part of the server that starts and stops with it."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path

from flyte_kernel._core import BlobServer
from flyte_kernel.errors import AdapterError

__all__ = ["BlobEndpoint"]


class BlobEndpoint:
    """Serves from construction to `close`; AdapterError if the address cannot be listened on.

    `root` is the blob folder, made if missing like the `buckets`; port 0 takes a free one.
    """

    def __init__(
        self, root: Path, host: str, port: int, *, buckets: Sequence[str], access_key: str, secret_key: str
    ) -> None:
        try:
            self._server = BlobServer.start(root, host, port, access_key, secret_key, buckets=buckets)
        except AdapterError as error:
            raise AdapterError(f"{error}; choose another with --http HOST:PORT", retryable=False) from error
        self.address = _reachable(*self._server.address)

    def close(self) -> None:
        """Answer the requests in flight, for a few seconds at most, and stop."""
        self._server.close()


def _reachable(host: str, port: int) -> str:
    """Return HOST:PORT as clients on this machine use it: nobody can connect to "all addresses"."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        host = "127.0.0.1" if address.version == 4 else "::1"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
