"""A leader that has lost the store, and nobody else: another one is installed in time. Lost for all: nobody is thrown about."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.test_cluster import Home, told, until
from tests.queue.making import SQLiteBench
from zjp.errors import StoreUnavailable
from zjp.node import reach
from zjp.node.leadership import installed
from zjp.queue.sqlite import SQLiteQueueStore

pytestmark = pytest.mark.covers("cluster:joined", "cluster:duties")

TIMEOUT_S = 0.5
LEAD_FOR_S = {"bully": 1.0, "raft": 1.0, "gossip": 0.5}
SHORTER = 0.4
"""Rounds than they are."""
SLACK_S = 10.0
"""A busy machine. The bound itself is docs/cluster.md's."""
LEADING = ("claim_lead", "renew_lead", "release_lead")


class Kept:
    """The store that all share, from which one node may be kept: it is refused at once, or hears nothing."""

    def __init__(self, store: SQLiteQueueStore) -> None:
        self._store, self.fault = store, ""
        self.count = 0
        """Questions about the leadership."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in LEADING:
            return found

        async def asked(*arguments: Any, **named: Any) -> Any:
            self.count += 1
            if self.fault == "refuse":
                raise StoreUnavailable("refused")
            if self.fault == "hole":
                await asyncio.Event().wait()
            return await found(*arguments, **named)

        return asked


class Three:
    """a, b and c, which rank so, on one store: c leads where rank decides."""

    def __init__(self, folder: Path, store: SQLiteQueueStore, algorithm: str) -> None:
        self.homes: dict[str, Home] = {}
        for name in "abc":
            seeds = tuple(home.address for home in self.homes.values()) or ("tcp://127.0.0.1:1",)
            self.homes[name] = Home(folder, name, Kept(store), seeds, algorithm, 3)

    @property
    def in_office(self) -> str:
        """Which of them; empty: nobody, or not all follow it yet."""
        names = [name for name, home in self.homes.items() if home.cluster.is_in_office]
        leaders = {home.cluster.view.leader for home in self.homes.values()}
        return names[0] if len(names) == 1 and leaders == set(names) else ""

    def cut(self, fault: str, *names: str) -> None:
        for name in names or "abc":
            self.homes[name].store.fault = fault

    def idle(self) -> set[str]:
        """Who says that the leader is not in office."""
        return {name for name, home in self.homes.items() if home.cluster.is_leader_idle}


@asynccontextmanager
async def three_of(folder: Path, store: SQLiteQueueStore, algorithm: str) -> AsyncIterator[Three]:
    three = Three(folder, store, algorithm)
    try:
        for home in three.homes.values():
            await home.start()
        await until(lambda: three.in_office != "")
        yield three
    finally:
        three.cut("")
        for home in three.homes.values():
            await home.stop()


@pytest.fixture(autouse=True)
def shorter_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUND_S", "PROBE_S", "TOLD_S"):
        monkeypatch.setattr(reach, name, getattr(reach, name) * SHORTER)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteQueueStore]:
    bench = SQLiteBench(tmp_path)
    yield await bench.open(wall_ms=lambda: time.time_ns() // 1_000_000)  # a lead ends by it
    await bench.close()


@pytest.mark.parametrize(("algorithm", "fault"), [("bully", "refuse"), ("raft", "hole"), ("gossip", "refuse")])
async def test_leader_that_alone_has_lost_the_store_hands_over_to_one_that_has_it(
    algorithm: str, fault: str, store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with three_of(tmp_path, store, algorithm) as three:
        former = three.in_office
        epoch = three.homes[former].cluster.epoch
        three.cut(fault, former)
        began = time.monotonic()
        await until(lambda: three.in_office not in ("", former))
        took_s = time.monotonic() - began
        print(f"{algorithm}, {fault}: {former} in {epoch}, then {three.in_office} after {took_s:.2f} s")
        assert took_s < LEAD_FOR_S[algorithm] + TIMEOUT_S + 2.0 + SLACK_S
        lead = await installed(store, "")
        assert (lead.owner, lead.epoch > epoch) == (f"{three.in_office}:1", True)
        (warned,) = told(caplog, "cluster.hands_over_without_store")
        assert warned["to"] == three.in_office
        assert three.idle() == set()


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
async def test_leader_goes_on_when_the_store_that_was_away_from_all_is_back(
    algorithm: str, store: SQLiteQueueStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with three_of(tmp_path, store, algorithm) as three:
        former = three.in_office
        epoch = three.homes[former].cluster.epoch
        others = [home.store for name, home in three.homes.items() if name != former]
        three.cut("refuse")
        asked = [one.count for one in others]
        await until(lambda: all(one.count >= before + 4 for one, before in zip(others, asked, strict=True)))
        assert {home.cluster.view.leader for home in three.homes.values()} == {former}
        await until(lambda: three.idle() == {"a", "b", "c"})
        three.cut("")
        await until(lambda: three.in_office != "")
        assert (three.in_office, three.homes[former].cluster.epoch) == (former, epoch)
        assert told(caplog, "cluster.hands_over_without_store") == []
        await until(lambda: three.idle() == set())
