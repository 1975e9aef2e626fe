"""What a queue store promises: the protocol that SQLite and Redis keep, and the words it speaks in.

A store holds the jobs that are not finished, and the outbox of those that just have. It knows nothing of workers, sockets or
records. Every operation works on a batch and is one atomic step; when it returns, the step is durable at `level`. Where it raises,
nothing of it was stored. The one conformance suite (tests/queue/) is the specification in detail; in short:

- An id lives in exactly one place: ready (a level = queue and priority), later (delayed, retrying), or an open claim; once finished
  in the outbox until the records have it. So a look-up finds a job at every moment.
- A claim is a fence number that rises with every claim and never repeats, across crashes and restarts. An outcome counts only while
  the claim with that fence still holds *that* job; else the outcome is refused, one by one, and changes nothing.
- Order: higher priority first, first in first out within it. A level that is not empty and was not served for the starvation limit
  gets one claimed job in 16 until it is served. Queues share claims by smooth weighted round robin. What is handed back or lost goes
  to the front of its level; what was delayed or is retried goes to the back when due.
- Times come from the store: callers pass delays, never clock readings. Leases are judged by the store alone.
- Duplicates: a submit whose id is known, live or finished, is answered with `existed`, and raises JobConflict when type, queue or payload
  differ. A unique key is held until its job is finished; a conflict is answered with the holder. Ids that a producer session made are
  recognised by the session's highest counter; at or below it they are only suspected to be repeats, and looked up.
- Hints: `on_ready` is called (in the loop, at most once per step) when jobs may have become ready. A hint may be lost; callers claim
  once a second anyway.
- Errors: StoreUnavailable (does not answer), StoreFull (disk or outbox limit; outcomes and removals are still taken).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum
from typing import Protocol

import msgspec

from ..errors import StoreFull, StoreUnavailable
from ..job import JobFilter, JobSpec, JobState, Record, StoredJob
from ..wire.messages import CancelKind, Durability, QueueCount, SubmitKind, Submitted

__all__ = [
    "SCAN_MAX",
    "TURN_S",
    "Backlog",
    "CancelKind",
    "Claim",
    "Document",
    "DocumentKind",
    "Durability",
    "FinishedLookup",
    "Fired",
    "Lead",
    "Life",
    "Live",
    "LivePage",
    "LostClaims",
    "OutboxItem",
    "OutboxPage",
    "Outcome",
    "OutcomeKind",
    "Overtaken",
    "QueueCount",
    "QueueStore",
    "Reaped",
    "Renewal",
    "RerunMark",
    "SubmitKind",
    "Submitted",
    "Tended",
    "outbox_full",
]


class Life(msgspec.Struct, frozen=True, array_like=True):
    """One start of one node. A node restarted under the same id is another life and owns nothing of the former.

    `home` names the data folder, which one process holds at a time: a life of the same home is the next one, of another home a stranger
    who uses the same name. `address` is where this one is found, for the message to such a stranger."""

    node: str
    boot: int
    home: str = ""
    address: str = ""


class Claim(msgspec.Struct, frozen=True):
    """Jobs handed out under one fence. Empty: nothing was ready, or nothing may be claimed now (lease lost, outbox full).
    `next_due_s`: seconds until a delayed job is due; None when there is none, or waiting for it is of no use."""

    fence: int
    jobs: Sequence[StoredJob]
    next_due_s: float | None
    version: int
    """Rises with every pause, resume and purge; a node that sees it rise hands back what it has not started."""
    is_all: bool = False
    """Nothing else was ready, and what becomes so is hinted: until then a claim would bring nothing."""


class OutcomeKind(str, Enum):
    FINISH = "finish"
    """`record` tells how; completed, failed."""
    RETRY = "retry"
    """Back into later with `delay_ms`; `job` carries the new counts and attempts. Shows as retrying."""
    SNOOZE = "snooze"
    """Back into later with `delay_ms`, nothing spent. Shows as scheduled."""
    RELEASE = "release"
    """Back to the front of its level, as `job` says."""


class Outcome(msgspec.Struct, gc=False):
    """What became of one claimed job. A job that is being cancelled becomes `cancelled`, whatever the kind."""

    fence: int
    job: StoredJob
    kind: OutcomeKind
    record: Record | None = None
    delay_ms: int = 0


class Live(msgspec.Struct, frozen=True):
    """A job that is not finished, as found. `node` and `fence` while claimed."""

    job: StoredJob
    state: JobState
    node: str = ""
    fence: int = 0


class Renewal(msgspec.Struct, frozen=True):
    """`alive` False: the lease was lost, every claim of this life is gone; drop everything. `cancelling`: ids held by this life.
    `taken_by`: a later life has begun under this node's name, at this address (if it told one); None: none has."""

    alive: bool
    version: int
    cancelling: Sequence[bytes] = ()
    taken_by: str | None = None


