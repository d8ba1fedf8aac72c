"""Compiles a workflow template with its subworkflows into the closure that clients read back.

The result is the one of flytepropeller's compiler (workflow_compiler.go): nodes in the order start-node, end-node, then
the template's own; edges from promises and from declared upstream nodes; nodes without an edge on one side tied to
start or end. Three refusals go beyond it, because their workflows could never run: subworkflows that contain
themselves, declared upstream nodes that do not exist, and nodes in a branch that wait for what waits for the branch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flyteidl.core import compiler_pb2, interface_pb2, workflow_pb2

from flyte_kernel.compile.bindings import check_bindings, effective_outputs
from flyte_kernel.compile.branches import adopt_children, check_branch
from flyte_kernel.compile.findings import Findings
from flyte_kernel.compile.identifiers import entity_id, identifier
from flyte_kernel.compile.interfaces import check_interface, discovers_inputs, resolve_interface
from flyte_kernel.compile.requirements import (
    RequiredEntities,
    index_sub_workflows,
    reachable_workflows,
    required_entities,
)
from flyte_kernel.compile.scope import END_NODE, START_NODE, LaunchPlanInterface, Scope, ScopeNode, World
from flyte_kernel.compile.text import message_text
from flyte_kernel.ids import EntityId

__all__ = ["compile_workflow"]


def compile_workflow(
    template: workflow_pb2.WorkflowTemplate,
    sub_workflows: Sequence[workflow_pb2.WorkflowTemplate],
    tasks: Mapping[EntityId, compiler_pb2.CompiledTask],
    launch_plans: Mapping[EntityId, LaunchPlanInterface],
) -> compiler_pb2.CompiledWorkflowClosure:
    """Return the closure of `template`; the arguments are left as they are.

    `tasks` and `launch_plans` must hold what `required_entities` names and may hold more; a launch plan is its expected
    inputs and outputs. Raises CompileError with everything that was found.
    """
    findings = Findings()
    closure = compiler_pb2.CompiledWorkflowClosure()
    closure.primary.template.CopyFrom(template)
    for sub_workflow in sub_workflows:
        closure.sub_workflows.add().template.CopyFrom(sub_workflow)
    templates = index_sub_workflows([compiled.template for compiled in closure.sub_workflows], findings)
    findings.raise_if_any()
    reached = reachable_workflows(closure.primary.template, templates, findings)
    required = required_entities(template, sub_workflows)
    _check_loaded(required, tasks, launch_plans, findings)
    findings.raise_if_any()

    for key in required.tasks:
        closure.tasks.add().CopyFrom(tasks[key])
        # Nodes name the task they run by the very identifier of its template; clients look it up so.
        closure.tasks[-1].template.id.CopyFrom(identifier(key))
    world = World(
        tasks=dict(zip(required.tasks, (task.template for task in closure.tasks), strict=True)),
        launch_plans=launch_plans,
        sub_workflows=templates,
    )
    compiled_by_id = {entity_id(compiled.template.id): compiled for compiled in closure.sub_workflows}
    for compiled in [*(compiled_by_id[key] for key in reached), closure.primary]:
        _compile_one(compiled, world, findings)
    findings.raise_if_any()
    return closure


def _check_loaded(
    required: RequiredEntities,
    tasks: Mapping[EntityId, compiler_pb2.CompiledTask],
    launch_plans: Mapping[EntityId, LaunchPlanInterface],
    findings: Findings,
) -> None:
    for key in required.launch_plans:
        if key not in launch_plans:
            findings.workflow_not_found(START_NODE, message_text(identifier(key)))
    for key in required.tasks:
        if key not in tasks:
            findings.task_not_found(START_NODE, message_text(identifier(key)))


def _compile_one(compiled: compiler_pb2.CompiledWorkflow, world: World, findings: Findings) -> None:
    template = compiled.template
    if not template.nodes:
        name = message_text(template.id)
        findings.add("NoNodesFound", name, f"Can't find any nodes in workflow [{name}].")
        return
    before = findings.count
    check_interface(START_NODE, template.interface, findings)
    if findings.count > before:
        return
    scope = Scope(template, world, findings)
    _add_nodes(scope)
    _resolve_interfaces(scope)
    _check_nodes(scope)
    _add_edges(scope)
    _add_failure_node(scope)
    _tie_loose_ends(scope)
    _check_reachable(scope)
    _write_connections(scope, compiled.connections)


def _add_nodes(scope: Scope) -> None:
    """Rebuild the node list; of nodes with the same id only the first counts, as in the reference."""
    template = scope.template
    given = list(template.nodes)
    start = workflow_pb2.Node(id=START_NODE)
    end = workflow_pb2.Node(id=END_NODE, inputs=template.outputs)
    kept = {node.id: node for node in reversed([start, end, *given])}
    ordered = [node for node in [start, end, *given] if kept[node.id] is node]
    del template.nodes[:]
    template.nodes.extend(ordered)
    for proto in template.nodes:
        node = ScopeNode(proto)
        scope.nodes[proto.id] = node
        adopt_children(node)
    scope.nodes[START_NODE].interface = interface_pb2.TypedInterface(outputs=template.interface.inputs)
    scope.nodes[END_NODE].interface = interface_pb2.TypedInterface(inputs=template.interface.outputs)


def _resolve_interfaces(scope: Scope) -> None:
    own = [node for node in scope.nodes.values() if node.id not in (START_NODE, END_NODE)]
    # Branches and approval gates are typed by what feeds them, so all others come first.
    for node in sorted(own, key=lambda node: discovers_inputs(node.proto)):
        resolve_interface(scope, node)


def _check_nodes(scope: Scope) -> None:
    for node in scope.nodes.values():
        for member in node.family():
            _check_node(scope, member)


def _check_node(scope: Scope, node: ScopeNode) -> None:
    if not node.id:
        scope.findings.value_required("<node>", "Id")
    node.proto.upstream_node_ids.sort()  # clients send them in the order of memory addresses
    effective_outputs(node, scope.findings)
    if node.proto.HasField("branch_node"):
        check_branch(scope, node)


def _add_edges(scope: Scope) -> None:
    for node in scope.nodes.values():
        if node.id == START_NODE or node.interface is None:
            continue
        for upstream in node.proto.upstream_node_ids:
            if upstream and upstream not in scope.nodes:
                scope.findings.node_not_found(node.id, upstream)
            scope.add_edge(upstream or START_NODE, node.id)
        for source in check_bindings(scope, node, node.interface.inputs).sources:
            scope.add_edge(source, node.id)
        for child in node.children:
            for source in _add_inner_edges(scope, child):
                scope.held.setdefault(source, set()).add(node.id)


def _add_inner_edges(scope: Scope, node: ScopeNode) -> set[str]:
    """Nodes in branches and failure nodes wait for their data only; nothing leads to them in the graph itself.

    Returns what they wait for.
    """
    found: set[str] = set()
    if node.interface is not None:
        for source in check_bindings(scope, node, node.interface.inputs).sources:
            scope.add_upstream(source, node.id)
            found.add(source)
    for child in node.children:
        found |= _add_inner_edges(scope, child)
    return found


def _add_failure_node(scope: Scope) -> None:
    if not scope.template.HasField("failure_node"):
        return
    node = ScopeNode(scope.template.failure_node)
    adopt_children(node)
    resolve_interface(scope, node)
    for member in node.family():
        _check_node(scope, member)
    _add_inner_edges(scope, node)


def _tie_loose_ends(scope: Scope) -> None:
    """Without these edges a run could end before such nodes do, or never begin them."""
    for node_id in scope.nodes:
        if node_id in (START_NODE, END_NODE):
            continue
        if node_id not in scope.upstream:
            scope.add_edge(START_NODE, node_id)
        if node_id not in scope.downstream:
            scope.add_edge(node_id, END_NODE)


def _check_reachable(scope: Scope) -> None:
    visited: set[str] = set()
    path: list[str] = [START_NODE]
    on_path = {START_NODE}
    stack = [iter(_next(scope, START_NODE))]
    while stack:
        node_id = next(stack[-1], None)
        if node_id is None:
            stack.pop()
            left = path.pop()
            on_path.discard(left)
            visited.add(left)
        elif node_id in on_path:
            scope.findings.cycle(START_NODE, [*path[path.index(node_id) :], node_id])
            return
        elif node_id not in visited:
            path.append(node_id)
            on_path.add(node_id)
            stack.append(iter(_next(scope, node_id)))
    unreachable = sorted(set(scope.nodes) - visited - {END_NODE})
    if unreachable:
        description = f"The Workflow contain unreachable nodes [{','.join(unreachable)}]."
        scope.findings.add("UnreachableNodes", START_NODE, description)


def _next(scope: Scope, node_id: str) -> list[str]:
    return sorted(scope.downstream.get(node_id, set()) | scope.held.get(node_id, set()))


def _write_connections(scope: Scope, connections: compiler_pb2.ConnectionSet) -> None:
    connections.SetInParent()
    for edges, target in ((scope.downstream, connections.downstream), (scope.upstream, connections.upstream)):
        for node_id, others in edges.items():
            target[node_id].ids.extend(sorted(others))
