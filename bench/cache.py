"""The catalog's look-ups: a million keys at once, and one, beside a dictionary and DuckDB."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from uuid import UUID

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.records import Record
from flyte_kernel.catalog.columns import NO_ROW
from flyte_kernel.catalog.index import Artifact, ArtifactIndex, Source
from flyte_kernel.catalog.keys import DIGEST_BYTES

KEYS, SMOKE_KEYS = 1_000_000, 2_000
ONE_BY_ONE, POINT_READS = 100_000, 300
SEED = 20_260_101


def filled(digests: NDArray[np.uint8]) -> ArtifactIndex:
    """Return an index with an artifact under each digest."""
    index, source = ArtifactIndex(), Source("project", "domain", "execution", "n0", 0)
    for number, digest in enumerate(digests):
        row = index.add(Artifact(str(UUID(int=number)), 0, ("o0",), 1, source))
        index.add_digest(0, digest.tobytes(), row)
    return index


def timed(work: Callable[[], int], rounds: int = 3) -> tuple[float, int]:
    """Return the seconds of the fastest round, and what it found."""
    best, found = float("inf"), 0
    for _ in range(rounds):
        began = time.perf_counter()
        found = work()
        best = min(best, time.perf_counter() - began)
    return best, found


def main(arguments: Sequence[str] = ()) -> None:
    """Print the records; `--smoke` for a size that a test can afford."""
    count = SMOKE_KEYS if "--smoke" in arguments else KEYS
    digests = np.random.default_rng(SEED).integers(0, 256, (count, DIGEST_BYTES), dtype=np.uint8)
    index, keys = filled(digests), [digest.tobytes() for digest in digests]
    rows = {key: row for row, key in enumerate(keys)}
    some = keys[:: max(1, count // ONE_BY_ONE)]
    table = duckdb.connect()
    table.execute("create table tags (digest blob, artifact uinteger)")
    table.register("columns", {"digest": np.array(keys, object), "artifact": np.arange(count, dtype=np.uint32)})
    table.execute("insert into tags select * from columns")
    table.execute("create index by_digest on tags (digest)")
    few = some[:: max(1, len(some) // POINT_READS)]

    def point_reads() -> int:
        query = "select count(artifact) from tags where digest = ?"
        return sum(table.execute(query, [key]).fetchall()[0][0] for key in few)

    contestants: list[tuple[str, str, str, str, int, Callable[[], int]]] = [
        ("at once", "dictionary of bytes", "limit", "", count, lambda: sum(rows.get(key) is not None for key in keys)),
        (
            "at once",
            "ArtifactIndex.find_digests",
            "ours",
            "<= 0.25 us: 0.25 s for a million",
            count,
            lambda: int((index.find_digests(0, digests) != NO_ROW).sum()),
        ),
        (
            "one by one",
            "dictionary of bytes",
            "limit",
            "",
            len(some),
            lambda: sum(rows.get(key) is not None for key in some),
        ),
        (
            "one by one",
            "ArtifactIndex.find_digest",
            "ours",
            "<= 2 us",
            len(some),
            lambda: sum(index.find_digest(0, key) is not None for key in some),
        ),
        ("one by one", "DuckDB, indexed", "rival", "", len(few), point_reads),
    ]
    for how, name, role, goal, wanted, work in contestants:
        seconds, found = timed(work)
        if found != wanted:
            raise RuntimeError(f"{name} found {found} of {wanted} keys")
        workload = f"cache look-ups among {count:,} keys, {how}"
        print(json.dumps(asdict(Record(workload, name, role, seconds / wanted * 1e6, "us a key", goal, str(found)))))


if __name__ == "__main__":
    main(sys.argv[1:])
