"""The warm processes as the executor sees them: one for each (environment, code distribution), started when needed."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyte_kernel.executors import zygote

__all__ = ["ZygoteKey", "ZygoteProcess"]


@dataclass(frozen=True, slots=True)
class ZygoteKey:
    """What attempts must share to be forked from one process: code, and the variables it may read at import."""

    code: str
    environment: frozenset[tuple[str, str]]


@dataclass(eq=False, slots=True)
class ZygoteProcess:
    """A running zygote; `names` are the attempts that were given to it and have not ended."""

    key: ZygoteKey
    process: subprocess.Popen[bytes]
    control: socket.socket
    names: set[str] = field(default_factory=set)
    used_at: float = 0.0

    @classmethod
    def start(cls, key: ZygoteKey, python: Path, environment: Mapping[str, str], log: Path) -> ZygoteProcess:
        """Start one; it outlives this process for as long as it has children."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * zygote.MESSAGE_BYTES_MAX)
        try:
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [str(python), zygote.__file__, str(theirs.fileno()), key.code],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=(theirs.fileno(),),
                    env=dict(environment),
                    start_new_session=True,
                )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        return cls(key, process, ours)

    def ask(self, request: Mapping[str, Any]) -> None:
        """Send a launch request; OSError if the zygote is gone or the request too large."""
        self.control.send(json.dumps(request).encode())

    def receive(self) -> dict[str, Any] | None:
        """Return one message, None when the zygote has closed its end."""
        try:
            data = self.control.recv(zygote.MESSAGE_BYTES_MAX)
        except ConnectionError:
            return None
        return json.loads(data) if data else None

    def let_go(self) -> None:
        """Tell it that nobody listens any more: it sees its children to their end and goes."""
        self.control.close()
