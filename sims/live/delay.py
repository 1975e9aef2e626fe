"""Delay for what reaches a node's door: new connections are led through the fault proxy, those that are up are reset first.

    peer ── nft redirect ──► proxy ── from PROXY_SOURCE, which is not redirected ──► door

The kernel of many machines has no means of delay (netem) of its own; a process has. When it ends, connections through it are reset, and
nodes and clients connect again directly.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from ..proxy import FaultProxy
from .ports import Target
from .rules import nft

PROXY_SOURCE = "127.0.0.77"
RESET_S = 0.5
"""Nodes beat more often than that, and a packet is what shows a connection to the rule that resets it."""


async def delay(target: Target, delay_s: float, jitter_s: float, for_s: float | None, tell: Callable[[], None]) -> None:
    """Until that long has passed, or a signal came. `tell` is called when it has begun. Raises: CannotRule."""
    told = told_to_end()
    door = target.door
    is_local = door.host.startswith("127.")
    host = "127.0.0.1" if door.host == "0.0.0.0" else door.host
    table = f"inet zjp_live_{os.getpid()}"
    async with FaultProxy(host, door.port, host="127.0.0.1" if is_local else "0.0.0.0", source=PROXY_SOURCE) as proxy:
        proxy.up.latency_s, proxy.up.jitter_s = delay_s, jitter_s
        others = f"ip saddr != {PROXY_SOURCE} tcp dport {door.port}"
        lines = [f"add table {table}", f"add chain {table} first {{ type filter hook input priority 0; }}"]
        lines += [f"add rule {table} first {others} reject with tcp reset"]
        for hook in ("prerouting", "output"):
            lines += [f"add chain {table} {hook} {{ type nat hook {hook} priority -100; }}"]
            lines += [f"add rule {table} {hook} {others} redirect to :{proxy.address[1]}"]
        nft("; ".join(lines))
        try:
            await asyncio.sleep(RESET_S)
            nft(f"flush chain {table} first")
            tell()
            with suppress(TimeoutError):
                async with asyncio.timeout(for_s):
                    await told.wait()
        finally:
            nft(f"delete table {table}")


def told_to_end() -> asyncio.Event:
    """Set by SIGINT, SIGTERM or SIGHUP, from now on."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, told.set)
    return told
