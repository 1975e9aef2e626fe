"""What a line asks of TCP: a lost packet is sent again soon, and not ever later."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from zjp.transport.line import Line
from zjp.transport.tcp import THIN_LINEAR_TIMEOUTS, resend_soon

pytestmark = pytest.mark.covers("cluster:mesh")
UP_LIMIT_S = 10.0


class Owner:
    def __init__(self) -> None:
        self.up = asyncio.Event()

    def on_up(self, line: Line) -> None:
        self.up.set()

    def on_down(self, line: Line, fault: str) -> None:
        raise AssertionError(fault)

    def on_reply(self, line: Line, frames: list[bytes]) -> None:
        raise AssertionError("nobody answers here")


def connections_to(port: int) -> Iterator[socket.socket]:
    """Of this process."""
    for entry in Path("/proc/self/fd").iterdir():
        try:
            with socket.socket(fileno=os.dup(int(entry.name))) as connection:
                if connection.getpeername() == ("127.0.0.1", port):
                    yield connection
        except OSError:
            continue


async def test_connection_that_a_line_makes_does_not_double_its_pauses() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.ROUTER) as router:
        port = router.bind_to_random_port("tcp://127.0.0.1")
        owner = Owner()
        line = Line(owner, context, f"tcp://127.0.0.1:{port}", "", is_seed=True, pair=None, keys=lambda node: ())
        line.open()
        await asyncio.wait_for(owner.up.wait(), UP_LIMIT_S)
        asked = [one.getsockopt(socket.IPPROTO_TCP, THIN_LINEAR_TIMEOUTS) for one in connections_to(port)]
        line.close()
    context.destroy(0)
    assert asked == [1]


@pytest.mark.parametrize("kind", ["unix", "pipe", "closed"])
def test_what_is_no_tcp_connection_is_left_as_it_is(kind: str) -> None:
    one, other = socket.socketpair() if kind == "unix" else (os.fdopen(end) for end in os.pipe())
    file = one.fileno()
    if kind == "closed":
        one.close()
    before = os.listdir("/proc/self/fd")
    resend_soon(file)
    assert os.listdir("/proc/self/fd") == before, "descriptors are left"
    assert kind == "closed" or os.fstat(file)
    for end in (one, other):
        end.close()
