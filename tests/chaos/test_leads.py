"""What a recorded store tells of leaders, the judge of tokens reads: content with the real store, and not with one that has no fence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sims.checkers import Verdict, judge
from sims.history import Recorder, load
from sims.lines import Duty, Lead
from tests.chaos.leads import LeadRecordingStore
from zjp.job import Record
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import Document, DocumentKind, Fired, Life

pytestmark = pytest.mark.covers("main-path:12")


async def nothing_finished(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


class Unfenced:
    """Takes a duty's write from anybody."""

    def __init__(self, store: SQLiteQueueStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def fire(self, owner: str, epoch: int, kind: DocumentKind, document: Document, jobs: Sequence[Any]) -> Fired:
        version = await self._store.put_document(kind, document.name, document.data, document.version)
        return Fired(version)


@asynccontextmanager
async def recorded(folder: Path, fiddle: Callable[[SQLiteQueueStore], Any] = lambda store: store):  # type: ignore[no-untyped-def]
    inner = SQLiteQueueStore(
        folder / "zjp.db", lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 28,
        disk_reserve_bytes=0, finished=nothing_finished,
    )  # fmt: skip
    with Recorder(folder / "n.jsonl", "n") as recorder:
        store = LeadRecordingStore(fiddle(inner), recorder, lease_ms=15_000)
        await store.open(Life("n", 1), {})
        try:
            yield store
        finally:
            await store.close()


async def two_terms(store: LeadRecordingStore) -> None:
    """The office passes from x to y, which x does not know."""
    await store.claim_lead("x:1", 1, 60.0, is_elected=True)
    await store.fire("x:1", 1, DocumentKind.CLUSTER, Document("d", b"\x80", 0), ())
    await store.claim_lead("y:1", 2, 60.0, is_elected=True)
    await store.claim_lead("y:1", 2, 60.0, is_elected=True)
    await store.fire("x:1", 1, DocumentKind.CLUSTER, Document("d", b"\x81", 1), ())
    await store.renew_lead("x:1", 1, 60.0)


def verdict_on(folder: Path) -> Verdict:
    return judge(load([folder / "n.jsonl"]))


async def test_lead_is_told_once_and_what_was_refused_is_told_as_refused(tmp_path: Path) -> None:
    async with recorded(tmp_path) as store:
        await two_terms(store)
    ops = load([tmp_path / "n.jsonl"]).ops
    assert [line.tok for line in ops if isinstance(line, Lead)] == [1, 2]
    assert [(line.val, line.tok, line.type) for line in ops if isinstance(line, Duty)] == [
        ("fire d", 1, "ok"), ("fire d", 1, "fail"), ("renew", 1, "fail"),
    ]  # fmt: skip
    verdict = verdict_on(tmp_path)
    assert "C12" in verdict.checked
    assert verdict.violated == []


async def test_write_under_a_token_that_is_over_is_seen(tmp_path: Path) -> None:
    async with recorded(tmp_path, Unfenced) as store:
        await two_terms(store)
    assert verdict_on(tmp_path).violated == ["C12"]
