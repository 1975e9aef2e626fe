"""The parts of the simulator, each by itself: clocks, links, disks, the store, the lease."""

from __future__ import annotations

import random

import pytest

from sims.election.clock import Clock
from sims.election.disk import Disk
from sims.election.invariants.lease import Lease
from sims.election.network import Links, Quality, between, crossing
from sims.election.store import Store
from zjp.election.core import SECOND, Batch, Deed, Installed, StoreOp
from zjp.wire.peers import Promise, Stored

pytestmark = pytest.mark.covers("cluster:simulator")


def records(*epochs: int) -> tuple[Stored, ...]:
    return tuple(Promise(epoch, "n0") for epoch in epochs)


def test_a_clock_shows_a_time_no_later_than_it_says_it_will() -> None:
    rng = random.Random(4)
    for _ in range(2_000):
        clock = Clock(rng.randrange(10**12))
        clock.set_rate(rng.randrange(10**9), rng.randint(500_000, 1_500_000))
        clock.step(at := 10**9 + rng.randrange(10**9), rng.randrange(10**9))
        local = clock.read(at) + rng.randrange(10**10)
        due = clock.when(local)
        assert clock.read(due) >= local
        assert clock.read(due - 2) < local


def test_a_change_of_rate_does_not_move_the_clock() -> None:
    clock = Clock(5)
    clock.set_rate(1_000, 1_500_000)
    assert clock.read(1_000) == 1_005
    clock.set_rate(3_000, 500_000)
    assert clock.read(3_000) == 4_005


def test_what_a_crash_leaves_of_the_unsynced_batches() -> None:
    for tail, share, left in (("lost", 0.9, 1), ("torn", 0.5, 3), ("torn", 0.0, 1), ("kept", 0.0, 5)):
        disk = Disk()
        disk.append(Batch(1, records(1)))
        assert disk.sync(1) == list(records(1))
        disk.append(Batch(2, records(2, 3)))
        disk.append(Batch(3, records(4, 5)))
        disk.crash(tail, share)
        assert disk.records == list(records(1, 2, 3, 4, 5))[:left]
        assert disk.pending == []


def test_cuts_are_counted_and_have_a_direction() -> None:
    links = Links(3, Quality(10, 0), random.Random(1).random)
    out = crossing([0], 3, outward=True, inward=False)
    links.cut(out)
    links.cut(out)
    links.cut(out, -1)
    assert links.delays(0, 1) == ()
    assert links.delays(1, 0) == (10,)
    assert not links.is_joined(0, 1)
    links.mend(between([0, 1, 2]))
    assert links.delays(0, 1) == (10,)


def test_loss_doubles_and_delays_come_as_often_as_asked_for() -> None:
    links = Links(2, Quality(100, 50, loss=0.25, double=0.1), random.Random(2).random)
    seen = [links.delays(0, 1) for _ in range(20_000)]
    assert 4_700 < sum(not copies for copies in seen) < 5_300
    assert 1_350 < sum(len(copies) == 2 for copies in seen) < 1_650
    assert all(100 <= delay <= 200 for copies in seen for delay in copies)


def test_the_store_takes_an_epoch_as_the_script_does() -> None:
    store = Store(Clock())

    def lead(at: int, deed: Deed, epoch: int, owner: str, *, is_elected: bool = False) -> Installed:
        return store.lead(at, StoreOp(1, deed, epoch, owner, SECOND, is_elected))

    assert lead(0, Deed.INSTALL, 3, "a") == Installed(3, "a", SECOND)
    assert lead(1, Deed.INSTALL, 4, "b").owner == "a"
    assert lead(1, Deed.INSTALL, 3, "b", is_elected=True).owner == "a"
    assert lead(1, Deed.INSTALL, 4, "b", is_elected=True) == Installed(4, "b", SECOND)
    assert lead(2, Deed.RENEW, 3, "a") == Installed(4, "b", SECOND - 1)
    assert lead(2, Deed.RENEW, 4, "b") == Installed(4, "b", SECOND)
    assert lead(3, Deed.INSTALL, 5, "b") == Installed(5, "b", SECOND)
    assert lead(4, Deed.RESIGN, 5, "b") == Installed(5, "b", 0)
    assert lead(5, Deed.INSTALL, 6, "c").owner == "c"
    assert not store.do_duties(6, 5, "b")
    assert store.do_duties(7, 6, "c")


def test_a_lease_counts_from_the_sending_of_the_round_that_a_majority_answered() -> None:
    lease = Lease(1, 3, 0)
    lease.sends(1, 100)
    lease.sends(2, 200)
    lease.hears("a", 2)
    assert lease.age(250) == 250
    lease.hears("b", 1)
    assert lease.age(250) == 150
    lease.hears("b", 2)
    lease.hears("b", 1)
    assert lease.age(250) == 50
    lease.stalls(40)
    assert lease.age(290) == 50
