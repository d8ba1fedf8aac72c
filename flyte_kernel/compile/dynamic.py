"""The workflow that a dynamic task puts out at run time, compiled like a registered one.

The rules are the reference's (flytepropeller, nodes/dynamic): it is named after its node, has no inputs, gives what the
task promised to give, and its tasks see the configuration of the task that made it.
"""

from __future__ import annotations

from collections.abc import Mapping

from flyteidl.core import compiler_pb2, dynamic_job_pb2, identifier_pb2, tasks_pb2, workflow_pb2

from flyte_kernel.compile.identifiers import entity_id
from flyte_kernel.compile.requirements import RequiredEntities, required_entities
from flyte_kernel.compile.scope import LaunchPlanInterface
from flyte_kernel.compile.task import compile_task
from flyte_kernel.compile.workflow import compile_workflow
from flyte_kernel.ids import EntityId

__all__ = ["compile_dynamic", "dynamic_template", "required_by"]


def dynamic_template(
    job: dynamic_job_pb2.DynamicJobSpec, *, node_id: str, parent: tasks_pb2.TaskTemplate, version: str
) -> workflow_pb2.WorkflowTemplate:
    """Return the template of the workflow that an attempt of `parent` at the node `node_id` put out."""
    template = workflow_pb2.WorkflowTemplate(nodes=job.nodes, outputs=job.outputs)
    template.id.CopyFrom(
        identifier_pb2.Identifier(
            resource_type=identifier_pb2.WORKFLOW,
            project=parent.id.project,
            domain=parent.id.domain,
            name=f"dynamic_{node_id}",
            version=version,
        )
    )
    template.interface.inputs.SetInParent()
    template.interface.outputs.CopyFrom(parent.interface.outputs)
    template.metadata.SetInParent()
    template.metadata_defaults.SetInParent()
    return template


def required_by(job: dynamic_job_pb2.DynamicJobSpec, template: workflow_pb2.WorkflowTemplate) -> RequiredEntities:
    """Return the tasks and launch plans that must be known; most of the tasks are in the job itself."""
    return required_entities(template, job.subworkflows)


def compile_dynamic(
    job: dynamic_job_pb2.DynamicJobSpec,
    template: workflow_pb2.WorkflowTemplate,
    *,
    parent: tasks_pb2.TaskTemplate,
    tasks: Mapping[EntityId, compiler_pb2.CompiledTask],
    launch_plans: Mapping[EntityId, LaunchPlanInterface],
) -> compiler_pb2.CompiledWorkflowClosure:
    """Return the closure of `template`, made by `dynamic_template`; CompileError with everything that was found.

    `tasks` and `launch_plans` hold what is registered of what `required_by` names; tasks in the job itself come first.
    """
    known = dict(tasks)
    for task in job.tasks:
        made = tasks_pb2.TaskTemplate()
        made.CopyFrom(task)
        if made.HasField("container"):
            made.container.config.extend(parent.container.config)
        known[entity_id(made.id)] = compile_task(made)
    return compile_workflow(template, job.subworkflows, known, launch_plans)
