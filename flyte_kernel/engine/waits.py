"""Task nodes that only wait are answered in the turn that starts them: no worker, no blob, no turn of their own.

That is so where the wait follows from what is known when the run begins: the plugin is a WaitingPlugin, the outputs are
neither cached nor taken over, and the inputs are constants or the workflow's own. All others go the long way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from flyteidl.core import literals_pb2, tasks_pb2
from numpy.typing import NDArray

from flyte_kernel.catalog.keys import is_cacheable
from flyte_kernel.compile.program import Program
from flyte_kernel.compile.scope import START_NODE
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.ports import TaskPlugin, WaitingPlugin
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.steps import Effect
from flyte_kernel.engine.turns import Event
from flyte_kernel.ids import NO_ELEMENT
from flyte_kernel.phases import EffectKind, EventKind, NodeKind

__all__ = ["Waits", "wait_events"]

_LAUNCH = int(EffectKind.LAUNCH_ATTEMPTS)
_ABORT = int(EffectKind.ABORT_ATTEMPTS)
_FINISH = int(EffectKind.FINISH_RUN)
_STARTED = int(EventKind.ATTEMPT_STARTED)
_SUCCEEDED = int(EventKind.ATTEMPT_SUCCEEDED)
_ABORTED = int(EventKind.ATTEMPT_ABORTED)
_NOT_A_WAIT = -1


def wait_events(run: int, node: int, attempt: int, wait_ns: int) -> list[Event]:
    """Return what happens to an attempt that does nothing but wait."""
    started = Event(_STARTED, run, node, attempt, argument=wait_ns)
    return [started] if wait_ns else [started, Event(_SUCCEEDED, run, node, attempt)]


@dataclass(frozen=True, slots=True)
class _Candidates:
    """The nodes of a program that may be waits, by the first node that is like them in task and bindings.

    `constant` has those whose bindings are all constants: their wait is the same in every run.
    """

    like: dict[int, int]
    constant: dict[int, int]


class Waits:
    """Knows which nodes only wait, and for how long; used by the loop's thread only."""

    def __init__(
        self,
        *,
        data: NodeData,
        programs: Programs,
        plugin_of: Callable[[str], TaskPlugin],
        record_of: Callable[[int], ExecutionRecord | None],
    ) -> None:
        self._data = data
        self._programs = programs
        self._plugin_of = plugin_of
        self._record_of = record_of
        self._candidates: WeakKeyDictionary[Program, _Candidates] = WeakKeyDictionary()
        self._bound: dict[int, dict[int, int]] = {}  # waits that depend on a run's inputs, by run and first like node

    def answer(self, effects: Sequence[Effect]) -> tuple[list[Event], list[Effect]]:
        """Return what the effects on nodes that only wait come to, and the other effects."""
        events: list[Event] = []
        others: list[Effect] = []
        run, record, candidates = -1, None, None
        for effect in effects:
            if effect.run != run:
                run = effect.run
                record = self._record_of(run)
                candidates = None if record is None else self._candidates_of(record)
            if effect.kind == _FINISH:
                self._bound.pop(run, None)
            like = None if candidates is None else candidates.like.get(effect.node)
            if like is None or record is None or candidates is None or effect.element != NO_ELEMENT:
                others.append(effect)
                continue
            wait_ns = self._wait_of(record, candidates, like)
            if wait_ns == _NOT_A_WAIT or effect.kind not in (_LAUNCH, _ABORT):
                others.append(effect)
            elif effect.kind == _LAUNCH:
                events += wait_events(run, effect.node, effect.attempt, wait_ns)
            else:
                events.append(Event(_ABORTED, run, effect.node, effect.attempt))
        return events, others

    def waiting(self, record: ExecutionRecord) -> NDArray[np.bool_]:
        """Return which nodes of a run only wait."""
        candidates = self._candidates_of(record)
        if candidates is None:
            return np.zeros(len(record.nodes.phase), np.bool_)
        waits = {
            first: self._wait_of(record, candidates, first) != _NOT_A_WAIT for first in set(candidates.like.values())
        }
        found = np.zeros(len(record.nodes.phase), np.bool_)
        nodes = np.fromiter(candidates.like, np.intp, len(candidates.like))
        found[nodes] = np.fromiter(map(waits.__getitem__, candidates.like.values()), np.bool_, len(nodes))
        return found

    def _wait_of(self, record: ExecutionRecord, candidates: _Candidates, first: int) -> int:
        wait_ns = candidates.constant.get(first)
        return self._bound_wait_ns(record, first) if wait_ns is None else wait_ns

    def _candidates_of(self, record: ExecutionRecord) -> _Candidates | None:
        if record.details.recovered_from is not None:
            return None
        program = self._programs.of_record(record)
        found = self._candidates.get(program)
        if found is None:
            found = self._candidates[program] = self._find_candidates(record, program)
        return found

    def _find_candidates(self, record: ExecutionRecord, program: Program) -> _Candidates:
        like: dict[int, int] = {}
        constant: dict[int, int] = {}
        first_of: dict[tuple[int, tuple[bytes, ...]], int] = {}
        is_candidate: dict[int, bool] = {}
        handlers = set(program.failure_handlers.values())
        for node, (kind, task) in enumerate(zip(program.kind.tolist(), program.task, strict=True)):
            if kind != NodeKind.TASK or task is None or node in handlers:
                continue
            if id(task) not in is_candidate:
                is_candidate[id(task)] = self._may_wait(task)
            if not is_candidate[id(task)]:
                continue
            bindings = program.template[node].inputs
            is_constant = not any(_has_promise(binding.binding) for binding in bindings)
            is_bound = program.parent[node] < 0 and all(_is_input(binding.binding) for binding in bindings)
            if not (is_constant or is_bound):
                continue
            key = id(task), tuple(binding.SerializeToString() for binding in bindings)
            first = like[node] = first_of.setdefault(key, node)
            if is_constant and first == node:
                constant[node] = self._wait_ns(record, node)
        return _Candidates(like, constant)

    def _may_wait(self, task: tasks_pb2.TaskTemplate) -> bool:
        is_plain = not is_cacheable(task) and not task.interface.outputs.variables
        return is_plain and isinstance(self._plugin_of(task.type), WaitingPlugin)

    def _bound_wait_ns(self, record: ExecutionRecord, node: int) -> int:
        waits = self._bound.setdefault(record.run, {})
        wait_ns = waits.get(node)
        if wait_ns is None:
            wait_ns = waits[node] = self._wait_ns(record, node)
        return wait_ns

    def _wait_ns(self, record: ExecutionRecord, node: int) -> int:
        task = self._programs.of_record(record).task[node]
        assert task is not None
        plugin = self._plugin_of(task.type)
        assert isinstance(plugin, WaitingPlugin)
        try:
            inputs = literals_pb2.LiteralMap.FromString(self._data.resolve_inputs(record, node))
            wait_ns = plugin.wait_ns(task, inputs)
        except Exception:  # the long way finds it too and makes it the node's failure
            return _NOT_A_WAIT
        return _NOT_A_WAIT if wait_ns is None or wait_ns < 0 else wait_ns


def _has_promise(binding: literals_pb2.BindingData) -> bool:
    match binding.WhichOneof("value"):
        case "promise":
            return True
        case "collection":
            return any(_has_promise(item) for item in binding.collection.bindings)
        case "map":
            return any(_has_promise(item) for item in binding.map.bindings.values())
        case _:
            return False


def _is_input(binding: literals_pb2.BindingData) -> bool:
    """Whether a binding is a constant or one of the workflow's inputs, as a whole."""
    if binding.WhichOneof("value") != "promise":
        return not _has_promise(binding)
    return binding.promise.node_id in ("", START_NODE) and not binding.promise.attr_path
