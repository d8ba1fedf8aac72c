# /// script
# requires-python = ">=3.10"
# dependencies = ["dbos==3.4.0"]
# ///
"""DBOS with SQLite: every step is durable, and one follows the other in either shape."""

from __future__ import annotations

import tempfile

from dbos import DBOS

from bench.rivals.told import CHAIN, FAN, sizes, tell


@DBOS.step()
def same(number: int) -> int:
    """Return the number."""
    return number


@DBOS.step()
def after(number: int) -> int:
    """Return the next number."""
    return number + 1


@DBOS.workflow()
def side_by_side(count: int) -> list[int]:
    """Take the steps in one workflow."""
    return [same(number) for number in range(count)]


@DBOS.workflow()
def chained(count: int) -> list[int]:
    """Take one step after the other."""
    results = [same(0)]
    while len(results) < count:
        results.append(after(results[-1]))
    return results


def main() -> None:
    """Print the records."""
    fan, chain = sizes()
    with tempfile.TemporaryDirectory(prefix="bench-dbos-", ignore_cleanup_errors=True) as folder:
        url = f"sqlite:///{folder}/dbos.sqlite"
        DBOS(config={"name": "bench", "system_database_url": url, "log_level": "CRITICAL", "run_admin_server": False})
        DBOS.launch()
        tell(FAN, "DBOS, SQLite, durable", fan, lambda: side_by_side(fan), rounds=1)
        tell(CHAIN, "DBOS, SQLite, durable", chain, lambda: chained(chain), rounds=1)
        DBOS.destroy()


if __name__ == "__main__":
    main()
