"""Decks: pages that tasks draw."""

from __future__ import annotations

import pytest

from tests.support.client import DOMAIN, PROJECT
from tests.support.parity import Case, Runs

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {"deck": Case("attempts.with_deck", {"n": 12})}


def test_a_deck_can_be_downloaded(runs: Runs) -> None:
    execution = runs.ended("deck")
    remote = runs.client.remote
    row = runs.admin.tree(execution)["n0"]
    assert row.closure.deck_uri.endswith("/deck.html")
    link = remote.client.get_download_artifact_signed_url("n0", PROJECT, DOMAIN, execution.id.name)
    (url,) = link.pre_signed_urls.signed_url
    with remote.file_access.get_filesystem_for_path(url).open(url, "rb") as stream:
        assert b"the number is 12" in stream.read()
    page = remote.get(f"flyte://v1/{PROJECT}/{DOMAIN}/{execution.id.name}/n0/d")
    assert b"the number is 12" in page
