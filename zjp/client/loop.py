"""The session in an asyncio loop: sockets drained by pumps, one timer, one future per waiting caller.

What is submitted in one turn of the loop leaves together at its end, so the coroutines that one answer wakes form the next batch.
A caller that is cancelled leaves its future behind: the request goes on, and its answer meets nobody. Everything belongs to the loop of
the first call.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Sequence
from functools import partial

from ..errors import ZjpError
from ..job import JobSpec
from ..transport.pump import Pump
from ..wire.messages import Request, Submit
from .calls import OWN_VOICE, Outcome, Voice
from .exchange import new_session_number
from .keys import Keyring
from .links import CannotOpen, Wire
from .session import Session

Waiter = asyncio.Future[Outcome]


class LoopExchange:
    """`addresses` in fail-over order. Used from one loop only."""

    def __init__(self, addresses: Sequence[str], cluster: str, keyring: Keyring | None = None, *, gate: bytes = b"") -> None:
        self._keyring = keyring
        self.session: Session[Waiter] = Session(
            cluster=cluster, number=new_session_number(), addresses=addresses, uniform=random.random, gate=gate
        )
        self._wires: dict[str, tuple[Wire, Pump, Pump]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_closed = False
        self._pid = 0
        """The process whose loop it is."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop it belongs to, once it was used."""
        return self._loop

    def close(self) -> None:
        """Whoever still waits gets RuntimeError. In a process that was forked meanwhile nothing is undone: the sockets, and what the loop's
        selector watches, are the parent's."""
        self._is_closed = True
        if self._loop is not None and self._pid != os.getpid():
            return
        if self._timer is not None:
            self._timer.cancel()
        is_open = self._loop is not None and not self._loop.is_closed()
        for address in list(self._wires):
            self._close_wire(address, unhook=is_open)
        if is_open:
            for waiter in self.session.abandon():
                if not waiter.done():
                    waiter.set_exception(_closed())

    # ── callers ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def make_ids(self, count: int) -> list[bytes]:
        return self.session.make_ids(time.time_ns() // 1_000_000, count)

    def speaking_for(self, voice: Voice) -> Spokesman:
        return Spokesman(self, voice)

    def ask(self, request: Request, within_s: float, voice: Voice = OWN_VOICE) -> Waiter:
        """The future's result is the reply; it raises what a refusal or the deadline brings."""
        waiter, now = self._waiter(), time.monotonic()
        self.session.ask(request, waiter, now=now, deadline=now + within_s, voice=voice)
        self._flush_soon()
        return waiter

    def gather(self, spec: JobSpec, within_s: float) -> Waiter:
        """Submit one job together with those of other coroutines. `within_s` must be the same for all."""
        waiter, now = self._waiter(), time.monotonic()
        self.session.gather(spec, waiter, now=now, deadline=now + within_s)
        self._flush_soon()
        return waiter

    def _waiter(self) -> Waiter:
        loop = asyncio.get_running_loop()
        if loop is not self._loop or self._is_closed:
            self._adopt(loop)
        return loop.create_future()

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_closed:
            raise _closed()
        if self._loop is not None:
            raise RuntimeError("this AsyncClient belongs to another event loop; make one per loop")
        self._loop, self._pid = loop, os.getpid()

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _flush(self) -> None:
        """Let time pass, send what is to be sent, wake whose answer is there."""
        self._flush_is_due = False
        if self._is_closed:
            return
        session, now = self.session, time.monotonic()
        session.tick(now)
        for address in session.wanted(now):
            if address not in self._wires:
                self._open_wire(address)
        for address, seq, frames in session.take_sends(now):
            if address not in self._wires or not self._wires[address][1].send(frames):
                session.not_sent(address, seq, now)
        self._hand_out()
        self._set_timer(session.next_wake())

    def _hand_out(self) -> None:
        for waiter, outcome in self.session.take_finished():
            if waiter.done():
                continue
            if isinstance(outcome, ZjpError):
                waiter.set_exception(outcome)
            else:
                waiter.set_result(outcome)

    def _set_timer(self, wake_at: float | None) -> None:
        """One timer, moved only to come earlier: coming too early costs less than being moved with every message."""
        if wake_at is None or (self._timer is not None and self._timer_at <= wake_at):
            return
        if self._timer is not None:
            self._timer.cancel()
        assert self._loop is not None
        self._timer_at = wake_at
        self._timer = self._loop.call_later(max(0.001, wake_at - time.monotonic()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._flush()

    # ── wires ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_wire(self, address: str) -> None:
        try:
            wire = Wire(address, self._keyring)
        except CannotOpen as fault:
            self.session.link_down(address, time.monotonic(), str(fault))
            return
        pumps = (
            Pump(wire.dealer, partial(self._on_message, address)),
            Pump(wire.monitor, partial(self._on_event, address)),
        )
        self._wires[address] = wire, *pumps
        for pump in pumps:
            pump.start()

    def _close_wire(self, address: str, *, unhook: bool = True) -> None:
        wire, *pumps = self._wires.pop(address)
        if unhook:
            for pump in pumps:
                pump.stop()
        wire.close()

    def _on_message(self, address: str, frames: list[bytes]) -> None:
        if address in self._wires:
            self.session.receive(address, frames, time.monotonic())
            self._hand_out()
            self._flush_soon()

    def _on_event(self, address: str, frames: list[bytes]) -> None:
        if address not in self._wires:
            return
        for fault in self._wires[address][0].read(frames):
            if address not in self._wires:
                return
            if fault is None:
                self.session.link_up(address, time.monotonic())
            else:
                self._close_wire(address)
                self.session.link_down(address, time.monotonic(), fault)
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due and self._loop is not None:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)


class Spokesman:
    """The same session, on behalf of somebody. Submits go as the session's own, so that those of many people share a batch: who may
    submit is the speaker's to check. Closing it closes nothing."""

    __slots__ = ("_exchange", "_voice")

    def __init__(self, exchange: LoopExchange, voice: Voice) -> None:
        self._exchange, self._voice = exchange, voice

    def make_ids(self, count: int) -> list[bytes]:
        return self._exchange.make_ids(count)

    def ask(self, request: Request, within_s: float) -> Waiter:
        return self._exchange.ask(request, within_s, OWN_VOICE if isinstance(request, Submit) else self._voice)

    def gather(self, spec: JobSpec, within_s: float) -> Waiter:
        return self._exchange.gather(spec, within_s)

    def speaking_for(self, voice: Voice) -> Spokesman:
        return Spokesman(self._exchange, voice)

    def close(self) -> None:
        pass


def _closed() -> RuntimeError:
    return RuntimeError("this AsyncClient is closed; make another one")
