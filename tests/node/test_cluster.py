"""How a cluster forms: whom it makes voters when more are there, what puts the beginning off, what refuses the start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node.test_chronicle import Away
from tests.queue.making import SQLiteBench
from zjp.config import Settings
from zjp.election.core import Config, Role
from zjp.errors import ConfigError, StoreUnavailable
from zjp.node import cluster as joining
from zjp.node.chronicle import Chronicle
from zjp.node.cluster import Cluster
from zjp.node.hardstate import DataDir, open_data_dir
from zjp.node.stats import NodeStats
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.transport.door import Door

pytestmark = pytest.mark.covers("cluster:joined")

WAIT_S = 40.0
SIZE = 3
PRIORITIES = {"a": 0, "b": 0, "c": 0, "d": 5}
CHOSEN, LEFT_OUT = {"a", "b", "d"}, "c"


class Stalled:
    """The store that all share, which one node at a time may be kept from."""

    def __init__(self, store: SQLiteQueueStore) -> None:
        self._store, self.is_away = store, True

    def __getattr__(self, name: str) -> Any:
        if self.is_away and name in ("documents", "put_document"):
            raise StoreUnavailable("stalled")
        return getattr(self._store, name)


class Asked(Stalled):
    """`count`: so often somebody looked for the voters."""

    count = 0

    def __getattr__(self, name: str) -> Any:
        self.count += name == "documents"
        return super().__getattr__(name)


class Counting(Cluster):
    """`tries`: so often it began its election."""

    tries = 0

    def _config(self, voters: tuple[str, ...]) -> Config:
        self.tries += 1
        return super()._config(voters)


class Home:
    """One node's part in the cluster, with a door and a folder of its own."""

    def __init__(self, folder: Path, name: str, store: Any, seeds: tuple[str, ...], algorithm: str, size: int, priority: int = 0) -> None:
        self.store = store
        self._data: DataDir = open_data_dir(folder / name, name)
        settings = Settings(
            cluster_seeds=seeds, cluster_size=size, election_algorithm=algorithm, node_priority=priority, election_timeout_s=0.5
        )
        stats = NodeStats(name, self._data.boot)
        self.cluster = Counting(settings, self._data, store, stats, Chronicle(name, Away(), stats))  # type: ignore[arg-type]
        self._door = Door(lambda *_: None, lambda *_: None)
        self.address = self._door.bind("tcp://127.0.0.1:*")

    async def start(self) -> None:
        await self.cluster.start()
        self.cluster.join(self._door, self.address)

    async def stop(self) -> None:
        await self.cluster.stop()
        self._door.close()
        self._data.close(clean=True)

    def met(self) -> set[str]:
        return {peer.node for peer in self.cluster.peers() if peer.is_up}


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteQueueStore]:
    bench = SQLiteBench(tmp_path)
    yield await bench.open()
    await bench.close()


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not claim():  # noqa: ASYNC110 (what it waits for comes from sockets and threads)
            await asyncio.sleep(0.005)


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[dict[str, Any]]:
    return [line.fields for line in caplog.records if line.message == name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("algorithm", ["bully", "raft"])
@pytest.mark.parametrize("first", ["a", LEFT_OUT])
async def test_more_nodes_than_cluster_size_elect_among_so_many_of_them(
    algorithm: str, first: str, store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All four have met before the store answers; `first` settles the voters, whether it is one of them or not."""
    homes: dict[str, Home] = {}
    for name, priority in PRIORITIES.items():
        seeds = tuple(home.address for home in homes.values()) or ("tcp://127.0.0.1:1",)
        homes[name] = Home(tmp_path, name, Stalled(store), seeds, algorithm, SIZE, priority)
    try:
        for home in homes.values():
            await home.start()
        await until(lambda: all(home.met() == PRIORITIES.keys() - {name} for name, home in homes.items()))
        homes[first].store.is_away = False
        await until(lambda: homes[first].cluster.voters == CHOSEN)
        for home in homes.values():
            home.store.is_away = False
        clusters = [home.cluster for home in homes.values()]
        await until(lambda: any(one.is_in_office for one in clusters) and len({one.view.leader for one in clusters}) == 1)
        assert {one.voters for one in clusters} == {frozenset(CHOSEN)}
        assert clusters[0].view.leader in CHOSEN
        assert homes[LEFT_OUT].cluster.view.role is Role.LEARNER
        (warned,) = told(caplog, "cluster.more_met")
        assert (warned["voters"], warned["others"]) == (sorted(CHOSEN), [LEFT_OUT])
        (no_vote,) = told(caplog, "cluster.no_vote")
        assert (no_vote["node"], no_vote["voters"]) == (LEFT_OUT, sorted(CHOSEN))
    finally:
        for home in homes.values():
            await home.stop()


@pytest.mark.parametrize("algorithm", ["raft", "gossip"])
async def test_full_disk_puts_the_election_off_and_does_not_end_it(
    algorithm: str, store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "RETRY_S", 0.01)
    caplog.set_level(logging.INFO)
    home = Home(tmp_path, "a", store, ("tcp://127.0.0.1:1",), algorithm, 1)
    aside = tmp_path / "a" / f"election-{algorithm}.log.new"
    aside.symlink_to("/dev/full")
    try:
        await home.start()
        await until(lambda: home.cluster.tries > 3)
        assert home.cluster.view.leader == ""
        aside.unlink()
        await until(lambda: home.cluster.is_in_office)
        (warned,) = told(caplog, "cluster.not_formed")
        assert "No space left on device" in warned["reason"]
        assert len(told(caplog, "cluster.formed")) == 1
    finally:
        await home.stop()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"something else"), "is damaged at byte 0"),
        (lambda path: path.write_bytes(b""), "is damaged at byte 0"),
        (lambda path: path.mkdir(), "cannot be read: Is a directory"),
    ],
    ids=["damaged", "emptied", "replaced"],
)
async def test_start_is_refused_before_anybody_is_met_when_the_promises_are_lost(
    spoil: Callable[[Path], object], reason: str, store: SQLiteQueueStore, tmp_path: Path
) -> None:
    home = Home(tmp_path, "a", store, ("tcp://127.0.0.1:1",), "raft", 1)
    spoil(tmp_path / "a" / "election-raft.log")
    try:
        with pytest.raises(ConfigError, match=reason) as told:
            await home.start()
        assert "move the file away" in str(told.value)
    finally:
        await home.stop()


async def test_what_a_former_leader_was_silent_for_counts_as_time_without_one(store: SQLiteQueueStore, tmp_path: Path) -> None:
    """A leader that is cut off without a word: it is given up after a timeout, and led nobody since it was heard last."""
    homes: dict[str, Home] = {}
    for name in "abc":
        homes[name] = Home(tmp_path, name, store, tuple(home.address for home in homes.values()) or ("tcp://127.0.0.1:1",), "raft", SIZE)
    gone = ""
    try:
        for home in homes.values():
            await home.start()
        await until(lambda: any(home.cluster.is_in_office for home in homes.values()))
        gone = next(name for name, home in homes.items() if home.cluster.is_in_office)
        await until(lambda: {home.cluster.view.leader for home in homes.values()} == {gone})
        homes[gone].cluster._leadership.halt()  # type: ignore[union-attr]
        others = [home.cluster for name, home in homes.items() if name != gone]
        await until(lambda: any(one.is_in_office for one in others) and len({one.view.leader for one in others}) == 1)
        for one in others:
            history = await one._chronicle.history(10)
            lost = next(change for change in history if (change.kind, change.node) == ("leader_lost", gone))
            assert lost.why in ("silent", "higher_term")
            assert history[0].kind in ("leader_elected", "fence_installed")
            elected = next(change for change in history if change.kind == "leader_elected")
            assert elected.leaderless_ms >= 400, "a timeout of 500 ms, less what a beat may be late"
    finally:
        for home in homes.values():
            await home.stop()


async def test_lone_node_that_cannot_write_what_it_promises_says_where_and_is_not_started(store: SQLiteQueueStore, tmp_path: Path) -> None:
    home = Home(tmp_path, "a", store, (), "raft", 1)
    (tmp_path / "a" / "election-alone.log.new").mkdir()  # as a disk that takes nothing more
    with pytest.raises(ConfigError, match=f"DATA_DIR {tmp_path / 'a'} cannot be used: .*election-alone.log.new"):
        await home.start()
    await home.stop()


async def test_store_that_is_away_while_voters_are_settled_is_told_once_each_time(
    store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = Asked(store)
    home = Home(tmp_path, "a", asked, ("tcp://127.0.0.1:1",), "raft", 2)
    try:
        await home.start()
        for times in (1, 2):
            asked.is_away, seen = True, asked.count
            await until(lambda seen=seen: asked.count >= seen + 3)  # type: ignore[misc]
            assert len(told(caplog, "cluster.store_away")) == times
            asked.is_away, seen = False, asked.count
            await until(lambda seen=seen: asked.count >= seen + 2)  # type: ignore[misc]
    finally:
        await home.stop()


async def test_node_that_waits_for_others_says_how_many_it_has_met_until_the_voters_are_settled(
    store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them count four. Fails on a model that waits in silence: all are alive, and nobody leads."""
    monkeypatch.setattr(joining, "FORMING_S", 0.01)
    monkeypatch.setattr(joining, "FORMING_AGAIN_S", 0.2)
    homes: list[Home] = []
    for name in "abc":
        homes.append(Home(tmp_path, name, store, tuple(home.address for home in homes) or ("tcp://127.0.0.1:1",), "raft", 4))
    try:
        for home in homes:
            await home.start()
        await until(lambda: ["a", "b", "c"] in [one["met"] for one in told(caplog, "cluster.still_forming")])
        last = next(one for one in told(caplog, "cluster.still_forming") if len(one["met"]) == 3)
        assert last["reason"].startswith("met 3 of 4: nobody leads until so many have met")
        homes.append(Home(tmp_path, "d", store, (homes[0].address,), "raft", 4))
        await homes[-1].start()
        await until(lambda: all(len(home.cluster.voters) == 4 for home in homes))
        tellers = [home.cluster._telling for home in homes]
        await until(lambda: all(task is not None and task.done() for task in tellers))
    finally:
        for home in homes:
            await home.stop()
