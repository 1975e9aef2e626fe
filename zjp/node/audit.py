"""What operators do, written down once, by the node that carried it out: who, what, to whom.

    intake ──(asker, request, reply)──► audit ──► chronicle (kind `audit`) ──► records

Noted is what changes something and needs the role admin, and what users do to jobs that are there: cancel, run again, promote. Submits are
no acts of operators. A program that cancels thousands of jobs one by one must not push elections out of the chronicle: beyond
LIGHT_MAX of the latter in a second they are only counted, and the next one that is noted says how many were not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ..job import format_id
from ..wire import messages as m
from ..wire.desk import Note, PutUser, RemoveJobs, RemoveUser
from ..wire.seen import DrainNode, Transfer
from .askers import Asker
from .chronicle import Chronicle

LIGHT_MAX = 50
IDS_MAX = 10
"""Of the jobs of one act, named in its data."""

Told = tuple[str, str, dict[str, Any]]
"""what, subject, more"""


def _of_jobs(what: str) -> Callable[[Any, Any], Told]:
    def told(request: Any, reply: Any) -> Told:
        ids = [format_id(job_id) for job_id in request.ids[:IDS_MAX]]
        if len(request.ids) == 1:
            return what, ids[0], {"verdict": reply.verdicts[0]}
        return what, f"{len(request.ids)} jobs", {"ids": ids}

    return told


TOLD: Mapping[type, Callable[[Any, Any], Told]] = {
    m.Cancel: _of_jobs("cancel"),
    m.Requeue: _of_jobs("retry"),
    m.Promote: _of_jobs("promote"),
    RemoveJobs: _of_jobs("delete"),
    m.Pause: lambda request, _: ("pause", request.queue, {}),
    m.Resume: lambda request, _: ("resume", request.queue, {}),
    m.Purge: lambda request, reply: ("purge", request.queue, {"count": reply.count}),
    m.AddSchedule: lambda request, _: ("schedule-add", request.schedule.name, {}),
    m.ChangeSchedule: lambda request, _: ("schedule-change", request.name, {}),
    m.RemoveSchedule: lambda request, reply: ("schedule-remove", request.name, {"count": reply.count}),
    m.RunSchedule: lambda request, _: ("schedule-run", request.name, {"id": format_id(request.id)}),
    Transfer: lambda request, _: ("step-down", request.to, {}),
    DrainNode: lambda request, reply: (
        "drain" if request.is_draining else "undrain",
        request.node,
        {"held": reply.count},
    ),
    PutUser: lambda request, reply: (
        "user-put",
        request.user.name,
        {"role": request.user.role, "version": reply.users[0].version},
    ),
    RemoveUser: lambda request, reply: ("user-remove", request.name, {"count": reply.count}),
    Note: lambda request, _: (request.what, request.subject, {"origin": request.origin}),
}
LIGHT = frozenset({m.Cancel, m.Requeue, m.Promote})


class Audit:
    def __init__(self, chronicle: Chronicle, now: Callable[[], float] = time.monotonic) -> None:
        self._chronicle, self._now = chronicle, now
        self._second, self._count, self._left_out = 0, 0, 0

    def done(self, asker: Asker, request: m.Request, reply: m.Reply) -> None:
        told = TOLD.get(type(request))
        if told is None or (type(request) in LIGHT and self._is_flood()):
            return
        what, subject, more = told(request, reply)
        if self._left_out:
            more["left_out"], self._left_out = self._left_out, 0
        self._chronicle.did(what, subject, asker.name, **more)

    def _is_flood(self) -> bool:
        second = int(self._now())
        if second != self._second:
            self._second, self._count = second, 0
        self._count += 1
        if self._count <= LIGHT_MAX:
            return False
        self._left_out += 1
        return True
