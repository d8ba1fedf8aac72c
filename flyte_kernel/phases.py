"""Phases of runs, nodes and attempts: the numbers are FlyteIDL's, the extra ones never leave the process."""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "TERMINAL_NODE_PHASES",
    "TERMINAL_RUN_PHASES",
    "AbortReason",
    "AttemptPhase",
    "EffectKind",
    "EventKind",
    "FailureClass",
    "NodeKind",
    "NodePhase",
    "RefusalReason",
    "RunPhase",
]


class RunPhase(IntEnum):
    """Where a run stands; numbers of flyteidl.core.WorkflowExecution.Phase."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDING = 3
    SUCCEEDED = 4
    FAILING = 5
    FAILED = 6
    ABORTED = 7
    TIMED_OUT = 8
    ABORTING = 9


class NodeKind(IntEnum):
    """What a node is, in the core's numbers; no graph has a DYNAMIC, a TASK whose attempt grew is shown as one."""

    TASK = 0
    START = 1
    END = 2
    SUBWORKFLOW = 3
    BRANCH = 4
    MAP = 5
    GATE = 6
    CHILD_RUN = 7
    DYNAMIC = 8


class NodePhase(IntEnum):
    """Where a node stands; 0 to 10 are the numbers of flyteidl.core.NodeExecution.Phase, the rest is internal.

    UNDEFINED is a node that has not started. RETRYING, TIMING_OUT and ABORTING wait for the executor to confirm that
    the current attempt is gone; clients see them as RUNNING.
    """

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILING = 4
    FAILED = 5
    ABORTED = 6
    SKIPPED = 7
    TIMED_OUT = 8
    DYNAMIC_RUNNING = 9
    RECOVERED = 10
    RETRYING = 11
    TIMING_OUT = 12
    ABORTING = 13


class AttemptPhase(IntEnum):
    """Where an attempt stands; numbers of flyteidl.core.TaskExecution.Phase."""

    UNDEFINED = 0
    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    ABORTED = 4
    FAILED = 5
    INITIALIZING = 6
    WAITING_FOR_RESOURCES = 7
    RETRYABLE_FAILED = 8


class FailureClass(IntEnum):
    """Whose budget pays for another attempt after a failure; the argument of the core's AttemptFailed event."""

    USER_RECOVERABLE = 0
    SYSTEM_RECOVERABLE = 1
    PERMANENT = 2


class EventKind(IntEnum):
    """What happened outside the core. The meaning of a row's other columns:

    RUN_CREATED: run is the next index, node the graph's index, attempt max_parallelism (0 is unlimited), argument 1
    lets the rest run on after a failure. The others name run, node and attempt, and an element if it is one of a map's
    that they are about. ATTEMPT_STARTED: argument is the time in ns after which the attempt succeeds by itself, 0 for
    never. ATTEMPT_SUCCEEDED: argument 1 if the outputs are taken over from an earlier run; of an element, from bit 32
    on, how many elements after it have succeeded too, in attempts of the same number: all as if one after the other, or
    none if one of them is refused. ATTEMPT_FAILED: argument is a FailureClass. BRANCH_DECIDED: argument is the member
    that was chosen. GRAPH_GROWN: argument is the index of the graph that the attempt made. MAP_OPENED: element is how
    many elements may be under way at one time (0 is unlimited), argument the size and, from bit 32 on, how many must
    succeed.
    """

    RUN_CREATED = 1
    ATTEMPT_STARTED = 2
    ATTEMPT_SUCCEEDED = 3
    ATTEMPT_FAILED = 4
    ATTEMPT_ABORTED = 5
    SCOPE_OPENED = 6
    RUN_ABORTED = 7
    BRANCH_DECIDED = 8
    GRAPH_GROWN = 9
    MAP_OPENED = 10


class EffectKind(IntEnum):
    """What the core asks for: argument is an AbortReason for ABORT_ATTEMPTS, a RunPhase for FINISH_RUN."""

    LAUNCH_ATTEMPTS = 1
    ABORT_ATTEMPTS = 2
    FINISH_RUN = 3
    OPEN_SCOPE = 4
    RESOLVE_OUTPUTS = 5
    DECIDE_BRANCH = 6
    OPEN_MAP = 7


class AbortReason(IntEnum):
    """Why an attempt is to be ended."""

    RUN_ABORTED = 1
    RUN_FAILING = 2
    EXECUTION_TIMEOUT = 3
    ACTIVE_TIMEOUT = 4


class RefusalReason(IntEnum):
    """Why the core refused an event."""

    UNKNOWN_KIND = 1
    UNKNOWN_RUN = 2
    UNKNOWN_NODE = 3
    UNKNOWN_GRAPH = 4
    NEVER_LAUNCHED = 5
    FUTURE_ATTEMPT = 6
    WRONG_NODE_KIND = 7
    NOT_AWAITED = 8
    BAD_ARGUMENT = 9


TERMINAL_RUN_PHASES = frozenset({RunPhase.SUCCEEDED, RunPhase.FAILED, RunPhase.TIMED_OUT, RunPhase.ABORTED})
TERMINAL_NODE_PHASES = frozenset(
    {
        NodePhase.SUCCEEDED,
        NodePhase.FAILED,
        NodePhase.ABORTED,
        NodePhase.SKIPPED,
        NodePhase.TIMED_OUT,
        NodePhase.RECOVERED,
    }
)
