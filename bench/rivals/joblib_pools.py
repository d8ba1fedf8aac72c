# /// script
# requires-python = ">=3.10"
# dependencies = ["joblib==1.6.0"]
# ///
"""joblib, which has no graphs: side by side only."""

from __future__ import annotations

from joblib import Parallel, delayed

from bench.rivals.standard_library import same
from bench.rivals.told import FAN, sizes, tell


def main() -> None:
    """Print the records."""
    fan, _ = sizes()
    for backend in ("threading", "loky"):
        with Parallel(n_jobs=2, backend=backend) as pool:
            tell(FAN, f"joblib, {backend}", fan, lambda: pool(delayed(same)(n) for n in range(fan)))


if __name__ == "__main__":
    main()
