"""An embeddable workflow kernel: graphs as flat arrays in, ready frontiers out, a durable journal if wanted."""

from __future__ import annotations

from flyte_kernel._core import __version__

__all__ = ["__version__"]