class Tended(msgspec.Struct, frozen=True):
    promoted: int
    reaped: int
    next_due_s: float | None


TURN_S = 2.0
"""How long a node keeps the turn to move what others left in a shared outbox."""
SCAN_MAX = 10_000
"""Live jobs that one list call looks at; a page may be short while its cursor is not empty."""


class LivePage(msgspec.Struct, frozen=True):
    """In the order they will run: claimed first, then ready by level, then later by due time. Empty cursor: that was all."""

    jobs: Sequence[Live]
    cursor: bytes
    scanned: int


class OutboxItem(msgspec.Struct, frozen=True, gc=False):
    """A finished job on its way to the records. `data` is `record` encoded; (id, run) names it in `outbox_remove`."""

    record: Record
    data: bytes


class OutboxPage(msgspec.Struct, frozen=True):
    """Newest first. `places`: of each item, how many are older; `older`: how many are older than all `scanned`, which may be fewer
    than could be looked at while there are older ones."""

    items: Sequence[OutboxItem]
    places: Sequence[int]
    older: int
    scanned: int


class Backlog(msgspec.Struct, frozen=True):
    count: int
    data_bytes: int


def outbox_full(count: int, data_bytes: int, limits: tuple[int, int]) -> StoreFull:
    """`limits`: of count and bytes. Why they wait the queue does not know: the records are away, or refuse some for good."""
    return StoreFull(
        f"{count} finished jobs ({data_bytes} bytes) wait for the records, the limit is {limits[0]} ({limits[1]} bytes); see that the "
        "records' store answers and refuses none: the nodes' logs say why (outbox.stuck, outbox.refused), zjp_records_refused counts"
    )


class LostClaims(msgspec.Struct, frozen=True):
    """What `open` found of former lives of this node. `boot`: the number that this one has instead of the one it gave, when the store knew
    of later ones; else 0."""

    jobs: int
    suspects: int
    boot: int = 0


class Lead(msgspec.Struct, frozen=True, array_like=True):
    """The leadership as installed. `left_s`: until it expires by the store's clock; 0: expired, resigned, or there never was one."""

    epoch: int
    owner: str
    left_s: float

    def is_of(self, owner: str, epoch: int) -> bool:
        """Whether that leader may do its duties: it is installed, and its time is not over."""
        return self.owner == owner and self.epoch == epoch and self.left_s > 0


class DocumentKind(str, Enum):
    USER = "user"
    SCHEDULE = "schedule"
    CLUSTER = "cluster"
    """What the leader makes known to all."""


class Document(msgspec.Struct, frozen=True, array_like=True):
    """Something small that every node must see alike. `version` rises with every change."""

    name: str
    data: bytes
    version: int


class Fired(msgspec.Struct, frozen=True):
    """What came of `fire`. `version`: of the document now; 0: nothing was done. Then `refused_by` is the leadership installed instead of
    the caller's; None: the document had another version. `others`: jobs that were left out, as they existed or
    their unique key was held."""

    version: int
    refused_by: Lead | None = None
    others: tuple[Submitted, ...] = ()


