"""Every message of zjp, PROTOCOL_VERSION, and the least role that each request needs. Pure.

Three conversations share these words:

    producer ──request──► node ──reply──► producer     DEALER to ROUTER; a reply carries the request's seq
    node ──► worker process                            PUSH, one socket per worker process
    worker process ──► node                            PUSH into the node's one PULL

Messages are msgspec Structs in array form with an integer tag in front: field order is the wire format, so fields are only added
at the end, with a default. Tags are never used again. Payloads and results are opaque bytes here (msgpack, packed and unpacked at
the ends).
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Annotated

import msgspec

from ..job import BATCH_MAX, JobFault, JobFilter, JobSpec, JobView, StoredJob
from ..schedule import SCHEDULES_MAX, Schedule, ScheduleChange
from .desk import (
    AskEvents,
    AskFailures,
    AskFeed,
    AskNode,
    AskUsers,
    Events,
    Failures,
    Feed,
    Note,
    PutUser,
    RemoveJobs,
    RemoveUser,
    Users,
)
from .seen import AskCluster, AskHistory, ClusterReply, DrainNode, History, Transfer

PROTOCOL_VERSION = 1

MESSAGE_BYTES_MAX = 20 << 20
"""One frame: a batch of 16 MiB and its envelopes. Set as ZMQ_MAXMSGSIZE on every socket."""
REPLY_BYTES_MAX = 8 << 20
"""Jobs in one reply, by the bytes of what they hold, unless the first alone is larger; what is left is asked for again."""
IDS_MAX = 1000
LIST_LIMIT_MAX = 500

# Lengths stand in the types because the decoder then refuses the array by its header: 20 MiB hold millions of tiny jobs, and building
# them first to count them would stop the node for a second.
JobIds = Annotated[list[bytes], msgspec.Meta(min_length=1, max_length=IDS_MAX)]


class Envelope(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """First frame of every message between clients and nodes. `sender` and `boot` name the life of a node or the session of a client;
    `seq` rises with every request of that sender, and a reply repeats it.

    Whoever may speak for others (the HTTP door: by the token `gate` that its node gave it, or by a key of role gateway) says for whom:
    `user`, who may do what `role` may. From anybody else both are refused."""

    version: int
    cluster: str
    sender: str
    boot: int
    seq: int
    gate: bytes = b""
    user: str = ""
    role: int = 0


class Durability(str, Enum):
    """What an acknowledged submit survives, weakest first."""

    PROCESS = "process"
    DISK_1S = "disk-1s"
    DISK = "disk"
    REPLICA = "replica"


class SubmitKind(str, Enum):
    CREATED = "created"
    EXISTED = "existed"
    UNIQUE = "unique"
    """Another job holds the unique key; `id` is the holder's."""


class Submitted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    id: bytes
    kind: SubmitKind


class CancelKind(str, Enum):
    CANCELLED = "cancelled"
    """It was waiting; it never starts."""
    CANCELLING = "cancelling"
    """It is claimed: its fence is dead; whoever holds it must report, or be reaped."""
    FINISHED = "finished"
    UNKNOWN = "unknown"


class QueueCount(msgspec.Struct, frozen=True, array_like=True):
    queue: str
    pending: int
    scheduled: int
    retrying: int
    running: int
    paused: bool
    oldest_s: float
    """Age of the oldest ready job, since it became ready; 0 when none."""


# ── requests: producer to node ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Submit(msgspec.Struct, array_like=True, frozen=True, tag=1, gc=False):
    """All or nothing. Answered by SubmitReply once durable."""

    jobs: Annotated[list[JobSpec], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]


class Get(msgspec.Struct, array_like=True, frozen=True, tag=2):
    """Answered by Jobs: a view (or None) per id, in order; where not all fit into one reply, the first of them, at least one."""

    ids: JobIds


class Wait(msgspec.Struct, array_like=True, frozen=True, tag=3):
    """Answered by Jobs with those that are final, as soon as there is one, none after `timeout_ms`; at once with None for unknown ones."""

    ids: JobIds
    timeout_ms: int


