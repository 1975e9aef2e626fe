"""The pump on real sockets, under asyncio's loop and uvloop: no message sleeps, order holds, floods are shared out, faults stay alone."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvloop
import zmq

from zjp.transport.pump import DRAIN_MAX, QUIET_S, OnMessage, Pump, set_limits

pytestmark = pytest.mark.covers("main-path:8")

DEADLINE_S = 80.0
"""A message that sleeps makes these tests wait for ever; so much is for a slow machine."""

Socket = zmq.Socket[bytes]
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Table:
    """Sockets and pumps of one test. Pumps stop before sockets close, also when the test fails: a loop that polls a closed descriptor
    aborts the process."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop], *, first_alone: bool) -> None:
        self.new_loop, self.first_alone = new_loop, first_alone
        self._context: zmq.Context[Socket] = zmq.Context()
        self._sockets: list[Socket] = []
        self._pumps: list[Pump] = []

    def run(self, coroutine: Any) -> Any:
        with asyncio.Runner(loop_factory=self.new_loop) as runner:
            return runner.run(self._within_the_deadline(coroutine))

    async def _within_the_deadline(self, coroutine: Any) -> Any:
        try:
            return await asyncio.wait_for(coroutine, DEADLINE_S)
        finally:
            for pump in self._pumps:
                pump.stop()

    def pair(
        self, *, left: int = zmq.DEALER, right: int = zmq.DEALER, high_water_mark: int = 0
    ) -> tuple[Socket, Socket]:
        """Two connected sockets; a bound DEALER could not send before the other side is there."""
        one, other = self._context.socket(left), self._context.socket(right)
        self._sockets += [one, other]
        for socket in (one, other):
            set_limits(socket, linger_ms=0, high_water_mark=high_water_mark)
        one.bind("tcp://127.0.0.1:*")
        other.connect(one.getsockopt_string(zmq.LAST_ENDPOINT))
        if right == zmq.DEALER:
            other.send(b"connected")
            assert one.poll(int(DEADLINE_S * 1000))
            assert one.recv_multipart()[-1] == b"connected"
        return one, other

    def pump(self, socket: Socket, on_message: OnMessage) -> Pump:
        """A started one."""
        self._pumps.append(Pump(socket, on_message, is_idle=lambda: self.first_alone))
        self._pumps[-1].start()
        return self._pumps[-1]

    def close(self) -> None:
        for socket in self._sockets:
            socket.close(0)
        self._context.term()


@pytest.fixture(params=["asyncio", "uvloop", "uvloop-first-alone"])
def table(request: pytest.FixtureRequest) -> Iterator[Table]:
    made = Table(LOOPS[request.param.split("-")[0]], first_alone=request.param.endswith("alone"))
    yield made
    made.close()


def ignore(_: list[bytes]) -> None: ...


# ── nothing sleeps ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("in_flight", [1, 7])
def test_ping_pong_with_sends_from_inside_the_handler_loses_no_edge(table: Table, in_flight: int) -> None:
    """Each side sends while its own messages arrive: the trap of the edge-triggered descriptor, 20,000 times."""
    rounds = 20_000 // in_flight * in_flight

    async def play() -> None:
        left, right = table.pair()
        done = asyncio.get_running_loop().create_future()
        count = 0

        def on_right(frames: list[bytes]) -> None:
            assert pumps[1].send(frames)

        def on_left(frames: list[bytes]) -> None:
            nonlocal count
            count += 1
            if count == rounds:
                done.set_result(None)
            elif count <= rounds - in_flight:
                assert pumps[0].send(frames)

        pumps = table.pump(left, on_left), table.pump(right, on_right)
        for number in range(in_flight):
            assert pumps[0].send([b"ball %d" % number])
        await done
        assert count == rounds

    table.run(play())


def test_bursts_beyond_one_drain_arrive_whole_and_in_order(table: Table) -> None:
    total = DRAIN_MAX * 10 + 17

    async def play() -> None:
        left, right = table.pair()
        seen: list[int] = []
        done = asyncio.get_running_loop().create_future()

        def on_message(frames: list[bytes]) -> None:
            seen.append(int(frames[0]))
            if len(seen) == total:
                done.set_result(None)

        table.pump(left, on_message)
        for number in range(total):
            right.send(b"%d" % number)
        await done
        assert seen == list(range(total))

    table.run(play())


