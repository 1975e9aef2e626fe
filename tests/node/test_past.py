"""Look-ups in records that may be away: bounded, then refused at once, and asked again behind everybody's back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import pytest

from tests.queue.making import START_MS, Producer
from zjp.errors import StoreUnavailable
from zjp.job import JobState, Record, StoredJob
from zjp.node.past import Past, RecordsAway

pytestmark = pytest.mark.covers("mongo:away")

SPEC = Producer().spec()
RECORD = Record(StoredJob(SPEC, START_MS), JobState.COMPLETED, START_MS, b"\xc0")
WITHIN_S = 0.05


class Records:
    """`mode`: answers, refuses or hangs. `answered` is set by each answer, `is_asked` by each call."""

    def __init__(self) -> None:
        self.mode = "answers"
        self.asked: list[list[bytes]] = []
        self.is_asked, self.answered = asyncio.Event(), asyncio.Event()

    async def get(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        self.asked.append(list(ids))
        self.is_asked.set()
        if self.mode == "hangs":
            await asyncio.Event().wait()
        if self.mode == "refuses":
            raise StoreUnavailable("connection refused")
        self.answered.set()
        return {SPEC.id: RECORD} if SPEC.id in ids else {}


@pytest.fixture
async def records() -> Records:
    return Records()


@pytest.fixture
async def past(records: Records) -> AsyncIterator[Past]:
    made = Past(records.get, within_s=WITHIN_S, again_s=0.001)
    yield made
    await made.close()


async def test_what_the_records_say_is_passed_on(past: Past) -> None:
    assert await past.look([SPEC.id, b"?" * 16]) == {SPEC.id: RECORD}


@pytest.mark.parametrize(("mode", "reason"), [("refuses", "connection refused"), ("hangs", "no answer within 0.05 s")])
async def test_away_it_is_said_why_and_no_later_look_up_waits(records: Records, mode: str, reason: str) -> None:
    past = Past(records.get, within_s=WITHIN_S, again_s=3600.0)
    records.mode = mode
    with pytest.raises(RecordsAway, match=reason):
        await past.look([SPEC.id])
    for _ in range(100):
        with pytest.raises(RecordsAway, match=f"cannot be told, since the records are away: {reason}"):
            await past.look([b"?" * 16])
    assert records.asked == [[SPEC.id]]
    await past.close()


@pytest.mark.parametrize("mode", ["refuses", "hangs"])
async def test_they_are_asked_again_until_they_answer(past: Past, records: Records, mode: str) -> None:
    records.mode = mode
    with pytest.raises(RecordsAway):
        await past.look([b"?" * 16, SPEC.id])
    for _ in range(3):
        records.is_asked.clear()
        await records.is_asked.wait()
    assert records.asked[1:4] == [[b"?" * 16]] * 3, "one of them tells as much"
    records.mode = "answers"
    await records.answered.wait()
    await asyncio.sleep(0)
    assert await past.look([SPEC.id]) == {SPEC.id: RECORD}


async def test_several_that_were_under_way_are_refused_and_one_is_asked_again(past: Past, records: Records) -> None:
    records.mode = "hangs"
    began = time.monotonic()
    faults = await asyncio.gather(*(past.look([bytes([at]) * 16]) for at in range(5)), return_exceptions=True)
    assert [type(fault) for fault in faults] == [RecordsAway] * 5
    assert time.monotonic() - began < 20 * WITHIN_S
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "records-look"]
    assert len(tasks) == 1
    await past.close()
    assert tasks[0].done()


async def test_a_bug_of_the_records_is_shown_to_who_asks(records: Records) -> None:
    async def broken(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        raise KeyError("bug")

    past = Past(broken)
    with pytest.raises(KeyError):
        await past.look([SPEC.id])
    await past.close()
