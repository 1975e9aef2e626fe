"""/metrics of running nodes, one port for each, until nodes serve it by themselves: asks for the stats and renders them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence

from zjp import AsyncClient
from zjp.api.exposition import HttpCounts, scrape

ASK_S = 3.0
START_S = 10.0


@contextlib.contextmanager
def exporting(addresses: Sequence[str]) -> Iterator[list[int]]:
    """Serves from a thread of its own; gives the ports, in the order of `addresses`."""
    loop = asyncio.new_event_loop()
    ends = asyncio.Event()
    ports: list[int] = []
    is_open = threading.Event()

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as stack:
            for address in addresses:
                client = await stack.enter_async_context(AsyncClient(address, timeout=ASK_S))
                server = await asyncio.start_server(_Door(client).answer, "127.0.0.1", 0)
                await stack.enter_async_context(server)
                ports.append(server.sockets[0].getsockname()[1])
            is_open.set()
            await ends.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="exporter")
    thread.start()
    try:
        assert is_open.wait(START_S)
        yield ports
    finally:
        loop.call_soon_threadsafe(ends.set)
        thread.join(START_S)
        loop.close()


class _Door:
    def __init__(self, client: AsyncClient) -> None:
        self._client, self._counts = client, HttpCounts()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                began = time.monotonic()
                accepts = [
                    line.partition(":")[2].strip() for line in head.splitlines() if line.lower().startswith("accept:")
                ]
                body, kind = await scrape(self._client.stats, self._counts, ",".join(accepts))
                writer.write(
                    f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body
                )
                await writer.drain()
                self._counts.took("GET", "/metrics", 200, time.monotonic() - began)
        writer.close()
