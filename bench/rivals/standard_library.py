# /// script
# requires-python = ">=3.10"
# ///
"""Bare calls, which are the limit, and concurrent.futures."""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

from bench.rivals.told import CHAIN, FAN, sizes, tell


def same(number: int) -> int:
    """Return the number."""
    return number


def after(number: int) -> int:
    """Return the next number."""
    return number + 1


def chained(pool: Executor, count: int) -> list[int]:
    """Submit one after the other."""
    results = [pool.submit(same, 0).result()]
    while len(results) < count:
        results.append(pool.submit(after, results[-1]).result())
    return results


def called(count: int) -> list[int]:
    """Call one after the other."""
    results = [same(0)]
    while len(results) < count:
        results.append(after(results[-1]))
    return results


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    tell(FAN, "bare Python calls", fan, lambda: [same(number) for number in range(fan)], role="limit")
    tell(CHAIN, "bare Python calls", chain, lambda: called(chain), role="limit")
    for name, kind in (("threads", ThreadPoolExecutor), ("processes", ProcessPoolExecutor)):
        with kind(2) as pool:
            submitted = lambda: [future.result() for future in [pool.submit(same, n) for n in range(fan)]]  # noqa: E731
            tell(FAN, f"concurrent.futures, {name}", fan, submitted)
            tell(CHAIN, f"concurrent.futures, {name}", chain, lambda: chained(pool, chain))


if __name__ == "__main__":
    main()
