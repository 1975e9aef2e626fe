"""Who votes is written down by each node, put back where the store lost it, and never changed behind an operator's back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.node.test_cluster import Home, Stalled, told, until
from tests.queue.making import SQLiteBench
from zjp.errors import ConfigError
from zjp.node import voters as listing
from zjp.node.hardstate import DataDir, open_data_dir
from zjp.node.voters import DOCUMENT, VoterList
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import DocumentKind

pytestmark = pytest.mark.covers("cluster:joined")

WAIT_S = 20.0
ABC, ABD = ("a", "b", "c"), ("a", "b", "d")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SETTLE_LOOK_S", 0.005)
    monkeypatch.setattr(listing, "LOOK_S", 0.02)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteQueueStore]:
    bench = SQLiteBench(tmp_path)
    yield await bench.open()
    await bench.close()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[DataDir]:
    data = open_data_dir(tmp_path / "a", "a")
    yield data
    data.close(clean=True)


def of(names: tuple[str, ...]) -> Mapping[str, int]:
    return dict.fromkeys(names, 0)


def listed(
    data: DataDir, store: Any, *, met: tuple[str, ...] = (), electing: Callable[[], set[str]] = set, cluster: str = "zjp", size: int = 3
) -> VoterList:
    """As a node has it that has just started."""
    one = VoterList(data, cluster, size, store, met=lambda: of(met), electing=electing, patience_s=0.01)
    one.load()
    return one


async def known(one: VoterList) -> tuple[str, ...]:
    async with asyncio.timeout(WAIT_S):
        return await one.known()


async def settled(store: SQLiteQueueStore) -> tuple[str, ...]:
    found = {one.name: one for one in await store.documents(DocumentKind.CLUSTER)}
    return tuple(msgspec.msgpack.decode(found[DOCUMENT].data)) if DOCUMENT in found else ()


async def lose(store: SQLiteQueueStore) -> None:
    for one in await store.documents(DocumentKind.CLUSTER):
        if one.name == DOCUMENT:
            assert await store.remove_document(DocumentKind.CLUSTER, DOCUMENT, one.version)


async def name(store: SQLiteQueueStore, voters: tuple[str, ...]) -> None:
    """Instead of those that are there."""
    await lose(store)
    assert await store.put_document(DocumentKind.CLUSTER, DOCUMENT, msgspec.msgpack.encode(voters), 0)


# ── one node's list ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_voters_are_in_the_folder_before_they_are_used(store: SQLiteQueueStore, folder: DataDir) -> None:
    one = listed(folder, store, met=ABC)
    assert not one.path.exists()
    assert await known(one) == await settled(store) == ABC
    kept = json.loads(one.path.read_text())
    assert (kept["cluster"], kept["voters"]) == ("zjp", list(ABC))
    assert one.path.stat().st_mode & 0o777 == 0o600


async def test_folder_that_cannot_keep_them_keeps_the_node_from_using_them(store: SQLiteQueueStore, folder: DataDir) -> None:
    one = listed(folder, store, met=ABC)
    aside = one.path.with_name(f"{one.path.name}.new")
    aside.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        await known(one)
    aside.unlink()
    assert await known(one) == ABC
    assert one.path.exists()


async def test_what_the_store_lost_is_put_back_whoever_is_there_by_then(
    store: SQLiteQueueStore, folder: DataDir, caplog: pytest.LogCaptureFixture
) -> None:
    await known(listed(folder, store, met=ABC))
    await lose(store)
    assert await known(listed(folder, store, met=("a", "b", "d", "e"))) == await settled(store) == ABC
    (put_back,) = told(caplog, "cluster.voters_put_back")
    assert put_back["voters"] == list(ABC)


async def test_empty_folder_takes_what_the_store_says(store: SQLiteQueueStore, folder: DataDir) -> None:
    await name(store, ABC)
    one = listed(folder, store, met=ABD)
    assert await known(one) == ABC
    assert json.loads(one.path.read_text())["voters"] == list(ABC)


async def test_nothing_is_settled_while_a_peer_elects_by_voters_that_the_store_does_not_name(
    store: SQLiteQueueStore, folder: DataDir, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    def electing() -> set[str]:
        nonlocal looks
        looks += 1
        return {"b"}

    waiting = asyncio.create_task(known(listed(folder, store, met=ABD, electing=electing)))
    await until(lambda: looks > 5)
    assert await settled(store) == ()
    await name(store, ABC)  # as that peer does
    assert await waiting == ABC
    (warned,) = told(caplog, "cluster.not_settled")
    assert warned["electing"] == ["b"]


async def test_who_finds_other_voters_than_its_own_uses_neither_until_an_operator_decides(
    store: SQLiteQueueStore, folder: DataDir, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = Asking(store)
    path = listed(folder, store).path
    await known(listed(folder, store, met=ABC))
    await name(store, ABD)
    waiting = asyncio.create_task(known(listed(folder, asked, met=ABD)))
    await until(lambda: asked.count > 5)
    assert not waiting.done()
    (warned,) = told(caplog, "cluster.other_voters")
    assert (warned["kept"], warned["settled"]) == (list(ABC), list(ABD))
    assert f"remove {path}" in warned["reason"]
    await lose(store)  # for its own
    assert await waiting == await settled(store) == ABC
    assert told(caplog, "cluster.voters_agree") == [{"voters": list(ABC)}]
    await name(store, ABD)
    path.unlink()  # for the store's
    assert await known(listed(folder, store)) == ABD


async def test_running_node_puts_back_what_is_lost_and_notices_what_is_another(store: SQLiteQueueStore, folder: DataDir) -> None:
    asked = Asking(store)
    one = listed(folder, asked, met=ABC)
    await known(one)
    watching = asyncio.create_task(one.disputed())
    asked.is_away, seen = True, asked.count
    await until(lambda: asked.count > seen + 2)
    asked.is_away = False
    await lose(store)
    seen = asked.count
    await until(lambda: asked.count > seen + 3)
    assert await settled(store) == ABC
    assert not watching.done()
    await name(store, ABD)
    async with asyncio.timeout(WAIT_S):
        await watching


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"c"', b'"d"')), "its check sum is another"),
        (lambda path: (path.unlink(), path.mkdir()), "cannot be read: Is a directory"),
    ],
    ids=["torn", "emptied", "changed", "replaced"],
)
async def test_damaged_list_is_told_with_the_cure_and_not_used(
    spoil: Callable[[Path], object], reason: str, store: SQLiteQueueStore, folder: DataDir
) -> None:
    one = listed(folder, store, met=ABC)
    await known(one)
    spoil(one.path)
    with pytest.raises(ConfigError, match=reason) as refused:
        listed(folder, store)
    assert str(refused.value).startswith(str(one.path))
    assert "Remove it while" in str(refused.value)


async def test_list_of_another_cluster_says_nothing_about_this_one(store: SQLiteQueueStore, folder: DataDir) -> None:
    first = listed(folder, store, met=ABC)
    await known(first)
    await lose(store)
    other = listed(folder, store, met=ABD, cluster="other")
    assert await known(other) == ABD
    assert json.loads(first.path.read_text())["voters"] == list(ABC)
    await lose(store)
    assert await known(listed(folder, store, met=ABD)) == ABC
    other.path.write_bytes(first.path.read_bytes())
    with pytest.raises(ConfigError, match="is that of the cluster 'zjp', and CLUSTER_NAME is 'other'"):
        listed(folder, store, cluster="other")


# ── clusters ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Asking(Stalled):
    """`count`: so often somebody looked."""

    def __init__(self, store: SQLiteQueueStore) -> None:
        super().__init__(store)
        self.is_away, self.count = False, 0

    def __getattr__(self, name: str) -> Any:
        self.count += name == "documents"
        return super().__getattr__(name)


class Nodes:
    """On one store, each started after the others."""

    def __init__(self, folder: Path, store: SQLiteQueueStore, algorithm: str) -> None:
        self._folder, self._store, self._algorithm = folder, store, algorithm
        self.homes: dict[str, Home] = {}

    async def start(self, *names: str) -> None:
        for one in names:
            seeds = tuple(home.address for home in self.homes.values()) or ("tcp://127.0.0.1:1",)
            self.homes[one] = Home(self._folder, one, self._store, seeds, self._algorithm, 3)
            await self.homes[one].start()

    async def stop(self, *names: str) -> None:
        for one in names or tuple(self.homes):
            await self.homes.pop(one).stop()

    def voters(self) -> set[frozenset[str]]:
        return {home.cluster.voters for home in self.homes.values()}

    def has_leader(self) -> bool:
        clusters = [home.cluster for home in self.homes.values()]
        return any(one.is_in_office for one in clusters) and len({one.view.leader for one in clusters}) == 1


@pytest.fixture(params=["bully", "raft"])
async def nodes(request: pytest.FixtureRequest, tmp_path: Path, store: SQLiteQueueStore) -> AsyncIterator[Nodes]:
    """a, b and c have settled that they vote, d follows."""
    cluster = Nodes(tmp_path, store, request.param)
    try:
        await cluster.start(*ABC)
        await until(cluster.has_leader)
        await cluster.start("d")
        await until(cluster.has_leader)
        yield cluster
    finally:
        await cluster.stop()


async def test_voters_stay_the_same_when_the_store_lost_them_while_one_was_away(nodes: Nodes, store: SQLiteQueueStore) -> None:
    await nodes.stop("c", "a")
    await lose(store)
    await nodes.start("a")
    await until(nodes.has_leader)
    await nodes.stop("d")
    await nodes.start("d", "c")
    await until(nodes.has_leader)
    assert nodes.voters() == {frozenset(ABC)}
    assert await settled(store) == ABC


async def test_nodes_that_find_other_voters_while_they_run_lead_no_more_until_their_own_are_back(
    nodes: Nodes, store: SQLiteQueueStore, caplog: pytest.LogCaptureFixture
) -> None:
    await name(store, ABD)
    clusters = [home.cluster for home in nodes.homes.values()]
    await until(lambda: not any(one.view.leader or one.is_in_office or one.voters for one in clusters))
    assert len(told(caplog, "cluster.other_voters")) == len(clusters)
    assert {one.dispute for one in clusters} == {(ABC, ABD)}
    await lose(store)
    await until(nodes.has_leader)
    assert {one.dispute for one in clusters} == {((), ())}
    assert nodes.voters() == {frozenset(ABC)}
    assert len(told(caplog, "cluster.voters_put_back")) == 1


@pytest.mark.parametrize("algorithm", ["bully", "raft"])
async def test_newcomers_settle_nothing_while_others_elect_by_what_the_store_lost(
    algorithm: str, tmp_path: Path, store: SQLiteQueueStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listing, "LOOK_S", 1_000.0)  # those that run put nothing back
    nodes = Nodes(tmp_path, store, algorithm)
    try:
        await nodes.start(*ABC)
        await until(nodes.has_leader)
        await lose(store)
        await nodes.start("d", "e")
        await until(lambda: len(told(caplog, "cluster.not_settled")) >= 2)
        assert await settled(store) == ()
        await nodes.stop("b")
        await nodes.start("b")
        await until(lambda: nodes.has_leader() and nodes.voters() == {frozenset(ABC)})
        assert await settled(store) == ABC
    finally:
        await nodes.stop()
