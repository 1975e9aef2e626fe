"""What a caller is told when a request went wrong: which error, and what it says. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import (
    BY_CODE,
    JobConflict,
    JobError,
    NodeUnreachable,
    NotFound,
    OutcomeUnknown,
    WireError,
    WrongState,
    ZjpError,
)
from ..job import format_id
from ..wire.codec import decode_reply
from ..wire.desk import PutUser, RemoveJobs, RemoveUser
from ..wire.messages import (
    AddSchedule,
    Cancel,
    ChangeSchedule,
    Failure,
    Pause,
    Promote,
    Purge,
    RemoveSchedule,
    Reply,
    Request,
    Requeue,
    Resume,
    RunSchedule,
    Submit,
    Verdicts,
)
from .calls import Call, W

DEEDS = (
    Submit, Cancel, Requeue, Promote, Pause, Resume, Purge, AddSchedule, ChangeSchedule, RemoveSchedule, RunSchedule,
    PutUser, RemoveUser, RemoveJobs,
)  # fmt: skip
"""Requests that change something: what became of them matters after the deadline."""
ONCE = (AddSchedule, RemoveSchedule, RunSchedule, PutUser, RemoveUser)
"""Of them such as are refused when they come a second time."""
ECHO = "not-delayed"
"""Promote's verdict on a job that was made to run a moment before. Requeue has none: it names the run that is to be followed, so a repeat
of what was done is told as done."""
AGAIN_IS_ANOTHER = "look which run the job is in before you ask again, since that would be another retry"
IDS_NAMED_MAX = 3


def error_of(failure: Failure) -> ZjpError:
    """The error that crossed the wire, as what it was."""
    kind = BY_CODE.get(failure.code, ZjpError)
    return ZjpError(failure.message) if issubclass(kind, JobError) else kind(failure.message)


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


def perhaps_echo(call: Call[W], outcome: Reply | ZjpError) -> OutcomeUnknown | None:
    """What to raise when a repeat is refused, perhaps for what an earlier sending did whose answer was lost. None: the outcome stands."""
    refusal = _refusal(call.request, outcome) if call.in_doubt else ""
    if not refusal:
        return None
    return OutcomeUnknown(
        f"{_what(call.request)} was sent and not answered, and a repeat was refused ({refusal}): perhaps because it had been carried out; "
        "look before you ask again"
    )


def _refusal(request: Request, outcome: Reply | ZjpError) -> str:
    """Of what has been done already; empty: it is none, or of another kind."""
    if isinstance(outcome, Verdicts) and isinstance(request, Promote):
        return f"a job is {ECHO}" if ECHO in outcome.verdicts else ""
    return str(outcome) if isinstance(request, ONCE) and isinstance(outcome, JobConflict | NotFound | WrongState) else ""


def error_at_deadline(call: Call[W], now: float, places: str) -> ZjpError:
    """What to raise for a call whose time is over. `places`: the addresses, each with what is wrong there."""
    took = f"{now - call.started_at:.1f} s"
    was_sent = call.in_doubt or call.link is not None
    if was_sent and isinstance(call.request, DEEDS):
        is_requeue, failure = isinstance(call.request, Requeue), call.failure
        is_of_use = failure is not None and not (is_requeue and isinstance(failure, OutcomeUnknown))  # which says to ask again
        told = f"; the last answer was: {failure}" if is_of_use else ""
        advice = AGAIN_IS_ANOTHER if is_requeue else "ask with the same id again, a repeat does no harm"
        return OutcomeUnknown(
            f"{_what(call.request)} was sent and not answered within {took} ({places}{told}); it may or may not have been "
            f"carried out: {advice}"
        )
    if call.failure is not None:
        return type(call.failure)(f"{call.failure} (asked again for {took}, {call.failures} times)")
    if was_sent:
        return NodeUnreachable(
            f"{_what(call.request)} was sent and not answered within {took} at {places}; the node may be overloaded or stopped (its log "
            "says), or something else listens there: ask again with a longer timeout, or name another node in CLIENT_ADDRESS"
        )
    return NodeUnreachable(
        f"no node could be reached within {took} at {places}; start one with `python -m zjp.node`, or set "
        "CLIENT_ADDRESS to where one runs"
    )


def _what(request: Request) -> str:
    if not isinstance(request, Submit):
        return type(request).__name__.lower()
    named = ", ".join(format_id(spec.id) for spec in request.jobs[:IDS_NAMED_MAX])
    rest = len(request.jobs) - IDS_NAMED_MAX
    return f"the submit of {named}" + (f" and {rest} more" if rest > 0 else "")
