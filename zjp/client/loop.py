"""The session in an asyncio loop: sockets drained by pumps, one timer, one future per waiting caller.

What is submitted in one turn of the loop leaves together at its end, so the coroutines that one answer wakes form the next batch. A caller
that is cancelled leaves its future behind: the request goes on, and its answer meets nobody. Everything belongs to the loop of the first call.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from functools import partial

from ..errors import ZjpError
from ..job import JobSpec
from ..transport.pump import Pump
from ..wire.messages import Request
from .calls import Outcome
from .exchange import new_session_number
from .links import Wire, read_event
from .session import SUSPECT_S, Session

TIMER_MAX_S = SUSPECT_S / 2
"""The timer comes at least so often while something is under way: what was asked meanwhile may need it earlier than what was there."""

Waiter = asyncio.Future[Outcome]


class LoopExchange:
    """`addresses` in fail-over order. Used from one loop only."""

    def __init__(self, addresses: Sequence[str], cluster: str) -> None:
        self.session: Session[Waiter] = Session(
            cluster=cluster, number=new_session_number(), addresses=addresses, uniform=random.random
        )
        self._wires: dict[str, tuple[Wire, Pump, Pump]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._flush_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._is_closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop it belongs to, once it was used."""
        return self._loop

    def close(self) -> None:
        """Whoever still waits gets RuntimeError."""
        self._is_closed = True
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

    def ask(self, request: Request, within_s: float) -> Waiter:
        """The future's result is the reply; it raises what a refusal or the deadline brings."""
        waiter, now = self._waiter(), time.monotonic()
        self.session.ask(request, waiter, now=now, deadline=now + within_s)
        self._soon(now + within_s)
        return waiter

    def gather(self, spec: JobSpec, within_s: float) -> Waiter:
        """Submit one job together with those of other coroutines. `within_s` must be the same for all."""
        waiter, now = self._waiter(), time.monotonic()
        self.session.gather(spec, waiter, now=now, deadline=now + within_s)
        self._soon(now + within_s)
        return waiter

    def _waiter(self) -> Waiter:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._adopt(loop)
        return loop.create_future()

    def _adopt(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_closed:
            raise _closed()
        if self._loop is not None:
            raise RuntimeError("this AsyncClient belongs to another event loop; make one per loop")
        self._loop = loop

    def _soon(self, wake_at: float) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            assert self._loop is not None
            self._loop.call_soon(self._flush)
        if self._timer is not None and wake_at < self._timer_at:
            self._set_timer(wake_at)

    # ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _flush(self) -> None:
        """Let time pass, send what is to be sent, wake whose answer is there."""
        self._flush_is_due = False
        if self._is_closed:
            return
        session, now = self.session, time.monotonic()
        if self._timer is None or self._timer_at <= now:
            session.tick(now)
            self._set_timer(session.next_wake(now))
        for address in session.wanted(now):
            if address not in self._wires:
                self._open_wire(address)
        for address, seq, frames in session.take_sends(now):
            if address not in self._wires or not self._wires[address][1].send(frames):
                session.not_sent(address, seq, now)
        self._hand_out()

    def _hand_out(self) -> None:
        for waiter, outcome in self.session.take_finished():
            if waiter.done():
                continue
            if isinstance(outcome, ZjpError):
                waiter.set_exception(type(outcome)(*outcome.args))  # each its own: a traceback grows with every raise
            else:
                waiter.set_result(outcome)

    def _set_timer(self, wake_at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at is not None and self._loop is not None:
            now = time.monotonic()
            self._timer_at = min(wake_at, now + TIMER_MAX_S)
            self._timer = self._loop.call_later(max(0.001, self._timer_at - now), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._flush()

    # ── wires ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open_wire(self, address: str) -> None:
        wire = Wire(address)
        pumps = Pump(wire.dealer, partial(self._on_message, address)), Pump(wire.monitor, partial(self._on_event, address))
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
        for fault in read_event(frames):
            if address not in self._wires:
                return
            if fault is None:
                self.session.link_up(address, time.monotonic())
            else:
                self._close_wire(address)
                self.session.link_down(address, time.monotonic(), fault)
                self._set_timer(self.session.next_wake(time.monotonic()))
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._flush_is_due and self._loop is not None:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)


def _closed() -> RuntimeError:
    return RuntimeError("this AsyncClient is closed; make another one")
