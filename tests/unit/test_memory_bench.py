"""Nodes, runs and elements stay within what they may weigh, in a process of their own."""

from __future__ import annotations

import json
import subprocess
import sys


def test_the_weights() -> None:
    command = [sys.executable, "-m", "bench.memory"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    values = {record["name"]: record["value"] for record in map(json.loads, lines)}
    assert 12 < values["a node with 3 edges"] <= 26
    assert 1 < values["100,000 runs of 100 nodes"] <= 600
    assert values["an element"] <= 2
