"""What a rendered command asks for: the SDK's entrypoint, its code distribution, or just any program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

__all__ = ["TaskCommand", "parse_command"]

_FAST = "pyflyte-fast-execute"
_ENTRYPOINTS = frozenset({"pyflyte-execute", "pyflyte-map-execute"})


@dataclass(frozen=True, slots=True)
class TaskCommand:
    """`entrypoint` is empty for a command that is not the SDK's; `module` is the user's module if one is named."""

    command: tuple[str, ...]
    entrypoint: str = ""
    arguments: tuple[str, ...] = ()
    module: str = ""
    distribution: str = ""


def parse_command(command: Sequence[str], code_folder: str) -> TaskCommand:
    """Take a command apart; `code_folder` stands for the folder that fast registration wanted the code in.

    `pyflyte-fast-execute --additional-distribution URI --dest-dir DIR -- INNER…` becomes INNER with the `--dynamic-…`
    options that the SDK's own fast entrypoint adds.
    """
    command = tuple(command)
    if command and PurePath(command[0]).name == _FAST and "--" in command:
        split = command.index("--")
        distribution = _option(command[:split], "--additional-distribution")
        inner = command[split + 1 :]
        if distribution and "--resolver" in inner:
            at = inner.index("--resolver")
            dynamic = ("--dynamic-addl-distro", distribution, "--dynamic-dest-dir", code_folder)
            inner = (*inner[:at], *dynamic, *inner[at:])
        return _parse_inner(inner, distribution)
    return _parse_inner(command, "")


def _parse_inner(command: tuple[str, ...], distribution: str) -> TaskCommand:
    name = PurePath(command[0]).name if command else ""
    if name not in _ENTRYPOINTS:
        return TaskCommand(command, distribution=distribution)
    arguments = command[1:]
    module = ""
    if "task-module" in arguments[:-1]:
        module = arguments[arguments.index("task-module") + 1]
    return TaskCommand(command, name, arguments, module, distribution)


def _option(arguments: Sequence[str], name: str) -> str:
    for position, argument in enumerate(arguments):
        if argument == name and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return ""
