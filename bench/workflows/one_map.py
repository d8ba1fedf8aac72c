"""A map over a trivial task: what is measured is what an element costs beside its work."""

from flytekit import map_task, task, workflow


@task
def triple(value: int) -> int:
    """Return three times the value."""
    return 3 * value


@task
def total(values: list[int]) -> int:
    """Return the sum."""
    return sum(values)


@workflow
def plain(values: list[int]) -> tuple[list[int], int]:
    """Triple every value."""
    tripled = map_task(triple)(value=values)
    return tripled, total(values=tripled)
