"""Failure handlers and failure policies. Handlers leave marks in a folder, for nothing else shows what they saw."""

from pathlib import Path

from flytekit import WorkflowFailurePolicy, dynamic, task, workflow
from flytekit.types.error import FlyteError


@task
def add(a: int, b: int) -> int:
    return a + b


@task
def refuse(n: int, folder: str) -> int:
    if n > 0:
        raise ValueError(f"refused {n}")
    return n


@task
def leave_mark(folder: str, name: str) -> int:
    (Path(folder) / name).touch()
    return 1


@task
def clean_up(n: int, folder: str, err: FlyteError | None = None) -> None:
    message, node = ("", "") if err is None else (err.message, err.failed_node_id)
    (Path(folder) / "cleaned").write_text(f"{n}\n{node}\n{message}")


@task
def clean_up_inner(n: int, folder: str, err: FlyteError | None = None) -> None:
    (Path(folder) / "cleaned-inner").write_text("" if err is None else err.message)


@task
def clean_up_badly(n: int, folder: str) -> None:
    raise ValueError("the handler fails too")


@task
def tell(folder: str, name: str, text: str) -> str:
    (Path(folder) / name).write_text(text)
    return text


@workflow(on_failure=clean_up)
def with_task(n: int, folder: str) -> int:
    return add(a=refuse(n=n, folder=folder), b=1)


@workflow
def handling(n: int, folder: str, err: FlyteError | None = None) -> str:
    first = tell(folder=folder, name="first", text="one")
    return tell(folder=folder, name="second", text=first)


@workflow(on_failure=handling)
def with_workflow(n: int, folder: str) -> int:
    return add(a=refuse(n=n, folder=folder), b=1)


@workflow(on_failure=clean_up_inner)
def inner(n: int, folder: str) -> int:
    return refuse(n=n, folder=folder)


@workflow(on_failure=clean_up)
def both(n: int, folder: str) -> int:
    return add(a=inner(n=n, folder=folder), b=1)


@workflow
def only_inner(n: int, folder: str) -> int:
    return add(a=inner(n=n, folder=folder), b=1)


@workflow(on_failure=clean_up_badly)
def failing_handler(n: int, folder: str) -> int:
    return add(a=refuse(n=n, folder=folder), b=1)


@dynamic
def grow_a_failure(n: int, folder: str) -> int:
    return add(a=refuse(n=n, folder=folder), b=1)


@workflow(on_failure=clean_up)
def with_dynamic(n: int, folder: str) -> int:
    return grow_a_failure(n=n, folder=folder)


@workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE)
def patient(n: int, folder: str) -> int:
    """The other way is walked to its end although one has failed."""
    failed = refuse(n=n, folder=folder)
    dependent = add(a=failed, b=1)
    after_dependent = add(a=dependent, b=1)
    first = leave_mark(folder=folder, name="first")
    second = add(a=first, b=leave_mark(folder=folder, name="second"))
    return add(a=after_dependent, b=second)


@workflow(failure_policy=WorkflowFailurePolicy.FAIL_AFTER_EXECUTABLE_NODES_COMPLETE, on_failure=clean_up)
def patient_with_handler(n: int, folder: str) -> int:
    failed = add(a=refuse(n=n, folder=folder), b=1)
    return add(a=failed, b=leave_mark(folder=folder, name="other"))
