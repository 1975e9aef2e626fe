"""What every handler works at: the settings, the connection to the nodes, who is let in, and when to stop.

A `Desk` is made once per process. The door (an `Authenticator`) says who a caller is; `voice` gives the client that speaks for that
caller, so that the node sees the user's name and role and not the gateway's. Submits are the exception: they travel as the gateway itself
(and share batches), after the role was checked here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Any, Protocol, TypeVar

from ..client.asyncio import AsyncClient
from ..config import Settings
from .caller import Caller
from .cluster import Cluster, stats_of
from .glance import Glance
from .live import Live
from .open_door import OpenDoor as OpenDoor

T = TypeVar("T")
STATS_S = 0.5
"""How old the numbers of a node may be before it is asked again, however many ask here."""


class Authenticator(Protocol):
    """Who is let in. `request_headers`: names in lower case; `address`: the peer's, or what a trusted proxy says it is."""

    async def caller(self, request_headers: Mapping[str, str], method: str, address: str) -> Caller:
        """Raises: Problem (401 who are you, 403 not from there, 415 not with that)."""
        ...

    def challenge(self) -> dict[str, str]:
        """The headers of a 401."""
        ...


class Desk:
    """`speaks_for_others`: the client has a gate token, or a key of role gateway; without it every request is the client's own."""

    def __init__(
        self, settings: Settings, client: AsyncClient, door: Authenticator, *, speaks_for_others: bool, node: str = ""
    ) -> None:
        self.settings, self.client, self.door = settings, client, door
        self.speaks_for_others = speaks_for_others
        self.node = node
        """The node that started this process; empty: none did."""
        self.stop = asyncio.Event()
        self.papers: Mapping[str, bytes] = {}
        """What the API says of itself, by path."""
        self.stats: Glance[dict[str, Any]] = Glance(partial(stats_of, client), STATS_S)
        self.cluster = Cluster(client, self.stats)
        self.live = Live(self.cluster, self.stop)

    def voice(self, caller: Caller) -> AsyncClient:
        """The client that speaks for the caller."""
        if not self.speaks_for_others:
            return self.client
        return self.client.speaking_for(caller.name, caller.role)

    async def unless_stopped(self, work: Awaitable[T]) -> T | None:
        """What `work` gives; None, and `work` cancelled, when the process stops first."""
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
