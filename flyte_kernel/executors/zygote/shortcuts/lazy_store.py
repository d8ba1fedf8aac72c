"""Has the SDK make its client of the S3 store when an attempt first has to do with raw data; most never have.

The client brings a thread with an event loop of its own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from .known import expect

__all__ = ["take"]

_REMOTE = "_default_remote"
_LAST = "_raw_output_prefix"  # what the constructor of the SDK's provider of files sets last


class _Later:
    """A file system that is not made yet; the constructor asks for the separator of its paths."""

    def __init__(self, kind: Any, make: Callable[[], Any]) -> None:
        self.protocol = kind.protocol
        self.sep = kind.sep
        self.make = make


class _Remote:
    """The attribute of the provider of files: makes the file system when somebody wants it."""

    def __get__(self, provider: Any, owner: Any = None) -> Any:
        if provider is None:
            return self
        try:
            remote = provider.__dict__[_REMOTE]
        except KeyError:
            raise AttributeError(_REMOTE) from None
        if isinstance(remote, _Later) and _LAST in provider.__dict__:
            remote = provider.__dict__[_REMOTE] = remote.make()
        return remote

    def __set__(self, provider: Any, remote: Any) -> None:
        provider.__dict__[_REMOTE] = remote


def take() -> None:
    """Have the SDK's provider of files do so; TypeError if a function is not what it was."""
    module: Any = importlib.import_module("flytekit.core.data_persistence")
    provider: Any = module.FileAccessProvider
    get_filesystem = provider.get_filesystem
    expect(get_filesystem, "self", "protocol", "anonymous", "path", "kwargs")
    expect(module._canonical_fs_class, "protocol")

    def get(self: Any, protocol: Any = None, anonymous: bool = False, path: Any = None, **kwargs: Any) -> Any:
        if protocol == "s3" and _REMOTE not in self.__dict__ and not (anonymous or path or kwargs):
            return _Later(module._canonical_fs_class(protocol), lambda: get_filesystem(self, protocol))
        return get_filesystem(self, protocol, anonymous, path, **kwargs)

    provider.get_filesystem = get
    setattr(provider, _REMOTE, _Remote())
