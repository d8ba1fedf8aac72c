"""One server for the tests that leave it alone; its folder goes away with the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server."""
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield server
    assert server.stop() == 0, server.log_path.read_text()