class Reaped(msgspec.Struct, frozen=True):
    """What came of `reap_dead`. `was_reaped`: the life had a registration, and lost it now. `jobs`: how many went back at once."""

    was_reaped: bool
    jobs: int = 0
    refused_by: Lead | None = None


FinishedLookup = Callable[[Sequence[bytes]], Awaitable[Mapping[bytes, Record]]]
"""ids -> their records, given to a store so that it can tell a repeat of a job that has left it."""

Beside = tuple[str, int]
"""The name and version of another document of the same kind. A change that names one is done only while that one stands there unchanged:
of two who each rely on what the other takes away, one is refused."""


RERUNS_KEPT = 20_000
"""Requeues of single jobs that a store remembers: some MB. More than are made while a request for 1,000 of them is under way."""


class RerunMark(msgspec.Struct, frozen=True, order=True):
    """How far requeues had come when somebody looked: every one that is carried out later has a higher place. `server`: where he looked;
    empty: at several, of which none has told all."""

    place: int
    server: bytes = b""


class Refused(StoreUnavailable):
    """The store is there, and takes this very call never, as far as can be told: something in it is more than it may be."""


class Overtaken(Exception):
    """Of so many requeues since then the store does not know whether they were of these jobs. Nothing was done: look at the jobs again."""


