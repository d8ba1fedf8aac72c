"""The compiled core: the reference page of everything that crosses into Rust.

Times are int64 nanoseconds. Arrays that go in must be one-dimensional, contiguous and of the dtype that is named, or
GraphError says what was found; arrays that come out are read-only views. Every class may be used from several threads:
long work releases the GIL and waits for its lock without it. A panic of the core is InternalError, and so is every
later call of that kernel.
"""

import os
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from flyte_kernel.errors import StateError

__all__ = ["BlobServer", "Graph", "Journal", "JournalReplay", "Kernel", "Run", "Turn", "__version__"]

__version__: str

@final
class Graph:
    """The immutable shape of a workflow."""

    @staticmethod
    def from_edges(
        node_count: int,
        source: NDArray[np.uint32],
        target: NDArray[np.uint32],
        *,
        kind: NDArray[np.uint8] | None = None,
        scope: NDArray[np.uint32] | None = None,
        attempts_max: NDArray[np.uint16] | None = None,
        execution_timeout: NDArray[np.int64] | None = None,
        active_timeout: NDArray[np.int64] | None = None,
        failure_handler: NDArray[np.bool_] | None = None,
    ) -> Graph:
        """Build and check a graph from edge lists; both arrays have one row an edge.

        Columns have one row a node: `kind` a phases.NodeKind (default TASK), `scope` the SUBWORKFLOW or BRANCH node
        that a node is inside of (default 4294967295, the top), `attempts_max` how often the user lets it be tried
        (default 1), timeouts in ns (default 0, none): `execution_timeout` of one attempt, `active_timeout` of all
        together; `failure_handler` whether the node handles the failure of its scope: at most one a scope, without
        edges, started only when the scope has failed.
        Raises CycleError naming a cycle, GraphError for anything else that cannot be.
        """

    @property
    def node_count(self) -> int:
        """How many nodes there are."""

    @property
    def edge_count(self) -> int:
        """How many edges there are."""

    @property
    def kind(self) -> NDArray[np.uint8]:
        """What each node is."""

    @property
    def scope(self) -> NDArray[np.uint32]:
        """The node inside of which each node is."""

    @property
    def attempts_max(self) -> NDArray[np.uint16]:
        """How often the user lets each node be tried."""

    @property
    def execution_timeout(self) -> NDArray[np.int64]:
        """How long one attempt may run."""

    @property
    def active_timeout(self) -> NDArray[np.int64]:
        """How long a node may take in all."""

    @property
    def failure_handler(self) -> NDArray[np.bool_]:
        """Whether each node handles the failure of its scope."""

    def downstream(self, node: int) -> NDArray[np.uint32]:
        """Return the nodes that wait for a node; UnknownNodeError if there is no such node."""

    def edges(self) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Return all edges as source and target, by ascending source."""

    def topological_order(self) -> NDArray[np.uint32]:
        """Return the nodes so that each comes after those it waits for: level by level, ascending within one."""

    def levels(self) -> NDArray[np.uint32]:
        """Return how many edges the longest way to each node has; 0 for nodes without upstreams."""

    def critical_path(self, weights: NDArray[np.float64] | None = None) -> tuple[NDArray[np.uint32], float]:
        """Return the way through the graph that weighs most and its weight; a node weighs 1 if nothing is given.

        Raises GraphError for weights of another length and for NaN.
        """

    def ancestors(self, node: int) -> NDArray[np.uint32]:
        """Return the nodes that a node waits for, directly or not, ascending."""

    def descendants(self, node: int) -> NDArray[np.uint32]:
        """Return the nodes that wait for a node, directly or not, ascending."""

    def subgraph(self, nodes: NDArray[np.uint32]) -> Graph:
        """Return the graph of some nodes and the edges between them, numbered in the order given, columns kept.

        Raises GraphError for a node that is unknown, named twice, or whose scope is left out.
        """

    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Run:
    """One run of a graph, for callers who want ready nodes instead of events and effects.

    Nodes wait in a line until they are taken; of those that are taken and have not ended, at most `max_parallelism` are
    out at once, higher `priority` first. Scopes open and end nodes resolve by themselves; graphs with branches or maps
    need Kernel. Methods that say what happened take a node or an array of uint32, and change nothing if one of the
    nodes was never ready (StateError with its story) or is unknown (UnknownNodeError). What comes late is ignored.
    """

    def __new__(
        cls,
        graph: Graph,
        *,
        max_parallelism: int = 0,
        fails_late: bool = False,
        system_attempts_extra: int = 3,
        priority: NDArray[np.int64] | None = None,
        now: int = 0,
    ) -> Run:
        """Start a run; `max_parallelism` 0 is no limit, `fails_late` lets what can run on after a failure.

        `now` is the time in ns, for graphs with timeouts. Raises GraphError for graphs that need Kernel.
        """

    @property
    def graph(self) -> Graph:
        """The graph that runs."""

    @property
    def phase(self) -> int:
        """Where the run stands, a phases.RunPhase."""

    @property
    def is_done(self) -> bool:
        """Whether it has ended."""

    @property
    def ready_count(self) -> int:
        """How many nodes may be taken now."""

    def ready(self) -> NDArray[np.uint32]:
        """Return the nodes that may be taken now, in the order of `take`; a view of what is ready at this moment."""

    def take(self, limit: int | None = None) -> NDArray[np.uint32]:
        """Take ready nodes, `limit` at most, out of the line: they are RUNNING from now on."""

    def take_one(self) -> int | None:
        """Take the first ready node; None if there is none."""

    def succeed_and_take(self, node: int) -> int | None:
        """Say that a node has succeeded and take the first that is ready then: what one worker does, in one call."""

    def start(self, nodes: int | NDArray[np.uint32]) -> None:
        """Say that nodes run; they leave the line."""

    def succeed(self, nodes: int | NDArray[np.uint32]) -> None:
        """Say that nodes have succeeded."""

    def fail(self, nodes: int | NDArray[np.uint32], *, recoverable: bool = True) -> None:
        """Say that attempts at nodes have failed; while they have attempts left they become ready again."""

    def skip(self, nodes: int | NDArray[np.uint32]) -> None:
        """Leave nodes out, and with them whatever waits for them."""

    def gone(self, nodes: int | NDArray[np.uint32]) -> None:
        """Say that nodes which were called off have stopped."""

    def cancelled(self) -> NDArray[np.uint32]:
        """Return the nodes that are to be stopped and of which nobody has said yet that they are."""

    def abort(self) -> None:
        """Call everything off; the run ends when the last node that was taken has stopped."""

    def tick(self, now: int) -> None:
        """Let time pass: timeouts that are reached take effect."""

    def next_deadline(self) -> int | None:
        """Return the earliest time at which `tick` would do something."""

    def phases(self) -> NDArray[np.uint8]:
        """Return the phases.NodePhase of every node."""

    def attempts(self) -> NDArray[np.uint32]:
        """Return the number of every node's current attempt, from 0."""

    def counts(self) -> NDArray[np.uint64]:
        """Return how many nodes are in each phase, by the numbers of phases.NodePhase."""

    def story(self, node: int) -> str:
        """Return what is remembered of a node."""

    def check_invariants(self) -> None:
        """Recompute all that is derived; InternalError if it differs."""

    def snapshot(self) -> bytes:
        """Return the run as bytes for `restore`."""

    @staticmethod
    def restore(data: bytes, *, max_parallelism: int = 0, priority: NDArray[np.int64] | None = None) -> Run:
        """Return the run that `snapshot` was taken of; nodes that were taken and have not ended are in the line again.

        Raises CorruptRecordError for bytes that are no snapshot.
        """

