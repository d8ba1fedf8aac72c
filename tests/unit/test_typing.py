"""Are the types of what embedders import known to a strict checker, without a guess?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PUBLIC = ("_core", "builders", "durable", "errors", "executing", "mapping", "phases", "pools", "testing")


@pytest.mark.timeout(300)
def test_public_names_are_typed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--verifytypes", "flyte_kernel", "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,  # it fails over modules that are not for embedders
    )
    symbols = json.loads(done.stdout[done.stdout.index("{") :])["typeCompleteness"]["symbols"]
    public = [symbol for symbol in symbols if _is_public(symbol["name"])]
    assert len(public) > 100
    assert [symbol["name"] for symbol in public if symbol["isExported"] and not symbol["isTypeKnown"]] == []


def _is_public(name: str) -> bool:
    package, _, rest = name.partition(".")
    return package == "flyte_kernel" and (rest.count(".") == 0 or rest.partition(".")[0] in PUBLIC)
