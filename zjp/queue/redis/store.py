"""The queue in Redis as a node's loop sees it.

Each operation is one script, so one atomic step; nothing of the queue is decided here. Kinds of operations have lanes of their own
(lane.py). What this object remembers is small: its life and registration, the last known outbox, whether it is idle.

Leases are by the time of the server, which is a wall clock. So a node compares how far that clock went with how far its own monotonic one
did, and does not reap in a round in which they differ by more than JUMP_MS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ...errors import InvalidJob, OutcomeUnknown, StoreUnavailable
from ...job import JobFilter, JobSpec, Record, StoredJob
from ...redis.address import connections
from ...redis.lane import Command, Lane, Unanswered
from ...redis.script import Scripts
from ..layout import QUEUES_MAX
from ..store import (
    RERUNS_KEPT,
    Backlog,
    CancelKind,
    Claim,
    Document,
    DocumentKind,
    Durability,
    FinishedLookup,
    Fired,
    Life,
    Live,
    LivePage,
    LostClaims,
    OutboxItem,
    OutboxPage,
    Outcome,
    Overtaken,
    QueueCount,
    Reaped,
    Renewal,
    RerunMark,
    Submitted,
    Tended,
    outbox_full,
)
from .claiming import claimed_jobs
from .deeds import Deeds, cancel_wrote, requeue_wrote, unknown
from .finishing import REPEAT_AT, Finishing
from .fresh import Fresh
from .held import Held
from .hints import Hints
from .inspection import Inspection
from .intake import Intake
from .layout import level_name, live_value, outbox_items, removal_arguments, unique_key
from .leading import Leading
from .left import Left
from .looking import Looker
from .opening import Listens, nobody, register
from .promoting import promote
from .purging import Purges
from .server import LAYOUT, check_layout, examine
from .standing import Standing
from .submits import Submits
from .sweeping import Sweeping
from .turns import Turns

PACKAGE = "zjp.queue"
MOVE_MAX = 500
"""Jobs that one claim promotes, and takes back."""
KEEPS = 3
JUMP_MS = 1_000
VERSION_BITS = 20
"""The version of a life is above that of the former one, whatever was paused in between."""
CANCEL_KINDS = {b"w": CancelKind.CANCELLED, b"c": CancelKind.CANCELLING, b"f": CancelKind.FINISHED, b"u": CancelKind.UNKNOWN}
LANES = ("submit", "claim", "finish", "outbox", "renew", "other")


class RedisQueueStore(Standing):
    is_shared: bool = True

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "zjp",
        password: str | None = None,
        db: int = 0,
        lease_s: float,
        starvation_s: float,
        dedup_s: float,
        outbox_count_max: int,
        outbox_bytes_max: int,
        finished: FinishedLookup,
        level_wanted: Durability | None = None,
        records_max: int = 0,
        value_max: int = 0,
        listens: Listens = nobody,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`level_wanted`: while the server promises less nothing new is taken. REPLICA: submit, cancel and requeue wait for one.
        `records_max`: the records are a `RedisRecordStore` on the same server with this bound: what a claim finishes is put there in the
        step that ends it. 0: elsewhere. `value_max`: bytes of the largest record; a server that is set to take less is refused.
        `listens`: whether somebody does at an address. `now_s`: the monotonic clock that guards against jumps."""
        self._prefix = f"{{zjp:{namespace}}}:".encode()
        self._address = connections(url, password=password, db=db, name=f"zjp-{namespace}")
        self._lease_ms, self._starvation_ms = int(lease_s * 1000), int(starvation_s * 1000)
        self._limits = (outbox_count_max, outbox_bytes_max)
        self._dedup_s, self._finished, self._listens, self._now = dedup_s, finished, listens, now_s
        self._records_max = records_max
        self.level = Durability.PROCESS
        self._inspection = Inspection(level_wanted, partial(setattr, self, "level"), now_s, value_max)
        self.on_ready: Callable[[], None] | None = None
        self.on_finished: Callable[[Sequence[bytes]], None] | None = None
        self.on_claimed: Callable[[Claim], None] | None = None
        self.room: Callable[[], int] | None = None
        self._lanes: dict[str, Lane] = {}
        self._hints: Hints | None = None
        self._backlog = Backlog(0, 0)
        self._is_idle = self._is_hinted = False
        self._turns = Turns()
        self._seen: tuple[float, float] | None = None
        self._fresh = Fresh()
        self._held = Held()
        self._data, self._keeps_left, self._taken_from = b"", 0, b""
        self._boot = self._version = 0
        self._purges = Purges(self._deed, self._limits, self._purged)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, life: Life, started: Mapping[bytes, int]) -> LostClaims:
        self._lanes = {name: Lane(self._address, self._inspection.look if name == "submit" else None) for name in LANES}
        try:
            look = self._inspection
            server = await examine(
                self._address, self._lanes["other"], self._prefix, has_to_wait=look.has_to_wait, value_max=look.value_max
            )  # fmt: skip
            await check_layout(self._lanes["other"], self._prefix)
            self._inspection.begin(server)
            self._scripts = Scripts(PACKAGE, self._prefix, has_flags=server.has_flags)
            ask = partial(self._scripts.retold, "open", self._lane("renew"))
            reply = await register(ask, life, started, lease_ms=self._lease_ms, listens=self._listens, now_s=self._now)
            boot, registration, lost, suspects, count, data_bytes, version, now_ms = reply
        except BaseException:
            await self.disconnect()
            raise
        self._node, self._boot, self._life = life.node, boot, f"{life.node}:{boot}".encode()
        self._registration, self._data = registration, self._lane("renew").data
        self._home = f"{life.home}\n{life.address}"
        self._note_backlog(count, data_bytes)
        self._seen = (now_ms, self._now() * 1000)
        self._version = self._versioned(version)
        self._deeds = Deeds(self._scripts, is_replicated=self.level is Durability.REPLICA)
        self._submits = Submits(self._scripts, self._deeds, lambda: self._lane("submit"), self._inspection.require_over)
        self._intake = Intake(
            self._submits, finished=self._finished, dedup_s=self._dedup_s, limits=self._limits, server_ms=self._server_ms,
            note=self._note_submit, turns=self._turns, offer=self._offer, hand=self._hand, ask_again=self._hint,
        )  # fmt: skip
        self._finishing = Finishing(
            self._life, lambda arguments: self._scripts.retold("finish", self._lane("finish"), arguments, REPEAT_AT),
            records_max=self._records_max, dedup_s=self._dedup_s, server_ms=self._server_ms, note=self._note_submit, tell=self._tell,
            fresh=self._fresh, held=self._held,
        )  # fmt: skip
        self._looker = Looker(self._ask)
        self._sweeping = Sweeping(self._ask)
        self._left = Left(self._ask, self._life, self.outbox, self._now, self._server_ms)
        self._leading = Leading(self._ask, limits=self._limits, note=self._note_submit, tell=self._tell)
        self._hints = Hints(self._address, self._prefix + b"life:" + self._life, on_ready=partial(self._hint, True), on_final=self._tell)
        self._hints.start()
        return LostClaims(lost, suspects, boot if boot != life.boot else 0)

    async def close(self) -> None:
        if not self._lanes:
            return
        self._purges.end()
        try:
            await self._intake.close()
            await self._ask("close", [self._life, self._home], "renew")
        except StoreUnavailable:
            pass
        await self.disconnect()

    async def disconnect(self) -> None:
        """Let go of every connection, and leave the registration to its lease."""
        lanes, self._lanes = self._lanes, {}
        if self._hints is not None:
            await self._hints.close()
            self._hints = None
            self._intake.abandon()
        self._purges.end()
        for lane in lanes.values():
            await lane.abandon()

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            raise StoreUnavailable("the queue is closed: the node is stopping")
        return lane

    async def _ask(self, name: str, arguments: list[Any], lane: str = "other") -> Any:
        """A script, or a command about one key when the name is in capitals."""
        return (await self._told(name, arguments, lane))[1]

    async def _told(self, name: str, arguments: list[Any], lane: str) -> tuple[bytes, Any]:
        """Likewise, with whose answer it is: see `Lane.told`."""
        if name.isupper():
            command = (name.encode(), self._prefix + arguments[0], *arguments[1:])
            return await self._lane(lane).told(lambda _: command)
        return await self._scripts.told(name, self._lane(lane), arguments)

    async def _deed(self, name: str, arguments: list[Any], repeat_at: int | None = None) -> Any:
        """A script, of which a caller must know whether it may have been carried out. Raises: OutcomeUnknown, StoreUnavailable."""
        try:
            return await self._scripts.retold(name, self._lane("other"), arguments, repeat_at)
        except Unanswered as fault:
            raise unknown(fault) from fault

    # ── what it remembers ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def backlog(self) -> Backlog:
        return self._backlog

    def _note_backlog(self, count: int, data_bytes: int) -> None:
        self._backlog = Backlog(max(0, count), max(0, data_bytes))

    def _note_submit(self, count: int, data_bytes: int, has_stored: bool) -> None:
        self._note_backlog(count, data_bytes)
        if has_stored:
            self._hint()

    def _hint(self, is_told: bool = False) -> None:
        self._is_hinted, self._is_idle = self._is_hinted or self._is_idle or is_told, False
        if self.on_ready is not None:
            self.on_ready()

    def _tell(self, ids: Sequence[bytes]) -> None:
        if ids and self.on_finished is not None:
            self.on_finished(ids)

    def _purged(self, ids: Sequence[bytes], count: int, data_bytes: int) -> None:
        self._note_backlog(count, data_bytes)
        self._tell(ids)

    def _versioned(self, version: int) -> int:
        return version << VERSION_BITS | self._boot & ((1 << VERSION_BITS) - 1)

    def _server_ms(self) -> int:
        """The server's time as far as known, for what is only shown. What is decided by time is decided in scripts."""
        assert self._seen is not None
        return int(self._seen[0] + self._now() * 1000 - self._seen[1] + 0.5)

    async def _may_reap(self, *, asks_data: bool = False) -> bytes:
        """Whether the server's clock went as far as ours since the last look."""
        seconds, micros = await self._lane("renew").call(lambda _: (b"TIME",), asks_data=asks_data)
        now_ms, here_ms = int(seconds) * 1000 + int(micros) // 1000, self._now() * 1000
        seen, self._seen = self._seen, (now_ms, here_ms)
        return b"1" if seen is None or abs((now_ms - seen[0]) - (here_ms - seen[1])) <= JUMP_MS else b"0"

    # ── submit ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(self, specs: Sequence[JobSpec]) -> list[Submitted]:
        self._lane("submit")
        return await self._intake.submit(specs)

    def _offer(self) -> tuple[bytes, bytes, int]:
        """Jobs are handed over only where that holds up no claim: by a call that leaves now, and waits for no replica."""
        if not self._is_idle:
            return b"", b"", 0
        holds_up = not self._lane("submit").is_free or self._deeds.is_replicated
        return self._life, self._registration, 0 if holds_up or self.room is None else self.room()

    def _hand(self, fence: int, jobs: Sequence[StoredJob], is_idle: bool) -> None:
        assert self.on_claimed is not None, "it told its room"
        self._held.add(fence, [job.spec.id for job in jobs])
        self._is_idle = is_idle
        self.on_claimed(Claim(fence, jobs, None, self._version, is_all=is_idle))

    # ── claim and finish ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, count: int, weights: Mapping[str, int]) -> Claim:
        has_to_wait, (number, is_again) = self._turns.is_taken, await self._turns.begin()
        if has_to_wait and self.room is not None:  # less than before, when jobs were handed over meanwhile
            count = min(count, self.room())
        if count <= 0 and not is_again and not self._is_hinted:
            self._turns.end()
            return Claim(0, (), None, self._version)
        self._is_hinted = False  # one that has no room is passed on by a claim of nothing
        lost: int | None = number  # until it is answered: it may have been carried out, and the next call asks for its answer again
        try:
            arguments: list[Any] = [
                self._life, self._registration, max(0, count), number, b"1" if is_again else b"0", *self._limits, self._starvation_ms,
                self._lease_ms, b"0", MOVE_MAX,
            ]  # fmt: skip
            for queue, weight in weights.items():
                arguments += (queue, weight)
            reply = await self._scripts.retold("claim", self._lane("claim"), arguments, 4)
            lost = None
        finally:
            self._turns.end(lost=lost)
        fence, now_ms, due_ms, version, out_count, out_bytes, values, rare, ended, is_idle = reply
        self._note_backlog(out_count, out_bytes)
        self._tell(ended)
        self._version = self._versioned(version)
        self._is_idle = bool(is_idle)
        jobs = claimed_jobs(values, rare)
        self._held.add(int(fence), [job.spec.id for job in jobs])
        return Claim(int(fence), jobs, _until_s(due_ms, now_ms), self._version, is_all=self._is_idle)

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        return await self._finishing.finish(outcomes) if outcomes else []

    async def renew(self, progress: Mapping[bytes, bytes]) -> Renewal:
        may_reap = await self._may_reap(asks_data=True)  # for `_keep`
        arguments: list[Any] = [self._life, self._node, self._boot, self._registration, self._lease_ms, may_reap, LAYOUT, self._home]
        for job_id, data in progress.items():
            arguments += (job_id, data)
        reply = await self._ask("renew", arguments, "renew")
        if reply[0] == b"taken":
            self._held.clear()
            return Renewal(False, self._version, taken_by=reply[1].decode())
        self._registration, kept, version, count, data_bytes, cancelling, _ = reply
        self._note_backlog(count, data_bytes)
        self._version = self._versioned(version)
        if not kept:  # perhaps since the server was emptied
            self._held.clear()
            self._submits.forget_queues()
        await self._keep()
        await self._inspection.look_again(self._lane("renew"))
        return Renewal(bool(kept), self._version, cancelling)

    async def _keep(self) -> None:
        """Tell a server that took another's place, or its data, what this node still has; a few times, since a call may be under way to
        the former."""
        data = self._lane("renew").data
        if data != self._data:
            self._data, self._keeps_left = data, KEEPS
            self._submits.forget_queues()
        if self._keeps_left and await self._ask("keep", [self._life, *self._held.arguments()], "renew") is not None:
            self._keeps_left -= 1

    async def tend(self, limit: int) -> Tended:
        may_reap = await self._may_reap()
        reply = await self._ask("tend", [limit, self._lease_ms, may_reap], "renew")
        promoted, reaped, due_ms, now_ms, ended, count, data_bytes, has_remains = reply
        self._note_backlog(count, data_bytes)
        self._tell(ended)
        if promoted or reaped:
            self._hint()
        await self._sweeping.sweep(is_noted=bool(has_remains))
        return Tended(promoted, reaped, _until_s(due_ms, now_ms))

    # ── jobs that wait ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ids: Sequence[bytes]) -> list[CancelKind]:
        asked = list(dict.fromkeys(ids))
        lane = self._lane("submit" if self._deeds.is_replicated else "other")  # where one waits for replicas
        verdicts, ended, count, data_bytes = await self._deeds.carry_out("cancel", lane, list(asked), cancel_wrote)
        self._note_backlog(count, data_bytes)
        self._tell(ended)
        kinds = {job_id: CANCEL_KINDS[verdict] for job_id, verdict in zip(asked, verdicts, strict=True)}
        if unknown := [job_id for job_id, kind in kinds.items() if kind is CancelKind.UNKNOWN]:
            kinds.update(dict.fromkeys(await self._finished(unknown), CancelKind.FINISHED))
        return [kinds[job_id] for job_id in ids]

    async def promote(self, ids: Sequence[bytes]) -> list[bool]:
        answers = await promote(self._ask, partial(self._deed, repeat_at=0), ids, self._server_ms())
        if any(answers):
            self._hint()
        return answers

    async def requeue(self, records: Sequence[Record], since: RerunMark | None = None) -> list[bool]:
        now_ms, lane = self._server_ms(), self._lane("submit")
        self._inspection.require()
        arguments: list[Any] = [*self._limits, b"0", b"" if since is None else since.place, RERUNS_KEPT]
        for record in records:
            spec, run = record.job.spec, record.job.run
            job = StoredJob(spec, record.job.created_ms, now_ms, run=run + 1, attempts=record.job.attempts)
            level = level_name(spec.queue, spec.priority)
            arguments += (spec.id, run.to_bytes(4, "big"), live_value(job), level, unique_key(spec))
        kind, count, data_bytes, *answers = await self._deeds.carry_out("requeue", lane, arguments, requeue_wrote, repeat_at=2)
        self._note_backlog(count, data_bytes)
        if kind == b"full":
            raise outbox_full(count, data_bytes, self._limits)
        if kind == b"overtaken":
            raise Overtaken
        for record in records:
            self._fresh.forget(record.job.spec.id)
        if any(answers):
            self._hint()
        return [bool(answer) for answer in answers]

    async def look(self, ids: Sequence[bytes]) -> tuple[RerunMark, list[Live | Record | None]]:
        servers: set[bytes] = set()

        async def ask(name: str, arguments: list[Any]) -> Any:
            server, reply = await self._told(name, arguments, "submit")
            servers.add(server)
            return reply

        place = int(await ask("GET", [b"reran"]) or 0)
        found = await Looker(ask).get(ids)
        return RerunMark(place, servers.pop() if len(servers) == 1 else b""), found

    async def confirm(self, since: RerunMark) -> None:
        server = await self._deeds.confirm(self._lane("submit"))  # as the look: another may still lead to a server that was replaced
        if self._deeds.is_replicated and server != since.server:
            raise OutcomeUnknown("the server that was looked at has been replaced, perhaps by one that knows less; look again")

    async def pause(self, queue: str) -> None:
        await self._set_paused(queue, b"1")

    async def resume(self, queue: str) -> None:
        await self._set_paused(queue, b"0")
        self._hint()

    async def _set_paused(self, queue: str, flag: bytes) -> None:
        if await self._deed("pause", [queue, flag, QUEUES_MAX]) < 0:
            raise InvalidJob(f"queue {queue!r} is one more than the limit of {QUEUES_MAX}; `zjp queues list` shows those there are")

    async def purge(self, queue: str) -> int:
        return await self._purges.purge(queue)

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def counts(self) -> list[QueueCount]:
        self._lane("other")
        return await self._looker.counts()

    async def get(self, ids: Sequence[bytes]) -> list[Live | Record | None]:
        return await self._looker.get(ids)

    async def watch(self, ids: Sequence[bytes]) -> None:
        if ids:
            await self._ask("watch", [self._life, *ids])

    # ── duties of the leader ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[JobSpec]) -> Fired:
        return await self._leading.fire(owner, epoch, kind, document, jobs)

    async def reap_dead(self, owner: str, epoch: int, life: Life, silent_s: float, limit: int) -> Reaped:
        if await self._may_reap() != b"1":
            return Reaped(False)
        name = f"{life.node}:{life.boot}".encode()
        return await self._leading.reap_dead(owner, epoch, name, int(silent_s * 1000), self._lease_ms, limit)

    def now_ms(self) -> int:
        return self._server_ms()

    # ── outbox ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def outbox(self, limit: int) -> Sequence[OutboxItem]:
        count, data_bytes, values, rare = await self._ask("outbox", [limit], "outbox")
        self._note_backlog(count, data_bytes)
        return outbox_items(values, rare)

    async def newest(self, older: int, limit: int) -> OutboxPage:
        return await self._looker.newest(older, limit)

    async def outbox_share(self, limit: int) -> Sequence[OutboxItem]:
        fresh = self._fresh.oldest(limit)
        if fresh and not await self._left.is_due(self._backlog.count - len(self._fresh), is_all=len(fresh) < limit):
            self._taken_from = self._lane("outbox").data or self._lane("finish").data
            return fresh
        if self._records_max and not self._backlog.count:
            return ()
        items = await self.outbox(limit) if await self._left.has_turn() else ()
        self._taken_from = self._lane("outbox").data
        return items or fresh

    async def publish(self, tasks: Sequence[str]) -> frozenset[str]:
        return frozenset(name.decode() for name in await self._ask("publish", [self._life, *tasks], "renew"))

    async def outbox_remove(self, items: Sequence[OutboxItem]) -> None:
        if not items:
            return
        arguments = removal_arguments(items)
        lane, script = self._lane("outbox"), self._scripts["outbox_remove"]

        def make(_: bool) -> Command:
            if self._taken_from not in (b"", lane.data):  # records beside the queue may have gone with the former server
                raise StoreUnavailable("the outbox's server has changed; what it held is moved again")
            return script.command(arguments)

        count, data_bytes = await lane.call(make, script.load, asks_data=True)
        self._fresh.remove(items)
        self._note_backlog(count, data_bytes)

    async def list(self, wanted: JobFilter, cursor: bytes, limit: int) -> LivePage:
        return await self._looker.list(wanted, cursor, limit)


def _until_s(due_ms: bytes, now_ms: int) -> float | None:
    due = float(due_ms)
    return None if due < 0 else max(0.0, (due - now_ms) / 1000)

