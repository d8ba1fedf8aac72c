# /// script
# requires-python = ">=3.10"
# dependencies = ["prefect==3.9.1"]
# ///
"""Prefect with its own local server and two threads."""

from __future__ import annotations

import os
import tempfile
from typing import Any

_home = tempfile.TemporaryDirectory(prefix="bench-prefect-", ignore_cleanup_errors=True)
os.environ.update(
    PREFECT_HOME=_home.name,
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="240",  # the first start on a machine compiles all of it
)

from prefect import flow, task  # noqa: E402
from prefect.task_runners import ThreadPoolTaskRunner  # noqa: E402

from bench.rivals.told import CHAIN, FAN, sizes, tell  # noqa: E402


@task
def same(number: int) -> int:
    """Return the number."""
    return number


@task
def after(number: int) -> int:
    """Return the next number."""
    return number + 1


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def side_by_side(count: int) -> list[int]:
    """Submit all at once."""
    return [future.result() for future in [same.submit(number) for number in range(count)]]


@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def chained(count: int) -> list[int]:
    """Submit one after the other, each with the future of the one before."""
    futures: list[Any] = [same.submit(0)]
    while len(futures) < count:
        futures.append(after.submit(futures[-1]))
    return [future.result() for future in futures]


def main() -> None:
    """Print the records."""
    fan, chain = (max(1, size // 10) for size in sizes())  # it takes a fifth of a second a task
    tell(FAN, "Prefect", fan, lambda: side_by_side(fan), rounds=1)
    tell(CHAIN, "Prefect", chain, lambda: chained(chain), rounds=1)


if __name__ == "__main__":
    main()