class Cancel(msgspec.Struct, array_like=True, frozen=True, tag=4):
    """Answered by Verdicts: cancelled, cancelling, finished, unknown."""

    ids: JobIds


class Requeue(msgspec.Struct, array_like=True, frozen=True, tag=5):
    """Run finished jobs again. `runs`: of each id what AskRuns told; the run after that is made once, however often this comes. Answered by
    Verdicts: requeued (also by another before), live, unique (an unfinished job holds its unique key), unknown (also for run -1)."""

    ids: JobIds
    runs: Annotated[list[int], msgspec.Meta(min_length=1, max_length=IDS_MAX)]


class Promote(msgspec.Struct, array_like=True, frozen=True, tag=6):
    """Make delayed jobs ready now. Answered by Verdicts: promoted, not-delayed."""

    ids: JobIds


class List(msgspec.Struct, array_like=True, frozen=True, tag=7):
    """Live jobs in the order they will run, then records, newest first. Answered by Page."""

    wanted: JobFilter
    cursor: bytes = b""
    limit: int = 50


class Queues(msgspec.Struct, array_like=True, frozen=True, tag=8):
    """Answered by QueueCounts."""


class Pause(msgspec.Struct, array_like=True, frozen=True, tag=9):
    """Answered by Done: no new starts after 1 s."""

    queue: str


class Resume(msgspec.Struct, array_like=True, frozen=True, tag=10):
    """Undoes Pause. Answered by Done."""

    queue: str


class Purge(msgspec.Struct, array_like=True, frozen=True, tag=11):
    """Cancel all that wait in the queue. Answered by Done with the count."""

    queue: str


class AskStats(msgspec.Struct, array_like=True, frozen=True, tag=12):
    """Answered by Stats."""


class Ping(msgspec.Struct, array_like=True, frozen=True, tag=13):
    """Answered by Pong."""


class AddSchedule(msgspec.Struct, array_like=True, frozen=True, tag=14):
    """Answered by Schedules with the one made; also when the very same is there already."""

    schedule: Schedule


class ListSchedules(msgspec.Struct, array_like=True, frozen=True, tag=15):
    """Answered by Schedules: by name, those after `after`; of `name`, if it is given, the one alone."""

    name: str = ""
    after: str = ""


class ChangeSchedule(msgspec.Struct, array_like=True, frozen=True, tag=16):
    """Answered by Schedules with the one changed."""

    name: str
    change: ScheduleChange


class RemoveSchedule(msgspec.Struct, array_like=True, frozen=True, tag=17):
    """Answered by Done with 1, or 0 when there is none. Its jobs stay."""

    name: str


class RunSchedule(msgspec.Struct, array_like=True, frozen=True, tag=18):
    """Submit a schedule's job now, under this id; its ticks stay as they are. Answered by SubmitReply."""

    name: str
    id: bytes


class AskLeader(msgspec.Struct, array_like=True, frozen=True, tag=19):
    """Answered by LeaderReply."""


class AskRuns(msgspec.Struct, array_like=True, frozen=True, tag=50):
    """Which run each job is in, or has finished: to be given to Requeue. Answered by Runs."""

    ids: JobIds


# ── replies: node to producer ────────────────────────────────────────────────────────────────────────────────────────────────────────


class SubmitReply(msgspec.Struct, array_like=True, frozen=True, tag=33, gc=False):
    """`level`: what the acknowledgement is worth. `others`: (index in the request, what became of it) where it is not CREATED."""

    level: Durability
    others: Annotated[list[tuple[int, Submitted]], msgspec.Meta(max_length=BATCH_MAX)] = []


class Jobs(msgspec.Struct, array_like=True, frozen=True, tag=34):
    """Answers Get and Wait. Fewer than were asked for: the others did not fit, or are not final."""

    jobs: Annotated[list[JobView | None], msgspec.Meta(max_length=IDS_MAX)]


class Verdicts(msgspec.Struct, array_like=True, frozen=True, tag=35):
    """Answers Cancel, Requeue and Promote: one word per id, in order."""

    verdicts: Annotated[list[str], msgspec.Meta(max_length=IDS_MAX)]


