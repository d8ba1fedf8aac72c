"""The command line: start a server, say what version this is."""

from __future__ import annotations

from flyte_kernel.cli.main import main

__all__ = ["main"]
