"""The wire's requests as calls of the HTTP API, and its answers as the wire's replies. Pure.

    request ──► TALKS[type] ──► HttpCall ──► (a door sends it) ──► HttpAnswer ──► ... ──► reply

A talk is a generator: it yields calls and is sent their answers, so that one request may need several (the API looks up one job a call),
and both doors, blocking and asyncio, do the same. What the API has no words for is refused as such.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from datetime import datetime
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import msgspec

from ..errors import InvalidJob, Unavailable, WireError
from ..job import JobSpec, JobView, Options, format_id, parse_id
from ..job_json import time_json
from ..wire import desk
from ..wire import messages as m
from ..wire.seen import AskCluster, AskHistory, ClusterReply, DrainNode, History, Transfer
from .calls import is_own_repeat
from .http_json import (
    ChangeJson,
    JobJson,
    NodeJson,
    QueueJson,
    ScheduleJson,
    change_body,
    ms,
    read,
    schedule_body,
    submit_json,
    write,
)
from .http_trip import HttpAnswer, HttpCall, error_of, tells_job
from .packing import pack_value

API = "/api/v1"
LOOKS_MAX = 50
"""Jobs looked up for one answer; more are asked for again, so that each answer keeps to its deadline."""
POLL_S = 1.0
"""One long poll of the first of several jobs, before the others are looked at."""

T = TypeVar("T")
Talk: TypeAlias = Generator[HttpCall, HttpAnswer, T]


def talk(request: m.Request) -> Talk[m.Reply]:
    """Raises: ZjpError."""
    known = TALKS.get(type(request))
    if known is None:
        raise InvalidJob(f"{type(request).__name__} is not available over HTTP; use the node's tcp:// address")
    return known(request)


def _done(answer: HttpAnswer) -> HttpAnswer:
    """Raises: ZjpError when it is a problem."""
    if not 200 <= answer.status < 300:
        raise error_of(answer)
    return answer


def _get(kind: type[T], path: str, **query: Any) -> Talk[T]:
    return read(_done((yield HttpCall("GET", API + path, query))).body, kind)


def _post(path: str, body: dict[str, Any] | None = None, **extra: Any) -> Talk[HttpAnswer]:
    return (yield HttpCall("POST", API + path, body=b"" if body is None else write(body), **extra))


def _job(job_id: bytes, deed: str = "") -> str:
    return f"/jobs/{format_id(job_id)}{deed}"


def _part(name: str) -> str:
    return quote(name, safe="")


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Made(msgspec.Struct):
    id: str
    existed: bool = False
    durability: m.Durability | None = None


class _MadeMany(msgspec.Struct):
    items: list[_Made]
    durability: m.Durability | None = None


def _submit(request: m.Submit) -> Talk[m.Reply]:
    specs = request.jobs
    if len(specs) == 1:
        (spec,) = specs
        key = spec.options.idempotency_key if spec.options is not None else ""
        headers = {"Idempotency-Key": key_header(key)} if key else {}
        answer = yield from _post("/jobs", _submit_body(spec), headers=headers | _trace_headers(spec))
        made = [read(answer.body if tells_job(answer) else _done(answer).body, _Made)]
        level = made[0].durability
    else:
        body = {"jobs": [_batch_body(spec) for spec in specs]}
        answer = _done((yield from _post("/jobs/batch", body, headers=_trace_headers(specs[0]))))
        told = read(answer.body, _MadeMany)
        made, level = told.items, told.durability or (told.items[0].durability if told.items else None)
    if len(made) != len(specs) or level is None:
        raise WireError(f"the API answered {len(made)} jobs for {len(specs)}; it is of another version")
    others = [(index, _submitted(spec, one)) for index, (spec, one) in enumerate(zip(specs, made, strict=True))]
    return m.SubmitReply(level, [(index, one) for index, one in others if one.kind is not m.SubmitKind.CREATED])


def _submit_body(spec: JobSpec) -> dict[str, Any]:
    return {"id": format_id(spec.id), **submit_json(spec)}


def _batch_body(spec: JobSpec) -> dict[str, Any]:
    if spec.options is not None and spec.options.idempotency_key:
        raise InvalidJob("idempotency_key of a job in a batch is not available over HTTP; give it an id of your own")
    return _submit_body(spec)


def key_header(key: str) -> str:
    """Raises: InvalidJob."""
    if not key.isascii() or not key.isprintable():
        raise InvalidJob(f"idempotency_key {key!r} travels as an HTTP header: printable ASCII only; hash it first")
    return key


def _trace_headers(spec: JobSpec) -> dict[str, str]:
    """The jobs of one request have one span."""
    told = {"traceparent": spec.options.traceparent, "tracestate": spec.options.tracestate} if spec.options is not None else {}
    return {name: text for name, text in told.items() if text}


def _submitted(spec: JobSpec, made: _Made) -> m.Submitted:
    """The API makes no difference between ids of a caller's own and those that this client made: a repeat of those is no news."""
    job_id = parse_id(made.id)
    options = spec.options or Options()
    if job_id != spec.id:
        is_unique = bool(options.unique_key) and not options.idempotency_key
        return m.Submitted(job_id, m.SubmitKind.UNIQUE if is_unique else m.SubmitKind.EXISTED)
    one = m.Submitted(job_id, m.SubmitKind.EXISTED if made.existed else m.SubmitKind.CREATED)
    return m.Submitted(job_id, m.SubmitKind.CREATED) if is_own_repeat([spec], 0, one) else one


# ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _look(job_id: bytes) -> Talk[JobView | None]:
    answer = yield HttpCall("GET", API + _job(job_id))
    return None if answer.status == 404 else read(_done(answer).body, JobJson).view()


def _look_up(request: m.Get) -> Talk[m.Reply]:
    found = []
    for job_id in request.ids[:LOOKS_MAX]:
        found.append((yield from _look(job_id)))
    return m.Jobs(found)


def _wait(request: m.Wait) -> Talk[m.Reply]:
    """Polls the first one; between its polls the next LOOKS_MAX of the others, until all were looked at and the time is over."""
    first, *others = request.ids
    left_s, looked = request.timeout_ms / 1000, 0
    while True:
        poll_s = min(left_s, POLL_S) if others else left_s
        ended = yield from _ended([first], poll_s)
        ended += yield from _ended(others[looked % len(others) :][:LOOKS_MAX] if others else [])
        looked += LOOKS_MAX
        left_s -= poll_s
        if ended or (left_s <= 0 and looked >= len(others)):
            return m.Jobs(ended)


def _ended(ids: Iterable[bytes], poll_s: float = 0.0) -> Talk[list[JobView | None]]:
    """Those that are finished, and None for those that are unknown."""
    found: list[JobView | None] = []
    for job_id in ids:
        if poll_s > 0:
            query = {"wait": f"{poll_s:.3f}"}
            answer = yield HttpCall("GET", API + _job(job_id, "/result"), query, patience_s=poll_s)
            if answer.status == 202:
                continue
        view = yield from _look(job_id)
        if view is None or view.status.is_final:
            found.append(view)
    return found


class _Jobs(msgspec.Struct):
    items: list[JobJson]
    cursor: str | None = None
    scanned: int = 0


def _list(request: m.List) -> Talk[m.Reply]:
    wanted = request.wanted
    page = yield from _get(
        _Jobs,
        "/jobs",
        status=wanted.state.value if wanted.state else None,
        type=wanted.type,
        queue=wanted.queue,
        tag=wanted.tag,
        created_after=time_json(wanted.created_after_ms),
        created_before=time_json(wanted.created_before_ms),
        limit=request.limit,
        cursor=request.cursor.decode(),
    )
    return m.Page([job.view() for job in page.items], (page.cursor or "").encode(), page.scanned)


class _Group(msgspec.Struct):
    type: str
    error: str
    message: str
    count: int
    jobs: list[str]
    first_at: datetime | None = None
    last_at: datetime | None = None


class _Groups(msgspec.Struct):
    items: list[_Group]
    scanned: int = 0
    is_whole: bool = True


def _failures(request: desk.AskFailures) -> Talk[m.Reply]:
    told = yield from _get(
        _Groups,
        "/failures",
        since=time_json(request.since_ms),
        type=request.task,
        queue=request.queue,
        limit=request.limit,
    )
    groups = [
        desk.FailureGroup(
            one.type,
            one.error,
            one.message,
            one.count,
            ms(one.first_at),
            ms(one.last_at),
            list(map(parse_id, one.jobs[:5])),
        )
        for one in told.items
    ]
    return desk.Failures(groups, told.scanned, told.is_whole)