@final
class Kernel:
    """All runs at once: a deterministic function of the events it was given."""

    def __new__(
        cls, *, system_attempts_extra: int = 3, record_transitions: bool = True, story_capacity: int = 8192
    ) -> Kernel:
        """Make a kernel without runs.

        `system_attempts_extra` failures of the platform are forgiven beside the user's budget; without
        `record_transitions` turns carry effects only; `story_capacity` events are remembered for refusals.
        """

    def add_graph(self, graph: Graph) -> int:
        """Add a graph that RUN_CREATED events may name; return its index."""

    def release_graph(self, index: int) -> None:
        """Forget a graph; its runs go on. UnknownNodeError if there is none."""

    def step(
        self,
        now: int,
        kind: NDArray[np.uint8],
        run: NDArray[np.uint32],
        node: NDArray[np.uint32],
        attempt: NDArray[np.uint32],
        element: NDArray[np.uint32],
        argument: NDArray[np.int64],
    ) -> Turn:
        """Fire the timers that are due, then apply events (one row each, see phases.EventKind) in their order.

        An illegal event is refused, changes nothing and is listed in the turn with a phases.RefusalReason; a duplicate
        or late one is absorbed. Within one event effects come in this order: aborts (ascending), the next attempt of
        the event's own node, what became ready (ascending, tasks last, from the head of their line), the end of the
        run. Raises GraphError for columns of the wrong dtype or of unequal lengths.
        """

    def next_deadline(self) -> int | None:
        """Return the earliest time at which a step without events would do something."""

    @property
    def run_count(self) -> int:
        """How many runs were ever created; the next RUN_CREATED event carries this index."""

    def is_live(self, run: int) -> bool:
        """Say whether a run exists and has not ended."""

    def run_phase(self, run: int) -> int:
        """Return a run's phases.RunPhase; UnknownNodeError if there is none or it was released."""

    def phases(self, run: int) -> NDArray[np.uint8]:
        """Return a copy of the phases.NodePhase of every node of a run."""

    def attempts(self, run: int) -> NDArray[np.uint32]:
        """Return the current attempt of every node of a run."""

    def run_kinds(self, run: int) -> NDArray[np.uint8]:
        """Return the phases.NodeKind of every node of a run."""

    def run_scopes(self, run: int) -> NDArray[np.uint32]:
        """Return the node inside of which each node of a run is, 4294967295 at the top."""

    def element_phases(self, run: int, node: int, first: int = 0, count: int | None = None) -> NDArray[np.uint8]:
        """Return the phases.NodePhase of elements of a map, `count` from `first` on; none before it opens.

        A page costs what it holds, whatever the map's size. Raises UnknownNodeError if the node is no map.
        """

    def element_attempts(self, run: int, node: int, first: int = 0, count: int | None = None) -> NDArray[np.uint32]:
        """Return the current attempt numbers of elements of a map, like `element_phases`."""

    def map_counts(self, run: int, node: int) -> tuple[int, int, int, int, int]:
        """Return how many elements a map has, and how many were launched, succeeded, failed and are under way."""

    def counters(self, run: int, node: int) -> tuple[int, int, int]:
        """Return a node's attempt, its failures charged to the user and those forgiven as the platform's.

        A scope that takes another attempt raises the attempt numbers of all nodes inside and forgets their failures.
        """

    def release(self, run: int) -> None:
        """Forget a run that has ended; events for it are absorbed. StateError while it goes on."""

    def story(self, run: int, node: int) -> str:
        """Return what is remembered of a node."""

    def check_invariants(self) -> None:
        """Recompute all that is derived; InternalError names what does not hold."""

    def snapshot(self) -> bytes:
        """Return everything but the stories."""

    @staticmethod
    def restore(data: bytes) -> Kernel:
        """Return the kernel that a snapshot was taken of; CorruptRecordError if it cannot be read."""