class Page(msgspec.Struct, array_like=True, frozen=True, tag=36):
    """An empty cursor: that was all. A page may be short while the cursor is not empty."""

    jobs: Annotated[list[JobView], msgspec.Meta(max_length=LIST_LIMIT_MAX)]
    cursor: bytes
    scanned: int


class QueueCounts(msgspec.Struct, array_like=True, frozen=True, tag=37):
    """Every queue that is known, has jobs or is paused."""

    queues: list[QueueCount]


class Done(msgspec.Struct, array_like=True, frozen=True, tag=38):
    """`count`: how many jobs it was about, where that is known."""

    count: int = 0


class Stats(msgspec.Struct, array_like=True, frozen=True, tag=39):
    """The whole table of metrics.py and the state of the node, as msgpack (a map of plain values)."""

    table: bytes


class Pong(msgspec.Struct, array_like=True, frozen=True, tag=40):
    """`tasks`: the types that this node serves; empty: it serves none."""

    node: str
    version: str
    level: Durability
    is_draining: bool
    tasks: list[str]


class Failure(msgspec.Struct, array_like=True, frozen=True, tag=41):
    """`code` is a ZjpError's; nothing was stored, unless it is `outcome-unknown`. `retry_after_ms` 0: not retryable as it stands."""

    code: str
    message: str
    retry_after_ms: int = 0


class Schedules(msgspec.Struct, array_like=True, frozen=True, tag=42):
    """`has_more`: ask again for those after the last."""

    schedules: Annotated[list[Schedule], msgspec.Meta(max_length=SCHEDULES_MAX)]
    has_more: bool = False


class LeaderReply(msgspec.Struct, array_like=True, frozen=True, tag=43):
    """Who leads, as far as the answering node knows; empty: nobody. `role`: its own part in elections. `is_in_office`: the leader is the
    answering node, and the store has its epoch. `figures`: what the leader last made known, msgpack; empty: nothing yet."""

    node: str
    epoch: int
    role: str
    algorithm: str
    is_here: bool
    is_in_office: bool
    has_quorum: bool
    figures: bytes = b""


class Runs(msgspec.Struct, array_like=True, frozen=True, tag=51):
    """Answers AskRuns, in order; the first run of a job is 1. -1: unknown."""

    runs: Annotated[list[int], msgspec.Meta(max_length=IDS_MAX)]


# ── node to worker process ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Run(msgspec.Struct, array_like=True, frozen=True, tag=65, gc=False):
    """Jobs of one claim, to be run in order."""

    fence: int
    jobs: list[StoredJob]


class Recall(msgspec.Struct, array_like=True, frozen=True, tag=66):
    """Give back whatever has not started; answered by Returned."""


class StopJobs(msgspec.Struct, array_like=True, frozen=True, tag=67):
    """These were cancelled: return them if unstarted, else tell the task."""

    ids: list[bytes]


class StopWorker(msgspec.Struct, array_like=True, frozen=True, tag=68):
    """Return what has not started, finish what has, then exit 0."""


class SetLog(msgspec.Struct, array_like=True, frozen=True, tag=69):
    """From now on the process logs like this; the words of LOG_LEVEL and LOG_FORMAT. Not answered."""

    level: str
    format: str


# ── worker process to node ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class TaskRetry(msgspec.Struct, array_like=True, frozen=True):
    """The fields of a task's own RetryPolicy, which its process has checked."""

    kind: str
    base_s: float
    max_s: float
    multiplier: float
    jitter_factor: float


class TaskInfo(msgspec.Struct, array_like=True, frozen=True):
    """What a node must know of a task: it never imports the application. None: the node's setting."""

    name: str
    timeout_ms: int | None = None
    soft_timeout_ms: int | None = None
    max_retries: int | None = None
    retry: TaskRetry | None = None
    queue: str = ""
    """Where `task.submit` puts its jobs; empty: the default queue."""


