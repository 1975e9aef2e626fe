"""One node asks another on somebody's behalf, so that whoever speaks to one node sees and tends all of them.

    asker ──AskNode──► this node ──AskPeer, by the mesh──► that node, which carries it out as if it had been asked ──TellPeer──► back

Only a few requests travel so: they look at that node, or are for that node alone. What the asker may do is checked here before it is
passed on, and there again by the role that is passed: a node's word counts there as far as the mesh can prove whose it is. With CURVE
that is a key of role node, which may vouch for anybody; without, anybody who reaches the door can say he is a node, so it counts
no more than a connection without a key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from ..errors import NotAllowed, NotFound, PayloadTooLarge, Unavailable, WireError, ZjpError
from ..wire import messages as m
from ..wire.codec import decode_reply, decode_request
from ..wire.desk import AskFeed, AskNode
from ..wire.relayed import REPLY_BYTES_MAX, REQUEST_BYTES_MAX, AskPeer, TellPeer
from ..wire.seen import AskHistory, DrainNode, Transfer
from .askers import Asker, Askers
from .intake import failure_of

WITHIN_S = 2.0
FEED_MS_MAX = 1_500
"""A feed is waited for within that time."""
UNDER_WAY_MAX = 256
"""In each direction."""
PASSED_ON = (m.AskStats, AskFeed, AskHistory, m.Ping, DrainNode, Transfer)

_encode = msgspec.msgpack.Encoder().encode
Relayed = AskPeer | TellPeer


class Relay:
    """`tell(node, message)`: by the mesh; False: it is not connected. `knows(node)`: it is of this cluster. `carry_out`: as the intake does
    it. `vouched`: the role that a node's word can give at most."""

    def __init__(
        self,
        node: str,
        askers: Askers,
        *,
        tell: Callable[[str, Relayed], bool],
        knows: Callable[[str], bool],
        carry_out: Callable[[Asker, m.Request], Awaitable[m.Reply]],
        vouched: m.Role,
    ) -> None:
        self._node, self._askers = node, askers
        self._tell, self._knows, self._carry_out, self._vouched = tell, knows, carry_out, vouched
        self._number = 0
        self._asked: dict[int, tuple[str, asyncio.Future[bytes]]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        for task in self._answering:
            task.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    @property
    def answers(self) -> Mapping[type, Callable[..., Awaitable[m.Reply]]]:
        return {AskNode: self.ask}

    # ── here: somebody wants to know of another node ─────────────────────────────────────────────────────────────────────────────────

    async def ask(self, request: AskNode, asker: Asker) -> m.Reply:
        """Raises: WireError, NotAllowed, NotFound, Unavailable."""
        inner = _read(request.body)
        self._askers.check_role(asker, inner)
        if request.node == self._node:
            return await self._carry_out(asker, inner)
        if not self._knows(request.node):
            raise NotFound(f"no node {request.node[:64]!r} in this cluster; `zjp cluster nodes` lists them")
        if len(self._asked) >= UNDER_WAY_MAX:
            raise Unavailable(
                f"{len(self._asked)} requests to other nodes are under way, which is the limit; ask again a little later"
            )
        return decode_reply(await self._asked_of(request, asker))

    async def _asked_of(self, request: AskNode, asker: Asker) -> bytes:
        self._number = number = self._number + 1
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = request.node, future
        role = min(asker.role or m.Role.WORKER, m.Role.ADMIN)
        try:
            if not self._tell(request.node, AskPeer(number, asker.name, int(role), request.body)):
                raise Unavailable(f"node {request.node} is not connected to {self._node}; ask it at its own address")
            async with asyncio.timeout(WITHIN_S):
                return await future
        except TimeoutError:
            raise Unavailable(
                f"node {request.node} did not answer {self._node} within {WITHIN_S:g} s; ask again"
            ) from None
        finally:
            del self._asked[number]

    # ── there: a node asks on somebody's behalf ──────────────────────────────────────────────────────────────────────────────────────

    def on_message(self, node: str, message: Relayed) -> None:
        """By the mesh."""
        if isinstance(message, TellPeer):
            asked = self._asked.get(message.number)
            if asked is not None and asked[0] == node and not asked[1].done():
                asked[1].set_result(message.body)
        elif len(self._answering) < UNDER_WAY_MAX:
            task = asyncio.create_task(self._answer(node, message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)

    async def _answer(self, node: str, message: AskPeer) -> None:
        try:
            request = _read(message.body)
            asker = self._asker(node, message)
            self._askers.check_role(asker, request)
            reply = await self._carry_out(asker, request)
        except ZjpError as fault:
            reply = failure_of(fault)
        self._tell(node, TellPeer(message.number, _bounded(reply)))

    def _asker(self, node: str, message: AskPeer) -> Asker:
        """Raises: NotAllowed."""
        if not m.Role.WORKER <= message.role <= m.Role.ADMIN:
            raise NotAllowed(f"node {node} speaks for somebody of role {message.role}, which is none")
        role = min(m.Role(message.role), self._vouched)
        return Asker(message.user or node, role, is_user=True)


def _read(body: bytes) -> Any:
    """Raises: WireError, NotAllowed."""
    if len(body) > REQUEST_BYTES_MAX:
        raise WireError(f"a request to another node is {len(body)} bytes, the limit is {REQUEST_BYTES_MAX}")
    request = decode_request(body)
    if not isinstance(request, PASSED_ON):
        names = ", ".join(kind.__name__ for kind in PASSED_ON)
        raise NotAllowed(f"{type(request).__name__} cannot be asked of another node; accepted: {names}")
    if isinstance(request, AskFeed) and request.timeout_ms > FEED_MS_MAX:
        return msgspec.structs.replace(request, timeout_ms=FEED_MS_MAX)
    return request


def _bounded(reply: m.Reply) -> bytes:
    body = _encode(reply)
    if len(body) <= REPLY_BYTES_MAX:
        return body
    fault = PayloadTooLarge(
        f"the answer ({type(reply).__name__}) is {len(body)} bytes, nodes pass {REPLY_BYTES_MAX} to one another; ask the node itself"
    )
    return _encode(failure_of(fault))
