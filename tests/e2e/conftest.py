"""One server for the tests that leave it alone; its folder goes away with the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.client import Client
from tests.support.parity import Admin, Runs
from tests.support.server import ServerProcess


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A running server."""
    server = ServerProcess(tmp_path_factory.mktemp("server") / "data").start()
    yield server
    assert server.stop() == 0, server.log_path.read_text()


@pytest.fixture(scope="session")
def constructs(server: ServerProcess, request: pytest.FixtureRequest) -> Client:
    """A client; the files of all workflows that the session's tests name in their CASES are registered, in one go."""
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    modules = {item.module for item in items if "runs" in item.fixturenames}
    cases = [case for module in modules for case in module.CASES.values()]
    client = Client(server.config)
    client.register(*sorted({f"{case.name.partition('.')[0]}.py" for case in cases}))
    return client


@pytest.fixture(scope="session")
def admin(server: ServerProcess) -> Iterator[Admin]:
    """The server's raw rows."""
    admin = Admin(server.grpc)
    yield admin
    admin.channel.close()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, constructs: Client, admin: Admin, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """All cases of the module (its CASES), started together here and on the server."""
    runs = Runs(constructs, admin, request.module.CASES, tmp_path_factory.mktemp("runs"))
    yield runs
    runs.close()
