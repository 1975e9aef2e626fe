"""The way to one address, where nothing is said about it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import zmq

from zjp.transport.line import Line

pytestmark = pytest.mark.covers("cluster:mesh")


class Told:
    """Whose line it is."""

    def __init__(self) -> None:
        self.fault: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_up(self, line: Line) -> None:
        raise AssertionError("there is nobody to connect to")

    def on_down(self, line: Line, fault: str) -> None:
        if not self.fault.done():
            self.fault.set_result(fault)

    def on_reply(self, line: Line, frames: list[bytes]) -> None:
        raise AssertionError("there is nobody to answer")


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(0)


async def test_name_that_cannot_be_looked_up_is_dialled_again(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """ZeroMQ tells of it by no event, now or later: a node in a container would never be met again after it was made anew."""
    told = Told()
    line = Line(
        told,
        context,
        "tcp://no-such-node.invalid:5570",
        "",
        is_seed=True,
        pair=None,
        keys=lambda node: (),
        connect_s=0.05,
    )
    line.open()
    try:
        assert "name is not known" in await asyncio.wait_for(told.fault, 20)
        assert line.failures >= 1
    finally:
        line.close()
