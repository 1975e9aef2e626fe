"""What was found out on one server is used on no other, whatever other requests have found out meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import pytest

from scripts.redis_sentinels import replication, wait_until
from scripts.redis_server import RedisServer
from sims.proxy import FaultProxy
from tests.queue.making import START_MS, Producer, add
from tests.redis import start_redis
from zjp.errors import OutcomeUnknown
from zjp.job import JobSpec, JobState, Record, StoredJob
from zjp.queue.redis import RedisQueueStore, deeds
from zjp.queue.store import Durability, Life, Live, SubmitKind
from zjp.redis import lane as lanes

pytestmark = pytest.mark.covers("redis:sentinel")

PATIENT_S = 15.0
"""For servers and replicas on a busy machine."""


class Records:
    """Of one job, for which whoever asks has to wait."""

    def __init__(self) -> None:
        self.held: JobSpec | None = None
        self.found: dict[bytes, Record] = {}
        self.were_asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, ids: Sequence[bytes]) -> Mapping[bytes, Record]:
        if self.held is not None and self.held.id in ids:
            self.were_asked.set()
            await self.may_answer.wait()
        return {job_id: self.found[job_id] for job_id in ids if job_id in self.found}


class Stage:
    """A store, and two servers of which the second one knows nothing of the first: what a fail-over may leave, at its worst."""

    def __init__(self, servers: Sequence[RedisServer], proxy: FaultProxy, level: Durability | None) -> None:
        self.old, self.new = servers
        self.proxy, self.level = proxy, level
        self.records = Records()
        self.store = RedisQueueStore(
            "redis://{}:{}".format(*proxy.address), lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000,
            outbox_bytes_max=1 << 20, finished=self.records, level_wanted=level,
        )  # fmt: skip

    def lead_to(self, server: RedisServer) -> None:
        self.proxy._upstream = ("127.0.0.1", server.port)
        self.proxy.cut()


def start_replica(primary: RedisServer) -> RedisServer:
    replica = start_redis(options={"replicaof": f"127.0.0.1 {primary.port}"})
    wait_until(lambda: replication(replica).get("master_link_status") == "up")
    return replica


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Iterator[list[RedisServer]]:
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(2):
            server = start_redis(options={"repl-diskless-sync-delay": "0"})
            stack.callback(server.stop)
            made.append(server)
            if request.getfixturevalue("level") is Durability.REPLICA:
                stack.callback(start_replica(server).stop)
        yield made


@pytest.fixture
async def stage(servers: list[RedisServer], level: Durability | None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(lanes, "CALL_S", PATIENT_S)
    monkeypatch.setattr(deeds, "WAIT", (b"WAIT", b"1", b"%d" % (PATIENT_S * 500)))
    async with FaultProxy("127.0.0.1", servers[0].port) as proxy:
        made = Stage(servers, proxy, level)
        await made.store.open(Life("node-1", 1), {})
        yield made
        await made.store.disconnect()


@pytest.mark.parametrize("level", [None, Durability.REPLICA])
@pytest.mark.parametrize("is_found", [True, False], ids=["all were found", "one is new"])
async def test_job_that_only_a_former_server_had_is_stored_again_though_another_request_has_sought_on_the_next(
    stage: Stage, is_found: bool
) -> None:
    """Fails on a store that keeps for all requests together on which server they sought: the job is told as stored, and nobody has it."""
    store, records = stage.store, stage.records
    known, held = Producer().spec(), Producer().spec()  # of two sessions: no generation tells that one of them is gone
    await add(store, known)
    if is_found:
        records.found[held.id] = Record(StoredJob(held, START_MS), JobState.COMPLETED, START_MS)
    records.held = held
    asked = asyncio.create_task(store.submit([known, held]))
    async with asyncio.timeout(PATIENT_S):
        await records.were_asked.wait()
    stage.lead_to(stage.new)
    await add(store, Producer().spec(caller_id=True))
    records.may_answer.set()
    kinds = [answer.kind for answer in await asked]
    assert kinds == [SubmitKind.CREATED, SubmitKind.EXISTED if is_found else SubmitKind.CREATED]
    found = await store.get([known.id, held.id])
    assert [isinstance(one, Live) for one in found] == [True, not is_found]


@pytest.mark.parametrize("level", [None, Durability.REPLICA])
async def test_job_that_was_stored_on_another_server_than_it_was_sought_on_is_unknown_when_nobody_answers_then(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails on a store that tells what failed last, which was only a look: it says that nothing was stored."""
    store, spec = stage.store, Producer().spec(caller_id=True)
    await add(store, Producer().spec())
    submits, sought = store._intake._submits, 0
    seek = submits.seek

    async def seek_and_turn(*arguments: Any) -> Any:
        nonlocal sought
        sought += 1
        if sought == 2:
            monkeypatch.setattr(lanes, "CALL_S", 0.5)
            stage.proxy.is_refusing = True
            stage.proxy.cut()
        found = await seek(*arguments)
        stage.lead_to(stage.new)
        await store._lane("submit")._drop()  # so that no try goes out to nobody, which would be in doubt by itself
        return found

    submits.seek = seek_and_turn  # type: ignore[method-assign]
    with pytest.raises(OutcomeUnknown, match="may or may not have been carried out"):
        await store.submit([spec])
    stage.proxy.heal()
    assert isinstance((await store.get([spec.id]))[0], Live)


@pytest.mark.parametrize("level", [None])
async def test_queue_that_a_former_server_knew_is_made_known_to_the_next_one_behind_another(stage: Stage) -> None:
    """Fails on a store that asks only with its first submit whether the next server knows its queues: the second one is in no list."""
    store, producer = stage.store, Producer()
    await add(store, *producer.specs(1, "one"))
    stage.lead_to(stage.new)
    await add(store, *producer.specs(1, "two"))
    await add(store, *producer.specs(1, "one"))
    assert {count.queue: count.pending for count in await store.counts()} == {"one": 1, "two": 1}


@pytest.mark.parametrize("level", [Durability.REPLICA])
async def test_look_that_two_servers_have_answered_is_confirmed_by_neither(stage: Stage) -> None:
    """Fails on a store that goes by who answered first: what the other one told may not be known here."""
    store, spec = stage.store, Producer().spec()
    await add(store, Producer().spec())
    stage.lead_to(stage.new)
    await add(store, spec)
    stage.lead_to(stage.old)
    lane, turns = store._lane("submit"), [stage.new, stage.old]
    told = lane.told

    async def ask_and_turn(*arguments: Any, **more: Any) -> Any:
        reply = await told(*arguments, **more)
        stage.lead_to(turns.pop(0))
        return reply

    lane.told = ask_and_turn  # type: ignore[method-assign]
    mark, (found,) = await store.look([spec.id])
    lane.told = told  # type: ignore[method-assign]
    assert (isinstance(found, Live), turns) == (True, [])
    with pytest.raises(OutcomeUnknown, match="has been replaced"):
        await store.confirm(mark)