# ── acting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _each(ids: list[bytes], act: Callable[[bytes], Talk[str]]) -> Talk[m.Reply]:
    verdicts = []
    for job_id in ids:
        verdicts.append((yield from act(job_id)))
    return m.Verdicts(verdicts)


def _cancel_one(job_id: bytes) -> Talk[str]:
    answer = yield from _post(_job(job_id, "/cancel"))
    refused = {404: m.CancelKind.UNKNOWN, 409: m.CancelKind.FINISHED, 202: m.CancelKind.CANCELLING}
    return (refused.get(answer.status) or (_done(answer), m.CancelKind.CANCELLED)[1]).value


def _runs(request: m.AskRuns) -> Talk[m.Reply]:
    """Without a call: the API looks by itself, as the client of a node that it is, and `_requeue_one` is not sent twice."""
    yield from ()
    return m.Runs([0] * len(request.ids))


def _requeue_one(job_id: bytes) -> Talk[str]:
    answer = yield from _post(_job(job_id, "/retry"), is_repeatable=False)
    if answer.status == 409:
        return (
            "unique" if "unique key" in str(error_of(answer)) else "live"
        )  # both are wrong-state, told apart by their text
    return _word(answer, "requeued")


def _promote_one(job_id: bytes) -> Talk[str]:
    answer = yield from _post(_job(job_id, "/promote"), is_repeatable=False)
    return "not-delayed" if answer.status in (404, 409) else _word(answer, "promoted")


def _word(answer: HttpAnswer, done: str) -> str:
    if answer.status == 404:
        return "unknown"
    _done(answer)
    return done


def _remove_one(job_id: bytes) -> Talk[str]:
    answer = yield HttpCall("DELETE", API + _job(job_id))
    return "removing" if answer.status == 202 else _word(answer, "removed")


# ── queues and nodes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Queues(msgspec.Struct):
    items: list[QueueJson]


class _Count(msgspec.Struct):
    count: int = 0
    held: int = 0


def _queues(_: m.Queues) -> Talk[m.Reply]:
    told = yield from _get(_Queues, "/queues")
    return m.QueueCounts([one.count() for one in told.items])


def _pause(request: m.Pause) -> Talk[m.Reply]:
    return _counted((yield from _post(f"/queues/{_part(request.queue)}/pause")))


def _resume(request: m.Resume) -> Talk[m.Reply]:
    return _counted((yield from _post(f"/queues/{_part(request.queue)}/resume")))


def _purge(request: m.Purge) -> Talk[m.Reply]:
    return _counted((yield HttpCall("DELETE", f"{API}/queues/{_part(request.queue)}/jobs", patience_s=600.0)))


def _counted(answer: HttpAnswer) -> m.Done:
    if not _done(answer).body:
        return m.Done()
    told = read(answer.body, _Count)
    return m.Done(told.count or told.held)


def _stats(_: m.AskStats) -> Talk[m.Reply]:
    """The API's document, which is another than the node's own table."""
    told = yield from _get(dict[str, Any], "/stats")
    return m.Stats(pack_value(told))


class _Health(msgspec.Struct):
    version: str
    node: str | None = None
    reasons: list[str] = []


def _ping(_: m.Ping) -> Talk[m.Reply]:
    """What the node serves is not told here, nor what its acknowledgements are worth: the least is claimed."""
    told = read(_done((yield HttpCall("GET", "/health"))).body, _Health)
    if told.node is None:
        raise Unavailable("; ".join(told.reasons) or "the API has no node behind it")
    return m.Pong(told.node, told.version, m.Durability.PROCESS, "the node is draining" in told.reasons, [])


class _Leader(msgspec.Struct):
    algorithm: str
    node: str | None = None
    epoch: int = 0
    has_quorum: bool = False
    is_in_office: bool = False


def _leader(_: m.AskLeader) -> Talk[m.Reply]:
    one = yield from _get(_Leader, "/leader")
    role = (yield from _get(_Election, "/election")).role
    is_here = role == "leader"
    return m.LeaderReply(
        one.node or "", one.epoch, role, one.algorithm, is_here, is_here and one.is_in_office, one.has_quorum
    )


