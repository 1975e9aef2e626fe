"""A ZeroMQ socket inside an asyncio loop, without zmq.asyncio.

`zmq.asyncio` costs a future and several wake-ups per message (3.6 times the CPU here, measured); this drains the raw socket in batches from
the loop's own reader on the socket's file descriptor.

That descriptor is edge-triggered: it becomes readable when the socket's *state* changes, not while messages wait. Two rules follow, or a
message sleeps until the next one arrives: read until there is no more, and look again after every send, because a send also processes
what came in. One socket belongs to the loop's thread; nobody else may touch it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import cast

import zmq

from ..wire.messages import MESSAGE_BYTES_MAX

DRAIN_MAX = 256
"""Messages per turn of the loop, so that a flood on one socket starves no other reader."""

DRAIN_S = 0.02
"""The same in time: 256 messages of a megabyte take longer."""

QUIET_S = 0.005
"""After so long without a message the next one comes alone, most likely."""

OnMessage = Callable[[list[bytes]], None]
Receive = Callable[[zmq.Socket[bytes]], list[bytes]]
"""One message, without waiting. Raises: zmq.Again when there is none."""


# As plain numbers: pyzmq's are members of enums, and `&` of one of those makes another in Python.
_NOW = int(zmq.NOBLOCK)
_NOW_AND_MORE = _NOW | int(zmq.SNDMORE)
_POLLIN = int(zmq.POLLIN)


def has_message(socket: zmq.Socket[bytes]) -> bool:
    """Whether `receive_now` would find one."""
    # Not by zmq_poll, which takes 55 us and gives the interpreter away: beside a busy thread it comes back milliseconds later.
    return bool(cast(int, socket.getsockopt(zmq.EVENTS)) & _POLLIN)


def receive_now(socket: zmq.Socket[bytes]) -> list[bytes]:
    """One message, as `recv_multipart`, which asks the socket after each frame whether there are more: a frame knows it.
    Raises: zmq.Again when there is none."""
    frame = socket.recv(_NOW, copy=False)
    return [frame.bytes, *receive_rest(socket)] if frame.more else [frame.bytes]


def receive_rest(socket: zmq.Socket[bytes]) -> list[bytes]:
    """The further frames of a message, whose first said that there are some: they have all come."""
    frames, has_more = [], True
    while has_more:
        frame = socket.recv(_NOW, copy=False)
        frames.append(frame.bytes)
        has_more = frame.more
    return frames


def send_now(socket: zmq.Socket[bytes], frames: Sequence[bytes]) -> None:
    """One message, as `send_multipart`, which looks at each frame's type first. Raises: zmq.ZMQError; then nothing was sent."""
    for frame in frames[:-1]:
        socket.send(frame, _NOW_AND_MORE)
    socket.send(frames[-1], _NOW)


class Pump:
    """Calls `on_message(frames)` for each message of `socket`, in order, until `stop`.

    `is_idle`: whether nothing that came before is still to be done. What a message asks for that then comes after a pause is begun before
    it is looked for another: to an idle process that question costs 85 us, as nothing of it is cached, and to be told by an exception 150.
    A second message lies unread for two turns of the loop. Not given: never."""

    def __init__(
        self, socket: zmq.Socket[bytes], on_message: OnMessage, receive: Receive | None = None, *,
        is_idle: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self.socket = socket
        self._on_message = on_message
        self._receive = receive or receive_now
        self._fd = cast(int, socket.getsockopt(zmq.FD))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._look_is_due = False
        """The socket will be read in this turn of the loop or one of the next: nothing else has to see to it."""
        self._is_idle = is_idle
        self._quiet_at = 0.0
        """From then on a message is the first after a pause."""

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._drain)
        self._look_is_due = False  # one that was due in a former loop, which may have ended, will not come
        self._schedule()  # what came before the reader was there has already used up its edge

    def stop(self) -> None:
        """Stop reading. The socket stays open: closing is the owner's, and comes after this."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd)
            self._loop = None

    def send(self, frames: Sequence[bytes]) -> bool:
        """Never blocks. False: the peer is gone or its buffer is full, and nothing was sent."""
        try:
            send_now(self.socket, frames)
        except zmq.ZMQError as fault:
            if fault.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                raise
            return False
        finally:
            # Only when none is due: were each send to schedule a look of its own, looks would double from turn to turn under load
            # and starve the others.
            if not self._look_is_due and has_message(self.socket):
                self._schedule()
        return True

    def _schedule(self) -> None:
        if self._loop is not None:
            self._look_is_due = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        self._read(is_alone=time.monotonic() >= self._quiet_at and self._is_idle())

    def _read(self, *, is_alone: bool) -> None:
        # Due while it runs, too: it reads until EAGAIN, so what a handler's sends bring in is seen without asking each time.
        self._look_is_due, may_be_more = True, False
        try:
            may_be_more = self._read_some(1 if is_alone else DRAIN_MAX)
        finally:
            self._look_is_due = False
        if may_be_more and is_alone:
            self._look_later()
        elif may_be_more:
            self._schedule()

    def _look_later(self) -> None:
        """Behind what this turn of the loop has begun, and the first step of a task that begins in the next one."""
        if self._loop is not None:
            self._look_is_due = True
            self._loop.call_soon(self._loop.call_soon, self._look)

    def _look(self) -> None:
        self._look_is_due = False
        if self._loop is not None and has_message(self.socket):
            self._read(is_alone=False)

    def _read_some(self, count_max: int) -> bool:
        """At most so many messages, or for DRAIN_S. False: all were read, or the pump was stopped."""
        end = time.monotonic() + DRAIN_S
        for count in range(count_max):
            loop = self._loop
            if loop is None:
                return False
            # Most messages of an idle process come alone. To be told so by an exception takes 150 us, to ask 85: nothing is cached then.
            if count == 1 and not has_message(self.socket):
                return False
            try:
                frames = self._receive(self.socket)
            except zmq.Again:
                return False
            try:
                self._on_message(frames)
            except Exception as fault:  # one bad message must not stop the others
                loop.call_exception_handler({"message": "a message could not be handled", "exception": fault})
            now = time.monotonic()
            self._quiet_at = now + QUIET_S
            if now >= end:
                break
        return True


def set_limits(socket: zmq.Socket[bytes], *, linger_ms: int, high_water_mark: int = 1000) -> None:
    """The options that every socket of zjp has; the defaults of ZeroMQ are unbounded or silent.

    `linger_ms`: how long unsent messages may hold up closing. `high_water_mark`: messages (each a batch) buffered per peer; 0 only where
    credit bounds them.
    """
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.setsockopt(zmq.SNDHWM, high_water_mark)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    socket.setsockopt(zmq.MAXMSGSIZE, MESSAGE_BYTES_MAX)


def speak_ip_of(socket: zmq.Socket[bytes], address: str) -> None:
    """IPv6 for an address in brackets, before it is bound or connected. For no other: a name would then stand for its IPv6 address first,
    where a door that is bound to an IPv4 address does not listen."""
    if address.startswith("tcp://["):
        socket.setsockopt(zmq.IPV6, 1)


def set_tcp_limits(socket: zmq.Socket[bytes]) -> None:
    """For sockets that strangers may reach: half-open peers and silent connections are dropped in seconds."""
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6_000)
    socket.setsockopt(zmq.HEARTBEAT_TTL, 6_000)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
