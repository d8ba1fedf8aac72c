"""Tables and views of the DuckDB file.

`kernel.*` hold what the engine reads back, with times as nanoseconds and 0 for "not yet". The views in `main` are for
people: `select * from node_executions where phase = 'FAILED'`. No table has a key: what is indexed cannot be bulk
loaded, and runs and row ids are known to be unique.
"""

from __future__ import annotations

from collections.abc import Sequence

from flyte_kernel.phases import AttemptPhase, NodePhase

__all__ = ["LISTED", "SCHEMA", "SCHEMA_VERSION"]

SCHEMA_VERSION = 2

_ENTITY = "id BIGINT, project VARCHAR, domain VARCHAR, name VARCHAR, version VARCHAR"
_TIMES = "created_at BIGINT, started_at BIGINT, updated_at BIGINT"
_ERROR = "error BLOB, error_kind VARCHAR, error_code VARCHAR, error_message VARCHAR"

_TABLES = f"""
CREATE SCHEMA kernel;
CREATE TABLE kernel.progress (schema_version INTEGER, sequence UBIGINT);
CREATE TABLE kernel.task ({_ENTITY}, type VARCHAR, short_description VARCHAR, created_at BIGINT);
CREATE TABLE kernel.workflow ({_ENTITY}, short_description VARCHAR, created_at BIGINT);
CREATE TABLE kernel.launch_plan (
    {_ENTITY}, workflow_id BIGINT, state UTINYINT, schedule_type VARCHAR, launch_condition_type VARCHAR,
    created_at BIGINT, updated_at BIGINT
);
CREATE TABLE kernel.execution (
    run BIGINT, key BIGINT, project VARCHAR, domain VARCHAR, name VARCHAR, phase VARCHAR, {_TIMES}, duration BIGINT,
    launch_type UTINYINT, launch_project VARCHAR, launch_domain VARCHAR, launch_name VARCHAR, launch_version VARCHAR,
    workflow_type UTINYINT, workflow_project VARCHAR, workflow_domain VARCHAR, workflow_name VARCHAR,
    workflow_version VARCHAR, launch_plan_id BIGINT, workflow_id BIGINT, task_id BIGINT,
    mode INTEGER, principal VARCHAR, state UTINYINT, state_changed_at BIGINT,
    abort_cause VARCHAR, abort_principal VARCHAR, {_ERROR},
    spec BLOB, inputs BLOB, user_inputs BLOB, node_count UINTEGER, version BIGINT, details BLOB
);
CREATE TABLE kernel.execution_tag (run BIGINT, key VARCHAR, value VARCHAR);
CREATE TABLE kernel.node (run BIGINT, node UINTEGER, phase UTINYINT, attempt UINTEGER, {_TIMES});
CREATE TABLE kernel.node_error (run BIGINT, node UINTEGER, {_ERROR});
CREATE TABLE kernel.attempt (
    run BIGINT, row UINTEGER, node UINTEGER, attempt UINTEGER, phase UTINYINT, {_TIMES}, {_ERROR}, log_uri VARCHAR
);
"""


def _moment(column: str) -> str:
    return f"make_timestamp(nullif({column}, 0) // 1000)"


def _shown_times(prefix: str) -> str:
    times = [f"{_moment(prefix + column)} AS {column}" for column in ("created_at", "started_at", "updated_at")]
    seconds = f"CASE WHEN {prefix}started_at > 0 THEN ({prefix}updated_at - {prefix}started_at) / 1e9 END"
    return ", ".join([*times, f"{seconds} AS duration_seconds"])


def _names(phases: type[NodePhase] | type[AttemptPhase]) -> str:
    """SQL for the names by number; the numbers have no holes."""
    return "[" + ", ".join(f"'{phase.name}'" for phase in sorted(phases)) + "]"


_SHOWN_EXECUTION = (
    "e.project AS execution_project, e.domain AS execution_domain, e.name AS execution_name, e.run AS run"
)

_VIEWS = f"""
CREATE VIEW tasks AS
    SELECT project, domain, name, version, type, short_description, {_moment("created_at")} AS created_at
    FROM kernel.task;
CREATE VIEW workflows AS
    SELECT project, domain, name, version, short_description, {_moment("created_at")} AS created_at
    FROM kernel.workflow;
CREATE VIEW launch_plans AS
    SELECT l.project, l.domain, l.name, l.version, l.state = 1 AS active, w.name AS workflow_name,
        w.version AS workflow_version, l.schedule_type,
        {_moment("l.created_at")} AS created_at, {_moment("l.updated_at")} AS updated_at
    FROM kernel.launch_plan l LEFT JOIN kernel.workflow w ON w.id = l.workflow_id;
CREATE VIEW executions AS
    SELECT {_SHOWN_EXECUTION}, e.phase, {_shown_times("e.")}, e.launch_name, e.launch_version, e.workflow_name,
        e.workflow_version, e.node_count, e.state = 1 AS archived, e.abort_cause, e.error_kind, e.error_code,
        e.error_message
    FROM kernel.execution e;
CREATE VIEW node_executions AS
    SELECT {_SHOWN_EXECUTION}, n.node, {_names(NodePhase)}[n.phase + 1] AS phase, n.attempt, {_shown_times("n.")},
        x.error_kind, x.error_code, x.error_message
    FROM kernel.node n JOIN kernel.execution e ON e.run = n.run
        LEFT JOIN kernel.node_error x ON x.run = n.run AND x.node = n.node
    WHERE n.created_at > 0;
CREATE VIEW task_executions AS
    SELECT {_SHOWN_EXECUTION}, a.node, a.attempt, {_names(AttemptPhase)}[a.phase + 1] AS phase, {_shown_times("a.")},
        a.error_kind, a.error_code, a.error_message, a.log_uri
    FROM kernel.attempt a JOIN kernel.execution e ON e.run = a.run;
"""

SCHEMA: Sequence[str] = [statement for statement in (_TABLES + _VIEWS).split(";\n") if statement.strip()]

_NO_TIME = "CAST(NULL AS BIGINT) AS deleted_at"
_LISTED_ENTITY = f"id, project, domain, name, version, nullif(created_at, 0) AS created_at, {_NO_TIME}"

# FlyteAdmin's columns (see `columns`) over the tables above; {source} is a table with the columns of kernel.execution.
LISTED = {
    "task": f"SELECT {_LISTED_ENTITY}, nullif(created_at, 0) AS updated_at, type, short_description FROM kernel.task",
    "workflow": f"SELECT {_LISTED_ENTITY}, nullif(created_at, 0) AS updated_at, short_description FROM kernel.workflow",
    "launch_plan": f"SELECT {_LISTED_ENTITY}, nullif(updated_at, 0) AS updated_at, workflow_id, state, schedule_type, "
    "launch_condition_type FROM kernel.launch_plan",
    "execution": "SELECT run, run + 1 AS id, project AS execution_project, domain AS execution_domain, "
    "name AS execution_name, phase, nullif(created_at, 0) AS created_at, nullif(updated_at, 0) AS updated_at, "
    f"{_NO_TIME}, nullif(created_at, 0) AS execution_created_at, nullif(updated_at, 0) AS execution_updated_at, "
    "nullif(started_at, 0) AS started_at, duration, launch_plan_id, workflow_id, task_id, mode, '' AS cluster, "
    "error_kind, error_code, principal AS \"user\", state, coalesce(abort_cause, '') AS abort_cause, "
    "CASE launch_type WHEN 1 THEN 'task' ELSE 'launch_plan' END AS launch_entity FROM {source}",
}
