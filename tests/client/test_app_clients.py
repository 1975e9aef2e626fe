"""The clients that an `App` makes, under threads with loops of their own, signal handlers and forks."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, SupportsIndex

import pytest
import zmq

from tests.client.peer import Peer
from zjp import App, AsyncClient, Client

pytestmark = pytest.mark.covers("main-path:9")


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns at every occasion."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_submit_from_a_new_loop_each_time(peer: Peer, eager_threads: None) -> None:
    """As web frameworks do that run a coroutine from threads."""
    client = Client(peer.address, cluster="zjp")
    app = App(client=client)

    async def ping() -> str:
        return (await app.async_client.ping()).node

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: asyncio.run(ping()), range(300)))
    assert answers == ["peer"] * 300
    app.close()
    client.close()


class Interrupting(str):
    """An address in the midst of whose reading something else happens, as a signal handler would do it."""

    app: App
    inner: Client | None = None
    is_read = False

    def split(self, sep: str | None = None, maxsplit: SupportsIndex = -1) -> list[str]:
        if not self.is_read:
            self.is_read = True
            self.inner = self.app.client
        return super().split(sep, maxsplit)


def test_a_signal_handler_submits_while_its_thread_makes_the_first_client(peer: Peer) -> None:
    address = Interrupting(peer.address)
    app = address.app = App(address=address)
    found: list[Client] = []
    thread = threading.Thread(target=lambda: found.append(app.client), daemon=True)
    thread.start()
    thread.join(20)
    assert found, "the handler waits for the thread that it interrupted"
    assert found == [address.inner], "there are two clients"
    assert app.client is found[0]
    app.close()


def in_child(deed: Callable[[], object]) -> int:
    """Its exit status, of the wait."""
    child = os.fork()
    if child == 0:  # pragma: no cover (the child is not measured)
        signal.alarm(20)
        try:
            deed()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def test_a_first_wire_waits_for_no_lock_that_an_interrupted_frame_may_hold(peer: Peer) -> None:
    def ping() -> None:
        with Client(peer.address, cluster="zjp") as client:
            assert client.ping().node == "peer"

    with zmq.Context._instance_lock:
        assert in_child(ping) == 0


async def test_a_forked_child_that_closes_leaves_the_loop_of_its_parent_alone(peer: Peer) -> None:
    """What a selector of Linux watches is common to both processes."""
    loop: Any = asyncio.get_running_loop()

    def watched() -> list[str]:
        return re.findall(r"tfd: *(\d+)", Path("/proc/self/fdinfo", str(loop._selector.fileno())).read_text())

    client = AsyncClient(peer.address, cluster="zjp")
    assert (await client.ping()).node == "peer"
    before = watched()
    assert in_child(client.close) == 0
    assert watched() == before
    assert (await client.ping()).node == "peer"
    client.close()
