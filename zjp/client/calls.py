"""A request under way: its bytes, who waits for it, how it went so far; and the link it went over. Pure.

`Call` is one request with one waiter, `Batch` is submits of many callers gathered into one request. What happens to them, and when, is
decided in session.py; what a caller is told when it went wrong stands in failures.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import msgspec

from ..errors import ZjpError
from ..job import JobSpec
from ..wire.desk import AskFeed
from ..wire.messages import Durability, Reply, Request, Submit, SubmitKind, SubmitReply, Submitted, Wait

SUSPECT_S = 1.0
"""Silence with something outstanding, before a ping and again before the link is given up."""
WAIT_SUSPECT_S = 3.0
"""The same where only waits are outstanding: they are silent by nature."""
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.025, 0.5

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one submit of a gathered batch. `other`: None when the job was created by it."""

    level: Durability
    other: Submitted | None = None


Outcome = Reply | Receipt | ZjpError


class Voice(NamedTuple):
    """For whom a request is made, where that is not the client itself: a user, who may do what `role` may."""

    user: str = ""
    role: int = 0


OWN_VOICE = Voice()


class Call(Generic[W]):
    """`in_doubt`: it was sent, and whether it was carried out cannot be known any more without a reply."""

    __slots__ = (
        "body", "deadline", "failure", "failures", "id_from", "in_doubt", "link", "not_before", "refused_by",
        "repeat_at", "request", "sends", "seq", "started_at", "voice", "waiter",
    )  # fmt: skip

    def __init__(
        self, seq: int, request: Request, waiter: W | None, *, now: float, deadline: float, voice: Voice = OWN_VOICE
    ) -> None:
        self.seq, self.request, self.waiter, self.voice = seq, request, waiter, voice
        self.started_at, self.deadline = now, deadline
        self.body = b""
        self.link: Link[W] | None = None
        self.sends = 0
        self.in_doubt = False
        self.failures = 0
        self.failure: ZjpError | None = None
        self.refused_by: Link[W] | None = None
        self.not_before = 0.0
        self.repeat_at = 0.0

    @property
    def patience_s(self) -> float:
        """How long the node may take by the request itself."""
        return self.request.timeout_ms / 1000 if isinstance(self.request, Wait | AskFeed) else 0.0

    def expire(self, now: float) -> list[W]:
        """Who has waited long enough. A call with nobody left is over."""
        if self.waiter is None or self.deadline > now:
            return []
        waiter, self.waiter = self.waiter, None
        return [waiter]

    def is_only_for(self, waiter: W) -> bool:
        return self.waiter is waiter

    def next_deadline(self) -> float:
        return self.deadline

    def has_waiters(self) -> bool:
        return self.waiter is not None

    def answers(self, outcome: Reply | ZjpError) -> list[tuple[W, Outcome]]:
        if self.waiter is None:
            return []
        if isinstance(outcome, SubmitReply) and isinstance(self.request, Submit):
            others = [(index, one) for index, one in outcome.others if not is_own_repeat(self.request.jobs, index, one)]
            outcome = msgspec.structs.replace(outcome, others=others)
        return [(self.waiter, outcome)]


class Batch(Call[W]):
    """Submits of several callers, each with a deadline of its own; `waiters` and `deadlines` go with the jobs, in order."""

    __slots__ = ("deadlines", "expired", "waiters")

    def __init__(self, seq: int, jobs: list[JobSpec], waiters: list[W], deadlines: list[float], *, now: float) -> None:
        super().__init__(seq, Submit(jobs), None, now=now, deadline=deadlines[-1])
        self.waiters, self.deadlines = waiters, deadlines
        self.expired = 0

    def expire(self, now: float) -> list[W]:
        """Deadlines rise within a batch, because all its submits were given the same time."""
        first = self.expired
        while self.expired < len(self.deadlines) and self.deadlines[self.expired] <= now:
            self.expired += 1
        return self.waiters[first : self.expired]

    def is_only_for(self, waiter: W) -> bool:
        return len(self.waiters) == 1 and self.waiters[0] is waiter

    def next_deadline(self) -> float:
        return self.deadlines[self.expired] if self.expired < len(self.deadlines) else self.deadline

    def has_waiters(self) -> bool:
        return self.expired < len(self.waiters)

    def answers(self, outcome: Reply | ZjpError) -> list[tuple[W, Outcome]]:
        waiters = self.waiters[self.expired :]
        if not isinstance(outcome, SubmitReply):
            return [(waiter, apart(outcome)) for waiter in waiters]
        receipts = [Receipt(outcome.level)] * len(self.waiters)
        assert isinstance(self.request, Submit)
        for index, one in outcome.others:
            if 0 <= index < len(receipts) and not is_own_repeat(self.request.jobs, index, one):
                receipts[index] = Receipt(outcome.level, one)
        return list(zip(waiters, receipts[self.expired :], strict=True))


class Link(Generic[W]):
    """What is known of one address."""

    __slots__ = (
        "address",
        "calls",
        "failures",
        "fault",
        "is_up",
        "pinged_at",
        "quiet_since",
        "reopen_at",
        "suspended_until",
    )

    def __init__(self, address: str) -> None:
        self.address = address
        self.is_up = False
        self.calls: dict[int, Call[W]] = {}
        self.failures = 0
        self.suspended_until = 0.0
        self.reopen_at = 0.0
        self.quiet_since = 0.0
        self.pinged_at: float | None = None
        self.fault = ""

    def suspect_at(self) -> float:
        """When the present silence becomes suspicious."""
        if self.pinged_at is not None:
            return self.pinged_at + SUSPECT_S
        only_waits = all(call.patience_s for call in self.calls.values())
        return self.quiet_since + (WAIT_SUSPECT_S if only_waits else SUSPECT_S)


def backoff_s(failures: int, uniform: float, at_least_s: float = 0.0) -> float:
    """Pause before asking again, with jitter from half to all of it: clients that failed together do not come back together."""
    pause_s: float = max(at_least_s, min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(failures, 10)))
    return pause_s * (0.5 + uniform / 2)


def apart(outcome: Outcome) -> Outcome:
    """For one of several waiters: an error of its own, since a traceback grows with every raise."""
    return type(outcome)(*outcome.args) if isinstance(outcome, ZjpError) else outcome


def is_own_repeat(jobs: Sequence[JobSpec], index: int, one: Submitted) -> bool:
    """An id that this session made can only exist because of an earlier sending of this very job."""
    if one.kind is not SubmitKind.EXISTED or not 0 <= index < len(jobs):
        return False
    spec = jobs[index]
    return one.id == spec.id and not (spec.options is not None and spec.options.caller_id)
