"""An integer against a float: Python compares them, Flyte does not."""

from flytekit import conditional, task, workflow


@task
def double(n: int) -> int:
    return 2 * n


@workflow
def mixed_types(n: int) -> int:
    return conditional("mixed").if_(n > 0.5).then(double(n=n)).else_().then(double(n=0))