def test_message_that_came_before_the_start_is_handled(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair()
        right.send_multipart([b"early", b"bird"])
        assert left.poll(int(DEADLINE_S * 1000))  # uses up the edge
        arrived = asyncio.get_running_loop().create_future()
        table.pump(left, arrived.set_result)
        assert await arrived == [b"early", b"bird"]

    table.run(play())


@pytest.mark.parametrize("table", ["uvloop-first-alone"], indirect=True)
def test_what_the_first_after_a_pause_asks_for_begins_before_the_next_is_read(table: Table) -> None:
    """And the next ones are read although nothing more comes."""

    async def play() -> None:
        left, right = table.pair()
        seen: list[str] = []
        done = asyncio.get_running_loop().create_future()

        async def begin(frame: bytes) -> None:
            seen.append(f"began {frame.decode()}")
            if frame == b"3":
                done.set_result(None)

        def on_message(frames: list[bytes]) -> None:
            seen.append(f"read {frames[0].decode()}")
            begun.append(asyncio.create_task(begin(frames[0])))

        begun: list[asyncio.Task[None]] = []
        for number in range(1, 4):
            right.send(b"%d" % number)
        assert left.poll(int(DEADLINE_S * 1000))
        table.pump(left, on_message)
        await done
        assert seen[:3] == ["read 1", "began 1", "read 2"]
        assert [one for one in seen if one.startswith("began")] == ["began 1", "began 2", "began 3"]

    table.run(play())


@pytest.mark.parametrize("table", ["uvloop-first-alone"], indirect=True)
def test_what_waits_behind_the_first_is_read_in_one_pass_however_long_a_turn_takes(table: Table) -> None:
    """Each turn of this loop is as long as a pause."""

    async def play() -> None:
        left, right = table.pair()
        loop, turns, seen = asyncio.get_running_loop(), 0, 0
        done = loop.create_future()

        def turn() -> None:
            nonlocal turns
            turns += 1
            end = time.monotonic() + QUIET_S
            while time.monotonic() < end:
                pass
            if not done.done():
                loop.call_soon(turn)

        def on_message(_: list[bytes]) -> None:
            nonlocal seen
            seen += 1
            if seen == 100:
                done.set_result(None)

        for _ in range(100):
            right.send(b"")
        assert left.poll(int(DEADLINE_S * 1000))
        turn()
        table.pump(left, on_message)
        await done
        assert turns < 100, "each was read by itself"

    table.run(play())


def test_message_that_arrives_during_a_send_from_outside_is_handled(table: Table) -> None:
    """The send takes the edge of what came in; nothing else happens on the socket afterwards."""

    async def play() -> None:
        left, right = table.pair()
        loop = asyncio.get_running_loop()
        arrived = loop.create_future()
        pump = table.pump(left, arrived.set_result)
        right.send(b"crossing")
        assert left.poll(int(DEADLINE_S * 1000))  # in the loop's thread: its reader has seen nothing yet
        assert pump.send([b"other way"])
        assert await arrived == [b"crossing"]

    table.run(play())


# ── floods and faults ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_flood_that_is_answered_leaves_every_turn_of_the_loop_to_the_others(table: Table) -> None:
    """One drain runs between two turns, however many answers were sent."""
    total = DRAIN_MAX * 40

    async def play() -> int:
        left, right = table.pair()
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        count = handled_before = most = 0

        def on_message(frames: list[bytes]) -> None:
            nonlocal count
            count += 1
            pump.send(frames)
            if count == total:
                done.set_result(None)

        def each_turn() -> None:
            nonlocal handled_before, most
            most, handled_before = max(most, count - handled_before), count
            if not done.done():
                loop.call_soon(each_turn)

        for _ in range(total):
            right.send(b"flood")
        assert left.poll(int(DEADLINE_S * 1000))
        pump = table.pump(left, on_message)
        each_turn()
        await done
        pump.stop()
        return most

    assert table.run(play()) <= DRAIN_MAX


def test_raising_handler_is_told_and_stops_neither_the_rest_nor_the_loop(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair()
        loop = asyncio.get_running_loop()
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(repr(context["exception"])))
        seen: list[bytes] = []
        done = loop.create_future()

        def on_message(frames: list[bytes]) -> None:
            seen.append(frames[0])
            if len(seen) == 30:
                done.set_result(None)
            if len(seen) % 3 == 0:
                raise ValueError(f"bad message {len(seen)}")

        table.pump(left, on_message)
        for number in range(30):
            right.send(b"%d" % number)
        await done
        assert seen == [b"%d" % number for number in range(30)]
        assert told == [f"ValueError('bad message {number}')" for number in range(3, 31, 3)]

    table.run(play())


def test_handler_that_stops_the_pump_and_raises_is_told_of(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair()
        loop = asyncio.get_running_loop()
        told = loop.create_future()
        loop.set_exception_handler(lambda _, context: told.set_result(repr(context["exception"])))

        def on_message(_: list[bytes]) -> None:
            pump.stop()
            raise ValueError("last words")

        pump = table.pump(left, on_message)
        right.send(b"go")
        assert await told == "ValueError('last words')"

    table.run(play())


# ── peers that are gone or do not read ───────────────────────────────────────────────────────────────────────────────────────────────


def test_send_to_a_peer_that_is_gone_says_so(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair(left=zmq.ROUTER)
        left.setsockopt(zmq.ROUTER_MANDATORY, 1)
        arrived = asyncio.get_running_loop().create_future()
        pump = table.pump(left, arrived.set_result)
        assert pump.send([b"nobody", b"", b"hello"]) is False
        right.send(b"here I am")
        identity, _ = await arrived
        assert pump.send([identity, b"hello"]) is True
        right.close(0)
        while pump.send([identity, b"still there?"]):  # until the departure has been seen
            await asyncio.get_running_loop().run_in_executor(None, os.sched_yield)

    table.run(play())


def test_send_to_a_peer_that_does_not_read_is_refused_and_never_blocks(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair(high_water_mark=2)
        pump = table.pump(left, ignore)
        block, sent = bytes(1 << 20), 0
        while pump.send([block]):
            sent += 1
            assert sent < 100
        assert right.recv() == block

    table.run(play())


def test_fault_that_is_not_the_peers_is_raised(table: Table) -> None:
    async def play() -> None:
        _, right = table.pair(right=zmq.PULL, left=zmq.PUSH)
        pump = Pump(right, ignore)
        with pytest.raises(zmq.ZMQError, match="not supported"):
            pump.send([b"a PULL cannot send"])

    table.run(play())


# ── stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_stopped_pump_hands_over_nothing_more_and_can_start_again(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair()
        loop = asyncio.get_running_loop()
        seen: list[bytes] = []
        first, second = loop.create_future(), loop.create_future()

        def on_message(frames: list[bytes]) -> None:
            seen.append(frames[0])
            if frames[0] == b"1":
                pump.stop()
                first.set_result(None)
            if frames[0] == b"3":
                second.set_result(None)

        pump = table.pump(left, on_message)
        for number in range(1, 4):
            right.send(b"%d" % number)
        await first
        for _ in range(10):
            await asyncio.sleep(0)
        assert seen == [b"1"]
        pump.start()
        await second
        assert seen == [b"1", b"2", b"3"]
        pump.stop()

    table.run(play())


def test_pump_stopped_in_one_loop_works_in_the_next(table: Table) -> None:
    """Its scheduled look dies with the loop; the next start must not count on it."""
    left, right = table.pair()
    handler: list[OnMessage] = [ignore]
    pump = Pump(left, lambda frames: handler[0](frames))

    def start_and_stop() -> None:
        pump.start()
        pump.stop()
        loop.stop()

    loop = table.new_loop()
    loop.call_soon(start_and_stop)
    loop.run_forever()
    loop.close()

    async def play() -> None:
        arrived = asyncio.get_running_loop().create_future()
        handler[0] = arrived.set_result
        pump.start()
        right.send(b"hello")
        assert await arrived == [b"hello"]
        pump.stop()

    table.run(play())


def test_stopped_pump_still_sends(table: Table) -> None:
    async def play() -> None:
        left, right = table.pair()
        pump = Pump(left, ignore)
        assert pump.send([b"before the start"])
        pump.start()
        pump.stop()
        assert pump.send([b"after the stop"])
        assert [right.recv(), right.recv()] == [b"before the start", b"after the stop"]

    table.run(play())


def test_limits_are_set_on_the_socket(table: Table) -> None:
    left, _ = table.pair(high_water_mark=123)
    assert left.getsockopt(zmq.SNDHWM) == left.getsockopt(zmq.RCVHWM) == 123
    assert left.getsockopt(zmq.MAXMSGSIZE) == 20 << 20
    assert left.getsockopt(zmq.LINGER) == 0
