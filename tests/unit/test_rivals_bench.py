"""Every rival's script at its smoke size, in the environment that it pins: all of them do the same tasks as we do."""

from __future__ import annotations

import pytest

from bench.__main__ import CYTHON, RIVALS
from bench.records import Record, in_environment_of_its_own, in_own_process
from bench.rivals.told import digest

FAN, CHAIN = 20, 10
SIZES = ("--fan", str(FAN), "--chain", str(CHAIN))
SIDE_BY_SIDE, IN_A_CHAIN = "tasks side by side that do nothing", "tasks in a chain that do nothing"


def check(records: list[Record], *, sizes: dict[str, int]) -> None:
    assert not [record.error for record in records if record.error]
    assert all(record.value for record in records)
    for record in records:
        assert record.check == digest(range(sizes[record.workload])), record


@pytest.mark.slow
@pytest.mark.timeout(300)  # the environment may have to be fetched
@pytest.mark.parametrize("script", RIVALS)
def test_rivals_do_the_same_tasks(script: str) -> None:
    records = in_environment_of_its_own(script, *SIZES)
    divisor = 10 if script == "prefect_flows" else 1
    check(records, sizes={SIDE_BY_SIDE: FAN // divisor, IN_A_CHAIN: CHAIN // divisor})
    assert {record.role for record in records} <= {"rival", "limit"}


def test_we_do_them_too() -> None:
    records = in_own_process("bench.tasks", *SIZES)
    check(records, sizes={SIDE_BY_SIDE: FAN, IN_A_CHAIN: CHAIN})
    assert len(records) == 8


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_model_compiled_by_cython_does_what_the_core_does() -> None:
    records = in_own_process(CYTHON, "--smoke", beside=("cython==3.2.1", "setuptools==80.9.0"))
    assert [(record.role, record.check, record.error) for record in records] == [
        ("ours", "20", ""),
        ("rival", "20", ""),
        ("rival", "20", ""),
    ]
