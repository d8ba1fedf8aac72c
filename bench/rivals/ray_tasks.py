# /// script
# requires-python = ">=3.10"
# dependencies = ["ray==2.60.0"]
# ///
"""Ray on one machine with two worker processes."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # its workers are to use this environment as it is

import ray

from bench.rivals import standard_library
from bench.rivals.told import CHAIN, FAN, sizes, tell

same, after = ray.remote(standard_library.same), ray.remote(standard_library.after)


def chained(count: int) -> list[int]:
    """Submit a chain of references at once."""
    references: list[Any] = [same.remote(0)]
    while len(references) < count:
        references.append(after.remote(references[-1]))
    return ray.get(references)


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    tell(FAN, "Ray", fan, lambda: ray.get([same.remote(n) for n in range(fan)]))
    tell(CHAIN, "Ray", chain, lambda: chained(chain))
    ray.shutdown()


if __name__ == "__main__":
    main()
