"""Threads that share one session, without a thread of the library's own: whoever waits works for all.

A caller puts its request into the session under the lock, sends what is to be sent, and then waits. The first one to wait becomes the
leader: it sleeps on the sockets' descriptors with the lock released, and whatever arrives is handled by whichever thread has the lock
next. The others sleep on a condition and look again when something finished, or when the leader leaves. So a single-threaded caller
never pays for a change of threads.

A ZeroMQ socket belongs to the thread that holds the lock. The leader sleeps on plain descriptors, not on the sockets, so others may
send meanwhile; each turn ends with everything read, and a descriptor becomes readable again by whatever comes after that.

A signal handler runs in the middle of what its thread is doing. When that is a call here, lock and session are in that call's hands, and
what the handler asks goes over another exchange, with a session and sockets of its own, made when it is first needed.

An exception in the middle of a turn (Ctrl-C) leaves sockets and session in an unknown state: the next turn throws the sockets away and
sends again what is under way, which is safe, as every request is. After a fork the child starts anew, with a session of its own: ids made
by both would collide.
"""

from __future__ import annotations

import os
import random
import select
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress

from ..errors import ZjpError
from ..job import JobSpec
from ..wire.messages import Request
from .calls import Outcome
from .keys import Keyring
from .links import CannotOpen, Wire
from .session import Session

POLL_MAX_S = 3600.0
SESSION_BITS = 42


class Waiting:
    """One caller's place in the exchange."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome | None = None


class Visit:
    """A thread's call in an exchange, which `with` gives. Noted weakly: one that was broken off before its `with` is over as well."""

    __slots__ = ("__weakref__", "_exchange")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> Exchange:
        self._exchange.visits[threading.get_ident()] = weakref.ref(self)
        return self._exchange

    def __exit__(self, *_: object) -> None:
        self._exchange.visits.pop(threading.get_ident(), None)
        if self._exchange.is_closed:
            self._exchange.close_sockets()


def new_session_number() -> int:
    return random.SystemRandom().getrandbits(SESSION_BITS)


