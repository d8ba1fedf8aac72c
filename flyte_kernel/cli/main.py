"""`flyte-kernel`: options, messages and exit codes; the server itself is put together in assembly.py."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from flyte_kernel import __version__
from flyte_kernel.errors import KernelError

try:
    import click
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.markup import escape
    from rich.table import Table
except ImportError as missing:  # the kernel alone needs NumPy only
    sys.exit(f"flyte-kernel: {missing}. The server needs its extra: pip install 'flyte-kernel[server]'")

__all__ = ["main"]

_LOOK_AFTER_ENGINE_S = 1.0


class Address(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions only
    """HOST:PORT; port 0 lets the system choose."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:
        """Split and check the text."""
        if isinstance(value, tuple):
            return value[0], value[1]
        host, separator, port = str(value).rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT with a port from 0 to 65535", param, ctx)
        return host.strip("[]"), int(port)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """A whole Flyte backend in one process, for unmodified Flyte clients."""


@main.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def version(output: str) -> None:
    """Print the version."""
    click.echo(json.dumps({"version": __version__}) if output == "json" else f"flyte-kernel {__version__}")


@main.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=lambda: Path("~/.flyte-kernel").expanduser(),
    show_default="~/.flyte-kernel",
    help="Folder for journal, views and blobs; made if absent.",
)
@click.option("--grpc", type=Address(), default="127.0.0.1:8089", show_default=True, help="Where clients connect.")
@click.option("--http", type=Address(), default="127.0.0.1:8088", show_default=True, help="Where blobs are served.")
@click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Interpreter whose environment tasks run in; the server's own by default.",
)
@click.option("--blobs", metavar="URL", help="Keep blobs at an fsspec URL (s3://bucket/prefix, …), not the folder.")
@click.option("--concurrency", type=click.IntRange(min=1), help="Task processes at once; by default one a core.")
@click.option("--reuse-workers", is_flag=True, help="Run map elements one after the other in the same processes.")
@click.option("--ready-file", type=click.Path(path_type=Path, dir_okay=False), help="Gets the addresses when ready.")
@click.option("--verbose", is_flag=True, help="Log what happens.")
def up(
    data: Path,
    grpc: tuple[str, int],
    http: tuple[str, int],
    python: Path | None,
    blobs: str | None,
    concurrency: int | None,
    reuse_workers: bool,
    ready_file: Path | None,
    verbose: bool,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    console = Console(stderr=True)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)])
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    from flyte_kernel.cli.assembly import Options, Server

    options = Options(
        data=data.absolute(),
        grpc=grpc,
        http=http,
        # Not resolved: a virtual environment is found by the path of its link.
        python=Path(os.path.abspath(python)) if python else Path(sys.executable),  # noqa: PTH100
        blobs=blobs,
        concurrency=concurrency or os.cpu_count() or 1,
        reuse_workers=reuse_workers,
    )
    try:
        server = Server.start(options)
    except KernelError as error:
        _die(console, error)
    _announce(console, server, options)
    if ready_file is not None:
        try:
            _write_ready_file(ready_file, server)
        except OSError as error:
            server.close()
            _die(console, f"the ready file {ready_file} cannot be written ({error.strerror}): choose another place")
    while not stop.wait(_LOOK_AFTER_ENGINE_S):
        if server.engine.failure is not None:
            break
    failure = server.engine.failure
    server.close()
    if failure is not None:
        _die(console, failure)
    console.print("stopped")


def _announce(console: Console, server: object, options: object) -> None:
    from flyte_kernel.cli.assembly import Options, Server

    assert isinstance(server, Server)
    assert isinstance(options, Options)
    table = Table(title=f"flyte-kernel {__version__}", title_justify="left", show_header=False)
    table.add_row("gRPC", server.grpc_address)
    table.add_row("HTTP", f"http://{server.http_address}" if server.http_address else "not served")
    table.add_row("blobs", escape(server.engine.blobs.base_uri))
    table.add_row("data", escape(str(options.data)))
    table.add_row("tasks run with", escape(f"{options.python}, {options.concurrency} at once"))
    table.add_row("client config", escape(str(server.config_path)))
    console.print(table)
    command = f"pyflyte -c {server.config_path} run --remote --wait FILE.py WORKFLOW"
    console.print(f"Try it: {escape(command)}", highlight=False, soft_wrap=True)


def _write_ready_file(path: Path, server: object) -> None:
    from flyte_kernel.cli.assembly import Server

    assert isinstance(server, Server)
    content = {"grpc": server.grpc_address, "http": server.http_address, "config": str(server.config_path)}
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content) + "\n")
    temporary.replace(path)


def _die(console: Console, error: Exception | str) -> NoReturn:
    """Say why and leave; not folded into lines, so that paths in it can be copied and searched for."""
    console.print(f"[red]flyte-kernel:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
    raise SystemExit(1)