class Ready(msgspec.Struct, array_like=True, frozen=True, tag=97):
    """The application is loaded. `tasks` is what it serves."""

    worker: str
    pid: int
    tasks: list[TaskInfo]


class NotReady(msgspec.Struct, array_like=True, frozen=True, tag=98):
    """The application could not be loaded; the process exits after this."""

    worker: str
    reason: str


class ResultKind(IntEnum):
    COMPLETED = 0
    FAILED = 1
    """For good: retries used up, Discard, a payload that does not fit the function."""
    RETRY = 2
    SNOOZE = 3
    UNSERVED = 4
    """The application has no such task; nothing was run."""


class Result(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What became of one started job. `started_us` is Unix us of the worker's clock, `ended_us` that and what passed since by the monotonic
    clock: their difference is the run time, also when the wall clock was set meanwhile. `data` is the result as msgpack."""

    id: bytes
    kind: int
    started_us: int
    ended_us: int
    data: bytes = b"\xc0"
    error: JobFault | None = None
    delay_ms: int = 0


class Results(msgspec.Struct, array_like=True, frozen=True, tag=99, gc=False):
    """Several jobs at once, whatever has ended since the last ones were sent."""

    worker: str
    results: list[Result]


class Returned(msgspec.Struct, array_like=True, frozen=True, tag=100):
    """Not started and not to be started here any more."""

    worker: str
    ids: list[bytes]


class Progress(msgspec.Struct, array_like=True, frozen=True, tag=101):
    """Latest progress by job, msgpack each."""

    worker: str
    progress: dict[bytes, bytes]


Request = (
    Submit | Get | Wait | Cancel | Requeue | Promote | List | Queues | Pause | Resume | Purge | AskStats | Ping
    | AddSchedule | ListSchedules | ChangeSchedule | RemoveSchedule | RunSchedule | AskLeader
    | AskCluster | AskHistory | Transfer | DrainNode
    | AskUsers | PutUser | RemoveUser | AskEvents | Note | AskFailures | AskFeed | RemoveJobs | AskNode | AskRuns
)  # fmt: skip
Reply = (
    SubmitReply | Jobs | Verdicts | Page | QueueCounts | Done | Stats | Pong | Failure | Schedules | LeaderReply | ClusterReply | History
    | Users | Events | Failures | Feed | Runs
)  # fmt: skip
ToWorker = Run | Recall | StopJobs | StopWorker | SetLog
FromWorker = Ready | NotReady | Results | Returned | Progress


class Role(IntEnum):
    """Ordered: each may do what those below may. `worker` reads; `gateway` is the HTTP door itself, when it speaks for nobody."""

    WORKER = 1
    USER = 2
    ADMIN = 3
    GATEWAY = 4


LEAST_ROLE: dict[type, Role] = {
    Submit: Role.USER,
    Get: Role.WORKER,
    Wait: Role.WORKER,
    Cancel: Role.USER,
    Requeue: Role.USER,
    Promote: Role.USER,
    List: Role.WORKER,
    Queues: Role.WORKER,
    Pause: Role.ADMIN,
    Resume: Role.ADMIN,
    Purge: Role.ADMIN,
    AskStats: Role.WORKER,
    Ping: Role.WORKER,
    AddSchedule: Role.ADMIN,
    ListSchedules: Role.WORKER,
    ChangeSchedule: Role.ADMIN,
    RemoveSchedule: Role.ADMIN,
    RunSchedule: Role.ADMIN,
    AskLeader: Role.WORKER,
    AskCluster: Role.WORKER,
    AskHistory: Role.WORKER,
    Transfer: Role.ADMIN,
    DrainNode: Role.ADMIN,
    AskUsers: Role.ADMIN,
    PutUser: Role.ADMIN,
    RemoveUser: Role.ADMIN,
    AskEvents: Role.ADMIN,
    Note: Role.GATEWAY,
    AskFailures: Role.WORKER,
    AskFeed: Role.WORKER,
    RemoveJobs: Role.ADMIN,
    AskNode: Role.WORKER,  # and what the request within needs
    AskRuns: Role.WORKER,  # it tells less than Get
}
