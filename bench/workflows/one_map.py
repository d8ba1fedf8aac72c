"""A map over a trivial task: what is measured is what an element costs beside its work."""

from flytekit import map_task, task, workflow


@task
def triple(value: int) -> int:
    """Return three times the value."""
    return 3 * value


@workflow
def plain(values: list[int]) -> list[int]:
    """Triple every value."""
    return map_task(triple)(value=values)
