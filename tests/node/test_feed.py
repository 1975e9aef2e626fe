"""What happens to jobs, for whoever watches: nothing is kept while nobody does, and never more than its bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.node.gated import gated
from tests.queue.making import Producer
from zjp.job import JobState, Record, StoredJob
from zjp.node import feed
from zjp.node.askers import Asker
from zjp.node.feed import FeedDesk
from zjp.node.rates import Rate
from zjp.queue.store import Outcome, OutcomeKind
from zjp.wire.desk import AskFeed, Feed

pytestmark = pytest.mark.covers("http:feed")

ANYBODY = Asker("ada", None)
PRODUCER = Producer()


async def ask(desk: FeedDesk, after: int = 0, timeout_ms: int = 0) -> Feed:
    reply = await desk.ask(AskFeed(after, timeout_ms), ANYBODY)
    assert isinstance(reply, Feed)
    return reply


def stored(count: int) -> list[StoredJob]:
    return [StoredJob(spec, 1) for spec in PRODUCER.specs(count)]


async def test_jobs_that_are_submitted_and_cancelled_are_told_to_who_watches(tmp_path: Path) -> None:
    async with gated(tmp_path) as node, node.door() as door:
        await door.submit("before")
        place = (await door.feed()).place
        job = await door.submit("email", queue="mail")
        await job.cancel()
        told = await door.feed(place, "5s")
        assert [(one.type, one.queue, one.state) for one in told.happened] == [
            ("email", "mail", "pending"),
            ("email", "mail", "cancelled"),
        ]
        assert {one.id for one in told.happened} == {job.id_bytes}
        assert told.left_out == 0
        assert (await door.feed(told.place)).happened == []


async def test_jobs_that_start_before_their_submit_is_answered_are_told_as_submitted_first_and_once() -> None:
    """Fails on a desk that tells them as they are noticed: whoever watches would see a running job turn pending."""
    desk, jobs = FeedDesk(), stored(2)
    place = (await ask(desk)).place
    desk.handed(jobs)
    desk.started(jobs)
    desk.submitted([job.spec for job in jobs])
    assert [one.state for one in (await ask(desk, place)).happened] == ["pending"] * 2 + ["running"] * 2
    assert not desk._handed


async def test_nothing_is_kept_while_nobody_watches() -> None:
    desk = FeedDesk()
    desk.submitted(PRODUCER.specs(3))
    assert len(desk._ring) == 0
    assert (await ask(desk)).left_out == 0


async def test_gathering_ends_when_nobody_has_asked_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = FeedDesk()
    await ask(desk)
    monkeypatch.setattr(feed, "LISTENED_S", 0.0)
    desk.submitted(PRODUCER.specs(1))
    assert not desk.is_listened


async def test_a_busy_node_tells_a_sample_and_how_much_it_left_out() -> None:
    desk = FeedDesk()
    place = (await ask(desk)).place
    desk.started(stored(feed.SAMPLE_MAX + 30))
    told = await ask(desk, place)
    assert (len(told.happened), told.left_out) == (feed.SAMPLE_MAX, 30)
    for _ in range(200):
        desk.started(stored(10))
    told = await ask(desk, told.place)
    assert len(told.happened) <= feed.RATE_MAX
    assert len(told.happened) + told.left_out == 2000


async def test_what_became_of_jobs_is_told_by_state_and_what_went_back_is_not() -> None:
    desk = FeedDesk()
    place = (await ask(desk)).place
    done, failed, retried, back = stored(4)
    desk.settled([
        Outcome(1, done, OutcomeKind.FINISH, Record(done, JobState.COMPLETED, 2)),
        Outcome(1, failed, OutcomeKind.FINISH, Record(failed, JobState.FAILED, 2)),
        Outcome(1, retried, OutcomeKind.RETRY), Outcome(1, back, OutcomeKind.RELEASE),
    ])  # fmt: skip
    told = await ask(desk, place)
    assert [one.state for one in told.happened] == ["completed", "failed", "retrying"]
    assert told.left_out == 0


async def test_who_waits_is_told_soon_after_the_first_and_nothing_comes_of_a_quiet_node() -> None:
    desk = FeedDesk()
    place = (await ask(desk)).place
    waiting = asyncio.create_task(ask(desk, place, 20_000))
    await asyncio.sleep(0)
    desk.submitted(PRODUCER.specs(2))
    assert len((await waiting).happened) == 2
    quiet = await ask(desk, (await ask(desk)).place, 1)
    assert (quiet.happened, quiet.left_out) == ([], 0)


async def test_a_place_of_a_former_life_or_of_nowhere_begins_with_now() -> None:
    desk = FeedDesk()
    await ask(desk)
    desk.submitted(PRODUCER.specs(2))
    for after in (0, -5, 1 << 62):
        told = await ask(desk, after)
        assert (told.happened, told.left_out) == ([], 0)


def test_rates_are_means_over_whole_seconds_and_forget_what_is_older() -> None:
    now = [1000.5]
    rate = Rate(lambda: now[0])
    assert rate.per_second() == {"1m": 0.0, "5m": 0.0, "15m": 0.0}
    rate.add(30)
    assert rate.per_second()["1m"] == 0.0  # the second is not over
    now[0] = 1010.0
    assert rate.per_second() == {"1m": 3.0, "5m": 3.0, "15m": 3.0}
    now[0] = 1060.0
    assert rate.per_second()["1m"] == 0.5
    now[0] = 1061.0
    assert rate.per_second() == {"1m": 0.0, "5m": 30 / 61, "15m": 30 / 61}
    now[0] = 1_000_000.0
    assert rate.per_second() == {"1m": 0.0, "5m": 0.0, "15m": 0.0}
