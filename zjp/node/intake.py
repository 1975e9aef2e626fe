"""The node's door for producers: a request in, its reply out.

Decides nothing about jobs: it checks the frames, the role and the bounds, calls what answers the request, and turns errors into Failure
replies. A request costs one asyncio task (a request is a batch). What is under way is bounded in count and bytes; beyond that the answer is
"later", at once, so that a flood of submits can neither fill the memory nor starve the rest.

A request that is repeated while it is under way (its client heard nothing, or lost its link) is not carried out a second time: its one
answer goes to where it came from last. So a purge of a million jobs, which takes longer than a client's patience, stays one purge.

There are two doors: the one that ZMQ_BIND names, and the gate in the data folder, for the node's own HTTP door and operators on this
machine. Who asks, and what it may do, is told by the connection (askers.py). A request is a repeat only when it comes from the same
source: nobody has another's answer sent to himself by naming its session.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from .. import __version__
from ..errors import (
    Draining,
    InvalidJob,
    NotAllowed,
    PayloadTooLarge,
    StoreUnavailable,
    Unavailable,
    WireError,
    ZjpError,
)
from ..job import QUEUE_CHARS_MAX, JobSpec, Limits, Record, check_name, check_queue, check_spec
from ..log import event
from ..queue.store import QueueStore
from ..transport.door import Caller, Door
from ..transport.zap import Guard
from ..wire import messages as m
from ..wire.codec import decode_envelope, decode_request, encode, seq_of
from ..wire.desk import AskFeed
from .askers import Asker, Askers
from .feed import FeedDesk
from .jobs import Jobs
from .past import RecordsAway
from .schedules import Schedules
from .stats import UNKNOWN, NodeStats

REQUESTS_MAX, WAITS_MAX = 10_000, 8_000
"""Under way at once; the second: of them such as stay for seconds by their nature, so that others always find a place."""
LONG = (m.Wait, AskFeed)
"""Those."""
REQUEST_BYTES_MAX = 128 << 20
RETRY_AFTER_MS = 200
NAMES_KNOWN_MAX = 10_000

log = logging.getLogger(__name__)


class Untold(StoreUnavailable):
    """What was to be cancelled neither waits nor runs. Whether it has finished is not worth asking again for, which a client would do until
    its deadline."""

    retryable = False


class Asked:
    """A request under way. `caller`: where it came from last, and by which door."""

    __slots__ = ("caller", "door", "task")

    task: asyncio.Task[None]

    def __init__(self, door: Door, caller: Caller) -> None:
        self.door, self.caller = door, caller


Answers = Mapping[type, Callable[..., Awaitable[m.Reply]]]
_NOTHING: Answers = MappingProxyType({})


class Intake:
    """`ask_stats` answers with the whole table as msgpack. `more`: who answers the requests about the cluster. `desk`: the same for
    requests whose answer depends on who asks: each is called with the request and its Asker. `on_done`: told of what was carried out,
    and for whom."""

    def __init__(
        self,
        *,
        node: str,
        boot: int,
        cluster: str,
        limits: Limits,
        queue: QueueStore,
        jobs: Jobs,
        stats: NodeStats,
        ask_stats: Callable[[], Awaitable[bytes]],
        tasks: Callable[[], list[str]],
        schedules: Schedules,
        ask_leader: Callable[[], Awaitable[m.LeaderReply]],
        guard: Guard | None = None,
        askers: Askers | None = None,
        more: Answers = _NOTHING,
        desk: Answers = _NOTHING,
        feed: FeedDesk | None = None,
        on_done: Callable[[Asker, m.Request, m.Reply], None] = lambda asker, request, reply: None,
    ) -> None:
        self.is_draining = False
        self._node, self._boot, self._cluster, self._limits = node, boot, cluster, limits
        self._queue, self._jobs, self._counts = queue, jobs, stats
        self._ask_stats, self._tasks, self._ask_leader = ask_stats, tasks, ask_leader
        self._schedules = schedules
        self._names_known: set[tuple[str, str]] = set()
        self._under_way: dict[tuple[bytes, str, int], Asked] = {}
        """By key, sender and number."""
        self._under_way_bytes = self._waits = 0
        self._waits_max = WAITS_MAX
        self._askers, self._desk, self._on_done = askers or Askers(), desk, on_done
        self._feed = feed or FeedDesk()
        self.door = Door(
            lambda caller, frames: self._on_frames(self.door, caller, frames),
            lambda caller, frames: self._on_full(self.door, caller, frames),
            guard,
        )
        self.gate = Door(
            lambda caller, frames: self._on_frames(self.gate, caller, frames),
            lambda caller, frames: self._on_full(self.gate, caller, frames),
            setting="DATA_DIR",
        )
        if guard is not None:
            guard.on_refused = lambda reason: stats.add("zjp_connections_refused_total", 1, (reason,))
        self._answers: dict[type, Callable[..., Awaitable[m.Reply]]] = {
            m.Submit: self._submit,
            m.Get: self._get,
            m.Wait: self._wait,
            m.Cancel: self._cancel,
            m.AskRuns: self._runs,
            m.Requeue: self._requeue,
            m.Promote: self._promote,
            m.List: self._list,
            m.Queues: self._queues,
            m.Pause: self._pause,
            m.Resume: self._resume,
            m.Purge: self._purge,
            m.AskStats: self._stats,
            m.Ping: self._ping,
            m.AddSchedule: lambda request: schedules.add(request.schedule),
            m.ListSchedules: lambda request: schedules.list(request.name, request.after),
            m.ChangeSchedule: lambda request: schedules.change(request.name, request.change),
            m.RemoveSchedule: self._remove_schedule,
            m.RunSchedule: self._run_schedule,
            m.AskLeader: self._leader,
            **more,
        }

    def bind(self, address: str) -> str:
        """Returns the address with its real port. Raises: Unavailable."""
        return self.door.bind(address)

    def bind_gate(self, address: str) -> str:
        """Raises: Unavailable."""
        self._askers.gate_address = self.gate.bind(address)
        return self._askers.gate_address

    async def close(self, grace_s: float) -> None:
        """Answer what is under way, then stop listening. Waits are cut short: their clients ask again elsewhere."""
        tasks = [asked.task for asked in self._under_way.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        for door in (self.gate, self.door):
            door.close()

    @property
    def under_way_count(self) -> int:
        return len(self._under_way)

    # ── in and out ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_frames(self, door: Door, caller: Caller, frames: list[bytes]) -> None:
        try:
            envelope = decode_envelope(frames, self._cluster)
        except WireError as fault:
            # Nobody can be answered whose envelope is not understood, but an honest client of another version or cluster waits for a word.
            self._counts.add("zjp_wire_errors_total")
            event(log, logging.WARNING, "message.refused", reason=str(fault))
            self._reply(door, caller, seq_of(frames), m.Failure(fault.code, str(fault)))
            return
        try:
            asker = self._askers.who(envelope, caller.holder, door is self.gate)
        except NotAllowed as fault:
            self._counts.add("zjp_connections_refused_total", 1, ("false claim",))
            self._reply(door, caller, envelope.seq, failure_of(fault))
            return
        key = (asker.source, envelope.sender, envelope.seq)
        repeated = self._under_way.get(key)
        if repeated is not None:
            repeated.door, repeated.caller = door, caller
            return
        try:
            request = decode_request(frames[1])
            self._askers.check_role(asker, request)
            self._admit(request, len(frames[1]))
        except ZjpError as fault:
            if isinstance(fault, WireError):
                self._counts.add("zjp_wire_errors_total")
            self._reply(door, caller, envelope.seq, failure_of(fault))
            return
        self._under_way_bytes += len(frames[1])
        self._waits += (is_wait := isinstance(request, LONG))
        asked = self._under_way[key] = Asked(door, caller)
        asked.task = asyncio.get_running_loop().create_task(self._answer(asked, envelope.seq, asker, request, len(frames[1])))
        asked.task.add_done_callback(lambda _: self._ended(key, is_wait))

    def _ended(self, key: tuple[bytes, str, int], was_wait: bool) -> None:
        del self._under_way[key]
        self._waits -= was_wait

    def _on_full(self, door: Door, caller: Caller, frames: list[bytes]) -> None:
        """The door has read more than the node can look at: the answer is "later", and costs no more than the envelope."""
        fault = Unavailable("more requests have come than the node can look at; ask again a little later")
        self._reply(door, caller, seq_of(frames), failure_of(fault))

    def _admit(self, request: m.Request, size_bytes: int) -> None:
        """Raises: Draining, Unavailable."""
        if self.is_draining and isinstance(request, m.Submit | m.RunSchedule):
            raise Draining(
                "the node is draining and takes no more jobs; submit to another one, or again after its restart"
            )
        if isinstance(request, LONG) and self._waits >= self._waits_max:
            raise Unavailable(f"{self._waits} requests wait for jobs to finish, the limit is {self._waits_max}; ask again a little later")
        if len(self._under_way) >= REQUESTS_MAX or self._under_way_bytes + size_bytes > REQUEST_BYTES_MAX:
            raise Unavailable(
                f"{len(self._under_way)} requests with {self._under_way_bytes} bytes are under way, the limits are "
                f"{REQUESTS_MAX} and {REQUEST_BYTES_MAX}; ask again a little later"
            )

    async def _answer(self, asked: Asked, seq: int, asker: Asker, request: m.Request, size_bytes: int) -> None:
        try:
            reply = await self.carry_out(asker, request)
        finally:
            self._under_way_bytes -= size_bytes
        # Not at once: the commit that let this answer go has let its jobs go, too, and they leave for the workers in the same turn of the
        # loop. The answer, which costs as much to send as a job to start, follows them.
        asyncio.get_running_loop().call_soon(self._reply, asked.door, asked.caller, seq, reply)

    async def carry_out(self, asker: Asker, request: m.Request) -> m.Reply:
        """The answer to what the asker may ask; a Failure where it cannot be had."""
        try:
            if type(request) in self._desk:
                reply = await self._desk[type(request)](request, asker)
            else:
                reply = await self._answers[type(request)](request)
        except ZjpError as fault:
            return failure_of(fault)
        except Exception as fault:
            log.exception("request.failed")
            self._counts.add("zjp_internal_errors_total")
            return m.Failure(
                "error", f"the node failed to answer {type(request).__name__}: {fault!r}; its log has the details"
            )
        self._on_done(asker, request, reply)
        return reply

    def _reply(self, door: Door, caller: Caller, seq: int, reply: m.Reply) -> None:
        envelope = m.Envelope(m.PROTOCOL_VERSION, self._cluster, self._node, self._boot, seq)
        frames = encode(envelope, reply)
        if len(frames[1]) > m.MESSAGE_BYTES_MAX:
            frames = encode(envelope, over_long(reply, len(frames[1])))
        if not door.send(caller, frames):
            self._counts.add("zjp_replies_dropped_total")

    # ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _submit(self, request: m.Submit) -> m.Reply:
        self._check(request.jobs)
        return await self._store(request.jobs)

    async def _store(self, specs: list[JobSpec]) -> m.Reply:
        began = time.perf_counter()
        submitted = await self._queue.submit(specs)
        self._counts.store_took("submit", time.perf_counter() - began)
        others = [(index, one) for index, one in enumerate(submitted) if one.kind is not m.SubmitKind.CREATED]
        self._counts.submitted(len(submitted) - len(others), len(others))
        self._feed.submitted(specs)
        return m.SubmitReply(self._queue.level, others)

    def _check(self, specs: list[JobSpec]) -> None:
        """`check_spec` for each, by a short way for the usual job: names seen before, no options."""
        known, payload_max = self._names_known, self._limits.payload_bytes_max
        names, task, queue, is_known = ("", ""), "", "", False
        for spec in specs:
            if spec.type != task or spec.queue != queue:  # nearly always the same as of the one before
                names = task, queue = spec.type, spec.queue
                is_known = names in known
            if (
                is_known
                and spec.options is None
                and len(spec.id) == 16
                and 1 <= spec.priority <= 10
                and 0 < len(spec.payload) <= payload_max
                and 0x80 <= spec.payload[0] <= 0x8F
            ):
                continue
            check_spec(spec, self._limits)
            if len(known) < NAMES_KNOWN_MAX:
                known.add(names)
                is_known = True

    async def _get(self, request: m.Get) -> m.Reply:
        return m.Jobs(await self._jobs.get(request.ids))

    async def _wait(self, request: m.Wait) -> m.Reply:
        return m.Jobs(await self._jobs.wait(request.ids, request.timeout_ms))

    async def _cancel(self, request: m.Cancel) -> m.Reply:
        try:
            return m.Verdicts(await self.cancel(request.ids))
        except RecordsAway as fault:
            raise Untold(str(fault)) from fault

    async def cancel(self, ids: Sequence[bytes]) -> list[str]:
        """The verdicts, in order. What was cancelled is counted."""
        verdicts = await self._jobs.cancel(ids)
        ended = {job_id for job_id, verdict in zip(ids, verdicts, strict=True) if verdict == m.CancelKind.CANCELLED.value}
        if ended:
            await self._count_cancelled(ended)
        return verdicts

    async def _count_cancelled(self, ids: set[bytes]) -> None:
        """They waited, and ended in the store: no outcome of theirs comes past. Their kinds are looked up, as far as that can be had."""
        records: dict[bytes, Record] = {}
        with contextlib.suppress(Unavailable):
            records = await self._jobs.records_of(list(ids))
        self._feed.withdrawn(records.values())
        self._counts.withdrawn([(record.job.spec.type, record.job.spec.queue) for record in records.values()])
        if lost := len(ids) - len(records):
            self._counts.purged(UNKNOWN, lost)

    async def _runs(self, request: m.AskRuns) -> m.Reply:
        return m.Runs(await self._jobs.runs(request.ids))

    async def _requeue(self, request: m.Requeue) -> m.Reply:
        if len(request.runs) != len(request.ids):
            raise WireError(f"there are {len(request.runs)} runs for {len(request.ids)} ids; give one for each, as AskRuns told them")
        return m.Verdicts(await self._jobs.requeue(request.ids, request.runs))

    async def _promote(self, request: m.Promote) -> m.Reply:
        return m.Verdicts(await self._jobs.promote(request.ids))

    async def _list(self, request: m.List) -> m.Reply:
        if not 1 <= request.limit <= m.LIST_LIMIT_MAX:
            raise WireError(f"limit is {request.limit}, it must be 1 to {m.LIST_LIMIT_MAX}")
        return await self._jobs.list(request.wanted, request.cursor, request.limit)

    async def _queues(self, _: m.Queues) -> m.Reply:
        return m.QueueCounts(await self._queue.counts())

    async def _pause(self, request: m.Pause) -> m.Reply:
        await self._check_queue(request.queue)
        await self._queue.pause(request.queue)
        return m.Done()

    async def _resume(self, request: m.Resume) -> m.Reply:
        await self._check_queue(request.queue)
        await self._queue.resume(request.queue)
        return m.Done()

    async def _check_queue(self, name: str) -> None:
        """A name that no job may be sent to only where it is there: older versions took more. Raises: InvalidJob."""
        check_name("queue", name, QUEUE_CHARS_MAX)
        try:
            check_queue(name)
        except InvalidJob:
            if name not in {count.queue for count in await self._queue.counts()}:
                raise

    async def _purge(self, request: m.Purge) -> m.Reply:
        await self._check_queue(request.queue)
        count = await self._queue.purge(request.queue)
        self._counts.purged(request.queue, count)
        return m.Done(count)

    async def _stats(self, _: m.AskStats) -> m.Reply:
        return m.Stats(await self._ask_stats())

    async def _remove_schedule(self, request: m.RemoveSchedule) -> m.Reply:
        return m.Done(int(await self._schedules.remove(request.name)))

    async def _run_schedule(self, request: m.RunSchedule) -> m.Reply:
        return await self._store([await self._schedules.job(request.name, request.id)])

    async def _leader(self, _: m.AskLeader) -> m.Reply:
        return await self._ask_leader()

    async def _ping(self, _: m.Ping) -> m.Reply:
        return m.Pong(self._node, __version__, self._queue.level, self.is_draining, self._tasks()[:1000])


def over_long(reply: m.Reply, size_bytes: int) -> m.Failure:
    """Sent as it is, it would cut the client's link, which would ask again, and so on for ever."""
    return failure_of(
        PayloadTooLarge(
            f"the answer ({type(reply).__name__}) is {size_bytes} bytes, one message carries {m.MESSAGE_BYTES_MAX}; ask for fewer jobs, "
            "or lower MAX_PAYLOAD and MAX_RESULT where one job alone is too large"
        )
    )


def failure_of(fault: ZjpError) -> m.Failure:
    return m.Failure(fault.code, str(fault), RETRY_AFTER_MS if fault.retryable else 0)
