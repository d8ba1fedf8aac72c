"""Obeys effects about attempts: task processes on this machine."""

from __future__ import annotations

from flyte_kernel.executors.local import LocalExecutor

__all__ = ["LocalExecutor"]
