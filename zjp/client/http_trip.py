"""One HTTP call until its answer: which address, how long, when again, and what to raise. Pure: sockets and clocks are the doors'.

    Trip.next ──► Send(place, limit_s) ──► answered(answer) ──► the answer, or None: ask `next` again
         │                             └─► broke(fault)      ──► ask `next` again, or OutcomeUnknown
         └──────► Pause(seconds)                                  at the deadline `next` raises what is to be told

The rules are those of the ZeroMQ session: every call is repeated until its deadline, over all addresses, with a growing pause after each
round; a 503 or 429 says itself when to come again. What must not be done twice (running a job again) is not repeated once it was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from ..errors import (
    BY_CODE,
    ConfigError,
    InvalidJob,
    JobError,
    NodeUnreachable,
    NotAllowed,
    NotFound,
    OutcomeUnknown,
    PayloadTooLarge,
    Unavailable,
    WireError,
    ZjpError,
)
from .calls import backoff_s

ATTEMPT_S = 3.0
"""For one answer where there is another address to go to."""
CONNECT_S = 3.0
AGAIN = frozenset({429, 502, 503, 504})
"""Statuses after which the same call may succeed; others only with Retry-After."""
BODY_BYTES_MAX = 64 << 20
"""Of one answer: a page of jobs as the nodes cut it, which JSON makes up to six times as large."""
DETAIL_CHARS = 300


class Place(NamedTuple):
    """An address of the API, taken apart. `prefix`: a path before all of its own, where a proxy puts one."""

    address: str
    is_tls: bool
    host: str
    port: int
    prefix: str


def place_of(address: str) -> Place:
    """Raises: ConfigError."""
    accepted = "accepted: http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as fault:
        raise ConfigError(f"address {address!r}: {fault}; {accepted}") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            f"address {parts.scheme}://...@{parts.hostname}: a name or password in it would end in logs; give login= or token="
        )
    if not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"address {address!r} is no address of an API; {accepted}")
    is_tls = parts.scheme == "https"
    return Place(address, is_tls, parts.hostname, port or (443 if is_tls else 80), parts.path.rstrip("/"))


@dataclass(frozen=True, slots=True)
class HttpCall:
    """`patience_s`: how long the answer may take by the call itself. `is_repeatable`: a second time does no harm."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    patience_s: float = 0.0
    is_repeatable: bool = True

    def target(self, place: Place) -> str:
        told = urlencode(
            {name: value for name, value in self.query.items() if value not in (None, "")}, quote_via=quote
        )
        return f"{place.prefix}{self.path}{'?' if told else ''}{told}"

    @property
    def is_deed(self) -> bool:
        return self.method != "GET"


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """`headers`: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Send(NamedTuple):
    place: Place
    limit_s: float


class Pause(NamedTuple):
    seconds: float


class Places:
    """The addresses in fail-over order, and which one is asked now; shared by all calls of a door."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.all = [place_of(address) for address in addresses]
        self._current = 0

    @property
    def current(self) -> Place:
        return self.all[self._current]

    def leave(self, place: Place) -> None:
        """Unless somebody else has left it already."""
        if self.current is place:
            self._current = (self._current + 1) % len(self.all)