class Exchange:
    """`addresses` in fail-over order. Any number of threads may call."""

    def __init__(self, addresses: Sequence[str], cluster: str, keyring: Keyring | None = None) -> None:
        self._addresses, self._cluster, self._keyring = list(addresses), cluster, keyring
        self._start()
        _open_exchanges.add(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._ids_lock = threading.RLock()
        """Apart: who sends may hold the other one while many ids are made. A signal handler may take it again in the midst."""
        self.session: Session[Waiting] = Session(
            cluster=self._cluster, number=new_session_number(), addresses=self._addresses, uniform=random.random
        )
        self._wires: dict[str, Wire] = {}
        self._poll: select.poll | None = None
        self._ready: set[int] = set()
        self._leader: Waiting | None = None
        self._leader_until = 0.0
        self._bell, self._clapper = socket.socketpair()
        for end in (self._bell, self._clapper):
            end.setblocking(False)
        self._is_dirty = False
        self.visits: dict[int, weakref.ref[Visit]] = {}
        """By thread."""
        self._for_handlers: Exchange | None = None
        self.is_closed = False

    def restart_in_child(self) -> None:
        """After a fork: the parent's sockets are left alone (their threads live in the parent), and nothing of its session is used."""
        if not self.is_closed:
            self._close_bell()
            self._start()

    def close(self) -> None:
        with self._lock:
            if self.is_closed:
                return
            self.is_closed = True
            self._ring()
            self._changed.notify_all()
            if not self._is_inside():  # else a handler closes it under a call, which sees to it when it ends
                self.close_sockets()
        if self._for_handlers is not None:
            self._for_handlers.close()
        _open_exchanges.discard(self)

    def close_sockets(self) -> None:
        with self._lock:
            self._close_wires()
            if self._leader is None:
                self._close_bell()

    def _is_inside(self) -> bool:
        """Whether this thread is, so that a signal handler is who asks."""
        visit = self.visits.get(threading.get_ident())
        return visit is not None and visit() is not None

    def _visit(self) -> Visit:
        """To this one, or to the one for handlers."""
        exchange = self
        while exchange._is_inside():
            if exchange._for_handlers is None:
                exchange._check_open()
                exchange._for_handlers = Exchange(self._addresses, self._cluster, self._keyring)
            exchange = exchange._for_handlers
        return Visit(exchange)

    def _check_open(self) -> None:
        if self.is_closed:
            raise RuntimeError("this Client is closed; make another one")

    # ── callers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def make_ids(self, count: int) -> list[bytes]:
        with self._ids_lock:
            return self.session.make_ids(time.time_ns() // 1_000_000, count)

    def ask(self, request: Request, within_s: float) -> Outcome:
        """The reply. Raises: ZjpError when there is none, or it is a refusal."""
        me = Waiting()
        with self._visit() as exchange, exchange._lock:
            now = time.monotonic()
            exchange.session.ask(request, me, now=now, deadline=now + within_s)
            return exchange._wait(me)

    def gather(self, spec: JobSpec, within_s: float) -> Outcome:
        """Submit one job, together with those of other threads. `within_s` must be the same for all."""
        me = Waiting()
        with self._visit() as exchange, exchange._lock:
            now = time.monotonic()
            exchange.session.gather(spec, me, now=now, deadline=now + within_s)
            return exchange._wait(me)

    def _wait(self, me: Waiting) -> Outcome:
        """With the lock held: work, lead or follow until `me` has its outcome."""
        try:
            self._turn()
            while me.outcome is None:
                if self._leader is None:
                    self._lead(me)
                else:
                    self._changed.wait(POLL_MAX_S)
                self._turn()
        finally:
            if self._leader is me:  # a signal came while it was leaving
                self._regain_lock()
                self._leader = None
            if me.outcome is None:
                self.session.forget(me)
            if self._leader is None:
                self._changed.notify()  # somebody else has to lead
        if isinstance(me.outcome, ZjpError):
            raise me.outcome
        return me.outcome

    # ── leading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _lead(self, me: Waiting) -> None:
        """Sleep until something happens on the wire, or time alone brings something about."""
        wake_at = self.session.next_wake()
        now = time.monotonic()
        poll = self._poll or self._make_poll()
        self._leader = me
        self._leader_until = now + POLL_MAX_S if wake_at is None else wake_at
        ready: list[tuple[int, int]] = []
        try:
            self._check_open()  # a handler may have closed it since the turn; from here on its bell is heard
            self._lock.release()
            ready = poll.poll(max(0.0, self._leader_until - now) * 1000 + 1)
        finally:
            self._regain_lock()
            self._leader = None
            self._ready.update(file for file, _ in ready)
            if self.is_closed:
                self._close_bell()

    def _regain_lock(self) -> None:
        """Have the lock again, whatever signals come; the last one's exception is raised then."""
        interrupt: BaseException | None = None
        while not self._lock._is_owned():  # type: ignore[attr-defined]
            try:
                self._lock.acquire()
            except BaseException as fault:
                interrupt = fault
        if interrupt is not None:
            raise interrupt

    def _make_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        for wire in self._wires.values():
            poll.register(wire.dealer_file, select.POLLIN)
            poll.register(wire.monitor_file, select.POLLIN)
        self._poll = poll  # only when complete: a signal may come in between
        return poll

    def _ring(self) -> None:
        """Wake the leader."""
        if self._leader is not None:
            with suppress(BlockingIOError):  # it was rung often enough
                self._clapper.send(b"!")

    def _silence_bell(self) -> None:
        with suppress(BlockingIOError):
            self._bell.recv(4096)

    def _close_bell(self) -> None:
        self._bell.close()
        self._clapper.close()

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self) -> None:
        """With the lock held: take what has come, let time pass, send what is to be sent. Everything is read when it returns."""
        self._check_open()
        if self._is_dirty:
            self._close_wires()
            self.session.forget_links()
        self._is_dirty = True
        if self._ready:
            self._read_ready()
        self.session.tick(time.monotonic())
        while self._open_wanted() or self._send():
            pass
        self._hand_out()
        self._is_dirty = False

    def _read_ready(self) -> None:
        """What the leader saw. Messages first: an answer may have come before the connection broke."""
        ready, self._ready = self._ready, set()
        if self._bell.fileno() in ready:
            self._silence_bell()
        for wire in list(self._wires.values()):
            if wire.dealer_file in ready:
                self._read_messages(wire)
            if wire.monitor_file in ready:
                self._read_events(wire)

    def _read_messages(self, wire: Wire) -> None:
        for frames in wire.messages():
            self.session.receive(wire.address, frames, time.monotonic())

    def _read_events(self, wire: Wire) -> None:
        for fault in wire.events():
            if fault is None:
                self.session.link_up(wire.address, time.monotonic())
            else:
                self._read_messages(wire)
                self._close_wire(wire.address)
                self.session.link_down(wire.address, time.monotonic(), fault)
                return

    def _open_wanted(self) -> bool:
        wanted = self.session.wanted(time.monotonic())
        new = [address for address in wanted if address not in self._wires]
        for address in new:
            try:
                self._wires[address] = Wire(address, self._keyring)
            except CannotOpen as fault:
                self.session.link_down(address, time.monotonic(), str(fault))
                continue
            self._poll = None
            self._ring()
            self._read_events(self._wires[address])  # a descriptor tells of news only once everything old was read
        return bool(new)

    def _send(self) -> bool:
        """Whether anything was sent. A send may have used up the descriptor's edge, so what has come is read after it."""
        sends = self.session.take_sends(time.monotonic())
        for address, seq, frames in sends:
            wire = self._wires.get(address)
            if wire is None or not wire.send(frames):
                self.session.not_sent(address, seq, time.monotonic())
            else:
                self._read_messages(wire)
        return bool(sends)

    def _hand_out(self) -> None:
        finished = self.session.finished
        if finished:
            for waiting, outcome in finished:
                waiting.outcome = outcome
            finished.clear()
            self._changed.notify_all()
        if self._leader is None:
            return
        wake_at = self.session.next_wake()
        if self._leader.outcome is not None or (wake_at is not None and wake_at < self._leader_until):
            self._ring()

    def _close_wires(self) -> None:
        for address in list(self._wires):
            self._close_wire(address)

    def _close_wire(self, address: str) -> None:
        self._wires.pop(address).close()
        self._poll = None
        self._ring()


_open_exchanges: weakref.WeakSet[Exchange] = weakref.WeakSet()


def _restart_all_in_child() -> None:
    for exchange in list(_open_exchanges):
        exchange.restart_in_child()


os.register_at_fork(after_in_child=_restart_all_in_child)
