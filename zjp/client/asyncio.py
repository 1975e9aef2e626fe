"""`AsyncClient` for programs with an asyncio loop: the surface of `Client`, with await.

    async with AsyncClient("tcp://127.0.0.1:5570") as zjp:
        job = await zjp.submit("email", {"recipient": "a@example.com"})
        (await job.wait(timeout=30)).result

Any number of coroutines of one loop may share a client; what they submit at the same time travels together. A client belongs to the loop
of its first call. Cancelling a call does not take back what was sent.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Unpack, overload

from ..job import JobSpec, JobState, JobView
from ..wire import messages as m
from ..wire.seen import AskCluster, AskHistory, Change, ClusterReply, DrainNode, History, Transfer
from . import deeds
from .calls import Outcome, Voice
from .deeds import Ref, expect
from .defaults import Access, Target, refuse_access, target, way_in
from .desk import AsyncDesk
from .facts import JobFacts
from .loop import LoopExchange
from .options import Duration, Moment, SubmitOptions, Submittable, call_s, make_spec, submit_s
from .packing import pack_payload, unpack
from .schedules import AsyncSchedules
from .traced import AsyncSubmits, async_way_out


class AsyncDoor(Protocol):
    """What an AsyncClient speaks through: sockets (LoopExchange), or the inline node of `app.testing()`."""

    def make_ids(self, count: int) -> list[bytes]: ...
    def ask(self, request: m.Request, within_s: float) -> Awaitable[Outcome]: ...
    def gather(self, spec: JobSpec, within_s: float) -> Awaitable[Outcome]: ...
    def speaking_for(self, voice: Voice) -> AsyncDoor: ...
    def close(self) -> None: ...


class AsyncJob(JobFacts):
    """A job at the nodes. Attributes show the last look: `await job.refresh()` or `await job.wait()` first."""

    __slots__ = ("_client",)

    def __init__(
        self,
        client: AsyncClient,
        job_id: bytes,
        type: str,
        kind: m.SubmitKind | None = None,
        level: m.Durability | None = None,
        *,
        view: JobView | None = None,
    ) -> None:
        # One by one and without super(): this is done for each job of a batch.
        self._client = client
        self._id = job_id
        self._type = type
        self.kind = kind
        self.level = level
        self._view = view

    def _known(self) -> JobView:
        if self._view is None:
            raise RuntimeError(
                f"nothing is known of job {self.id} yet; `await job.refresh()` or `await job.wait()` first"
            )
        return self._view

    async def refresh(self) -> AsyncJob:
        """Look again. Raises: NotFound."""
        self._view = (await self._client.get(self))._view
        return self

    async def wait(self, timeout: Duration | None = None) -> AsyncJob:
        """Until it is finished, however it ends. Raises: TimeoutError, NotFound."""
        if not self.is_final:
            self._view = (await self._client.wait(self, timeout))._view
        return self

    async def cancel(self) -> m.CancelKind:
        """It never starts (`cancelled`), is being stopped (`cancelling`), or was `finished` already."""
        return await self._client.cancel(self)

    async def retry(self) -> None:
        """Run it again: same id, next run. Raises: WrongState when it is not finished."""
        await self._client.retry(self)
        self._view = None

    async def promote(self) -> None:
        """Run it now instead of at its time. Raises: WrongState when it is not delayed."""
        await self._client.promote(self)


class AsyncClient(AsyncDesk):
    """All parameters as for `Client`. `gate`: the token that a node gave to its HTTP door."""

    def __init__(
        self,
        *addresses: str,
        cluster: str | None = None,
        timeout: Duration = deeds.TIMEOUT_S,
        key_file: str | Path | None = None,
        server_key: str | None = None,
        token: str | None = None,
        login: tuple[str, str] | None = None,
        ca_file: str | Path | None = None,
        gate: bytes = b"",
        _door: AsyncDoor | None = None,
    ) -> None:
        self._timeout_s = submit_s("timeout", timeout)
        access = Access(token, login, ca_file)
        self._door: AsyncDoor = _door or _open(target(addresses, cluster, key_file, server_key), access, gate)

    def speaking_for(self, user: str, role: m.Role) -> AsyncClient:
        """The same connection, on behalf of a user, who may do what the role may; for the HTTP door, as nodes refuse it from others.

        Submits go as the door's own, so that those of many users share a batch: whether the user may submit is the caller's to check.
        Closing it closes nothing.
        """
        return AsyncClient(timeout=self._timeout_s, _door=self._door.speaking_for(Voice(user, int(role))))

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Whoever still waits gets RuntimeError. Not a coroutine: it may be called when the loop is gone."""
        self._door.close()

    def _ask(self, request: m.Request) -> Awaitable[Outcome]:
        return self._door.ask(request, self._timeout_s)

    def _ask_desk(self, request: m.Request, within_s: float | None = None) -> Awaitable[Outcome]:
        return self._door.ask(request, self._timeout_s if within_s is None else within_s)

    @cached_property
    def _submits(self) -> AsyncSubmits:
        """Decided by the first submit: a client may be made before the program has set up its tracing."""
        return async_way_out(self._door)

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def submit(
        self, type: str, payload: Mapping[str, Any] | None = None, /, **options: Unpack[SubmitOptions]
    ) -> AsyncJob:
        """Returns once the job is durable at `job.level`. Options: see SubmitOptions.

        Raises: InvalidJob, PayloadTooLarge, JobConflict, Unavailable, OutcomeUnknown (submit again with `id=`, a repeat does no harm).
        """
        packed = pack_payload(payload)
        (made_id,) = self._door.make_ids(1)
        spec = make_spec(made_id, type, packed, options)
        deadline = options.get("deadline")
        if deadline is None:
            outcome = await self._submits.gather(spec, self._timeout_s)
        else:
            outcome = await self._submits.ask(m.Submit([spec]), submit_s("deadline", deadline))
        job_id, kind, level = deeds.read_receipt(spec, outcome)
        return AsyncJob(self, job_id, type, kind=kind, level=level)

    async def submit_many(self, jobs: Iterable[Submittable], /, **options: Unpack[SubmitOptions]) -> list[AsyncJob]:
        """Submit (type, payload) pairs, dicts or JobRequests. `options` hold for all that do not say otherwise.

        Jobs travel in requests of up to 1,000 jobs or 8 MiB. Each request is all or nothing, and checked before it is sent; an error
        tells how many jobs of earlier requests were submitted. `deadline` and the time-out are for each request.
        """
        deadline = options.get("deadline")
        within_s = self._timeout_s if deadline is None else submit_s("deadline", deadline)
        made: list[AsyncJob] = []
        try:
            for specs in deeds.batches(jobs, options, self._door.make_ids):
                reply = expect(m.SubmitReply, await self._submits.ask(m.Submit(specs), within_s))
                level, created = reply.level, m.SubmitKind.CREATED
                batch = [AsyncJob(self, spec.id, spec.type, created, level) for spec in specs]
                for index, one in reply.others:
                    batch[index] = AsyncJob(self, one.id, specs[index].type, kind=one.kind, level=level)
                made += batch
        except BaseException as fault:  # also what an iterator of the caller's raises
            deeds.note_stored(fault, len(made))
            raise
        return made

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get(self, ref: Ref, /) -> AsyncJob:
        """Live or from the records. Raises: NotFound."""
        job_id = deeds.ref_bytes(ref)
        return self._job(deeds.read_view(job_id, await self._ask(m.Get([job_id]))))

    async def get_many(self, refs: Iterable[Ref], /) -> list[AsyncJob | None]:
        """In order; None for those that are not known."""
        found: list[AsyncJob | None] = []
        ids = [deeds.ref_bytes(ref) for ref in refs]
        while len(found) < len(ids):
            asked = ids[len(found) : len(found) + m.IDS_MAX]
            views = deeds.read_views(asked, await self._ask(m.Get(asked)))
            found += [None if view is None else self._job(view) for view in views]
        return found

    # A str is an Iterable[str] for type checkers; the first overload that fits is taken.
    @overload
    async def wait(  # type: ignore[overload-overlap]
        self, refs: Ref, /, timeout: Duration | None = None
    ) -> AsyncJob: ...
    @overload
    async def wait(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> list[AsyncJob]: ...
    async def wait(self, refs: Ref | Iterable[Ref], /, timeout: Duration | None = None) -> AsyncJob | list[AsyncJob]:
        """Until the job, or all jobs, are finished, however they end. Raises: TimeoutError, NotFound, Unavailable."""
        if deeds.is_one(refs):
            (job,) = await self.wait_all([refs], timeout)  # type: ignore[list-item]
            return job
        return await self.wait_all(refs, timeout)  # type: ignore[arg-type]

    async def wait_all(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> list[AsyncJob]:
        """All of them, finished, in the order given."""
        ids = [deeds.ref_bytes(ref) for ref in refs]
        finished = {job.id_bytes: job async for job in self.as_completed(ids, timeout)}
        return [finished[job_id] for job_id in ids]

    async def as_completed(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> AsyncIterator[AsyncJob]:
        """Each job as it finishes. Among more than 1,000 those first named are watched first."""
        watch = deeds.Watch([deeds.ref_bytes(ref) for ref in refs], timeout, time.monotonic())
        while watch.pending:
            request, within_s = watch.next_round(time.monotonic(), self._timeout_s)
            views = expect(m.Jobs, await self._door.ask(request, within_s)).jobs
            if None in views:
                watch.name_missing(await self.get_many(request.ids))
            for view in watch.take(views):
                yield self._job(view)

    async def result(self, ref: Ref, /, timeout: Duration | None = None) -> Any:
        """Wait for the job and give what its task returned. Raises: JobFailed, JobCancelled, TimeoutError."""
        job: AsyncJob = await self.wait(ref, timeout)
        return job.result

    async def jobs(
        self,
        *,
        status: JobState | str | None = None,
        type: str = "",
        queue: str = "",
        tag: str = "",
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[AsyncJob]:
        """Live jobs in the order they will run, then finished ones, newest first; read page by page, `limit` at most."""
        wanted = deeds.filter_of(
            status=status, type=type, queue=queue, tag=tag, created_after=created_after, created_before=created_before
        )
        left, cursor, is_first = limit, b"", True
        while (is_first or cursor) and (left is None or left > 0):
            page = expect(m.Page, await self._ask(m.List(wanted, cursor, deeds.page_jobs(left))))
            for view in page.jobs[:left]:
                yield self._job(view)
            left = None if left is None else left - len(page.jobs)
            cursor, is_first = page.cursor, False

    def _job(self, view: JobView) -> AsyncJob:
        return AsyncJob(self, view.id, view.type, view=view)

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def cancel(self, ref: Ref, /) -> m.CancelKind:
        """It never starts (`cancelled`), is being stopped (`cancelling`), or was `finished` already. Raises: NotFound."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = deeds.read_verdicts(await self._ask(m.Cancel([job_id])), 1)
        return deeds.read_cancel(job_id, verdict)

    async def cancel_many(self, refs: Iterable[Ref], /) -> list[m.CancelKind]:
        """In order; `unknown` for those that are not known."""
        return [m.CancelKind(verdict) for verdict in await self._verdicts(m.Cancel, refs)]

    async def retry(self, ref: Ref, /) -> None:
        """Run a finished job again: same id, next run. One call makes one run at most, also when it is sent again to another node; a run
        that somebody else made meanwhile counts as this one. After OutcomeUnknown look at its `run` before you ask again.

        Raises: NotFound, WrongState, Unavailable, OutcomeUnknown."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = await self._requeue([job_id])
        deeds.check_requeue(job_id, verdict)

    async def retry_many(self, refs: Iterable[Ref], /) -> list[str]:
        """In order: requeued, live, unique (an unfinished job holds its unique key), unknown."""
        verdicts: list[str] = []
        for ids in deeds.in_parts([deeds.ref_bytes(ref) for ref in refs]):
            verdicts += await self._requeue(list(ids))
        return verdicts

    async def _requeue(self, ids: list[bytes]) -> list[str]:
        """Which runs they are in, then the next ones: both within the time of one call."""
        give_up_at = time.monotonic() + self._timeout_s
        runs = deeds.read_runs(await self._ask(m.AskRuns(ids)), len(ids))
        left_s = max(0.0, give_up_at - time.monotonic())
        return deeds.read_verdicts(await self._door.ask(m.Requeue(ids, runs), left_s), len(ids))

    async def promote(self, ref: Ref, /) -> None:
        """Run a delayed job now. Raises: WrongState."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = deeds.read_verdicts(await self._ask(m.Promote([job_id])), 1)
        deeds.check_promote(job_id, verdict)

    async def promote_many(self, refs: Iterable[Ref], /) -> list[str]:
        """In order: promoted, not-delayed."""
        return await self._verdicts(m.Promote, refs)

    async def _verdicts(self, kind: type[m.Cancel] | type[m.Promote], refs: Iterable[Ref]) -> list[str]:
        verdicts: list[str] = []
        for ids in deeds.in_parts([deeds.ref_bytes(ref) for ref in refs]):
            verdicts += deeds.read_verdicts(await self._ask(kind(list(ids))), len(ids))
        return verdicts

    # ── queues and nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def queues(self) -> list[m.QueueCount]:
        return expect(m.QueueCounts, await self._ask(m.Queues())).queues

    async def pause(self, queue: str) -> None:
        """No job of the queue starts from 1 s after this on."""
        expect(m.Done, await self._ask(m.Pause(queue)))

    async def resume(self, queue: str) -> None:
        expect(m.Done, await self._ask(m.Resume(queue)))

    async def purge(self, queue: str, *, timeout: Duration = deeds.PURGE_TIMEOUT_S) -> int:
        """Cancel all that wait in the queue; how many it were. No job of it starts from the first moment on; the answer comes when every
        one has its record."""
        return expect(m.Done, await self._door.ask(m.Purge(queue), call_s("timeout", timeout))).count

    async def stats(self) -> dict[str, Any]:
        """The node's state and metrics, as plain data."""
        table: dict[str, Any] = unpack(expect(m.Stats, await self._ask(m.AskStats())).table, "the node's stats")
        return table

    @property
    def schedules(self) -> AsyncSchedules[AsyncJob]:
        """Periodic jobs: `schedules.add`, `list`, `get`, `change`, `pause`, `resume`, `remove`, `run`."""
        return AsyncSchedules(self._ask, self._run_schedule)

    async def _run_schedule(self, name: str) -> AsyncJob:
        (made_id,) = self._door.make_ids(1)
        reply = expect(m.SubmitReply, await self._ask(m.RunSchedule(name, made_id)))
        return AsyncJob(self, deeds.made_by(reply, made_id), "", m.SubmitKind.CREATED, reply.level)

    async def leader(self) -> m.LeaderReply:
        """Who leads, as far as the node that answers knows."""
        return expect(m.LeaderReply, await self._ask(m.AskLeader()))

    async def cluster(self) -> ClusterReply:
        """Every node, as the one that answers sees it; who leads, and how many must agree on that."""
        return expect(ClusterReply, await self._ask(AskCluster()))

    async def history(self, limit: int = 50) -> list[Change]:
        """What happened to the leadership as the answering node saw it, newest first, at most 500."""
        return expect(History, await self._ask(AskHistory(limit))).changes

    async def transfer(self, to: str = "") -> None:
        """Hand the leadership to this node, or to whoever is best. Only the leader can; returns when it has begun."""
        expect(m.Done, await self._ask(Transfer(to)))

    async def drain(self, node: str, is_draining: bool = True) -> int:
        """The node takes and claims no more jobs, and finishes what runs; only the node of this name does it. Returns how many it holds."""
        return expect(m.Done, await self._ask(DrainNode(node, is_draining))).count

    async def ping(self) -> m.Pong:
        """Which node answers, what it serves and what its acknowledgements are worth."""
        return expect(m.Pong, await self._ask(m.Ping()))


def _open(found: Target, access: Access, gate: bytes) -> AsyncDoor:
    if found.is_http:
        from .http_asyncio import AsyncHttpDoor  # only where it is needed: it loads TLS

        return AsyncHttpDoor(found.addresses, *way_in(access))
    refuse_access(access)
    return LoopExchange(*found, gate=gate)
