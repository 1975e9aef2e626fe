"""A lane of calls, against a connection that is made here: whoever is in line is answered, whatever becomes of the call in front of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import hiredis
import pytest
from redis.exceptions import BusyLoadingError, NoScriptError, ResponseError

from zjp.errors import StoreUnavailable
from zjp.redis import lane as lanes
from zjp.redis.lane import CUTS_MIN, Command, CutOff, Lane, Unanswered

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
        self._writer = None

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


async def expect_abandoned(lane: Lane, asked: Sequence[asyncio.Task[bytes]]) -> None:
    """Abandoned now, it answers everybody, and leaves no timer behind."""
    async with asyncio.timeout(SOON_S):
        await lane.abandon()
        told = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(fault) for fault in told} <= {asyncio.CancelledError, StoreUnavailable}
    assert lane._timer is None


@pytest.mark.parametrize("turns_before", range(8))
async def test_abandoned_lane_answers_everybody_at_once(turns_before: int) -> None:
    lane = over(Connection())
    asked = [asyncio.create_task(ask(lane, word)) for word in (b"one", b"two", b"three")]
    await turns(turns_before)
    await expect_abandoned(lane, asked)


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


# ── one after the other ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

REFUSED, UNKNOWN, BREAK, HANG, LOADING = b"refused", b"unknown", b"break", b"hang", b"loading"


class Server:
    """Answers each command of a packet with itself, in order; what it does not: the words above. `packets`: the commands of each."""

    def __init__(self) -> None:
        self.packets: list[list[list[bytes]]] = []
        self.connects = self.refuses = 0
        self.knows = self.is_well = self.is_closed = False
        self._unanswered: deque[list[bytes]] = deque()
        self._writer = self

    async def connect(self) -> None:
        self.connects += 1
        self._unanswered.clear()
        if self.refuses:
            self.refuses -= 1
            raise ConnectionRefusedError("planted")

    async def send_packed_command(self, data: bytes, check_health: bool = True) -> None:
        self.write(data)

    def write(self, data: bytes) -> None:
        if self.is_closed:
            self.is_closed = False
            raise RuntimeError("unable to perform operation; the handler is closed")
        reader = hiredis.Reader()
        reader.feed(data)
        packet = list(iter(reader.gets, False))
        self.packets.append(packet)
        self._unanswered += packet

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        command = self._unanswered.popleft()
        word = command[0]
        if word == b"INFO":
            return INFO
        if word == b"LOAD":
            self.knows = True
        elif word == UNKNOWN and not self.knows:
            raise NoScriptError("no such script")
        elif word == REFUSED:
            raise ResponseError("wrong")
        elif word == BREAK and not self.is_well:
            self.is_well = True
            raise ConnectionResetError("gone")
        elif word == LOADING and not self.is_well:
            self.is_well = True
            raise BusyLoadingError("a moment")
        elif word == HANG and not self.is_well:
            await asyncio.Event().wait()
        return b" ".join(command)

    def close(self) -> None: ...

    async def disconnect(self, nowait: bool = False) -> None: ...

    def asked(self) -> list[list[bytes]]:
        return [[b" ".join(command) for command in packet] for packet in self.packets]


async def connected() -> tuple[Server, Lane]:
    server = Server()
    address: Any = SimpleNamespace(serves=None, make=lambda: server)
    lane = Lane(address)
    await ask(lane, b"hello")
    server.packets.clear()
    return server, lane


async def tell(lane: Lane, word: bytes) -> bytes:
    """Says whether it is a repeat."""
    return bytes(await lane.call(lambda is_repeat: (word, b"again") if is_repeat else (word,), lambda: ((b"LOAD",),)))


async def all_at_once(lane: Lane, *words: bytes) -> list[bytes | BaseException]:
    async with asyncio.timeout(SOON_S):
        return await asyncio.gather(*[tell(lane, word) for word in words], return_exceptions=True)


async def test_call_into_a_free_lane_leaves_at_once_and_those_behind_it_when_it_was_answered() -> None:
    """Fails on a lane whose task sends: that begins a turn later. Until a call is sent its caller can be told that it was not."""
    server, lane = await connected()
    asked = [asyncio.create_task(tell(lane, word)) for word in (b"one", b"two")]
    await turns(1)
    assert server.asked() == [[b"one"]]
    assert await asyncio.gather(*asked) == [b"one", b"two"]
    assert server.asked() == [[b"one"], [b"two"]]
    await lane.close()


async def test_call_into_a_free_lane_whose_connection_was_closed_meanwhile_is_sent_over_the_next_one_and_is_no_repeat() -> None:
    server, lane = await connected()
    server.is_closed = True
    assert await all_at_once(lane, b"one") == [b"one"]
    assert server.asked() == [[b"one"]]
    await lane.close()


async def test_answer_to_a_call_whose_task_never_began_meets_no_other_question() -> None:
    server, lane = await connected()
    asked = asyncio.create_task(tell(lane, b"one"))
    await turns(1)
    assert lane._worker is not None
    lane._worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert await tell(lane, b"two") == b"two"
    assert server.asked() == [[b"one"], [b"INFO"], [b"two"]]
    await lane.close()


async def test_call_that_is_refused_costs_the_others_nothing() -> None:
    _, lane = await connected()
    first, second, third = await all_at_once(lane, b"one", REFUSED, b"three")
    assert (first, third) == (b"one", b"three")
    assert type(second) is ResponseError
    await lane.close()


@pytest.mark.parametrize("before", [(), (b"one",)], ids=["leaves at once", "waits in line"])
async def test_script_that_the_server_does_not_know_is_loaded_and_called_again(before: tuple[bytes, ...]) -> None:
    server, lane = await connected()
    assert await all_at_once(lane, *before, UNKNOWN) == [*before, UNKNOWN]
    assert server.asked() == [*[[word] for word in before], [UNKNOWN], [b"LOAD", UNKNOWN]]
    await lane.close()


@pytest.mark.parametrize("before", [(), (b"one",)], ids=["leaves at once", "waits in line"])
async def test_call_under_which_the_connection_breaks_is_repeated_over_the_next_one(before: tuple[bytes, ...]) -> None:
    server, lane = await connected()
    assert await all_at_once(lane, *before, BREAK, b"three") == [*before, BREAK + b" again", b"three"]
    assert server.asked() == [*[[word] for word in before], [BREAK], [b"INFO"], [BREAK + b" again"], [b"three"]]
    await lane.close()


async def test_call_whose_first_tries_never_left_is_no_repeat() -> None:
    """Who is told that it is may be told that it was carried out."""
    server, lane = await connected()
    await lane._drop()
    server.refuses = 2
    assert await all_at_once(lane, b"one") == [b"one"]
    assert server.connects == 4
    await lane.close()


@pytest.mark.parametrize("before", [(), (b"one",)], ids=["leaves at once", "waits in line"])
async def test_answer_that_never_comes_leaves_in_doubt_and_who_is_behind_was_not_sent(
    monkeypatch: pytest.MonkeyPatch, before: tuple[bytes, ...]
) -> None:
    server, lane = await connected()
    monkeypatch.setattr(lanes, "CALL_S", 0.1)
    told = await all_at_once(lane, *before, HANG, b"three")
    assert [type(fault) for fault in told[len(before) :]] == [Unanswered, StoreUnavailable]
    assert server.asked() == [*[[word] for word in before], [HANG]]
    assert await all_at_once(lane, b"four", b"five") == [b"four", b"five"]
    assert lane._worker is not None
    assert lane._worker.cancelling() == 0
    await lane.close()


async def test_call_with_something_to_follow_or_to_look_at_has_it_on_its_connection() -> None:
    server, lane = await connected()

    async def follow() -> Any:
        return await lane.call(lambda _: (b"followed",), then=lambda reply: (b"behind", reply))

    async def look() -> Any:
        return await lane.call(lambda _: (b"looking",), asks_data=True)

    async with asyncio.timeout(SOON_S):
        await look()
        assert await follow() == (b"followed", b"behind followed")
    assert server.asked() == [[b"INFO replication"], [b"looking"], [b"followed"], [b"behind followed"]]
    await lane.close()


@pytest.mark.parametrize("turns_before", range(8))
async def test_abandoned_lane_answers_everybody_in_line_at_once(turns_before: int) -> None:
    _, lane = await connected()
    asked = [asyncio.create_task(tell(lane, word)) for word in (HANG, b"two", b"three")]
    await turns(turns_before)
    await expect_abandoned(lane, asked)


async def test_server_that_is_loading_has_done_nothing_and_is_looked_at_anew() -> None:
    """Fails on a lane that keeps the connection, which the driver lets go and would make again unseen."""
    server, lane = await connected()
    assert await all_at_once(lane, LOADING) == [LOADING]
    assert server.asked() == [[LOADING], [b"INFO"], [LOADING]]
    await lane.close()


async def test_command_that_cannot_be_packed_is_its_callers_fault_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on a lane whose task ends with it: everybody in line would be cancelled."""
    _, lane = await connected()
    pack = lanes.pack

    def choosy(command: Command) -> bytes:
        if command[0] == REFUSED:
            raise TypeError("of no kind that can be sent")
        return pack(command)

    monkeypatch.setattr(lanes, "pack", choosy)
    told = await all_at_once(lane, REFUSED, b"two", REFUSED, b"four")
    assert told[1::2] == [b"two", b"four"]
    assert [type(fault) for fault in told[::2]] == [TypeError, TypeError]
    await lane.close()


