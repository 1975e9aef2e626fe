"""What every queue store promises about what stands beside the jobs: the leadership, users and schedules."""

from __future__ import annotations

import asyncio

import pytest

from tests.queue.making import Bench, Producer, add, run_all
from zjp.queue.store import Document, DocumentKind, Lead, QueueStore

USER, SCHEDULE = DocumentKind.USER, DocumentKind.SCHEDULE


# ── leadership ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_first_claim_of_the_lead_is_granted(store: QueueStore) -> None:
    assert await store.claim_lead("a", 1, 5.0) == Lead(1, "a", 5.0)


async def test_lead_is_not_taken_over_before_it_ends(bench: Bench, store: QueueStore) -> None:
    await store.claim_lead("a", 4, 5.0)
    bench.pass_time(4.0)
    assert await store.claim_lead("b", 5, 5.0) == Lead(4, "a", 1.0)
    bench.pass_time(1.0)
    assert await store.claim_lead("b", 5, 5.0) == Lead(5, "b", 5.0)


async def test_epoch_must_rise_even_when_the_lead_has_ended(bench: Bench, store: QueueStore) -> None:
    await store.claim_lead("a", 4, 5.0)
    bench.pass_time(6.0)
    assert await store.claim_lead("b", 4, 5.0) == Lead(4, "a", 0.0)
    assert await store.claim_lead("b", 3, 5.0, is_elected=True) == Lead(4, "a", 0.0)


async def test_elected_leader_need_not_wait(store: QueueStore) -> None:
    await store.claim_lead("a", 4, 5.0)
    assert await store.claim_lead("b", 5, 5.0, is_elected=True) == Lead(5, "b", 5.0)
    assert not await store.renew_lead("a", 4, 5.0)
    assert not await store.release_lead("a", 4)


async def test_renewed_lead_goes_on_and_released_lead_is_free(bench: Bench, store: QueueStore) -> None:
    await store.claim_lead("a", 1, 5.0)
    for _ in range(4):
        bench.pass_time(4.0)
        assert await store.renew_lead("a", 1, 5.0)
    assert await store.claim_lead("b", 2, 5.0) == Lead(1, "a", 5.0)
    assert await store.release_lead("a", 1)
    assert await store.claim_lead("b", 2, 5.0) == Lead(2, "b", 5.0)


async def test_of_many_claims_at_once_one_is_granted(store: QueueStore) -> None:
    leads = await asyncio.gather(*(store.claim_lead(f"n{at}", 1, 5.0) for at in range(10)))
    assert len({lead.owner for lead in leads}) == 1


async def test_lead_survives_a_crash(bench: Bench, store: QueueStore) -> None:
    await store.claim_lead("a", 7, 5.0)
    store = await bench.crash()
    assert (await store.claim_lead("b", 8, 5.0)).owner == "a"


# ── users and schedules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_document_is_kept_by_kind_and_name(bench: Bench, store: QueueStore) -> None:
    assert await store.put_document(USER, "b", b"\x00:1", 0) == 1
    assert await store.put_document(USER, "a", b"2", 0) == 1
    assert await store.put_document(SCHEDULE, "a", b"3", 0) == 1
    store = await bench.crash()
    assert list(await store.documents(USER)) == [Document("a", b"2", 1), Document("b", b"\x00:1", 1)]
    assert list(await store.documents(SCHEDULE)) == [Document("a", b"3", 1)]


async def test_document_changes_only_from_the_version_that_was_read(store: QueueStore) -> None:
    assert await store.put_document(USER, "a", b"1", 0) == 1
    assert await store.put_document(USER, "a", b"2", 0) == 0
    assert await store.put_document(USER, "a", b"2", 1) == 2
    assert await store.put_document(USER, "a", b"3", 1) == 0
    assert await store.put_document(USER, "missing", b"3", 1) == 0
    assert list(await store.documents(USER)) == [Document("a", b"2", 2)]


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_document_is_removed_only_at_its_version(store: QueueStore, version: int) -> None:
    await store.put_document(USER, "a", b"1", 0)
    await store.put_document(USER, "a", b"2", 1)
    assert not await store.remove_document(USER, "a", version)
    assert await store.remove_document(USER, "a", 2)
    assert not await store.remove_document(USER, "a", 2)
    assert list(await store.documents(USER)) == []


async def test_document_that_comes_again_after_its_removal_has_a_version_of_its_own(bench: Bench, store: QueueStore) -> None:
    """Whoever knows versions only (the leader, of schedules) took it for the former one, and put that back when it changed it."""
    assert await store.put_document(USER, "a", b"1", 0) == 1
    assert await store.put_document(USER, "a", b"2", 1) == 2
    assert await store.remove_document(USER, "a", 2)
    store = await bench.crash()
    assert await store.put_document(USER, "a", b"3", 0) == 3
    assert await store.put_document(USER, "a", b"4", 2) == 0
    assert await store.put_document(USER, "a", b"4", 3) == 4
    assert await store.put_document(SCHEDULE, "a", b"5", 0) == 1


async def test_document_changes_only_while_the_one_it_relies_on_stands_unchanged(store: QueueStore) -> None:
    for name in ("a", "b"):
        await store.put_document(USER, name, b"1", 0)
    await store.put_document(SCHEDULE, "c", b"1", 0)
    for beside in (("b", 2), ("c", 1), ("missing", 1)):
        assert await store.put_document(USER, "a", b"2", 1, beside=beside) == 0
        assert not await store.remove_document(USER, "a", 1, beside=beside)
    assert await store.put_document(USER, "a", b"2", 1, beside=("b", 1)) == 2
    assert await store.remove_document(USER, "a", 2, beside=("b", 1))


async def test_of_two_documents_that_rely_on_each_other_one_is_removed(store: QueueStore) -> None:
    for name in ("a", "b"):
        await store.put_document(USER, name, b"1", 0)
    removed = await asyncio.gather(
        store.remove_document(USER, "a", 1, beside=("b", 1)), store.remove_document(USER, "b", 1, beside=("a", 1))
    )
    assert sorted(removed) == [False, True]


# ── waiting ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_watched_job_is_told_once_when_this_node_finishes_it(store: QueueStore, producer: Producer) -> None:
    told: list[bytes] = []
    store.on_finished = told.extend
    ids = await add(store, *producer.specs(2))
    await store.watch([*ids, producer.id()])
    await run_all(store)
    await store.counts()
    assert set(told) == set(ids)
