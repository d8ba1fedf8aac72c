"""The filter in front of the store's look-ups."""

from __future__ import annotations

import random

from flyte_kernel.store.known_keys import KnownKeys


def test_every_key_that_was_added_is_known() -> None:
    chooser = random.Random(3)
    keys = [chooser.getrandbits(64) - (1 << 63) for _ in range(50_000)]
    known = KnownKeys(keys[:25_000])
    for key in keys[25_000:]:
        known.add(key)
    assert all(key in known for key in keys)


def test_few_others_are() -> None:
    chooser = random.Random(4)
    known = KnownKeys(chooser.getrandbits(64) for _ in range(50_000))
    others = sum(chooser.getrandbits(64) in known for _ in range(10_000))
    assert others < 10