class _Cluster(msgspec.Struct):
    node: str
    nodes: list[NodeJson]
    algorithm: str
    leader: str | None = None
    epoch: int = 0
    quorum: int = 0
    voters: list[str] = []
    has_quorum: bool = False
    is_leader_idle: bool = False
    kept_voters: list[str] = []
    other_voters: list[str] = []


def _cluster(_: AskCluster) -> Talk[m.Reply]:
    one = yield from _get(_Cluster, "/cluster")
    is_draining = any(node.is_draining for node in one.nodes if node.id == one.node)
    return ClusterReply(
        one.node, [node.node() for node in one.nodes], one.leader or "", one.epoch, one.algorithm, one.quorum, one.voters,
        one.has_quorum, one.leader == one.node, is_draining, one.is_leader_idle,
        one.kept_voters, one.other_voters,
    )  # fmt: skip


class _Election(msgspec.Struct):
    role: str = ""
    history: list[ChangeJson] = []


def _history(request: AskHistory) -> Talk[m.Reply]:
    told = yield from _get(_Election, "/election")
    return History("", [one.change() for one in told.history[: request.limit]])


def _transfer(request: Transfer) -> Talk[m.Reply]:
    body = {"to": request.to} if request.to else {}
    return _counted((yield from _post("/leader/step-down", body, is_repeatable=False)))


def _drain(request: DrainNode) -> Talk[m.Reply]:
    return _counted((yield from _post(f"/nodes/{_part(request.node)}/{'drain' if request.is_draining else 'resume'}")))


# ── schedules ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Schedules(msgspec.Struct):
    items: list[ScheduleJson]


def _one_schedule(answer: HttpAnswer) -> m.Schedules:
    return m.Schedules([read(_done(answer).body, ScheduleJson).schedule()])


def _schedule(name: str) -> str:
    return f"/schedules/{_part(name)}"


def _add_schedule(request: m.AddSchedule) -> Talk[m.Reply]:
    return _one_schedule((yield from _post("/schedules", schedule_body(request.schedule))))


def _list_schedules(request: m.ListSchedules) -> Talk[m.Reply]:
    if request.name:
        return _one_schedule((yield HttpCall("GET", API + _schedule(request.name))))
    told = yield from _get(_Schedules, "/schedules")
    return m.Schedules([one.schedule() for one in told.items if one.name > request.after])


def _change_schedule(request: m.ChangeSchedule) -> Talk[m.Reply]:
    call = HttpCall("PATCH", API + _schedule(request.name), body=write(change_body(request.change)))
    return _one_schedule((yield call))


def _remove_schedule(request: m.RemoveSchedule) -> Talk[m.Reply]:
    answer = yield HttpCall("DELETE", API + _schedule(request.name))
    if answer.status == 404:
        return m.Done(0)
    _done(answer)
    return m.Done(1)


def _run_schedule(request: m.RunSchedule) -> Talk[m.Reply]:
    """The API gives the job an id of its own, so that a repeat would make a second one."""
    made = read(_done((yield from _post(_schedule(request.name) + "/run", is_repeatable=False))).body, _Made)
    return m.SubmitReply(m.Durability.PROCESS, [(0, m.Submitted(parse_id(made.id), m.SubmitKind.CREATED))])


TALKS: dict[type, Callable[[Any], Talk[m.Reply]]] = {
    m.Submit: _submit,
    m.Get: _look_up,
    m.Wait: _wait,
    m.List: _list,
    m.Cancel: lambda request: _each(request.ids, _cancel_one),
    m.AskRuns: _runs,
    m.Requeue: lambda request: _each(request.ids, _requeue_one),
    m.Promote: lambda request: _each(request.ids, _promote_one),
    m.Queues: _queues,
    m.Pause: _pause,
    m.Resume: _resume,
    m.Purge: _purge,
    m.AskStats: _stats,
    m.Ping: _ping,
    m.AskLeader: _leader,
    m.AddSchedule: _add_schedule,
    m.ListSchedules: _list_schedules,
    m.ChangeSchedule: _change_schedule,
    m.RemoveSchedule: _remove_schedule,
    m.RunSchedule: _run_schedule,
    AskCluster: _cluster,
    AskHistory: _history,
    Transfer: _transfer,
    DrainNode: _drain,
    desk.AskFailures: _failures,
    desk.RemoveJobs: lambda request: _each(request.ids, _remove_one),
}
"""What the API has words for."""
