"""Caching of task outputs: looked up before an attempt, remembered in the turn of its success, made by one at a time.

The rules are the reference's (flytepropeller, nodes/cache.go). An attempt at a serialised task that finds the outputs
being made by another waits and looks them up again; who makes them holds a reservation that is extended while it lives,
so that others take over after a crash.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable

from flyteidl.admin import execution_pb2
from flyteidl.core import catalog_pb2, literals_pb2, tasks_pb2

from flyte_kernel.catalog.contents import read_literals, write_literals
from flyte_kernel.catalog.facts import OutputsRemembered, ReservationHeld, ReservationReleased
from flyte_kernel.catalog.index import Source
from flyte_kernel.catalog.keys import CacheKey, cache_key, is_cacheable, is_serializable, reservation_owner
from flyte_kernel.catalog.state import Found, ReservationKey
from flyte_kernel.engine.data import NodeData
from flyte_kernel.engine.facts import CacheObserved, Fact
from flyte_kernel.engine.maps import element_task
from flyte_kernel.engine.ports import BlobNotFoundError, Blobs
from flyte_kernel.engine.programs import Programs
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.state import State
from flyte_kernel.engine.turns import Decision
from flyte_kernel.errors import KernelError
from flyte_kernel.ids import NO_ELEMENT, AttemptKey

__all__ = ["Caching"]

logger = logging.getLogger(__name__)

_HEARTBEAT_S = 10  # the reference's
_GRACE = 3  # heartbeats that may be missed
_HIT = int(catalog_pb2.CACHE_HIT)
_POPULATED = int(catalog_pb2.CACHE_POPULATED)
_PUT_FAILURE = int(catalog_pb2.CACHE_PUT_FAILURE)


class Caching:
    """Between attempts and the catalog; used from worker threads, blobs are read and written here."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        data: NodeData,
        programs: Programs,
        state: State,
        commit: Callable[[Callable[[State, int], Decision]], object],
        later: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._blobs = blobs
        self._data = data
        self._programs = programs
        self._state = state
        self._commit = commit
        self._reserved: dict[AttemptKey, tuple[ReservationKey, str]] = {}
        self._later = later
        self._lock = threading.Lock()
        self._beats = False
        self._is_closed = False

    def is_cached(self, record: ExecutionRecord, node: int) -> bool:
        """Say whether outputs of what a node runs are looked up and remembered."""
        task = self._programs.of_record(record).task[node]
        return task is not None and is_cacheable(task)

    def look_up(self, record: ExecutionRecord, key: AttemptKey) -> tuple[Fact, ...] | None:
        """Put remembered outputs where those of an attempt belong and return what says so; None if there are none."""
        found = self._find(record, key)
        if found is None or _overwrites(record):
            return None
        cache, remembered = found
        artifact = remembered.artifact
        try:
            literals = read_literals(self._blobs.base_uri, self._blobs.read, cache.dataset, artifact.id, artifact.names)
        except BlobNotFoundError as error:
            logger.warning("what the catalog remembers of %s is gone, it is made again: %s", cache.tag, error)
            return None
        self._data.write_attempt_outputs(record, key, literals_pb2.LiteralMap(literals=literals).SerializeToString())
        source = remembered.source
        return (CacheObserved(*key, _HIT, cache.dataset, cache.digest, artifact.id, source, remembered.task_version),)

    def remember(self, record: ExecutionRecord, key: AttemptKey, outputs: bytes) -> tuple[Fact, ...]:
        """Store the outputs of an attempt that has succeeded; return what belongs into the turn that says so."""
        task = self._task(record, key)
        if task is None or not is_cacheable(task) or not task.interface.outputs.variables:
            return ()
        cache = self._key(record, key, task)
        literals = literals_pb2.LiteralMap.FromString(outputs).literals
        known = self._state.catalog.find(cache)
        artifact = str(uuid.uuid4()) if known is None else known.artifact.id
        try:
            write_literals(self._blobs.base_uri, self._blobs.write, cache.dataset, artifact, literals)
        except (KernelError, OSError) as error:
            logger.warning("outputs of %s are not cached: %s", key, error)
            return (CacheObserved(*key, _PUT_FAILURE, cache.dataset, cache.digest, "", None, ""), *self.release(key))
        unique_id = self._data.unique_id(record, key.node)
        source = Source(record.id.project, record.id.domain, record.id.name, unique_id, key.attempt)
        return (
            OutputsRemembered(cache.dataset, task.id.version, cache.digest, artifact, tuple(literals), source),
            CacheObserved(*key, _POPULATED, cache.dataset, cache.digest, artifact, None, ""),
            *self.release(key),
        )

    # Reservations

    def reserve(self, record: ExecutionRecord, key: AttemptKey) -> bool:
        """Say whether an attempt may make its outputs now; if so, nobody else may until it has ended."""
        task = self._task(record, key)
        if task is None or not is_serializable(task):
            return True
        cache = self._key(record, key, task)
        reservation = ReservationKey(cache.dataset, cache.tag)
        owner = reservation_owner(record.id.name, self._owner_node(record, key), key.attempt)
        if not self._commit(lambda state, now: _held(state, now, reservation, owner)):
            return False
        with self._lock:
            self._reserved[key] = (reservation, owner)
            begins, self._beats = not self._beats, True
        if begins:
            self._later(_HEARTBEAT_S, self._beat)
        return True

    def release(self, key: AttemptKey) -> tuple[Fact, ...]:
        """Return what gives up an attempt's reservation, if it holds one."""
        with self._lock:
            held = self._reserved.pop(key, None)
        if held is None:
            return ()
        reservation, owner = held
        return (ReservationReleased(reservation.dataset, reservation.tag, owner),)

    def close(self) -> None:
        """Stop extending; what is held stays so until it expires."""
        self._is_closed = True

    def _beat(self) -> None:
        with self._lock:
            held = list(self._reserved.values())
            self._beats = bool(held) and not self._is_closed
            if not self._beats:
                return
        try:
            for reservation, owner in held:
                self._extend(reservation, owner)
        except KernelError as error:
            logger.warning("reservations could not be extended: %s", error)
        self._later(_HEARTBEAT_S, self._beat)

    def _extend(self, reservation: ReservationKey, owner: str) -> None:
        self._commit(lambda state, now: _held(state, now, reservation, owner))

    def _owner_node(self, record: ExecutionRecord, key: AttemptKey) -> str:
        unique_id = self._data.unique_id(record, key.node)
        return unique_id if key.element == NO_ELEMENT else f"{unique_id}-n{key.element}"

    # Keys

    def _task(self, record: ExecutionRecord, key: AttemptKey) -> tasks_pb2.TaskTemplate | None:
        task = self._programs.of_record(record).task[key.node]
        return task if task is None or key.element == NO_ELEMENT else element_task(task)

    def _key(self, record: ExecutionRecord, key: AttemptKey, task: tasks_pb2.TaskTemplate) -> CacheKey:
        return cache_key(task, self._data.attempt_inputs(record, key))

    def _find(self, record: ExecutionRecord, key: AttemptKey) -> tuple[CacheKey, Found] | None:
        task = self._task(record, key)
        if task is None or not is_cacheable(task):
            return None
        cache = self._key(record, key, task)
        found = self._state.catalog.find(cache)
        return None if found is None else (cache, found)


def _held(state: State, now: int, reservation: ReservationKey, owner: str) -> Decision:
    held = state.catalog.reservations.get(reservation)
    if held is not None and held.owner != owner and held.expires_at >= now:
        return Decision(result=False)
    heartbeat = _HEARTBEAT_S * 1_000_000_000
    fact = ReservationHeld(reservation.dataset, reservation.tag, owner, heartbeat, now + _GRACE * heartbeat)
    return Decision(facts=(fact,), result=True)


def _overwrites(record: ExecutionRecord) -> bool:
    return bool(execution_pb2.ExecutionSpec.FromString(record.spec).overwrite_cache)
