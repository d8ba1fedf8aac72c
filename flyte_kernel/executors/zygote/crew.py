"""Workers of a warm process that run one element of a map after the other, where the server was told to reuse them.

A worker is the forked process of an attempt which, once its attempt has succeeded, waits for another attempt of the
same crew instead of ending. Zygote and worker talk through a pair of sockets: the worker says that it has finished, the
zygote hands over a request with the descriptor of the new attempt's claim, or closes its end. A worker whose attempt
fails, or is aborted, ends like any other process.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

from .sdk_folders import empty

__all__ = ["Crews", "Worker"]

IDLE_S = 5.0
REQUEST_BYTES_MAX = 1 << 17  # what surely fits one message; an attempt with a larger request gets a process of its own
_FINISHED = b"."


class Crews:
    """The zygote's side: the workers, by process id, and which of them wait for work."""

    def __init__(self) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self._crew_of: dict[int, str] = {}
        self._idle_since: dict[int, float] = {}

    def hand_over(self, request: dict[str, Any], claim: int) -> int | None:
        """Give an attempt to a worker of its crew; return the worker's process id, None if nobody waits."""
        message = json.dumps(request).encode()
        if len(message) > REQUEST_BYTES_MAX:
            return None
        for pid in [pid for pid in self._idle_since if self._crew_of[pid] == request["crew"]]:
            del self._idle_since[pid]
            try:
                socket.send_fds(self.sockets[pid], [message], [claim])
            except OSError:
                self.forget(pid)
            else:
                return pid
        return None

    def add(self, pid: int, crew: str, ours: socket.socket) -> None:
        """Note a worker that has begun with its first attempt."""
        self.sockets[pid], self._crew_of[pid] = ours, crew

    def finished(self, pid: int) -> bool:
        """Say whether a worker whose socket is readable has finished its attempt; one that is gone is forgotten."""
        try:
            said = self.sockets[pid].recv(1)
        except OSError:
            said = b""
        if said != _FINISHED:
            self.forget(pid)
        return said == _FINISHED

    def rest(self, pid: int) -> None:
        """Let a worker wait for more."""
        if pid in self.sockets:
            self._idle_since[pid] = time.monotonic()

    def forget(self, pid: int) -> None:
        """Let a worker go: it ends once it finds its socket closed."""
        self._idle_since.pop(pid, None)
        self._crew_of.pop(pid, None)
        ours = self.sockets.pop(pid, None)
        if ours is not None:
            ours.close()

    def dismiss(self, *, everybody: bool = False) -> None:
        """Let go of those that have waited for too long."""
        now = time.monotonic()
        for pid, since in list(self._idle_since.items()):
            if everybody or now - since >= IDLE_S:
                self.forget(pid)

    def next_dismissal(self) -> float | None:
        """Return when somebody will have waited for too long."""
        return min(self._idle_since.values()) + IDLE_S if self._idle_since else None

    def leave(self) -> None:
        """In a forked child: give up what belongs to the zygote."""
        for ours in self.sockets.values():
            ours.close()


class Worker:
    """The forked process's side."""

    def __init__(self, theirs: socket.socket, folder: Path) -> None:
        self._socket = theirs
        self._work = str(folder / "work")
        self._kept = {name: os.environ[name] for name in ("HOME", "TMPDIR", "PYTHONPATH") if name in os.environ}

    def next(self, claim: int) -> tuple[dict[str, Any], int] | None:
        """Say that an attempt has succeeded; return the next request and its claim, None if there is none."""
        sys.stdout.flush()
        sys.stderr.flush()
        os.close(claim)  # the zygote's own copy holds the claim until the end is written down
        try:
            self._socket.sendall(_FINISHED)
            with contextlib.suppress(OSError):  # lest what the SDK keeps of a long line fills the disk
                empty(self._kept["TMPDIR"], others=False)
            message, claims, _, _ = socket.recv_fds(self._socket, REQUEST_BYTES_MAX, 1)
        except OSError:
            return None
        if not message:
            return None
        request: dict[str, Any] = json.loads(message)
        return request, claims[0]

    def begin(self, request: dict[str, Any], claim: int) -> None:
        """Be the process of another attempt: its log and variables, but the folders and modules of the first."""
        log = os.open(Path(request["folder"]) / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for target in (1, 2):
            os.dup2(log, target)
        os.close(log)
        os.chdir(self._work)
        _change_environment({**request["environment"], **self._kept})
        random.seed()
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is not None:
            numpy_random.seed()
        os.set_inheritable(claim, True)


def _change_environment(wanted: dict[str, str]) -> None:
    """Give this process the variables that it shall have; most of them are what they were for the attempt before."""
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value
