"""The node's ROUTER: bound, bounded, drained from the loop. Knows frames and keys, not messages.

Two kinds of callers share it, told apart by the first frame: nodes ([MESH, envelope, body]) are handed on where they are read; clients
wait in a lane, so that no number of them delays a node (lane.py). With CURVE a caller is whoever holds the key that its connection proved
(`Holder`): each message is looked up, as a session outlives its key; and when keys are gone from the guard's table, what is still connected
by them is cut, spoken or idle (sessions.py). The routing id only says where an answer goes.

HANDOVER: a caller may choose its routing id. Without CURVE, one that comes back under the same id before its old connection is missed takes
it over. With CURVE that would let any key receive another's answers, so the first one keeps the id; zjp's own sockets choose none.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence

import msgspec
import zmq

from ..errors import Unavailable
from ..log import event
from ..wire.greeting import MESH
from .curve import Holder, KeyRole, protect_server
from .lane import Lane
from .probe import self_test
from .pump import Pump, receive_rest, set_limits, set_tcp_limits, speak_ip_of
from .sessions import Sessions
from .zap import Guard

SOCKETS_MAX = 4096
"""In the door's context, where the mesh has its own too: two for each of 1,024 nodes, and two more inside ZeroMQ."""

log = logging.getLogger(__name__)


UNBOUND = {
    errno.EADDRINUSE: "another node or program listens there: stop it, or ",
    errno.EADDRNOTAVAIL: "that is no address of this machine: ",
    errno.ENODEV: "this machine has no address or network interface of that name: ",
}
"""Why an address could not be bound -> what that means. What is not here is told in the system's words alone."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Where an answer goes, and whose it is. `holder` None: a connection without keys."""

    identity: bytes
    holder: Holder | None


OnFrames = Callable[[Caller, list[bytes]], None]
"""Called with who sent the message, and its frames."""


class Door:
    """`bind`, then `send` and `on_frames` until `close`. `on_full` gets what the lane of clients has no room for. Assign `on_peer` to hear
    nodes; without it what they say is dropped. `setting`: what a bad address is to be blamed on."""

    def __init__(
        self, on_frames: OnFrames, on_full: OnFrames, guard: Guard | None = None, *, setting: str = "ZMQ_BIND"
    ) -> None:
        self._setting = setting
        self.on_peer: OnFrames | None = None
        self.guard = guard
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
        self._on_full = on_full
        self._lane = Lane(on_frames)
        self._pump: Pump | None = None
        self._caller = Caller(b"", None)
        self._sessions = Sessions(0)
        if guard is not None:
            guard.on_revoked = self._cut_revoked

    def bind(self, address: str) -> str:
        """Returns the address with its real port (`tcp://127.0.0.1:*` lets the system choose). Raises: Unavailable."""
        if address.startswith("ipc://"):
            self.guard = None  # the folder's mode says who may connect
        if self.guard is not None:
            self.guard.start(self.context)  # first: a socket that is bound before its handler is there must not be relied on
        socket = self.context.socket(zmq.ROUTER)
        set_limits(socket, linger_ms=1_000)
        set_tcp_limits(socket)
        speak_ip_of(socket, address)
        # Without MANDATORY a reply to a client that left, or that does not read, is dropped without a word.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1 if self.guard is None else 0)
        if self.guard is not None:
            protect_server(socket, self.guard.pair)
        try:
            socket.bind(address)
        except zmq.ZMQError as fault:
            socket.close(0)
            number = fault.errno or 0
            raise Unavailable(
                f"{self._setting}={address}: {zmq.strerror(number).lower()}; {UNBOUND.get(number, '')}"
                f"set {self._setting} (--{self._setting.lower().replace('_', '-')}) to another place"
            ) from None
        receive = self._receive if self.guard is not None else None
        self._pump = Pump(socket, self._on_message, receive, is_idle=self._lane.is_empty)
        self._pump.start()
        self.address = str(socket.getsockopt_string(zmq.LAST_ENDPOINT))
        if self.guard is not None:
            self._sessions = Sessions(int(self.address.rpartition(":")[2]))
        return self.address

    async def test(self) -> None:
        """That strangers are kept out. Raises: ConfigError, Unavailable."""
        if self.guard is not None:
            await self_test(self.address, self.guard.pair)

    def send(self, caller: Caller, frames: Sequence[bytes]) -> bool:
        """False: the caller is gone, does not read, or its key was revoked."""
        if caller.holder is not None and not self._is_welcome(caller.holder):
            return False
        return self._pump is not None and self._pump.send([caller.identity, *frames])

    def close(self) -> None:
        self._lane.clear()
        if self._pump is not None:
            self._pump.stop()
            self._pump.socket.close()
            self._pump = None
        if self.guard is not None:
            self.guard.stop()
        self.context.term()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_message(self, frames: list[bytes]) -> None:
        if self.guard is None:
            self._hand_on(Caller(frames[0], None), frames[1:])
        elif len(frames) > 1:
            self._hand_on(self._caller, frames[1:])

    def _hand_on(self, caller: Caller, frames: list[bytes]) -> None:
        if len(frames) > 1 and frames[0] == MESH:
            self._hand_on_peer(caller, frames)
        elif not self._lane.offer(sum(map(len, frames)), caller, frames):
            self._on_full(caller, frames)

    def _hand_on_peer(self, caller: Caller, frames: list[bytes]) -> None:
        if caller.holder is not None and caller.holder.role is not KeyRole.NODE:
            assert self.guard is not None
            self.guard.refuse("no node's key")
        elif self.on_peer is not None:
            self.on_peer(caller, frames)

    def _receive(self, socket: zmq.Socket[bytes]) -> list[bytes]:
        """With CURVE: the message, and in `_caller` who proved to have sent it; the bare routing id when its key is not welcome."""
        assert self.guard is not None
        first = socket.recv(zmq.NOBLOCK, copy=False)
        frames = [first.bytes, *(receive_rest(socket) if first.more else [])]
        user_id = str(first.get("User-Id"))
        holder = self.guard.holder(user_id)
        if holder is None:
            self.guard.refuse("revoked key")
            self._sessions.cut(int(first.get(zmq.SRCFD)))
            return frames[:1]
        self._sessions.spoke(int(first.get(zmq.SRCFD)), frames[0], user_id)
        self._caller = Caller(frames[0], holder)
        return frames

    def _is_welcome(self, holder: Holder) -> bool:
        return self.guard is not None and self.guard.holder(holder.user_id) == holder

    def _cut_revoked(self) -> None:
        guard = self.guard
        if guard is None or self._pump is None:
            return
        try:
            count = self._sessions.keep(lambda user_id: guard.holder(user_id) is not None)
        except OSError as fault:  # no descriptor is left, as in a flood
            event(log, logging.ERROR, "curve.not_cut", reason=f"{fault}; what is idle is cut at its next message")
        else:
            event(log, logging.INFO, "curve.cut", connections=count)