@final
class Turn:
    """What one step came to; columns have one row an effect, a transition or a refused event.

    `effect_cause` is the index of the event behind an effect, 4294967295 for a timer. `transition_node` is 4294967295
    for the run itself, whose phase is then a phases.RunPhase.
    """

    @property
    def effect_kind(self) -> NDArray[np.uint8]: ...
    @property
    def effect_run(self) -> NDArray[np.uint32]: ...
    @property
    def effect_node(self) -> NDArray[np.uint32]: ...
    @property
    def effect_attempt(self) -> NDArray[np.uint32]: ...
    @property
    def effect_element(self) -> NDArray[np.uint32]: ...
    @property
    def effect_argument(self) -> NDArray[np.int64]: ...
    @property
    def effect_cause(self) -> NDArray[np.uint32]: ...
    @property
    def transition_run(self) -> NDArray[np.uint32]: ...
    @property
    def transition_node(self) -> NDArray[np.uint32]: ...
    @property
    def transition_phase(self) -> NDArray[np.uint8]: ...
    @property
    def transition_attempt(self) -> NDArray[np.uint32]: ...
    @property
    def refused_event(self) -> NDArray[np.uint32]: ...
    @property
    def refused_reason(self) -> NDArray[np.uint8]: ...
    @property
    def absorbed(self) -> int:
        """How many events were duplicates or came late."""

    def refusal(self, index: int) -> StateError:
        """Return the error of a refused event, with the story of its node; `index` counts refusals."""