async def test_call_whose_time_was_over_is_in_doubt_if_it_had_left_and_else_told_that_it_was_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a stop of the process. Fails on a lane that takes a call for sent once it reads the answer."""
    server, lane = await connected()
    monkeypatch.setattr(lanes, "CALL_S", -1.0)
    told = await all_at_once(lane, b"one", b"two")
    assert [type(fault) for fault in told] == [Unanswered, StoreUnavailable]
    assert server.asked() == [[b"one"]]
    await lane.close()


# ── a server that ends the connection at one call ────────────────────────────────────────────────────────────────────────────────────


class Ending(Connection):
    """Ends with each call but INFO, and can be made for so many times: `connects`."""

    def __init__(self, connects: int, answer: Exception) -> None:
        super().__init__()
        self.connects, self.answer = connects, answer
        self.calls, self.hangs_from = 0, 1000

    async def connect(self) -> None:
        self.connects -= 1
        if self.connects < 0:
            raise ConnectionRefusedError("nobody there")

    async def read_response(self, disable_decoding: bool = False) -> bytes:
        if b"INFO" in self.asked[-1]:
            return INFO
        self.calls += 1
        if self.calls >= self.hangs_from:
            await self.may_answer.wait()
        raise self.answer


@pytest.mark.parametrize(
    ("connects", "answer", "kind"),
    [
        (1000, ConnectionResetError("gone"), CutOff),
        (1000, ResponseError("Protocol error: invalid bulk length"), CutOff),
        (5, ConnectionResetError("gone"), Unanswered),
        (1000, BusyLoadingError("LOADING"), StoreUnavailable),
        (1000, ResponseError("MISCONF it could not save"), StoreUnavailable),
    ],
    ids=["it ends each time", "and says why", "it goes away", "it loads its data", "it could not save"],
)
async def test_server_that_ends_the_connection_at_one_call_each_time_is_told_from_one_that_is_away(
    monkeypatch: pytest.MonkeyPatch, connects: int, answer: Exception, kind: type[Exception]
) -> None:
    """Fails on a lane that takes a server which dies at the call, or is on its way up, for one that refuses it."""
    monkeypatch.setattr(lanes, "CALL_S", 0.5)
    lane = over(Ending(connects, answer))
    with pytest.raises(kind) as told:
        await ask(lane, b"one")
    assert type(told.value) is kind
    assert ("proto-max-bulk-len" in str(told.value)) == (kind is CutOff)
    await lane.close()


async def test_call_that_hangs_after_connections_that_ended_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "CALL_S", 0.3)
    connection = Ending(1000, ConnectionResetError("gone"))
    connection.hangs_from = CUTS_MIN
    lane = over(connection)
    with pytest.raises(Unanswered) as told:
        await ask(lane, b"one")
    assert type(told.value) is Unanswered
    await lane.close()


async def test_connection_that_ended_once_within_a_call_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "BACKOFF_S", (60.0, 60.0))
    monkeypatch.setattr(lanes, "CALL_S", 0.1)
    lane = over(Ending(1000, ConnectionResetError("gone")))
    with pytest.raises(Unanswered) as told:
        await ask(lane, b"one")
    assert type(told.value) is Unanswered
    await lane.close()
