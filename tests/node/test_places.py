"""Nodes that keep their records in different places tell one another, and warn for as long as it is so."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.node.test_stats import JUDGE, WEIGHTS
from tests.queue.making import RedisBench
from zjp.config import Settings
from zjp.node.dispatch import Dispatch
from zjp.node.places import Places
from zjp.node.stats import NodeStats
from zjp.node.stores import place_of_records
from zjp.queue.store import QueueStore
from zjp.wire.messages import TaskInfo

pytestmark = pytest.mark.covers("redis:connections", "settings:MONGODB_URI")

REDIS, MONGODB = "Redis", "MongoDB at db:27017/zjp"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[RedisBench]:
    made = RedisBench(tmp_path)
    yield made
    await made.close()


def dispatch_of(store: QueueStore, node: str, place: str) -> Dispatch:
    made = Dispatch(store, JUDGE, NodeStats(node, 1), weights=WEIGHTS, renew_s=1.0, places=Places(node, place))
    made.tasks["noop"] = TaskInfo("noop")
    return made


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("records.")]


async def test_nodes_with_different_places_warn_of_one_another_while_both_live(bench: RedisBench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stores = [await bench.join(name) for name in ("a", "b", "c")]
    a, b, c = (
        dispatch_of(store, node, place) for store, node, place in zip(stores, "abc", (REDIS, REDIS, MONGODB), strict=True)
    )
    for one in (a, b, a, b):
        await one._tend_once()
    assert said(caplog) == []
    for one in (c, a, c, a):
        await one._tend_once()
    assert said(caplog) == ["records.elsewhere"] * 2
    assert [fields_of(record)["nodes"] for record in caplog.records] == [{"a": REDIS, "b": REDIS}, {"c": MONGODB}]
    assert "write its hosts alike" in fields_of(caplog.records[0])["reason"]
    await stores[2].close()
    await a._tend_once()  # takes its registration away
    await a._tend_once()
    assert said(caplog)[2:] == ["records.together"]


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    return record.__dict__["fields"]  # type: ignore[no-any-return]


def test_words_of_places_are_no_task_types() -> None:
    a, c = Places("a", REDIS), Places("c", MONGODB)
    assert a.read(["email", a.word, c.word, "later words"]) == ["email"]


@pytest.mark.parametrize(
    ("uris", "is_one"),
    [
        (["mongodb://user:secret@B,a:27017/?replicaSet=r", "mongodb://a,b:27017"], True),
        (["mongodb://a", "mongodb://b"], False),
        (["mongodb://a", None], False),
    ],
)
def test_place_is_told_by_kind_hosts_and_database_and_holds_no_secret(uris: Sequence[str | None], is_one: bool) -> None:
    one, other = (place_of_records(Settings(redis_addr="r:1", mongodb_uri=uri)) for uri in uris)
    assert (one == other) is is_one
    assert "secret" not in one
