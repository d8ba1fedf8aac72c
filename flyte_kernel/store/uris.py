"""URIs of blobs: what lies below a base, and under which name."""

from __future__ import annotations

from flyte_kernel.errors import InvalidArgumentError

__all__ = ["key_below"]

_SEGMENT_BYTES_MAX = 255
_KEY_BYTES_MAX = 1024


def key_below(base_uri: str, uri: str) -> str:
    """Return what follows the base and a slash in a URI; InvalidArgumentError if no blob can have this name.

    A key consists of parts between slashes that are neither empty nor "." nor "..", and is at most 1,024 bytes long,
    its parts at most 255: S3's and the filesystems' limits.
    """
    if not uri.startswith(f"{base_uri}/"):
        raise InvalidArgumentError(f"the blob [{uri}] does not lie below {base_uri}")
    key = uri[len(base_uri) + 1 :]
    if len(key.encode()) > _KEY_BYTES_MAX or not all(_is_segment(part) for part in key.split("/")):
        raise InvalidArgumentError(f"[{uri}] is no name for a blob")
    return key


def _is_segment(part: str) -> bool:
    return part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= _SEGMENT_BYTES_MAX
