"""What every rival's script shares: sizes, times, records as JSON lines; the standard library suffices for it."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Sequence

__all__ = ["CHAIN", "FAN", "digest", "sizes", "tell", "timed"]

FAN, CHAIN = "fan", "chain"
_WORKLOADS = {FAN: "tasks side by side that do nothing", CHAIN: "tasks in a chain that do nothing"}


def sizes() -> tuple[int, int]:
    """Return how many tasks run side by side and how many one after the other."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fan", type=int, default=1000)
    parser.add_argument("--chain", type=int, default=200)
    arguments = parser.parse_args()
    return arguments.fan, arguments.chain


def digest(results: Sequence[int]) -> str:
    """Hash results, so that nobody optimises them away."""
    return hashlib.sha256(",".join(map(str, results)).encode()).hexdigest()[:16]


def timed(work: Callable[[], Sequence[int]], rounds: int = 3) -> tuple[float, Sequence[int]]:
    """Return the seconds of the fastest round and its results."""
    best, results = float("inf"), []
    for _ in range(rounds):
        began = time.perf_counter()
        results = list(work())
        best = min(best, time.perf_counter() - began)
    return best, results


def tell(
    shape: str, name: str, count: int, work: Callable[[], Sequence[int]], *, role: str = "rival", rounds: int = 3
) -> None:
    """Measure and print a record: a fan's task i returns i, a chain's too, counting up from the one before."""
    seconds, results = timed(work, rounds)
    if results != list(range(count)):
        raise SystemExit(f"{name} returned {len(results)} results, {results[:5]} …, instead of 0 to {count - 1}")
    record = {"workload": _WORKLOADS[shape], "name": f"{name}, {count:,} of them", "role": role, "unit": "us a task"}
    print(json.dumps({**record, "value": seconds / count * 1e6, "check": digest(results)}), flush=True)
