"""The blocking client's door to the HTTP API: http.client with connections that are kept.

Any number of threads may ask: each call takes an idle connection or makes one, and gives it back when its answer was read to the end. An
idle connection is used again for KEPT_S at most, which is less than the API keeps it, so that hardly one is lost on the way; a call that
must not be made twice gets a new one. After a fork the child makes its own.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import __version__
from ..errors import WireError
from ..job import JobSpec
from ..wire import messages as m
from .calls import Outcome
from .exchange import new_session_number
from .gathering import IdMaker
from .http_entry import Entry
from .http_json import read
from .http_trip import BODY_BYTES_MAX, CONNECT_S, HttpAnswer, HttpCall, Pause, Place, Places, Trip, error_of
from .http_wire import API, talk

KEPT_S = 3.0
KEPT_MAX = 32
"""Idle connections to one address."""
READ_BYTES = 256 << 10
FAULTS = (OSError, http.client.HTTPException)


def tls_context(places: Places, ca_file: str | None) -> ssl.SSLContext | None:
    """Certificates and names are always checked: by `ca_file`, else by the system's authorities. Raises: ConfigError."""
    if not any(place.is_tls for place in places.all):
        return None
    from ..errors import ConfigError

    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as fault:
        raise ConfigError(f"CLIENT_CA_FILE={ca_file}: {fault}; it must be a file of certificates in PEM") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def head_of(call: HttpCall) -> dict[str, str]:
    head = {"Accept": "application/json", "User-Agent": f"zjp/{__version__}", **call.headers}
    if call.body:
        head["Content-Type"] = "application/json"
    return head


class _Kept(NamedTuple):
    line: http.client.HTTPConnection
    since: float


