"""What a rendered command asks for: the SDK's entrypoint, its code distribution, or just any program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flyte_kernel.executors.zygote.entrypoints import ENTRYPOINTS

__all__ = ["TaskCommand", "parse_command"]

_FAST = "pyflyte-fast-execute"


@dataclass(frozen=True, slots=True)
class TaskCommand:
    """`command` is what to run once the code of `distribution`, a URI or empty, is in place.

    `uses_sdk` says that the SDK's own command can run it in a warm process; `module` is the user's module if named.
    """

    command: tuple[str, ...]
    distribution: str = ""
    module: str = ""
    uses_sdk: bool = False


def parse_command(command: Sequence[str]) -> TaskCommand:
    """Take a command apart.

    `pyflyte-fast-execute --additional-distribution URI --dest-dir DIR -- INNER…` becomes INNER with the `--dynamic-…`
    options that the SDK's own fast entrypoint adds. DIR stays in them, since dynamic tasks hand it on to their
    children, but nothing is ever written there.
    """
    command = tuple(command)
    if not command or command[0] != _FAST:
        return _parse_inner(command, "")
    options, inner = _split_fast(command[1:])
    distribution = options.get("--additional-distribution", "")
    if distribution and "--resolver" in inner:
        at = inner.index("--resolver")
        dynamic = ("--dynamic-addl-distro", distribution, "--dynamic-dest-dir", options.get("--dest-dir") or ".")
        inner = (*inner[:at], *dynamic, *inner[at:])
    return _parse_inner(inner, distribution)


def _split_fast(arguments: tuple[str, ...]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the options and the inner command, which begins after `--` or at the first word that is no option."""
    options: dict[str, str] = {}
    position = 0
    while position < len(arguments) and arguments[position].startswith("--"):
        name, equals, value = arguments[position].partition("=")
        position += 1
        if name == "--":
            break
        if not equals:
            value = arguments[position] if position < len(arguments) else ""
            position += 1
        options[name] = value
    return options, arguments[position:]


def _parse_inner(command: tuple[str, ...], distribution: str) -> TaskCommand:
    uses_sdk = bool(command) and command[0] in ENTRYPOINTS
    module = ""
    if uses_sdk and "task-module" in command[:-1]:
        module = command[command.index("task-module") + 1]
    return TaskCommand(command, distribution, module, uses_sdk)
