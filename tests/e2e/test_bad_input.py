"""What a hostile world does to a server: each thing gets an error that says what to do, and loses nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.support.admin import Admin
from tests.support.client import Client
from tests.support.parity import is_gone, until
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Admin]]:
    """A server of its own, with tasks that do what they should not."""
    server = ServerProcess(tmp_path_factory.mktemp("hostile") / "data").start()
    Client(server.config).register("hostile.py")
    with Admin(server.grpc) as admin:
        yield server, admin
    assert server.stop() == 0, server.log_path.read_text()


def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `flyte-kernel up` where it cannot start."""
    command = [sys.executable, "-m", "flyte_kernel.cli", "up", "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)


def refused(*arguments: str) -> str:
    """Return what a server that cannot start says; it must be one that a person can read."""
    result = up(*arguments)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    return " ".join((result.stdout + result.stderr).split())


# Starting


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert str(port) in refused("--data", str(tmp_path / "a"), "--grpc", f"127.0.0.1:{port}")
        assert str(port) in refused("--data", str(tmp_path / "b"), "--http", f"127.0.0.1:{port}")


def test_a_second_server_on_the_same_folder(hostile: tuple[ServerProcess, Admin]) -> None:
    server, admin = hostile
    assert str(server.data) in refused("--data", str(server.data))
    assert admin.output(admin.create("hostile.leaving_children", {"path": f"{server.data.parent}/second"})) == 4


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "file" in refused("--data", str(tmp_path / "file"))
    assert "file" in refused("--data", str(tmp_path / "file" / "below"))
    assert "/proc" in refused("--data", "/proc/none/of/this")


def test_an_interpreter_that_is_none(tmp_path: Path) -> None:
    assert "no-python" in refused("--data", str(tmp_path / "data"), "--python", str(tmp_path / "no-python"))
    assert "/bin/true" in refused("--data", str(tmp_path / "data"), "--python", "/bin/true")


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:70000", "127.0.0.1:x"])
def test_addresses_that_are_none(tmp_path: Path, address: str) -> None:
    assert address in refused("--data", str(tmp_path / "data"), "--grpc", address)


# What is on disk


def filled(folder: Path) -> tuple[ServerProcess, str]:
    """A data folder with one finished execution; its server is stopped."""
    server = ServerProcess(folder / "data").start()
    Client(server.config).register("hostile.py")
    with Admin(server.grpc) as admin:
        name = admin.create("hostile.leaving_children", {"path": str(folder / "pids")})
        assert admin.output(name) == 4
    return server, name


def test_a_corrupt_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    server, _ = filled(tmp_path)
    server.kill()
    (segment,) = (server.data / "journal").glob("segment-*")
    data = bytearray(segment.read_bytes())
    for place in range(4096, 4096 + 64):
        data[place] ^= 0xFF
    segment.write_bytes(data)
    for snapshot in (server.data / "journal").glob("snapshot*"):
        snapshot.unlink()
    told = refused("--data", str(server.data))
    assert segment.name in told
    assert segment.read_bytes() == bytes(data)


def test_a_damaged_view_file_is_made_again(tmp_path: Path) -> None:
    server, name = filled(tmp_path)
    assert server.stop() == 0
    (views,) = server.data.rglob("*.duckdb")
    views.write_bytes(b"no database" * 1000)
    server.start()
    with Admin(server.grpc) as admin:
        assert admin.output(name) == 4
    assert server.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with 400 MiB of space."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    server = ServerProcess(small_disk / "data").start()
    Client(server.config).register("hostile.py")
    go, pids = tmp_path / "go", tmp_path / "pids"
    with Admin(server.grpc) as admin:
        running = admin.create("hostile.waiting_for", {"path": str(pids), "until": str(go)})
        until(pids.exists, "the task never started")
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file:
            try:
                while True:
                    file.write(bytes(64 * 1024))
                    file.flush()
            except OSError:
                pass
        acknowledged = [running]
        refusals = []
        large = os.urandom(1_000_000).hex()
        for number in range(200):  # a megabyte each: what the journal has reserved is soon used up
            try:
                acknowledged.append(admin.create("hostile.idling", {}, f"idle{number}", annotation=large))
            except grpc.RpcError as error:
                refusals.append(error)
                break
        (refusal,) = refusals
        assert refusal.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, refusal
        assert "disk" in str(refusal.details()) or "space" in str(refusal.details())
        assert admin.get(running).closure.phase == 2  # reading goes on
        ballast.unlink()
        go.touch()  # not before there is room for what the task has to say
        assert admin.output(running) == 1
        for name in acknowledged[1:]:
            assert admin.phase(name) == "SUCCEEDED"
    assert server.stop() == 0, server.log_path.read_text()


# What tasks do


def test_a_task_that_kills_its_parent_ends_only_itself(hostile: tuple[ServerProcess, Admin], tmp_path: Path) -> None:
    server, admin = hostile
    error = admin.error(admin.create("hostile.killing_its_parent", {"path": str(tmp_path / "pids")}))
    assert error.code
    assert server.process is not None
    assert server.process.poll() is None
    assert admin.output(admin.create("hostile.closing_its_output", {})) == 7


def test_nothing_of_a_task_stays_behind(hostile: tuple[ServerProcess, Admin], tmp_path: Path) -> None:
    _, admin = hostile
    pids = tmp_path / "pids"
    assert admin.output(admin.create("hostile.leaving_children", {"path": str(pids)})) == 4
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: is_gone(pid), f"process {pid} is still there")