class HttpDoor:
    """`addresses` in fail-over order. Any number of threads may call."""

    def __init__(self, addresses: Sequence[str], entry: Entry, ca_file: str | None = None) -> None:
        self._places, self._entry = Places(addresses), entry
        self._tls = tls_context(self._places, ca_file)
        self._login_lock = threading.RLock()
        self._is_closed = False
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        self._new_ids = IdMaker(new_session_number())
        self._kept: defaultdict[Place, list[_Kept]] = defaultdict(list)

    def close(self) -> None:
        self._is_closed = True
        for place in self._places.all:
            self._close_kept(place)

    def make_ids(self, count: int) -> list[bytes]:
        self._see_fork()
        with self._lock:
            return self._new_ids(time.time_ns() // 1_000_000, count)

    def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        return self.ask(m.Submit([spec]), within_s)

    def ask(self, request: m.Request, within_s: float) -> Outcome:
        """The reply. Raises: ZjpError."""
        if self._is_closed:
            raise RuntimeError("this Client is closed; make another one")
        self._see_fork()
        deadline = time.monotonic() + within_s
        talking = talk(request)
        try:
            call = next(talking)
            while True:
                call = talking.send(self._signed(call, deadline))
        except StopIteration as end:
            reply: m.Reply = end.value
            return reply

    def document(self, path: str, within_s: float) -> Any:
        """What the API tells at a path of its own, where no request of the wire asks for it. Raises: ZjpError."""
        answer = self._signed(HttpCall("GET", API + path), time.monotonic() + within_s)
        if answer.status != 200:
            raise error_of(answer)
        return read(answer.body, dict)

    def _see_fork(self) -> None:
        """The parent's connections stay the parent's; ids made by both would collide."""
        if os.getpid() != self._pid:
            self._login_lock = threading.RLock()
            self._start()

    # ── one call ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _signed(self, call: HttpCall, deadline: float) -> HttpAnswer:
        signed = self._sign(call, deadline)
        answer = self._carry(signed, deadline)
        if self._entry.is_refused(signed, answer):
            answer = self._carry(self._sign(call, deadline), deadline)
        return answer

    def _sign(self, call: HttpCall, deadline: float) -> HttpCall:
        if self._entry.needs_login(time.monotonic()):
            with self._login_lock:
                if self._entry.needs_login(time.monotonic()):
                    self._entry.take(self._carry(self._entry.login_call(), deadline), time.monotonic())
        return self._entry.sign(call)

    def _carry(self, call: HttpCall, deadline: float) -> HttpAnswer:
        trip = Trip(call, self._places, now=time.monotonic(), deadline=deadline, uniform=random.random())
        while True:
            step = trip.next(time.monotonic())
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                continue
            attempt = _Attempt(call, step.place, time.monotonic() + step.limit_s)
            try:
                answer = self._attempt(attempt)
            except FAULTS as fault:
                trip.broke(
                    step.place, told(fault), time.monotonic(), was_sent=attempt.was_sent, is_lasting=is_lasting(fault)
                )
                continue
            settled = trip.answered(step.place, answer, time.monotonic())
            if settled is not None:
                return settled

    def _attempt(self, attempt: _Attempt) -> HttpAnswer:
        """Over a connection that was kept, or, when there is none or it was closed meanwhile, over a new one. Raises: FAULTS."""
        kept = self._take(attempt.place) if attempt.call.is_repeatable else None
        if kept is not None:
            try:
                return self._exchange(kept, attempt)
            except TimeoutError:
                raise
            except FAULTS:
                self._close_kept(attempt.place)
        return self._exchange(self._connect(attempt), attempt)

    def _connect(self, attempt: _Attempt) -> http.client.HTTPConnection:
        place, limit_s = attempt.place, min(CONNECT_S, attempt.left_s())
        line: http.client.HTTPConnection
        if place.is_tls:
            line = http.client.HTTPSConnection(place.host, place.port, timeout=limit_s, context=self._tls)
        else:
            line = http.client.HTTPConnection(place.host, place.port, timeout=limit_s)
        try:
            line.connect()
        except BaseException:
            line.close()
            raise
        return line

    def _exchange(self, line: http.client.HTTPConnection, attempt: _Attempt) -> HttpAnswer:
        """Closes the connection unless the answer was read to its end."""
        is_over = False
        try:
            attempt.set_limit(line)
            attempt.was_sent = True
            line.request(
                attempt.call.method,
                attempt.call.target(attempt.place),
                attempt.call.body or None,
                head_of(attempt.call),
            )
            response = line.getresponse()
            headers = {name.lower(): text for name, text in response.getheaders()}
            answer = HttpAnswer(response.status, headers, _read(response, line, attempt))
            is_over = not response.will_close
            return answer
        finally:
            if is_over:
                self._keep(attempt.place, line)
            else:
                line.close()

    # ── connections that are kept ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, place: Place) -> http.client.HTTPConnection | None:
        with self._lock:
            kept = self._kept[place]
            while kept:
                line, since = kept.pop()
                if time.monotonic() - since < KEPT_S:
                    return line
                line.close()
        return None

    def _keep(self, place: Place, line: http.client.HTTPConnection) -> None:
        with self._lock:
            if not self._is_closed and len(self._kept[place]) < KEPT_MAX:
                self._kept[place].append(_Kept(line, time.monotonic()))
                return
        line.close()

    def _close_kept(self, place: Place) -> None:
        with self._lock:
            kept, self._kept[place] = self._kept[place], []
        for line, _ in kept:
            line.close()


class _Attempt:
    """One sending. `was_sent`: bytes of it may have left."""

    def __init__(self, call: HttpCall, place: Place, deadline: float) -> None:
        self.call, self.place, self._deadline = call, place, deadline
        self.was_sent = False

    def left_s(self) -> float:
        """Raises: TimeoutError."""
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        return left_s

    def set_limit(self, line: http.client.HTTPConnection) -> None:
        if line.sock is not None:
            line.sock.settimeout(self.left_s())


def _read(response: http.client.HTTPResponse, line: http.client.HTTPConnection, attempt: _Attempt) -> bytes:
    """Piece by piece, so that an answer that drips in ends at the deadline. Raises: WireError."""
    parts, size_bytes = [], 0
    while part := response.read1(READ_BYTES):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > BODY_BYTES_MAX:
            raise WireError(f"the answer is larger than {BODY_BYTES_MAX} bytes; ask for fewer jobs at once")
        attempt.set_limit(line)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    response.close()  # read1 does not notice the end by itself, and the connection takes no call before
    return b"".join(parts)


def is_lasting(fault: Exception) -> bool:
    """A certificate that is not trusted now is not a moment later."""
    return isinstance(fault, ssl.SSLCertVerificationError)


def told(fault: Exception) -> str:
    """What a connection broke of, in a few words."""
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    if isinstance(fault, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({fault.verify_message}); name its authority with ca_file= or CLIENT_CA_FILE"
    if isinstance(fault, OSError) and fault.errno and not isinstance(fault, ssl.SSLError | socket.gaierror):
        return os.strerror(fault.errno)  # the loop's own text names the address once more
    return str(fault) or type(fault).__name__
