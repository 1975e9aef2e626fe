"""The way to one address, where its name is in the way."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
import zmq

from zjp.transport.line import Line
from zjp.transport.names import FAULTS, LookUp, first_address, name_in

pytestmark = pytest.mark.covers("cluster:mesh")
Context = zmq.Context[zmq.Socket[bytes]]


class Told:
    """Whose line it is."""

    def __init__(self) -> None:
        self.fault: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_up(self, line: Line) -> None:
        if not self.up.done():
            self.up.set_result(None)

    def on_down(self, line: Line, fault: str) -> None:
        if not self.fault.done():
            self.fault.set_result(fault)

    def on_reply(self, line: Line, frames: list[bytes]) -> None:
        raise AssertionError("nobody answers here")


@pytest.fixture
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.destroy(0)


def line_to(told: Told, context: Context, address: str, look_up: LookUp = first_address, connect_s: float = 5.0) -> Line:
    return Line(
        told, context, address, "", is_seed=True, pair=None, keys=lambda node: (), connect_s=connect_s, look_up=look_up
    )  # fmt: skip


@pytest.fixture
def port(context: Context) -> Iterator[int]:
    """Where somebody listens."""
    with context.socket(zmq.ROUTER) as router:
        yield router.bind_to_random_port("tcp://127.0.0.1")


async def test_name_that_is_not_known_is_looked_up_again(context: Context, port: int) -> None:
    """A node in a container that is made anew has no name for a while."""
    asked: list[str] = []

    def look_up(name: str, port: int) -> str:
        asked.append(name)
        if len(asked) < 3:
            raise OSError(-2, "Name or service not known")
        return "127.0.0.1"

    told = Told()
    line = line_to(told, context, f"tcp://node-3:{port}", look_up)
    line.open()
    try:
        assert await asyncio.wait_for(told.fault, 20) == "the name node-3 cannot be looked up: Name or service not known"
        await asyncio.wait_for(told.up, 20)
        assert asked == ["node-3"] * 3
    finally:
        line.close()


@pytest.mark.parametrize(
    "fault", [UnicodeError("label empty or too long"), ValueError("embedded null character"), OverflowError("port must be 0-65535")]
)
async def test_what_is_no_name_at_all_is_a_failure_as_any_other(fault: Exception, context: Context, port: int) -> None:
    """Fails on a model that expects an OSError only: the thread dies of it, and the address is never dialled again."""
    asked: list[str] = []

    def look_up(name: str, port: int) -> str:
        asked.append(name)
        if len(asked) < 3:
            raise fault
        return "127.0.0.1"

    told = Told()
    line = line_to(told, context, f"tcp://node-3:{port}", look_up)
    line.open()
    try:
        assert await asyncio.wait_for(told.fault, 20) == f"the name node-3 cannot be looked up: {fault}"
        await asyncio.wait_for(told.up, 20)
    finally:
        line.close()


@pytest.mark.parametrize("name", ["node..internal", "a" * 64, ".internal", "a\0b"])
async def test_system_refuses_what_is_no_name_with_a_fault_that_is_met(name: str) -> None:
    with pytest.raises(FAULTS):
        await asyncio.to_thread(first_address, name, 5570)


async def test_address_is_dialled_again_when_the_system_had_no_thread_for_its_name(
    context: Context, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Scarce(threading.Thread):
        def start(self) -> None:
            started.append(self.name)
            if len(started) < 3:
                raise RuntimeError("can't start new thread")
            super().start()

    monkeypatch.setattr(threading, "Thread", Scarce)
    told = Told()
    line = line_to(told, context, f"tcp://node-3:{port}", lambda name, port: "127.0.0.1")
    line.open()
    try:
        assert await asyncio.wait_for(told.fault, 20) == "the name node-3 cannot be looked up: can't start new thread"
        await asyncio.wait_for(told.up, 20)
        assert started == ["name node-3"] * 3
    finally:
        line.close()


async def test_name_server_that_says_nothing_stops_no_other_line(context: Context, port: int) -> None:
    answer = threading.Event()
    asked: list[str] = []

    def look_up(name: str, port: int) -> str:
        asked.append(name)
        answer.wait(60)
        return "127.0.0.1"

    silent, other = Told(), Told()
    lines = [
        line_to(silent, context, f"tcp://node-3:{port}", look_up),
        line_to(other, context, f"tcp://localhost:{port}"),
    ]
    for line in lines:
        line.open()
    lines[0].open()  # again: it is being looked up already
    try:
        await asyncio.wait_for(other.up, 20)
        assert not silent.up.done()
        answer.set()
        await asyncio.wait_for(silent.up, 20)
        assert asked == ["node-3"]
    finally:
        answer.set()
        for line in lines:
            line.close()


async def test_line_that_is_closed_hears_of_no_name_any_more(context: Context) -> None:
    answer, told = threading.Event(), Told()

    def look_up(name: str, port: int) -> str:
        answer.wait(60)
        raise OSError(-2, "Name or service not known")

    line = line_to(told, context, "tcp://node-3:5570", look_up)
    line.open()
    line.close()
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "name node-3":
            await asyncio.to_thread(thread.join)
    assert line.failures == 0


async def test_line_of_which_nothing_at_all_is_heard_is_dialled_again(context: Context) -> None:
    """The kernel takes the connection and no program does: ZeroMQ would say so after its own time for a greeting, which is longer."""
    told = Told()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        line = line_to(told, context, f"tcp://127.0.0.1:{listener.getsockname()[1]}", connect_s=0.05)
        line.open()
        try:
            assert await asyncio.wait_for(told.fault, 20) == "no connection"
            again = [await asyncio.to_thread(listener.accept) for _ in range(2)]
        finally:
            line.close()
        for taken, _ in again:
            taken.close()


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("tcp://node-3:5570", ("node-3", 5570)),
        ("tcp://node-3.internal:1", ("node-3.internal", 1)),
        ("tcp://10.0.0.1:5570", None),
        ("tcp://[fe80::1]:5570", None),
        ("ipc:///run/zjp/gate", None),
        ("tcp://node-3:*", None),
        ("tcp://node-3:²", None),
    ],
)
def test_only_names_are_looked_up(address: str, wanted: tuple[str, int] | None) -> None:
    assert name_in(address) == wanted
