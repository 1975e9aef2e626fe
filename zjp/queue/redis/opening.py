"""How a life begins in the store, when another one of its name may still be alive there.

The store cannot see who lives: it knows the home (the mark of the data folder) of the latest life, its number, its address and its lease.

    another home                     a stranger of the same name: it has the time of its lease to prove that it lives
    the same home, a later number    the former life, dead: one process at a time holds the folder. But a copy of the folder has the
                                     mark too, so when the former one was at another address, it is dead only if nobody listens there
    the same home, not a later one   the other one or this one runs on a copy of the folder, or on an older state of it: as a stranger

Whoever keeps its lease while this one waits is alive, and this one does not begin. So of a folder and its copy the one that lives goes on,
and the other one ends, however often it is started: a number under which no life began is not counted (hardstate.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...errors import ConfigError
from ..store import Life

LOOK_S = 1.0
GRACE_S = 0.01
"""Beyond the end of the lease, which the store tells in whole milliseconds."""
REPEAT_AT = 5

Listens = Callable[[str], Awaitable[bool]]
"""Whether somebody takes connections at an address; False also where nobody can tell."""


async def nobody(address: str) -> bool:
    return False


async def register(
    ask: Callable[[list[Any], int], Awaitable[Any]],
    life: Life,
    started: Mapping[bytes, int],
    *,
    lease_ms: int,
    listens: Listens,
    now_s: Callable[[], float],
) -> list[Any]:
    """What open.lua answers. `ask(arguments, repeat_at)`: calls it. Raises: ConfigError, then no life has begun; StoreUnavailable."""
    give_up_at = now_s() + lease_ms / 1000
    first: tuple[float, bytes] | None = None
    """When the other's lease, as first seen, ends, and when it was last renewed."""
    silent = b""
    while True:
        asked_at = now_s()
        reply: list[Any] = await ask(
            [life.node, life.boot, lease_ms, life.home, life.address, b"0", silent, *started], REPEAT_AT
        )
        word = reply[0]
        if not isinstance(word, bytes):
            return reply
        _, left_ms, address, renewed = reply
        if word == b"elsewhere" and not await listens(address.decode()):
            silent = address
            continue
        if first is None:
            first = now_s() + left_ms / 1000 + GRACE_S, renewed
        # Its LEASE_DURATION may be longer than this one's: that it lasts still says nothing.
        if asked_at > give_up_at and (renewed != first[1] or asked_at > first[0]):
            raise ConfigError(_refusal(life.node, address.decode(), is_stranger=word == b"held"))
        await asyncio.sleep(min(left_ms / 1000, LOOK_S) + GRACE_S)


def _refusal(node: str, address: str, *, is_stranger: bool) -> str:
    if is_stranger:
        return (
            f"NODE_ID={node}: a node of this name with another DATA_DIR is alive at {address}; stop that one, or give this one a name "
            "of its own"
        )
    return (
        f"NODE_ID={node}: another node runs on a copy of this DATA_DIR and is alive at {address}; stop that one, or give this one an "
        "empty DATA_DIR and a name of its own"
    )