class QueueStore(Protocol):
    """See the module's docstring for what every method promises."""

    is_shared: bool
    """Other nodes may work on it as well."""
    level: Durability
    on_ready: Callable[[], None] | None
    on_finished: Callable[[Sequence[bytes]], None] | None
    """ids that just became final, whoever finished them (outcome, cancel, reap): wakes those who wait."""
    on_claimed: Callable[[Claim], None] | None
    """Jobs that were claimed for this node in the step that stored them, as far as `room` had told that it would take them."""
    room: Callable[[], int] | None

    async def open(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        """Open the store and register `life`. Claims of former lives of this node are taken back at once: jobs in `started` (id ->
        the fence under which a worker marked it) gain 1 suspicion and a `lost` attempt, the others go back unspent. A node of this
        name that lives in another home, or on a copy of this one, is waited for, a lease long. Raises: StoreUnavailable; ConfigError,
        then no life has begun."""

    async def close(self) -> None:
        """Write what is pending, give the registration up."""

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        """One request, all or nothing, 1 to BATCH_MAX specs (checked by the caller). Raises: JobConflict, StoreFull, StoreUnavailable."""

    async def requeue(self, records: Sequence[Record], since: RerunMark | None = None) -> list[bool]:
        """Run finished jobs again: same id, run + 1, ready at once, counts at zero, attempts kept. False: it is live already,
        another job holds its unique key, or a later run finished meanwhile.
        `since`: what `look` told before or with the records. Then a later run is recognised also when it has finished and has left for
        the records since, however long ago that was. None: the caller knows that none has.

        Raises: Overtaken, StoreFull, StoreUnavailable, OutcomeUnknown."""

    async def look(self, ids: Sequence[bytes]) -> tuple[RerunMark, list[Live | Record | None]]:
        """For `requeue`: how far requeues have come, and then what `get` tells, of the same server. Raises: StoreUnavailable."""

    async def confirm(self, since: RerunMark) -> None:
        """Until what that look found is as durable as `level` says. Raises: OutcomeUnknown, StoreUnavailable."""

    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        """Up to `count` ready jobs of the queues in `weights` (name -> weight; `*` stands for every queue not named).
        Also promotes what is due, within a bound. A claim that failed may have been carried out: the next one brings its jobs, so they are
        not held for nobody. 0: nothing but those."""

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        """Returns the ids refused: no longer held by that claim. A repeat is refused and does no harm.

        Raises: Refused, StoreUnavailable."""

    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal:
        """Keep all claims of this life for another lease; store the progress of running jobs (id -> msgpack)."""

    async def tend(self, limit: int) -> Tended:
        """Promote what is due and reap what expired, at most `limit` of each. Safe from any node at any time."""

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]: ...

    async def promote(self, ids: Sequence[bytes]) -> list[bool]:
        """Make delayed jobs ready now. False: not delayed."""

    async def pause(self, queue: str) -> None: ...

    async def resume(self, queue: str) -> None: ...

    async def purge(self, queue: str) -> int:
        """Cancel all that wait in the queue, ready and later; their records say so. Returns how many."""

    async def counts(self) -> list[QueueCount]: ...

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        """Live jobs, or records still in the outbox."""

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> LivePage:
        """Jobs that are not finished. Raises: InvalidJob on a cursor that is none."""

    async def outbox(self, limit: int) -> Sequence[OutboxItem]:
        """The oldest `limit` items, again until removed."""

    async def newest(self, older: int, limit: int) -> OutboxPage:
        """Of the `older` oldest items the newest; up to `limit` are looked at. A place stays valid while the outbox moves: new items are
        younger than all others, and of those that stay none comes to stand behind what was older than it, so going on at a place
        leaves out nothing; it may show again what it showed."""

    async def outbox_share(self, limit: int) -> Sequence[OutboxItem]:
        """What this life is to move to the records now: what it finished itself first; what others left there in its turn only. Only to
        save work: two who move the same do no harm."""

    async def outbox_remove(self, items: Sequence[OutboxItem]) -> None: ...

    async def publish(self, tasks: Sequence[str]) -> frozenset[str]:
        """Tell the other nodes what this one serves, for as long as its lease lasts. Returns what all whose lease lasts serve."""

    def backlog(self) -> Backlog: ...

    async def watch(self, ids: Sequence[bytes]) -> None:
        """Have `on_finished` called here when these become final, whichever node finishes them. Look at their states afterwards: one
        that was final before is not told. A call may be lost; who waits looks again every 2 s."""

    # ── leadership, and what every node must see alike ───────────────────────────────────────────────────────────────────────────────

    async def claim_lead(self, owner: str, epoch: int, for_s: float, *, is_elected: bool = False) -> Lead:
        """Install (owner, epoch), if the epoch is above the installed one and that has ended or is the owner's; an elected leader need
        not wait for the end. Returns what is installed now: its epoch is the floor for who was refused."""

    async def renew_lead(self, owner: str, epoch: int, for_s: float) -> bool:
        """False: something else is installed. An expired one may be renewed as long as nobody followed."""

    async def release_lead(self, owner: str, epoch: int) -> bool: ...

    async def documents(self, kind: DocumentKind) -> Sequence[Document]:
        """All of a kind, by name."""

    async def put_document(self, kind: DocumentKind, name: str, data: bytes, version: int, *, beside: Beside | None = None) -> int:
        """Compare and set: `version` is the one it replaces, 0: it is new. Returns the new version; 0: another is there now, or none, or
        what it needs `beside` it has changed."""

    async def remove_document(self, kind: DocumentKind, name: str, version: int, *, beside: Beside | None = None) -> bool: ...

    # ── what only the leader may do: each step asks in the same breath whether (owner, epoch) is installed and its time not over ─────────

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        """The document replaces the one with its version (0: it is new), and the jobs are stored, ready at once: both or neither. A job
        whose id is live, or whose unique key is held, is left out. A repeat after a lost answer is told that the version is another one.

        Raises: StoreFull, StoreUnavailable, InvalidJob (too many queues)."""

    async def reap_dead(self, owner: str, epoch: int, life: Life, silent_s: float, limit: int) -> Reaped:
        """End the life of another node that is held dead, if the store has seen no renewal of it for `silent_s` although it could have been
        reached: its claims are void, up to `limit` of their jobs go back now, the others with `tend`. Should it live, it registers
        anew at its next renewal, which tells it that it lost everything."""

    def now_ms(self) -> int:
        """The store's time (Unix ms) as far as known here: what is planned by it, and decided in a step of the store."""

