"""Tasks that do what they should not."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from flytekit import task, workflow

# A thread that runs before any task does.
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()


def note(path: str, *values: object) -> None:
    """Add a line to a file."""
    with Path(path).open("a") as file:
        file.write(" ".join(map(str, values)) + "\n")


@task
def kill_parent(path: str) -> int:
    note(path, os.getpid(), os.getppid())
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)
    return 0


@workflow
def killing_its_parent(path: str) -> int:
    return kill_parent(path=path)


@task
def leave_children(path: str) -> int:
    note(path, subprocess.Popen(["sleep", "600"]).pid)
    note(path, subprocess.Popen(["sleep", "600"], start_new_session=True).pid)
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 256)
        note(path, os.getpid())
        if os.fork() == 0:
            note(path, os.getpid())
        time.sleep(600)
        os._exit(0)
    while len(Path(path).read_text().splitlines()) < 4:
        time.sleep(0.01)
    return 4


@workflow
def leaving_children(path: str) -> int:
    return leave_children(path=path)


@task
def fill_log(megabytes: int) -> int:
    for _ in range(megabytes):
        print("x" * 1024 * 1024)
    return megabytes


@workflow
def filling_its_log(megabytes: int) -> int:
    return fill_log(megabytes=megabytes)


@task
def close_output() -> int:
    sys.stdout.close()
    os.close(1)
    os.close(2)
    return 7


@workflow
def closing_its_output() -> int:
    return close_output()


@task
def leave(how: str) -> int:
    if how == "sys.exit":
        sys.exit(0)
    if how == "sys.exit text":
        sys.exit("I have had enough")
    if how == "os._exit":
        os._exit(0)
    if how == "os._exit 3":
        print("the last words", flush=True)
        os._exit(3)
    folder = Path(sys.argv[sys.argv.index("--output-prefix") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("outputs.pb").write_bytes({"garbage": b"\xff" * 100, "empty": b""}[how])
    os._exit(0)
    return 0


@workflow
def leaving(how: str) -> int:
    return leave(how=how)


@task
def idle() -> None:
    """Nothing in, nothing out."""


@workflow
def idling() -> None:
    idle()


@task
def write_much(path: str, megabytes: int) -> str:
    note(path, os.getpid())
    return "x" * megabytes * 1024 * 1024


@workflow
def writing_much(path: str, megabytes: int) -> str:
    return write_much(path=path, megabytes=megabytes)


@task
def wait_for(path: str, until: str) -> int:
    """Note its process and wait until a file exists."""
    note(path, os.getpid())
    while not Path(until).exists():
        time.sleep(0.02)
    return 1


@workflow
def waiting_for(path: str, until: str) -> int:
    return wait_for(path=path, until=until)
