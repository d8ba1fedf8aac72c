"""What the compiler found wrong, in the reference's codes and words."""

from __future__ import annotations

from flyte_kernel.errors import CompileError

__all__ = ["Findings"]


class Findings:
    """Collects (code, node id, description); the same finding made twice is told once.

    `count` grows with every call, told before or not: a check that compares it before and after its parts knows whether
    any of them found something.
    """

    def __init__(self) -> None:
        self.count = 0
        self._found: set[tuple[str, str, str]] = set()

    def add(self, code: str, node_id: str, description: str) -> None:
        """Note a finding; `code` is one of flytepropeller's compiler/errors codes."""
        self.count += 1
        self._found.add((code, node_id, description))

    def value_required(self, node_id: str, name: str) -> None:
        """Note that a field the compiler cannot do without is unset."""
        self.add("ValueRequired", node_id, f"Value required [{name}].")

    def parameter_not_bound(self, node_id: str, name: str) -> None:
        """Note an input, output or alias that nothing feeds."""
        self.add("ParameterNotBound", node_id, f"Parameter not bound [{name}].")

    def variable_not_found(self, node_id: str, variable: str) -> None:
        """Note a name that the interface of the node does not have."""
        self.add("VariableNameNotFound", node_id, f"Variable [{variable}] not found on node [{node_id}].")

    def node_not_found(self, node_id: str, reference: str) -> None:
        """Note an edge to a node that is not part of the workflow."""
        self.add("NodeReferenceNotFound", node_id, f"Referenced node [{reference}] not found.")

    def task_not_found(self, node_id: str, reference: str) -> None:
        """Note a task that is not registered."""
        self.add("TaskReferenceNotFound", node_id, f"Referenced Task [{reference}] not found.")

    def workflow_not_found(self, node_id: str, reference: str) -> None:
        """Note a launch plan that is not registered or a subworkflow that did not come along."""
        self.add("WorkflowReferenceNotFound", node_id, f"Referenced Workflow [{reference}] not found.")

    def cycle(self, node_id: str, path: list[str]) -> None:
        """Note a cycle; `path` begins and ends with the same name."""
        description = f"A cycle has been detected while traversing the Workflow [{'>'.join(path)}]."
        self.add("CycleDetected", node_id, description)

    def sorted(self) -> tuple[tuple[str, str, str], ...]:
        """Return all findings by code, then node id, then description."""
        return tuple(sorted(self._found))

    def raise_if_any(self) -> None:
        """Raise CompileError with all findings, if there are any."""
        findings = self.sorted()
        if not findings:
            return
        lines = [
            f"\tError {index}: Code: {code}, Node Id: {node_id}, Description: {description}\n"
            for index, (code, node_id, description) in enumerate(findings)
        ]
        raise CompileError(f"Collected Errors: {len(findings)}\n" + "".join(lines), findings)
