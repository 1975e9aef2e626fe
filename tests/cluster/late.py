"""Delay between nodes: each is reached through a fault proxy of its own, which it advertises; what it says comes late at the others'."""

from __future__ import annotations

import asyncio
import threading

from sims.proxy import FaultProxy

START_S = 10.0


class LateDoors:
    """Proxies in a loop of their own, in a thread. `stop` at the end."""

    def __init__(self, delay_s: float, jitter_s: float) -> None:
        self._delay_s, self._jitter_s = delay_s, jitter_s
        self._proxies: list[FaultProxy] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="late doors", daemon=True)
        self._thread.start()

    def before(self, address: str) -> str:
        """The address of a proxy that leads to this one: late in one direction, from whoever dials to the door."""
        return asyncio.run_coroutine_threadsafe(self._open(address), self._loop).result(START_S)

    def stop(self) -> None:
        for proxy in self._proxies:
            asyncio.run_coroutine_threadsafe(proxy.stop(), self._loop).result(START_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self, address: str) -> str:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        proxy = FaultProxy(host, int(port), seed=len(self._proxies))
        proxy.up.latency_s, proxy.up.jitter_s = self._delay_s, self._jitter_s
        await proxy.start()
        self._proxies.append(proxy)
        return "tcp://{}:{}".format(*proxy.address)