@final
class Journal:
    """An append-only journal of opaque blocks in a folder that belongs to this object alone.

    What `commit` acknowledged is there after any crash, or `open` refuses. Raises StorageFullError when no space is
    left (nothing acknowledged is lost, the same call may be repeated), StorageError when the disk fails or after
    `close`.
    """

    @staticmethod
    def open(folder: str | os.PathLike[str], *, segment_bytes: int = 67108864) -> Journal:
        """Open a journal, made if absent; a commit torn by a crash is cut off.

        Raises FolderLockedError if another process has it, CorruptRecordError naming file and offset if anything that
        was durable is missing or changed.
        """

    @property
    def last_sequence(self) -> int:
        """The sequence of the newest durable block; 0 if there is none."""

    def append(self, payload: bytes) -> int:
        """Buffer one block; return the sequence it will have once committed."""

    def commit(self) -> None:
        """Make every buffered block durable with one write and one sync.

        After StorageFullError the blocks are still buffered: call again, or `rollback`. After any other StorageError
        nobody knows what the disk holds, and everything but `close` and reading is refused: open the journal anew.
        """

    def rollback(self) -> None:
        """Drop what is buffered and erase what a failed commit left of it; the sequences are given out again."""

    def replay(self, after: int) -> JournalReplay:
        """Iterate over (sequence, payload) of the durable blocks after a sequence; GraphError if it is not durable."""

    def write_snapshot(self, sequence: int, payload: bytes) -> None:
        """Keep a state as of a durable sequence, else GraphError; the newest two are kept."""

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """Return the newest state that reads back as it was written."""

    def close(self) -> None:
        """Give up the folder; what is buffered is dropped."""

@final
class JournalReplay(Iterator[tuple[int, bytes]]):
    """The blocks of a journal as of when it was asked; CorruptRecordError at the first that is not what was written."""

    def __iter__(self) -> JournalReplay: ...
    def __next__(self) -> tuple[int, bytes]: ...

@final
class BlobServer:
    """An S3-compatible endpoint over a local folder, served by threads of its own.

    Objects are plain files at `root/<bucket>/<key>`; what files cannot carry lies in `root/.meta`.
    """

    @staticmethod
    def start(
        root: str | os.PathLike[str],
        host: str,
        port: int,
        access_key: str,
        secret_key: str,
        *,
        region: str = "us-east-1",
        buckets: Sequence[str] = ...,
        sync: bool = False,
    ) -> BlobServer:
        """Make the folder and the buckets if they are missing, listen and serve; port 0 takes a free one.

        `sync` waits for the disk before an upload is answered. Raises AdapterError if the address cannot be listened
        on, StorageError if the folder cannot be used, InvalidArgumentError for a name that no bucket can have.
        """

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as numeric host and port."""

    def close(self) -> None:
        """Answer the requests in flight, for a few seconds at most, and stop; closing twice is fine."""
