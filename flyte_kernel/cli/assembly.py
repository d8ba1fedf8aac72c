"""Puts a server together: folder, journal, blobs, views, executor, engine, gRPC."""

from __future__ import annotations

import errno
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flyte_kernel import Journal
from flyte_kernel.adapters.grpc.server import GrpcServer
from flyte_kernel.adapters.http.blob_endpoint import BlobEndpoint
from flyte_kernel.engine.loop import Engine
from flyte_kernel.engine.ports import Blobs
from flyte_kernel.engine.settings import Settings
from flyte_kernel.errors import AdapterError, KernelError, StorageError, StorageFullError
from flyte_kernel.executors.local import LocalExecutor
from flyte_kernel.plugins.registry import PluginRegistry
from flyte_kernel.store.blobs import FolderBlobs, FsspecBlobs
from flyte_kernel.store.duckdb_views import DuckDBViews

__all__ = ["Options", "Server"]

BUCKET = "flyte"
_PYTHON_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """What `flyte-kernel up` was asked for; addresses are (host, port)."""

    data: Path
    grpc: tuple[str, int]
    http: tuple[str, int]
    python: Path
    blobs: str | None = None
    concurrency: int = 1
    reuse_workers: bool = False


class Server:
    """A running server; `start` leaves nothing behind when it fails."""

    def __init__(self, *, engine: Engine, grpc: GrpcServer, endpoint: BlobEndpoint | None, config_path: Path) -> None:
        self.engine = engine
        self.config_path = config_path
        self._grpc = grpc
        self._endpoint = endpoint

    @property
    def grpc_address(self) -> str:
        """HOST:PORT of the gRPC services."""
        return self._grpc.address

    @property
    def http_address(self) -> str:
        """HOST:PORT of the blob endpoint, empty if blobs live elsewhere."""
        return "" if self._endpoint is None else self._endpoint.address

    @classmethod
    def start(cls, options: Options) -> Server:
        """Open the data folder and serve; KernelError says what is in the way and what to do."""
        _check_python(options.python)
        _make_folder(options.data)
        with ExitStack() as undo, _explained(options.data):
            journal = Journal.open(str(options.data / "journal"))
            undo.callback(journal.close)
            credentials = _credentials(options.data / "credentials.json")
            endpoint, blobs = _blobs(options, credentials, undo.callback)
            views = DuckDBViews(options.data / "views")
            undo.callback(views.close)
            executor = LocalExecutor(
                options.data / "tasks",
                python=options.python,
                fetch=blobs.read,
                concurrency=options.concurrency,
                reuse_workers=options.reuse_workers,
                environment=blobs.task_environment(),
            )
            engine = Engine(
                journal=journal,
                blobs=blobs,
                views=views,
                executor=executor,
                plugin_of=PluginRegistry().plugin_of,
                settings=Settings(),
            )
            grpc = GrpcServer(engine, *options.grpc)
            undo.callback(grpc.close)
            config_path = options.data / "config.yaml"
            config_path.write_text(_client_config(grpc.address, endpoint, credentials))
            engine.start()
            grpc.start()
            undo.pop_all()
        return cls(engine=engine, grpc=grpc, endpoint=endpoint, config_path=config_path)

    def close(self) -> None:
        """Answer the calls in flight, make everything durable, leave running tasks to the next start."""
        self._grpc.close()
        self.engine.close()
        if self._endpoint is not None:
            self._endpoint.close()


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what the system says about a file into an error that says what to do."""
    try:
        yield
    except KernelError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(
                f"no space is left in the data folder {folder}: make room or choose another with --data"
            ) from error
        raise StorageError(
            f"{error.filename or folder} cannot be used ({error.strerror or error}): make it accessible, move it away, "
            "or choose another data folder with --data"
        ) from error


_LOOK_FOR_FLYTEKIT = "import importlib.util; print(importlib.util.find_spec('flytekit') is not None)"


def _check_python(python: Path) -> None:
    """Refuse an interpreter in which no task of Flyte's SDK could run; the server's own needs no look."""
    if python == Path(sys.executable):
        return
    try:
        found = subprocess.run(
            [str(python), "-c", _LOOK_FOR_FLYTEKIT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PYTHON_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AdapterError(
            f"--python {python} cannot be run ({error}): give the path of a Python interpreter", retryable=False
        ) from error
    if found.stdout.strip() == b"False":
        raise AdapterError(
            f"--python {python} has no flytekit, which tasks need: run '{python} -m pip install flytekit' "
            "or name another interpreter",
            retryable=False,
        )
    if found.stdout.strip() != b"True":
        said = found.stderr.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {found.returncode}"
        raise AdapterError(
            f"--python {python} is no working Python interpreter ({said}): give the path of one", retryable=False
        )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"the data folder {folder} cannot be written ({error.strerror}): choose another with --data"
        ) from error


def _credentials(path: Path) -> dict[str, str]:
    """Return the keys of the blob endpoint, made once and kept."""
    if path.exists():
        try:
            stored = json.loads(path.read_text())
            return {"access_key": str(stored["access_key"]), "secret_key": str(stored["secret_key"])}
        except (ValueError, KeyError) as error:
            raise StorageError(f"{path} cannot be read ({error!r}): remove it, new keys will be made") from error
    credentials = {"access_key": "flyte-kernel", "secret_key": secrets.token_urlsafe(24)}
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(credentials, file)
    temporary.replace(path)
    return credentials


def _blobs(
    options: Options, credentials: dict[str, str], undo: Callable[[Callable[[], None]], object]
) -> tuple[BlobEndpoint | None, Blobs]:
    if options.blobs is not None:
        return None, FsspecBlobs(options.blobs)
    root = options.data / "blobs"
    host, port = options.http
    access_key, secret_key = credentials["access_key"], credentials["secret_key"]
    endpoint = BlobEndpoint(root, host, port, buckets=[BUCKET], access_key=access_key, secret_key=secret_key)
    undo(endpoint.close)
    return endpoint, FolderBlobs(root, BUCKET, f"http://{endpoint.address}", access_key, secret_key)


def _client_config(grpc: str, endpoint: BlobEndpoint | None, credentials: dict[str, str]) -> str:
    """Return the file that `pyflyte --config` and FlyteRemote read."""
    lines = ["admin:", f"  endpoint: dns:///{grpc}", "  insecure: true"]
    if endpoint is not None:
        lines += [
            "storage:",
            "  type: minio",
            "  connection:",
            f"    endpoint: http://{endpoint.address}",
            f"    access-key: {credentials['access_key']}",
            f"    secret-key: {credentials['secret_key']}",
        ]
    return "\n".join(lines) + "\n"
