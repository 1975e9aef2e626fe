"""`Client` for programs that wait: any number of threads may share one; it has no thread of its own (see exchange.py).

    with Client("tcp://127.0.0.1:5570") as zjp:
        job = zjp.submit("email", {"recipient": "a@example.com"}, priority=10, delay="5m")
        job.wait(timeout=30).result

Every call has a deadline (the client's `timeout`, unless the call says otherwise), is sent again while that lasts, also to the other
addresses, and ends in one of: the answer, a refusal (JobRejected), Unavailable (nothing was done), OutcomeUnknown (nobody knows).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeAlias, Unpack, overload

from ..job import JobSpec, JobState, JobView
from ..wire import messages as m
from ..wire.seen import AskCluster, AskHistory, Change, ClusterReply, DrainNode, History, Transfer
from . import deeds
from .calls import Outcome
from .deeds import Ref, expect
from .defaults import Access, Target, refuse_access, target, way_in
from .desk import Desk
from .exchange import Exchange
from .facts import JobFacts
from .options import Duration, Moment, SubmitOptions, Submittable, call_s, make_spec, submit_s
from .packing import pack_payload, unpack
from .schedules import Schedules
from .traced import Submits, way_out


class Door(Protocol):
    """What a Client speaks through: sockets (Exchange), or the inline node of `app.testing()`."""

    def make_ids(self, count: int) -> list[bytes]: ...
    def ask(self, request: m.Request, within_s: float) -> Outcome: ...
    def gather(self, spec: JobSpec, within_s: float) -> Outcome: ...
    def close(self) -> None: ...


MadeOf: TypeAlias = tuple[tuple[str, ...], dict[str, Any]]
"""The addresses and options that a Client was made with."""


class Job(JobFacts):
    """A job at the nodes. Attributes show the last look (and look once when there was none): `refresh()` or `wait()` look again."""

    __slots__ = ("_client",)

    def __init__(
        self,
        client: Client,
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
            self.refresh()
        assert self._view is not None
        return self._view

    @property
    def result(self) -> Any:
        """What the task returned. Raises: JobFailed, JobCancelled, TimeoutError (not finished yet)."""
        if not self.is_final:
            self.refresh()
        return super().result

    def refresh(self) -> Job:
        """Look again. Raises: NotFound."""
        self._view = self._client.get(self)._view
        return self

    def wait(self, timeout: Duration | None = None) -> Job:
        """Until it is finished, however it ends. Raises: TimeoutError, NotFound."""
        if not self.is_final:
            self._view = self._client.wait(self, timeout)._view
        return self

    def cancel(self) -> m.CancelKind:
        """It never starts (`cancelled`), is being stopped (`cancelling`), or was `finished` already."""
        return self._client.cancel(self)

    def retry(self) -> None:
        """Run it again: same id, next run. Raises: WrongState when it is not finished."""
        self._client.retry(self)
        self._view = None

    def promote(self) -> None:
        """Run it now instead of at its time. Raises: WrongState when it is not delayed."""
        self._client.promote(self)


class Client(Desk):
    """`addresses`: ZeroMQ addresses of nodes, tried in this order; also as one text with commas. What is not given comes from the
    settings CLIENT_ADDRESS, CLUSTER_NAME, CLIENT_KEY_FILE and CLIENT_SERVER_KEY (an empty `key_file`: no keys).
    Or http:// and https:// addresses of the API: `token`, or `login` (name, password), says who it is, `ca_file` whom it trusts; else
    CLIENT_TOKEN and CLIENT_CA_FILE.
    `timeout`: how long a call may take, with all its repeats; 1ms to 10m (see SUBMIT_S_MAX), which `wait` and `purge` need not keep to."""

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
        _door: Door | None = None,
    ) -> None:
        self._timeout_s = submit_s("timeout", timeout)
        access = Access(token, login, ca_file)
        self.made_of: MadeOf | None = None
        """None: its door was given."""
        if _door is None:
            keys = {"cluster": cluster, "key_file": key_file, "server_key": server_key}
            self.made_of = addresses, {"timeout": timeout, **keys, **access._asdict()}
        self._door: Door = _door or _open(target(addresses, cluster, key_file, server_key), access)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._door.close()

    def _ask(self, request: m.Request) -> Outcome:
        return self._door.ask(request, self._timeout_s)

    def _ask_desk(self, request: m.Request, within_s: float | None = None) -> Outcome:
        return self._door.ask(request, self._timeout_s if within_s is None else within_s)

    @cached_property
    def _submits(self) -> Submits:
        """Decided by the first submit: a client may be made before the program has set up its tracing."""
        return way_out(self._door)

    # ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, type: str, payload: Mapping[str, Any] | None = None, /, **options: Unpack[SubmitOptions]) -> Job:
        """Returns once the job is durable at `job.level`. Options: see SubmitOptions.

        Raises: InvalidJob, PayloadTooLarge, JobConflict, Unavailable, OutcomeUnknown (submit again with `id=`, a repeat does no harm).
        """
        packed = pack_payload(payload)
        (made_id,) = self._door.make_ids(1)
        spec = make_spec(made_id, type, packed, options)
        deadline = options.get("deadline")
        if deadline is None:
            outcome = self._submits.gather(spec, self._timeout_s)
        else:
            outcome = self._submits.ask(m.Submit([spec]), submit_s("deadline", deadline))
        job_id, kind, level = deeds.read_receipt(spec, outcome)
        return Job(self, job_id, type, kind=kind, level=level)

    def submit_many(self, jobs: Iterable[Submittable], /, **options: Unpack[SubmitOptions]) -> list[Job]:
        """Submit (type, payload) pairs, dicts or JobRequests. `options` hold for all that do not say otherwise.

        Jobs travel in requests of up to 1,000 jobs or 8 MiB. Each request is all or nothing, and checked before it is sent; an error
        tells how many jobs of earlier requests were submitted. `deadline` and the time-out are for each request.
        """
        deadline = options.get("deadline")
        within_s = self._timeout_s if deadline is None else submit_s("deadline", deadline)
        made: list[Job] = []
        try:
            for specs in deeds.batches(jobs, options, self._door.make_ids):
                reply = expect(m.SubmitReply, self._submits.ask(m.Submit(specs), within_s))
                level, created = reply.level, m.SubmitKind.CREATED
                batch = [Job(self, spec.id, spec.type, created, level) for spec in specs]
                for index, one in reply.others:
                    batch[index] = Job(self, one.id, specs[index].type, kind=one.kind, level=level)
                made += batch
        except BaseException as fault:  # also what an iterator of the caller's raises
            deeds.note_stored(fault, len(made))
            raise
        return made

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def get(self, ref: Ref, /) -> Job:
        """Live or from the records. Raises: NotFound."""
        job_id = deeds.ref_bytes(ref)
        return self._job(deeds.read_view(job_id, self._ask(m.Get([job_id]))))

    def get_many(self, refs: Iterable[Ref], /) -> list[Job | None]:
        """In order; None for those that are not known."""
        found: list[Job | None] = []
        ids = [deeds.ref_bytes(ref) for ref in refs]
        while len(found) < len(ids):
            asked = ids[len(found) : len(found) + m.IDS_MAX]
            views = deeds.read_views(asked, self._ask(m.Get(asked)))
            found += [None if view is None else self._job(view) for view in views]
        return found

    # A str is an Iterable[str] for type checkers; the first overload that fits is taken.
    @overload
    def wait(  # type: ignore[overload-overlap]
        self, refs: Ref, /, timeout: Duration | None = None
    ) -> Job: ...
    @overload
    def wait(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> list[Job]: ...
    def wait(self, refs: Ref | Iterable[Ref], /, timeout: Duration | None = None) -> Job | list[Job]:
        """Until the job, or all jobs, are finished, however they end. Raises: TimeoutError, NotFound, Unavailable."""
        if deeds.is_one(refs):
            return next(self.as_completed([refs], timeout))  # type: ignore[list-item]
        return self.wait_all(refs, timeout)  # type: ignore[arg-type]

    def wait_all(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> list[Job]:
        """All of them, finished, in the order given."""
        ids = [deeds.ref_bytes(ref) for ref in refs]
        finished = {job.id_bytes: job for job in self.as_completed(ids, timeout)}
        return [finished[job_id] for job_id in ids]

    def as_completed(self, refs: Iterable[Ref], /, timeout: Duration | None = None) -> Iterator[Job]:
        """Each job as it finishes. Among more than 1,000 those first named are watched first."""
        watch = deeds.Watch([deeds.ref_bytes(ref) for ref in refs], timeout, time.monotonic())
        while watch.pending:
            request, within_s = watch.next_round(time.monotonic(), self._timeout_s)
            views = expect(m.Jobs, self._door.ask(request, within_s)).jobs
            if None in views:
                watch.name_missing(self.get_many(request.ids))
            for view in watch.take(views):
                yield self._job(view)

    def result(self, ref: Ref, /, timeout: Duration | None = None) -> Any:
        """Wait for the job and give what its task returned. Raises: JobFailed, JobCancelled, TimeoutError."""
        job: Job = self.wait(ref, timeout)
        return job.result

    def jobs(
        self,
        *,
        status: JobState | str | None = None,
        type: str = "",
        queue: str = "",
        tag: str = "",
        created_after: Moment | None = None,
        created_before: Moment | None = None,
        limit: int | None = None,
    ) -> Iterator[Job]:
        """Live jobs in the order they will run, then finished ones, newest first; read page by page, `limit` at most."""
        wanted = deeds.filter_of(
            status=status, type=type, queue=queue, tag=tag, created_after=created_after, created_before=created_before
        )
        left, cursor, is_first = limit, b"", True
        while (is_first or cursor) and (left is None or left > 0):
            page = expect(m.Page, self._ask(m.List(wanted, cursor, deeds.page_jobs(left))))
            for view in page.jobs[:left]:
                yield self._job(view)
            left = None if left is None else left - len(page.jobs)
            cursor, is_first = page.cursor, False

    def _job(self, view: JobView) -> Job:
        return Job(self, view.id, view.type, view=view)

    # ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def cancel(self, ref: Ref, /) -> m.CancelKind:
        """It never starts (`cancelled`), is being stopped (`cancelling`), or was `finished` already. Raises: NotFound."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = deeds.read_verdicts(self._ask(m.Cancel([job_id])), 1)
        return deeds.read_cancel(job_id, verdict)

    def cancel_many(self, refs: Iterable[Ref], /) -> list[m.CancelKind]:
        """In order; `unknown` for those that are not known."""
        return [m.CancelKind(verdict) for verdict in self._verdicts(m.Cancel, refs)]

    def retry(self, ref: Ref, /) -> None:
        """Run a finished job again: same id, next run. One call makes one run at most, also when it is sent again to another node; a run
        that somebody else made meanwhile counts as this one. After OutcomeUnknown look at its `run` before you ask again.

        Raises: NotFound, WrongState, Unavailable, OutcomeUnknown."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = self._requeue([job_id])
        deeds.check_requeue(job_id, verdict)

    def retry_many(self, refs: Iterable[Ref], /) -> list[str]:
        """In order: requeued, live, unique (an unfinished job holds its unique key), unknown."""
        verdicts: list[str] = []
        for ids in deeds.in_parts([deeds.ref_bytes(ref) for ref in refs]):
            verdicts += self._requeue(list(ids))
        return verdicts

    def _requeue(self, ids: list[bytes]) -> list[str]:
        """Which runs they are in, then the next ones: both within the time of one call."""
        give_up_at = time.monotonic() + self._timeout_s
        runs = deeds.read_runs(self._ask(m.AskRuns(ids)), len(ids))
        left_s = max(0.0, give_up_at - time.monotonic())
        return deeds.read_verdicts(self._door.ask(m.Requeue(ids, runs), left_s), len(ids))

    def promote(self, ref: Ref, /) -> None:
        """Run a delayed job now. Raises: WrongState."""
        job_id = deeds.ref_bytes(ref)
        (verdict,) = deeds.read_verdicts(self._ask(m.Promote([job_id])), 1)
        deeds.check_promote(job_id, verdict)

    def promote_many(self, refs: Iterable[Ref], /) -> list[str]:
        """In order: promoted, not-delayed."""
        return self._verdicts(m.Promote, refs)

    def _verdicts(self, kind: type[m.Cancel] | type[m.Promote], refs: Iterable[Ref]) -> list[str]:
        verdicts: list[str] = []
        for ids in deeds.in_parts([deeds.ref_bytes(ref) for ref in refs]):
            verdicts += deeds.read_verdicts(self._ask(kind(list(ids))), len(ids))
        return verdicts

    # ── queues and nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def queues(self) -> list[m.QueueCount]:
        return expect(m.QueueCounts, self._ask(m.Queues())).queues

    def pause(self, queue: str) -> None:
        """No job of the queue starts from 1 s after this on."""
        expect(m.Done, self._ask(m.Pause(queue)))

    def resume(self, queue: str) -> None:
        expect(m.Done, self._ask(m.Resume(queue)))

    def purge(self, queue: str, *, timeout: Duration = deeds.PURGE_TIMEOUT_S) -> int:
        """Cancel all that wait in the queue; how many it were. No job of it starts from the first moment on; the answer comes when every
        one has its record."""
        return expect(m.Done, self._door.ask(m.Purge(queue), call_s("timeout", timeout))).count

    def stats(self) -> dict[str, Any]:
        """The node's state and metrics, as plain data."""
        table: dict[str, Any] = unpack(expect(m.Stats, self._ask(m.AskStats())).table, "the node's stats")
        return table

    @property
    def schedules(self) -> Schedules[Job]:
        """Periodic jobs: `schedules.add`, `list`, `get`, `change`, `pause`, `resume`, `remove`, `run`."""
        return Schedules(self._ask, self._run_schedule)

    def _run_schedule(self, name: str) -> Job:
        (made_id,) = self._door.make_ids(1)
        reply = expect(m.SubmitReply, self._ask(m.RunSchedule(name, made_id)))
        return Job(self, deeds.made_by(reply, made_id), "", m.SubmitKind.CREATED, reply.level)

    def leader(self) -> m.LeaderReply:
        """Who leads, as far as the node that answers knows."""
        return expect(m.LeaderReply, self._ask(m.AskLeader()))

    def cluster(self) -> ClusterReply:
        """Every node, as the one that answers sees it; who leads, and how many must agree on that."""
        return expect(ClusterReply, self._ask(AskCluster()))

    def history(self, limit: int = 50) -> list[Change]:
        """What happened to the leadership as the answering node saw it, newest first, at most 500."""
        return expect(History, self._ask(AskHistory(limit))).changes

    def transfer(self, to: str = "") -> None:
        """Hand the leadership to this node, or to whoever is best. Only the leader can; returns when it has begun."""
        expect(m.Done, self._ask(Transfer(to)))

    def drain(self, node: str, is_draining: bool = True) -> int:
        """The node takes and claims no more jobs, and finishes what runs; only the node of this name does it. Returns how many it holds."""
        return expect(m.Done, self._ask(DrainNode(node, is_draining))).count

    def ping(self) -> m.Pong:
        """Which node answers, what it serves and what its acknowledgements are worth."""
        return expect(m.Pong, self._ask(m.Ping()))


def _open(found: Target, access: Access) -> Door:
    if found.is_http:
        from .http_blocking import HttpDoor  # only where it is needed: it loads TLS

        return HttpDoor(found.addresses, *way_in(access))
    refuse_access(access)
    return Exchange(*found)
