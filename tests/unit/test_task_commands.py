"""Are rendered commands taken apart as the SDK's own entrypoints would?"""

from __future__ import annotations

import pytest

from flyte_kernel.executors.commands import TaskCommand, parse_command

INNER = ("pyflyte-execute", "--inputs", "i", "--resolver", "r", "--", "task-module", "flows.main", "task-name", "t")
DYNAMIC = ("--dynamic-addl-distro", "s3://b/c.tar.gz", "--dynamic-dest-dir", "/root")
FAST = ("pyflyte-fast-execute", "--additional-distribution", "s3://b/c.tar.gz", "--dest-dir", "/root", "--")


def test_plain_entrypoint() -> None:
    assert parse_command(INNER) == TaskCommand(INNER, module="flows.main", uses_sdk=True)


@pytest.mark.parametrize(
    "prefix",
    [
        FAST,
        FAST[:-1],
        ("pyflyte-fast-execute", "--additional-distribution=s3://b/c.tar.gz", "--dest-dir=/root", "--"),
    ],
)
def test_fast_entrypoint_hands_its_options_on_before_the_resolver(prefix: tuple[str, ...]) -> None:
    expected = (*INNER[:3], *DYNAMIC, *INNER[3:])
    assert parse_command((*prefix, *INNER)) == TaskCommand(expected, "s3://b/c.tar.gz", "flows.main", uses_sdk=True)


def test_fast_entrypoint_without_a_folder_means_the_current_one() -> None:
    command = parse_command(("pyflyte-fast-execute", "--additional-distribution", "s3://x", "--", *INNER)).command
    assert command[command.index("--dynamic-dest-dir") + 1] == "."


def test_fast_entrypoint_without_a_distribution_is_its_inner_command() -> None:
    assert parse_command(("pyflyte-fast-execute", "--", *INNER)) == parse_command(INNER)


def test_map_entrypoint_finds_the_module_behind_the_resolvers() -> None:
    command = ("pyflyte-map-execute", "--resolver", "M", "--", "vars", "", "resolver", "r", "task-module", "m")
    assert parse_command(command) == TaskCommand(command, module="m", uses_sdk=True)


@pytest.mark.parametrize(
    "command", [(), ("python", "x.py"), ("/opt/venv/bin/pyflyte-execute", "--inputs", "i"), ("bash", "-c", "pyflyte")]
)
def test_other_programs_are_left_as_they_are(command: tuple[str, ...]) -> None:
    assert parse_command(command) == TaskCommand(command)


def test_code_goes_with_any_program() -> None:
    assert parse_command((*FAST, "python", "x.py")) == TaskCommand(("python", "x.py"), "s3://b/c.tar.gz")