@pytest.mark.parametrize(
    ("how", "code", "text"),
    [
        ("sys.exit text", "", "I have had enough"),
        ("os._exit", "OutputsNotFound", "without writing any"),
        ("os._exit 3", "Error", "the last words"),
        ("garbage", "OutputsBadFormat", "malformed"),
    ],
)
def test_tasks_that_leave_early(hostile: tuple[ServerProcess, Admin], how: str, code: str, text: str) -> None:
    _, admin = hostile
    error = admin.error(admin.create("hostile.leaving", {"how": how}))
    assert code in error.code
    assert text in error.message


def test_a_log_of_a_hundred_megabytes(hostile: tuple[ServerProcess, Admin]) -> None:
    _, admin = hostile
    assert admin.output(admin.create("hostile.filling_its_log", {"megabytes": 100})) == 100


def test_outputs_that_are_too_large_are_the_users_mistake(hostile: tuple[ServerProcess, Admin], tmp_path: Path) -> None:
    _, admin = hostile
    error = admin.error(admin.create("hostile.writing_much", {"path": str(tmp_path / "pids"), "megabytes": 12}))
    assert error.code == "OutputSizeExceeded"
    assert len((tmp_path / "pids").read_text().splitlines()) == 1  # not tried again


def test_a_stopped_process_can_be_terminated(hostile: tuple[ServerProcess, Admin], tmp_path: Path) -> None:
    _, admin = hostile
    pids = tmp_path / "pids"
    name = admin.create("hostile.waiting_for", {"path": str(pids), "until": str(tmp_path / "never")})
    until(lambda: pids.exists() and pids.read_text(), "the task never started")
    pid = int(pids.read_text())
    os.kill(pid, signal.SIGSTOP)
    admin.terminate(name)
    assert admin.phase(name) == "ABORTED"
    assert is_gone(pid)


# What clients send


def test_malformed_and_oversized_messages(hostile: tuple[ServerProcess, Admin]) -> None:
    server, admin = hostile
    method = admin.channel.unary_unary("/flyteidl.service.AdminService/CreateExecution")
    with pytest.raises(grpc.RpcError) as malformed:
        method(b"\xff" * 50, timeout=30)
    assert malformed.value.code() is grpc.StatusCode.INVALID_ARGUMENT, malformed.value
    with pytest.raises(grpc.RpcError) as oversized:
        method(bytes(80 * 1024 * 1024), timeout=60)
    assert oversized.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, oversized.value
    with socket.create_connection(("127.0.0.1", int(server.grpc.rpartition(":")[2]))) as raw:
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    with pytest.raises(grpc.RpcError) as unknown:
        admin.get("never-was")
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["Großschreibung", "a b", "x" * 300, "-x", "../up", "a\x00b", "é"])
def test_names_with_odd_characters(hostile: tuple[ServerProcess, Admin], name: str) -> None:
    _, admin = hostile
    with pytest.raises(grpc.RpcError) as caught:
        admin.create("hostile.idling", {}, name)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value


def test_a_missing_code_distribution_says_so(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "data").start()
    Client(server.config).register("hostile.py")
    for archive in server.data.rglob("*.tar.gz"):
        archive.unlink()
    with Admin(server.grpc) as admin:
        error = admin.error(admin.create("hostile.idling", {}))
        assert "distribution" in error.message or ".tar.gz" in error.message
    assert server.stop() == 0
