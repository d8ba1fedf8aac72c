"""What an execution's stored spec says: the request's, completed from its launch plan and the settings.

Precedence and shape are the reference's (flyteadmin, execution_manager.go): the first level that says something wins,
and an empty message that is merely present says nothing.
"""

from __future__ import annotations

from flyteidl.admin import common_pb2, execution_pb2, launch_plan_pb2
from flyteidl.core import security_pb2

from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.validation import check_node_execution_identifier, not_found

__all__ = ["resolved_spec"]


def resolved_spec(
    engine: Backend,
    request: execution_pb2.ExecutionCreateRequest,
    plan: launch_plan_pb2.LaunchPlanSpec,
    *,
    max_parallelism: int,
) -> execution_pb2.ExecutionSpec:
    """Return the spec to store: without inputs, without the client's principal.

    `max_parallelism` applies where neither request nor plan give one; 0 leaves it unset.
    """
    given = request.spec
    spec = execution_pb2.ExecutionSpec()
    spec.CopyFrom(given)
    spec.ClearField("inputs")
    _set_metadata(engine, request, spec)
    spec.max_parallelism = given.max_parallelism or plan.max_parallelism or max_parallelism
    spec.security_context.CopyFrom(_security_context(given, plan))
    if not given.raw_output_data_config.output_location_prefix and plan.raw_output_data_config.output_location_prefix:
        spec.raw_output_data_config.CopyFrom(plan.raw_output_data_config)
    if not given.envs.values and plan.envs.values:
        spec.envs.CopyFrom(plan.envs)
    if not given.HasField("interruptible") and plan.HasField("interruptible"):
        spec.interruptible.CopyFrom(plan.interruptible)
    if plan.overwrite_cache:
        spec.overwrite_cache = True
    return spec


def _set_metadata(
    engine: Backend, request: execution_pb2.ExecutionCreateRequest, spec: execution_pb2.ExecutionSpec
) -> None:
    metadata = spec.metadata
    metadata.ClearField("principal")  # nobody is authenticated; what a client claims is not believed
    metadata.system_metadata.Clear()
    metadata.system_metadata.namespace = engine.settings.namespace(request.project, request.domain)
    if metadata.HasField("parent_node_execution"):
        execution, _ = check_node_execution_identifier(metadata, "parent_node_execution")
        parent = engine.find_execution(execution)
        if parent is None:
            raise not_found("execution", metadata.parent_node_execution.execution_id)
        metadata.nesting = execution_pb2.ExecutionSpec.FromString(parent.spec).metadata.nesting + 1


def _security_context(
    given: execution_pb2.ExecutionSpec, plan: launch_plan_pb2.LaunchPlanSpec
) -> security_pb2.SecurityContext:
    context = security_pb2.SecurityContext()
    for level in (given.security_context, plan.security_context):
        run_as = level.run_as
        if run_as.k8s_service_account or run_as.iam_role or run_as.execution_identity:
            context.CopyFrom(level)
            break
    context.run_as.SetInParent()
    role = _auth_role(given, plan)
    context.run_as.iam_role = context.run_as.iam_role or role.assumable_iam_role
    context.run_as.k8s_service_account = context.run_as.k8s_service_account or role.kubernetes_service_account
    return context


def _auth_role(given: execution_pb2.ExecutionSpec, plan: launch_plan_pb2.LaunchPlanSpec) -> common_pb2.AuthRole:
    """The forms that came before security contexts."""
    for role in (given.auth_role, plan.auth_role):
        if role.assumable_iam_role or role.kubernetes_service_account:
            return role
    return common_pb2.AuthRole(
        assumable_iam_role=plan.auth.assumable_iam_role or plan.role,
        kubernetes_service_account=plan.auth.kubernetes_service_account,
    )
