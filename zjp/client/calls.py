"""A request under way: its bytes, who waits for it, how it went so far, and what to say when its time is over. Pure.

`Call` is one request with one waiter, `Batch` is submits of many callers gathered into one request. What happens to them, and when, is
decided in session.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from ..errors import BY_CODE, JobError, NodeUnreachable, OutcomeUnknown, WireError, ZjpError
from ..job import JobSpec, format_id
from ..units import show_duration
from ..wire.codec import decode_reply
from ..wire.messages import (
    Cancel,
    Durability,
    Failure,
    Pause,
    Promote,
    Purge,
    Reply,
    Request,
    Requeue,
    Resume,
    Submit,
    SubmitKind,
    SubmitReply,
    Submitted,
    Wait,
)

if TYPE_CHECKING:
    from .session import Link

W = TypeVar("W")

DEEDS = (Submit, Cancel, Requeue, Promote, Pause, Resume, Purge)
"""Requests that change something: what became of them matters after the deadline."""
IDS_NAMED_MAX = 3


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one submit of a gathered batch. `other`: None when the job was created by it."""

    level: Durability
    other: Submitted | None = None


Outcome = Reply | Receipt | ZjpError


class Call(Generic[W]):
    """`in_doubt`: it was sent, and whether it was carried out cannot be known any more without a reply."""

    __slots__ = (
        "body", "deadline", "failure", "failures", "id_from", "in_doubt", "link", "not_before", "refused_by",
        "repeat_at", "request", "sends", "seq", "started_at", "waiter",
    )  # fmt: skip

    def __init__(self, seq: int, request: Request, waiter: W | None, *, now: float, deadline: float) -> None:
        self.seq, self.request, self.waiter = seq, request, waiter
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
        return self.request.timeout_ms / 1000 if isinstance(self.request, Wait) else 0.0

    def expire(self, now: float) -> list[W]:
        """Who has waited long enough. A call with nobody left is over."""
        if self.waiter is None or self.deadline > now:
            return []
        waiter, self.waiter = self.waiter, None
        return [waiter]

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


def is_own_repeat(jobs: Sequence[JobSpec], index: int, one: Submitted) -> bool:
    """An id that this session made can only exist because of an earlier sending of this very job."""
    if one.kind is not SubmitKind.EXISTED or not 0 <= index < len(jobs):
        return False
    spec = jobs[index]
    return one.id == spec.id and not (spec.options is not None and spec.options.caller_id)


def error_of(failure: Failure) -> ZjpError:
    """The error that crossed the wire, as what it was."""
    kind = BY_CODE.get(failure.code, ZjpError)
    return ZjpError(failure.message) if issubclass(kind, JobError) else kind(failure.message)


def apart(outcome: Outcome) -> Outcome:
    """For one of several waiters: an error of its own, since a traceback grows with every raise."""
    return type(outcome)(*outcome.args) if isinstance(outcome, ZjpError) else outcome


def misfit(request: Request, reply: Reply) -> WireError:
    return WireError(f"the node answered {type(request).__name__} with {type(reply).__name__}; upgrade the older side")


def unreadable(request: Request, frames: Sequence[bytes], fault: str) -> ZjpError:
    """What to raise when the answer cannot be read: a refusal did nothing, anything else may have done what was asked."""
    try:
        was_refused = isinstance(decode_reply(frames[1]), Failure)
    except (WireError, IndexError):
        was_refused = False
    if was_refused or not isinstance(request, DEEDS):
        return WireError(fault)
    return OutcomeUnknown(f"{_what(request)} may or may not have been carried out: {fault}")


def error_at_deadline(call: Call[W], now: float, places: str) -> ZjpError:
    """What to raise for a call whose time is over. `places`: the addresses, each with what is wrong there."""
    took = show_duration(round(now - call.started_at, 1))
    was_sent = call.in_doubt or call.link is not None
    if was_sent and isinstance(call.request, DEEDS):
        return OutcomeUnknown(
            f"{_what(call.request)} was sent and not answered within {took} ({places}); it may or may not have been "
            "carried out: ask with the same id again, a repeat does no harm"
        )
    if call.failure is not None:
        return type(call.failure)(f"{call.failure} (asked again for {took}, {call.failures} times)")
    said = "took the request but did not answer" if was_sent else "could be reached"
    return NodeUnreachable(
        f"no node {said} within {took} at {places}; start one with `python -m zjp.node`, or set "
        "CLIENT_ADDRESS to where one runs"
    )


def _what(request: Request) -> str:
    if not isinstance(request, Submit):
        return type(request).__name__.lower()
    named = ", ".join(format_id(spec.id) for spec in request.jobs[:IDS_NAMED_MAX])
    rest = len(request.jobs) - IDS_NAMED_MAX
    return f"the submit of {named}" + (f" and {rest} more" if rest > 0 else "")
