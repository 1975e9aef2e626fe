"""A lane of calls, against a connection that is made here: whoever is in line is answered, whatever becomes of the call in front of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from zjp.errors import StoreUnavailable
from zjp.redis import lane as lanes
from zjp.redis.lane import Command, Lane, Unanswered

INFO = b"# Server\r\nrun_id:r1\r\nmaster_replid:m1\r\n"
SOON_S = 5.0
"""Far more than anything here takes; what hangs is told by it."""


class Connection:
    """Answers INFO by itself and each other command with `answers`, once `may_answer` is set. `swallows`: cancels that it takes for its
    own, as a driver may."""

    def __init__(self, swallows: int = 0) -> None:
        self.may_answer = asyncio.Event()
        self.asked: list[bytes] = []
        self.swallows = swallows

    async def connect(self) -> None: ...

    async def send_packed_command(self, data: bytes, check_health: bool = True) -> None:
        self.asked.append(data)

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        asked = self.asked[-1]
        if b"INFO" in asked:
            return INFO
        while True:
            try:
                await self.may_answer.wait()
                return asked
            except asyncio.CancelledError:
                self.swallows -= 1
                if self.swallows < 0:
                    raise

    async def disconnect(self, nowait: bool = False) -> None: ...


def over(connection: Connection) -> Lane:
    address: Any = SimpleNamespace(serves=None, make=lambda: connection)
    return Lane(address)


async def ask(lane: Lane, word: bytes) -> bytes:
    def make(_: bool) -> Command:
        return (word,)

    return bytes(await lane.call(make))


async def turns(count: int = 10) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_caller_who_gives_up_leaves_its_answer_to_nobody_else() -> None:
    connection = Connection()
    lane = over(connection)
    first, second = asyncio.create_task(ask(lane, b"one")), asyncio.create_task(ask(lane, b"two"))
    await turns()
    first.cancel()
    await turns()
    connection.may_answer.set()
    async with asyncio.timeout(SOON_S):
        assert b"two" in await second
    assert [word for word in (b"one", b"two") if any(word in data for data in connection.asked)] == [b"one", b"two"]
    await lane.close()


@pytest.mark.parametrize("has_begun", [False, True])
async def test_lane_whose_task_others_cancel_leaves_nobody_in_line(has_begun: bool) -> None:
    """Fails on a lane that ends the call at hand alone: as asyncio.run does when it ends, all tasks are cancelled, and one of them
    asks something in its last turn."""
    connection = Connection()
    lane = over(connection)
    first = asyncio.create_task(ask(lane, b"one"))
    await turns(10 if has_begun else 1)
    second = asyncio.create_task(ask(lane, b"two"))
    await turns(1)
    assert lane._worker is not None
    lane._worker.cancel()
    async with asyncio.timeout(SOON_S):
        assert [type(fault) for fault in await asyncio.gather(first, second, return_exceptions=True)] == [asyncio.CancelledError] * 2
        connection.may_answer.set()
        assert b"three" in await ask(lane, b"three"), "the next call has a task of its own"
    await lane.close()


@pytest.mark.parametrize("swallows", [0, 1, 2])
async def test_call_that_hangs_is_over_at_its_deadline_and_those_behind_it_at_theirs(
    monkeypatch: pytest.MonkeyPatch, swallows: int
) -> None:
    """Fails on a lane that cancels once, where a driver takes that for its own."""
    monkeypatch.setattr(lanes, "CALL_S", 0.1)
    monkeypatch.setattr(lanes, "LATE_AGAIN_S", 0.02)
    connection = Connection(swallows)
    lane = over(connection)
    async with asyncio.timeout(SOON_S):
        first, second = await asyncio.gather(ask(lane, b"one"), ask(lane, b"two"), return_exceptions=True)
        assert type(first) is Unanswered
        assert isinstance(second, StoreUnavailable)
        connection.may_answer.set()
        assert b"three" in await ask(lane, b"three")
        assert lane._worker is not None
        assert lane._worker.cancelling() == 0, "a time-out inside the driver would take the former cancel for its own"
        await lane.close()


async def test_those_behind_a_call_that_hangs_end_with_it_when_their_time_is_over_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on a lane that looks at the one behind when it would have looked at the first again."""
    monkeypatch.setattr(lanes, "CALL_S", 0.1)
    monkeypatch.setattr(lanes, "LATE_AGAIN_S", 2 * SOON_S)
    lane = over(Connection())
    async with asyncio.timeout(SOON_S):
        told = await asyncio.gather(*[ask(lane, word) for word in (b"one", b"two", b"three")], return_exceptions=True)
    assert all(isinstance(fault, StoreUnavailable) for fault in told)
    await lane.abandon()


class TellsOtherwise(Connection):
    """Makes a failure of its own of each cancel, as a driver with time limits does."""

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        try:
            return await super().read_response(disable_decoding)
        except asyncio.CancelledError:
            raise ConnectionResetError("cancelled") from None


async def test_call_whose_cancel_the_driver_makes_a_failure_of_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on a lane that pauses before it looks at the time: the next cancel ends the pause, LATE_AGAIN_S later."""
    monkeypatch.setattr(lanes, "CALL_S", 0.1)
    monkeypatch.setattr(lanes, "LATE_AGAIN_S", 2 * SOON_S)
    monkeypatch.setattr(lanes, "BACKOFF_S", (4 * SOON_S, 4 * SOON_S))
    lane = over(TellsOtherwise())
    async with asyncio.timeout(SOON_S):
        with pytest.raises(Unanswered):
            await ask(lane, b"one")
        await lane.abandon()


@pytest.mark.parametrize("turns_before", range(8))
async def test_abandoned_lane_answers_everybody_at_once(turns_before: int) -> None:
    lane = over(Connection())
    asked = [asyncio.create_task(ask(lane, word)) for word in (b"one", b"two", b"three")]
    await turns(turns_before)
    async with asyncio.timeout(SOON_S):
        await lane.abandon()
        told = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(fault) for fault in told} <= {asyncio.CancelledError, StoreUnavailable}
    assert lane._timer is None


class Broken(Connection):
    """Takes a command, and is gone before it answers."""

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        if b"INFO" in self.asked[-1]:
            return await super().read_response()
        raise ConnectionResetError("planted")


class Next(Connection):
    """To another server."""

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        return (await super().read_response()).replace(b"r1", b"r2")


async def test_answer_comes_with_the_server_that_gave_it() -> None:
    """Fails on a lane that tells where the call went first. The caller who is answered before the change is told the former."""
    first, last = Connection(), Next()
    first.may_answer.set()
    last.may_answer.set()
    connections = [first, Broken(), last]
    address: Any = SimpleNamespace(serves=None, make=lambda: connections.pop(0))
    lane = Lane(address)
    former, _ = await lane.told(lambda _: (b"A",))
    await lane._drop()
    server, reply = await lane.told(lambda _: (b"B",))
    assert (former, server) == (b"r1 m1", b"r2 m1")
    assert b"B" in reply
    await lane.close()
