"""What every queue store promises while the records do not answer: it never takes long, and nothing that is known is forgotten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from tests.queue.making import OTHER_PAYLOAD, Bench, Producer, add, ids_of, pending, run_all
from zjp.errors import JobConflict, StoreUnavailable
from zjp.job import JobSpec, Options, Record
from zjp.queue.store import CancelKind, QueueStore, SubmitKind

pytestmark = pytest.mark.covers("main-path:5", "mongo:away")


async def away(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    raise StoreUnavailable("the records are away")


@pytest.fixture
async def store(bench: Bench) -> QueueStore:
    return await bench.open(finished=away)


async def finish_and_move(store: QueueStore, *specs: JobSpec) -> None:
    """The records have them, and do not say so."""
    await add(store, *specs)
    await run_all(store)
    await store.outbox_remove(await store.outbox(100))


async def test_new_id_of_a_caller_is_stored(store: QueueStore, producer: Producer) -> None:
    foreign = JobSpec(b"\xff" * 16, "noop", b"\x80", options=Options(caller_id=True))
    await add(store, producer.spec(caller_id=True), foreign)
    for _ in range(2):  # with others of a session that goes on, and of a new one
        await add(store, producer.spec(), producer.spec(caller_id=True), Producer().spec(), producer.spec())
    assert await pending(store) == 10


async def test_repeat_of_an_id_of_a_caller_is_told_for_a_day(bench: Bench, store: QueueStore, producer: Producer) -> None:
    spec = producer.spec(caller_id=True)
    await finish_and_move(store, spec)
    bench.pass_time(24 * 3600 - 1)
    (answer,) = await store.submit([spec])
    assert (answer.kind, answer.id) == (SubmitKind.EXISTED, spec.id)
    assert await pending(store) == 0


async def test_repeat_with_other_content_is_a_conflict_and_stores_nothing(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec(caller_id=True)
    await finish_and_move(store, spec)
    with pytest.raises(JobConflict, match=r"id '.*' belongs to job"):
        await store.submit([producer.spec(caller_id=True), JobSpec(spec.id, spec.type, OTHER_PAYLOAD, options=spec.options)])
    assert await pending(store) == 0


async def test_repeat_of_what_lives_is_told(store: QueueStore, producer: Producer) -> None:
    specs = [producer.spec(caller_id=True), producer.spec()]
    await add(store, *specs)
    assert {answer.kind for answer in await store.submit(specs)} == {SubmitKind.EXISTED}
    answers = await store.submit([*specs, producer.spec()])
    assert [answer.kind for answer in answers] == [SubmitKind.EXISTED, SubmitKind.EXISTED, SubmitKind.CREATED]


async def test_id_of_a_session_that_may_have_finished_is_refused_and_nothing_is_stored(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await finish_and_move(store, spec)
    for request in ([spec], [spec, producer.spec(caller_id=True)], [producer.spec(), spec, producer.spec(caller_id=True)]):
        with pytest.raises(StoreUnavailable, match="the records are away"):
            await store.submit(request)
    assert await pending(store) == 0
    await add(store, producer.spec())


async def test_cancel_of_what_is_not_in_the_queue_says_that_it_cannot_be_told(store: QueueStore, producer: Producer) -> None:
    spec = producer.spec()
    await finish_and_move(store, spec)
    (waiting,) = await add(store, producer.spec())
    with pytest.raises(StoreUnavailable, match="the records are away"):
        await store.cancel([spec.id])
    assert await store.cancel([waiting]) == [CancelKind.CANCELLED]


async def test_after_a_day_a_repeat_runs_again(bench: Bench, store: QueueStore, producer: Producer) -> None:
    spec = producer.spec(caller_id=True)
    await finish_and_move(store, spec)
    bench.pass_time(24 * 3600 + 1)
    await add(store, spec)
    assert ids_of(await store.claim(1, {"*": 1})) == [spec.id]
