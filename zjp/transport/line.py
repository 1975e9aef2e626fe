"""The way to one address: a DEALER while it lasts, made anew after each failure, with a pause that grows.

ZeroMQ's own reconnecting is off. With IMMEDIATE a DEALER takes messages only while its connection stands, so what waits in it is never
older than the connection; and a new socket can try another key: an address alone does not say whose it is, so the keys that its node may
have are tried in turn. `on_up` and `on_down` tell of the connection, which is a hint; that a node answers is proved by its Welcome.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import zmq

from ..wire.greeting import PEER_BYTES_MAX
from .curve import KeyPair, protect_client
from .names import Finding, LookUp, first_address, name_in
from .pump import Pump, set_limits, set_tcp_limits, speak_ip_of
from .tcp import resend_soon
from .watch import HANDSHAKE_FAILED, WATCHED, connected_file, read_event

PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 2.0
NEXT_KEY_S = 0.01
CONNECT_S = 6.0
"""With its own reconnecting off ZeroMQ says nothing at all of some failures: a line that hears neither yes nor no for so long is dialled
again. Above HANDSHAKE_IVL, so that ZeroMQ's own word comes first."""
WELCOME_S = 3.0
"""A node that takes the connection and does not answer the Hello for so long is left and tried again."""
UNNAMED_AFTER = 2
"""Failures in a row."""
LINGER_MS = 300
"""For the last words of one that leaves."""
QUEUE_MAX = 512
"""Messages waiting for one peer; beyond it they are dropped: an election's message that is late is worth nothing."""


class Owner(Protocol):
    def on_up(self, line: Line) -> None: ...
    def on_down(self, line: Line, fault: str) -> None: ...
    def on_reply(self, line: Line, frames: list[bytes]) -> None: ...


class Line:
    """`node`: whose address it is, empty while that is not known (any more). `open` once; it stays, through all failures, until `close`."""

    def __init__(
        self,
        owner: Owner,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        node: str,
        *,
        is_seed: bool,
        pair: KeyPair | None,
        keys: Callable[[str], Sequence[bytes]],
        connect_s: float = CONNECT_S,
        look_up: LookUp = first_address,
    ) -> None:
        self.address, self.node, self.is_seed = address, node, is_seed
        self.server = b""
        """The key that the present connection's other side proved to have."""
        self.is_welcomed = False
        self.failures = 0
        self.failing_since: float | None = None
        self._owner, self._context, self._pair, self._keys = owner, context, pair, keys
        self._connect_s, self._look_up = connect_s, look_up
        self._finding: Finding | None = None
        self._turn = 0
        self._pumps: tuple[Pump, Pump] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Dial now, unless it is connected, or being connected, or its name is being looked up."""
        if self._pumps is not None or self._finding is not None:
            return  # and the wait for its Welcome goes on
        self._stop_timer()
        named = name_in(self.address)
        if named is None:
            self._dial(self.address)
            return
        self._finding = Finding(*named, self._is_found, self._is_not_found, self._look_up)

    def _is_found(self, number: str) -> None:
        self._finding = None
        self._dial(f"tcp://{number}:{self.address.rpartition(':')[2]}")

    def _is_not_found(self, fault: str) -> None:
        self._finding = None
        self._failed(fault)

    def _dial(self, address: str) -> None:
        keys = self._keys(self.node) if self._pair is not None else [b""]
        if not keys:
            self._failed("no key of that node is authorized here")
            return
        self.server = keys[self._turn % len(keys)]
        try:
            self._connect(address)
        except zmq.ZMQError as fault:  # no address that ZeroMQ can use, or no descriptor is left
            self._failed(fault.strerror or "the address cannot be used")
        else:
            self._start_timer(self._connect_s, lambda: self.hang_up("no connection"))

    def send(self, frames: Sequence[bytes]) -> bool:
        """False: not connected, or the peer does not read; nothing was sent."""
        return self._pumps is not None and self._pumps[0].send(frames)

    def lead_to(self, node: str) -> None:
        """The address is another node's now: nothing is left of the tries that were for the former one. `open` comes next."""
        self.close()
        self.node, self.failures, self.failing_since, self._turn = node, 0, None, 0

    def welcomed(self) -> None:
        """The other side answered the Hello."""
        self.is_welcomed, self.failures, self.failing_since = True, 0, None
        self._stop_timer()

    def hang_up(self, fault: str, *, pause_s: float | None = None) -> None:
        """Leave this connection and dial again later."""
        if self._pumps is not None:
            self._failed(fault, pause_s=pause_s)

    def close(self) -> None:
        self._stop_timer()
        if self._finding is not None:
            self._finding.give_up()
        self._close_socket()

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _connect(self, address: str) -> None:
        socket = self._context.socket(zmq.DEALER)
        try:
            set_limits(socket, linger_ms=LINGER_MS, high_water_mark=QUEUE_MAX)
            set_tcp_limits(socket)
            speak_ip_of(socket, address)
            socket.setsockopt(zmq.MAXMSGSIZE, PEER_BYTES_MAX)
            socket.setsockopt(zmq.IMMEDIATE, 1)
            socket.setsockopt(zmq.RECONNECT_IVL, -1)
            if self._pair is not None:
                protect_client(socket, self._pair, self.server)
            monitor = socket.get_monitor_socket(WATCHED)
        except zmq.ZMQError:
            socket.close(0)
            raise
        self._pumps = Pump(socket, lambda frames: self._owner.on_reply(self, frames)), Pump(monitor, self._on_event)
        for pump in self._pumps:
            pump.start()
        socket.connect(address)

    def _on_event(self, frames: list[bytes]) -> None:
        file = connected_file(frames)
        if file is not None:
            resend_soon(file)
        for fault in read_event(frames):
            if self._pumps is None:
                return
            if fault is None:
                self._start_timer(WELCOME_S, lambda: self.hang_up("it does not answer"))
                self._owner.on_up(self)
            else:
                self._failed(fault, pause_s=self._next_key(fault))

    def _next_key(self, fault: str) -> float | None:
        """How soon to try the next key, when it may be that; None: as after any failure."""
        if fault != HANDSHAKE_FAILED or self._pair is None:
            return None
        self._turn += 1
        return NEXT_KEY_S if self._turn % len(self._keys(self.node) or [b""]) else None

    def _failed(self, fault: str, *, pause_s: float | None = None) -> None:
        self._close_socket()
        self.failures += 1
        if self.failing_since is None:
            self.failing_since = asyncio.get_running_loop().time()
        grown_s = min(PAUSE_MAX_S, PAUSE_MIN_S * 2 ** min(self.failures - 1, 8))
        self._start_timer(grown_s if pause_s is None else pause_s, self.open)
        was_welcomed, self.is_welcomed = self.is_welcomed, False
        if was_welcomed or self.failures == 1:
            self._owner.on_down(self, fault)
        if self.is_seed and self.failures == UNNAMED_AFTER:
            self.node = ""  # another one may have the address now, and a seed is for whoever is there

    def _close_socket(self) -> None:
        if self._pumps is None:
            return
        dealer, monitor = self._pumps
        self._pumps = None
        for pump in (dealer, monitor):
            pump.stop()
        dealer.socket.disable_monitor()
        monitor.socket.close(0)
        dealer.socket.close()

    def _start_timer(self, delay_s: float, deed: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, deed)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
