"""The driver of an election core: what is durable before it is sent, what the store is asked, when the office is open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from tests.queue.making import SQLiteBench
from zjp.election.alone import Alone
from zjp.election.core import (
    SECOND,
    Batch,
    Config,
    Deed,
    Effects,
    Event,
    Health,
    Installed,
    Member,
    Persisted,
    Role,
    Send,
    Stall,
    StoreOp,
    StoreReply,
    View,
    Wake,
)  # fmt: skip
from zjp.node.election_log import ElectionLog
from zjp.node.leadership import Leadership, alone, installed
from zjp.node.stats import NodeStats
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Lead
from zjp.wire.peers import Beat, EpochSeen, Stored

pytestmark = pytest.mark.covers("cluster:duties")

WAIT_S = 10.0
BEAT = Beat(1, 1)


class Scripted:
    """A core that does what it is told for each event, and keeps what it heard."""

    def __init__(self, script: Callable[[Event], Effects | None]) -> None:
        self.script, self.heard = script, list[Event]()
        self.first = Effects()
        self.is_in_office, self.epoch = False, 0

    def start(self, now: int, records: Sequence[Stored]) -> Effects:
        self.records = records
        return self.first

    def step(self, now: int, event: Event) -> Effects:
        self.heard.append(event)
        return self.script(event) or Effects()

    def view(self) -> View:
        members = {"a": Member(Health.ALIVE, 0)}
        return View(Role.LEADER, "a", self.epoch, self.is_in_office, True, members)

    def durable(self) -> Sequence[Stored]:
        return [EpochSeen(99)]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteQueueStore]:
    bench = SQLiteBench(tmp_path)
    yield await bench.open()
    await bench.close()


def driven(core: Scripted | Alone, store: SQLiteQueueStore, folder: Path, send: Callable[[Send], None] = lambda _: None) -> Leadership:
    return Leadership(
        core, ElectionLog(folder / "election.log"), store, NodeStats("a", 1), owner="a:1", algorithm="alone", send=send  # type: ignore[arg-type]
    )  # fmt: skip


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not claim():  # noqa: ASYNC110 (what it waits for comes from a thread or a store)
            await asyncio.sleep(0.001)


async def test_promise_is_sent_only_when_it_is_on_the_disk_and_what_needs_no_disk_at_once(store: SQLiteQueueStore, tmp_path: Path) -> None:
    sent: list[tuple[str, int]] = []
    path = tmp_path / "election.log"
    size = 0

    def send(message: Send) -> None:
        sent.append((message.to, path.stat().st_size - size))

    core = Scripted(lambda _: None)
    core.first = Effects(send=[Send("now", BEAT)], persist=Batch(1, (EpochSeen(1),)), send_after=[Send("after", BEAT)])
    leadership = driven(core, store, tmp_path, send)
    ElectionLog(path).open()
    size = path.stat().st_size
    await leadership.start()
    assert [to for to, _ in sent] == ["now"]
    await until(lambda: Persisted(1) in core.heard)
    assert [to for to, _ in sent] == ["now", "after"]
    assert sent[0][1] == 0 < sent[1][1]
    await leadership.stop()


async def test_promise_waits_for_every_batch_before_it_too(store: SQLiteQueueStore, tmp_path: Path) -> None:
    sent: list[str] = []
    core = Scripted(lambda event: Effects(send_after=[Send("later", BEAT)]) if isinstance(event, Stall) else None)
    core.first = Effects(persist=Batch(1, (EpochSeen(1),)))
    leadership = driven(core, store, tmp_path, lambda message: sent.append(message.to))
    await leadership.start()
    leadership.feed(Stall(1))
    assert sent == []
    await until(lambda: Persisted(1) in core.heard)
    assert sent == ["later"]
    leadership.feed(Stall(1))
    assert sent == ["later", "later"]
    await leadership.stop()


async def test_batches_are_told_durable_in_order_and_read_back_in_the_next_life(store: SQLiteQueueStore, tmp_path: Path) -> None:
    numbers = iter(range(2, 6))

    def more(event: Event) -> Effects | None:
        number = next(numbers, 0) if isinstance(event, Persisted) else 0
        return Effects(persist=Batch(number, (EpochSeen(number),))) if number else None

    core = Scripted(more)
    core.first = Effects(persist=Batch(1, (EpochSeen(1),)))
    leadership = driven(core, store, tmp_path)
    await leadership.start()
    await until(lambda: Persisted(5) in core.heard)
    assert core.heard == [Persisted(number) for number in range(1, 6)]
    await leadership.stop()
    again = Scripted(lambda _: None)
    follower = driven(again, store, tmp_path)
    await follower.start()
    assert list(again.records) == [EpochSeen(number) for number in range(1, 6)]
    await follower.stop()


async def test_only_the_last_wake_asked_for_comes(store: SQLiteQueueStore, tmp_path: Path) -> None:
    core = Scripted(lambda _: None)
    core.first = Effects(wake=0)
    leadership = driven(core, store, tmp_path)
    await leadership.start()
    await until(lambda: core.heard != [])
    assert core.heard[-1] == Wake()
    await leadership.stop()


async def test_wake_that_is_long_overdue_is_told_as_a_stall_first(
    store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    core = Scripted(lambda _: None)
    core.first = Effects(wake=0)  # long ago by any monotonic clock
    leadership = driven(core, store, tmp_path)
    await leadership.start()
    await until(lambda: Wake() in core.heard)
    assert isinstance(core.heard[0], Stall)
    assert [line.message for line in caplog.records] == ["election.stalled"]
    await leadership.stop()


async def test_store_is_asked_to_install_renew_and_resign_and_the_core_hears_what_is_there(store: SQLiteQueueStore, tmp_path: Path) -> None:
    def op(number: int, deed: Deed, epoch: int = 5) -> StoreOp:
        return StoreOp(number, deed, epoch, "a:1", 5 * SECOND, True)

    core = Scripted(lambda event: Effects(store=[op(event.lag, list(Deed)[event.lag])]) if isinstance(event, Stall) else None)
    leadership = driven(core, store, tmp_path)
    await leadership.start()
    for number, left in enumerate((5 * SECOND, 5 * SECOND, 0)):
        leadership.feed(Stall(number))
        await until(lambda number=number: len(core.heard) == 2 * number + 2)  # type: ignore[misc]
        assert core.heard[-1] == StoreReply(op(number, list(Deed)[number]), Installed(5, "a:1", left))
    await store.claim_lead("b:1", 9, 5.0, is_elected=True)
    leadership.feed(Stall(1))
    await until(lambda: len(core.heard) == 8)
    assert core.heard[-1] == StoreReply(op(1, Deed.RENEW), Installed(9, "b:1", 5 * SECOND))
    await leadership.stop()


async def test_refused_write_closes_the_office_until_the_store_confirms_it_again(store: SQLiteQueueStore, tmp_path: Path) -> None:
    renewal = [StoreOp(number, Deed.RENEW, 5, "a:1", 5 * SECOND) for number in (1, 2)]
    core = Scripted(lambda event: Effects(store=[renewal[event.lag]]) if isinstance(event, Stall) else None)
    core.is_in_office, core.epoch = True, 5
    changes: list[bool] = []
    leadership = driven(core, store, tmp_path)
    leadership.on_change = lambda: changes.append(leadership.is_in_office)
    await leadership.start()
    await store.claim_lead("a:1", 5, 5.0)
    assert leadership.is_in_office
    leadership.feed(Stall(0))  # asked before
    leadership.refused(Lead(5, "a:1", 0.0))
    assert not leadership.is_in_office
    await until(lambda: len(core.heard) == 2)
    assert not leadership.is_in_office
    leadership.feed(Stall(1))
    await until(lambda: leadership.is_in_office)
    assert changes == [True, False, True]
    await leadership.stop()


async def test_office_that_the_store_may_have_let_lapse_is_closed_until_it_is_confirmed_again(
    store: SQLiteQueueStore, tmp_path: Path
) -> None:
    renewal = [StoreOp(number, Deed.RENEW, 5, "a:1", lead_for) for number, lead_for in ((1, SECOND // 20), (2, 60 * SECOND))]
    core = Scripted(lambda event: Effects(store=[renewal[event.lag]]) if isinstance(event, Stall) else None)
    core.is_in_office, core.epoch = True, 5
    changes: list[bool] = []
    leadership = driven(core, store, tmp_path)
    leadership.on_change = lambda: changes.append(leadership.is_in_office)
    await leadership.start()
    await store.claim_lead("a:1", 5, 5.0)
    leadership.feed(Stall(0))
    await until(lambda: not leadership.is_in_office)
    assert leadership.silent_s >= 0.05
    leadership.feed(Stall(1))
    await until(lambda: leadership.is_in_office)
    assert (changes, leadership.silent_s < WAIT_S) == ([True, False, True], True)
    await leadership.stop()


async def test_new_epoch_opens_the_office_that_was_closed_for_the_old_one(store: SQLiteQueueStore, tmp_path: Path) -> None:
    core = Scripted(lambda _: None)
    core.is_in_office, core.epoch = True, 5
    leadership = driven(core, store, tmp_path)
    await leadership.start()
    leadership.refused(Lead(6, "b:1", 1.0))
    assert not leadership.is_in_office
    core.epoch = 7
    assert leadership.is_in_office
    await leadership.stop()


async def test_store_that_is_away_is_told_as_no_answer(store: SQLiteQueueStore, tmp_path: Path) -> None:
    op = StoreOp(1, Deed.INSTALL, 1, "a:1", SECOND)
    core = Scripted(lambda _: None)
    core.first = Effects(store=[op])
    leadership = driven(core, store, tmp_path)
    await store.close()
    await leadership.start()
    await until(lambda: core.heard == [StoreReply(op, None)])
    await leadership.stop()


async def test_node_alone_leads_within_a_second_and_its_next_life_at_once_after_a_crash(store: SQLiteQueueStore, tmp_path: Path) -> None:
    first = driven(alone("a", 1, is_shared=False), store, tmp_path)  # type: ignore[arg-type]
    async with asyncio.timeout(1.0):
        await first.start()
        await until(lambda: first.is_in_office)
    first.halt()  # it dies: nothing is given up
    second = Leadership(
        alone("a", 2, is_shared=False), ElectionLog(tmp_path / "election.log"), store, NodeStats("a", 2), owner="a:2", algorithm="alone"
    )
    async with asyncio.timeout(1.0):
        await second.start()
        await until(lambda: second.is_in_office)
    assert (second.epoch, (await installed(store, "")).owner) == (2, "a:2")
    await second.stop()
    assert (await installed(store, "")).left_s == 0.0
    await first.stop()


async def test_emptied_folder_heals_through_the_refusal(store: SQLiteQueueStore, tmp_path: Path) -> None:
    await store.claim_lead("a:1", 41, 60.0)
    leadership = driven(alone("a", 2, is_shared=False), store, tmp_path)  # type: ignore[arg-type]
    leadership.owner = "a:2"
    await leadership.start()
    await until(lambda: leadership.is_in_office)
    assert leadership.epoch == 42
    await leadership.stop()


def test_config_of_a_node_alone_has_a_quorum_of_one() -> None:
    assert Config("a", 1, ("a",), 1, 0, 4, 1, 5).quorum == 1