class Trip:
    """`uniform`: a random number in [0, 1) for the pauses. Times are of one monotonic clock (s)."""

    def __init__(self, call: HttpCall, places: Places, *, now: float, deadline: float, uniform: float) -> None:
        self._call, self._places, self._uniform = call, places, uniform
        self._began, self._deadline = now, deadline
        self._not_before = now
        self._failures = 0
        self._in_doubt = False
        self._failure: ZjpError | None = None
        self._faults: dict[str, str] = {}

    def next(self, now: float) -> Send | Pause:
        """Raises: ZjpError when the time is over, or cannot suffice any more."""
        if max(now, self._not_before) >= self._deadline and (self._failures or now >= self._deadline):
            raise self._error(now)
        if now < self._not_before:
            return Pause(self._not_before - now)
        left_s = self._deadline - now
        if len(self._places.all) > 1:
            left_s = min(left_s, self._call.patience_s + ATTEMPT_S)
        return Send(self._places.current, left_s)

    def answered(self, place: Place, answer: HttpAnswer, now: float) -> HttpAnswer | None:
        """None: it is to be asked again."""
        pause_s = _retry_after_s(answer)
        if answer.status < 400 or tells_job(answer) or (answer.status not in AGAIN and pause_s is None):
            return answer
        self._failure = error_of(answer, place)
        if isinstance(self._failure, OutcomeUnknown) or answer.status in (502, 504):
            self._doubt(place, str(self._failure))
        self._again(place, now, pause_s or 0.0, is_everywhere=answer.status == 429)
        return None

    def broke(self, place: Place, fault: str, now: float, *, was_sent: bool, is_lasting: bool = False) -> None:
        """`is_lasting`: no other try there will end better, so one at each address is enough. Raises: OutcomeUnknown, NodeUnreachable."""
        self._faults[place.address] = fault
        self._failure = None
        if was_sent:
            self._doubt(place, fault)
        self._again(place, now, 0.0)
        if is_lasting and self._failures >= len(self._places.all):
            raise self._error(now)

    def _doubt(self, place: Place, fault: str) -> None:
        self._in_doubt = True
        if not self._call.is_repeatable:
            raise OutcomeUnknown(
                f"{self._what()} was sent to {place.address} and not answered ({fault}); it may or may not have been carried out, and is "
                "not repeated by itself: look at the job first"
            )

    def _again(self, place: Place, now: float, pause_s: float, *, is_everywhere: bool = False) -> None:
        """The next address at once; after a round of all of them, or when one speaks for all, a pause."""
        self._places.leave(place)
        self._failures += 1
        round_count = self._failures // len(self._places.all)
        if is_everywhere or self._failures % len(self._places.all) == 0:
            self._not_before = now + backoff_s(round_count, self._uniform, pause_s)
            if pause_s:
                self._not_before = max(self._not_before, now + pause_s)

    def _error(self, now: float) -> ZjpError:
        took = f"{now - self._began:.1f} s"
        places = (
            "; ".join(f"{address}: {fault}" for address, fault in self._faults.items()) or self._places.current.address
        )
        if self._in_doubt and self._call.is_deed:
            return OutcomeUnknown(
                f"{self._what()} was sent and not answered within {took} ({places}); it may or may not have been carried out: ask with the "
                "same id again, a repeat does no harm"
            )
        if self._failure is not None:
            return type(self._failure)(f"{self._failure} (asked {self._failures} times in {took})")
        return NodeUnreachable(
            f"no API could be reached within {took} ({places}); see that a node runs there with API_ENABLED=true, and that the address is "
            "its SERVER_HOST and SERVER_PORT"
        )

    def _what(self) -> str:
        return f"{self._call.method} {self._call.path}"


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = ""
    code: str = ""
    existed: bool = False


def _problem_of(answer: HttpAnswer) -> _Problem:
    try:
        return msgspec.json.decode(answer.body, type=_Problem)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return _Problem()


def tells_job(answer: HttpAnswer) -> bool:
    """The job was made before, and its record is gone or cannot be read: the problem tells its id, which is all that a submit needs."""
    return answer.status >= 400 and _problem_of(answer).existed


def error_of(answer: HttpAnswer, place: Place | None = None) -> ZjpError:
    """What a problem document says, as the error that it was."""
    problem = _problem_of(answer)
    kind = BY_CODE.get(problem.code) or _by_status(answer.status)
    text = problem.detail or problem.title
    if not text:
        text = f"{place.address if place else 'the API'} answered {answer.status}: {_start_of(answer.body)}"
    if answer.status == 401:
        text = f"{text}; give Client(..., token=...) or login=(name, password), or set CLIENT_TOKEN"
    return ZjpError(text) if issubclass(kind, JobError) else kind(text)


def _by_status(status: int) -> type[ZjpError]:
    known: dict[int, type[ZjpError]] = {
        401: NotAllowed, 403: NotAllowed, 404: NotFound, 413: PayloadTooLarge, 415: InvalidJob, 400: InvalidJob, 409: InvalidJob,
        422: InvalidJob,
    }  # fmt: skip
    if status in known:
        return known[status]
    return WireError if status < 500 else Unavailable


def _start_of(body: bytes) -> str:
    text = " ".join(body[:DETAIL_CHARS].decode(errors="replace").split())
    return text or "(an empty answer)"


def _retry_after_s(answer: HttpAnswer) -> float | None:
    """Only seconds: a date would need the server's clock."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), 3600.0) if text.isascii() and text.isdigit() else None
