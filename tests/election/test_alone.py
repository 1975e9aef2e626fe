"""The core of a node without peers: transcripts of what it says to the disk and the store."""

from __future__ import annotations

import pytest

from zjp.election.alone import Alone
from zjp.election.core import SECOND, Config, Deed, Effects, Installed, Kind, Leave, Persisted, Role, StoreReply, Wake
from zjp.wire.peers import EpochSeen, Stored

pytestmark = pytest.mark.covers("cluster:duties")

ME = Config("a", 4, ("a",), 1, 0, timeout=4 * SECOND, interval=SECOND, lead_for=5 * SECOND)


def core(*, is_elected: bool = True) -> Alone:
    return Alone(ME, lambda: 0.0, is_elected=is_elected)


def begun(alone: Alone, *records: Stored) -> Effects:
    """Started, and its first batch durable."""
    assert alone.start(0, records).store == []
    return alone.step(1, Persisted(1))


def kinds(effects: Effects) -> list[Kind]:
    return [one.kind for one in effects.happened]


def test_nothing_is_asked_of_the_store_before_the_epoch_is_on_the_disk() -> None:
    alone = core()
    started = alone.start(0, [EpochSeen(6), EpochSeen(8)])
    assert (started.persist is not None and started.persist.records, started.store) == ((EpochSeen(9),), [])
    (op,) = alone.step(1, Persisted(1)).store
    assert (op.deed, op.epoch, op.owner, op.is_elected) == (Deed.INSTALL, 9, "a:4", True)
    assert not alone.view().is_in_office


def test_it_leads_once_the_store_has_its_epoch_and_renews_at_each_interval() -> None:
    alone = core()
    (op,) = begun(alone).store
    installed = alone.step(2, StoreReply(op, Installed(1, "a:4", 5 * SECOND)))
    assert kinds(installed) == [Kind.LEADER_ELECTED, Kind.FENCE_INSTALLED]
    view = alone.view()
    assert (view.role, view.leader, view.epoch, view.is_in_office) == (Role.LEADER, "a", 1, True)
    assert installed.wake is not None
    (renewal,) = alone.step(installed.wake, Wake()).store
    assert (renewal.deed, renewal.epoch) == (Deed.RENEW, 1)


def test_refused_epoch_is_the_floor_for_the_next_which_is_on_the_disk_first() -> None:
    alone = core()
    (op,) = begun(alone).store
    refused = alone.step(2, StoreReply(op, Installed(41, "a:3", SECOND)))
    assert refused.persist is not None
    assert (refused.persist.number, refused.persist.records, refused.store) == (2, (EpochSeen(42),), [])
    assert alone.step(3, Persisted(1)).store == []
    (again,) = alone.step(4, Persisted(2)).store
    assert again.epoch == 42


def test_it_waits_for_the_end_of_another_where_the_store_is_shared() -> None:
    alone = core(is_elected=False)
    (op,) = begun(alone, EpochSeen(9)).store
    assert not op.is_elected
    waiting = alone.step(2, StoreReply(op, Installed(7, "b:1", SECOND)))
    assert (kinds(waiting), alone.view().leader, alone.view().is_in_office) == ([Kind.LEADER_ELECTED], "b", False)
    assert waiting.wake is not None
    (again,) = alone.step(waiting.wake, Wake()).store
    installed = alone.step(waiting.wake + 1, StoreReply(again, Installed(10, "a:4", SECOND)))
    assert kinds(installed) == [Kind.LEADER_LOST, Kind.LEADER_ELECTED, Kind.FENCE_INSTALLED]


def test_former_life_of_its_own_is_not_waited_for() -> None:
    alone = core(is_elected=False)
    (op,) = begun(alone, EpochSeen(9)).store
    (again,) = alone.step(2, StoreReply(op, Installed(7, "a:3", SECOND))).store
    assert (again.deed, again.epoch, again.is_elected) == (Deed.INSTALL, 10, True)
    assert kinds(alone.step(3, StoreReply(again, Installed(10, "a:4", SECOND))))[-1] is Kind.FENCE_INSTALLED
    assert alone.view().is_in_office


def test_leader_that_finds_another_installed_is_out_of_office_at_once() -> None:
    alone = core()
    (op,) = begun(alone).store
    installed = alone.step(2, StoreReply(op, Installed(1, "a:4", SECOND)))
    assert installed.wake is not None
    (renewal,) = alone.step(installed.wake, Wake()).store
    lost = alone.step(installed.wake + 1, StoreReply(renewal, Installed(2, "b:1", SECOND)))
    assert not alone.view().is_in_office
    assert Kind.FENCE_REFUSED in kinds(lost)


def test_store_that_does_not_answer_is_asked_again_and_the_office_is_kept() -> None:
    alone = core()
    (op,) = begun(alone).store
    silent = alone.step(2, StoreReply(op, None))
    assert silent.wake is not None
    (again,) = alone.step(silent.wake, Wake()).store
    alone.step(silent.wake + 1, StoreReply(again, Installed(1, "a:4", SECOND)))
    later = alone.step(silent.wake + 2, StoreReply(again, None))
    assert alone.view().is_in_office
    assert later.wake is not None


def test_node_that_stops_resigns_and_seeks_nothing_more() -> None:
    alone = core()
    (op,) = begun(alone).store
    alone.step(2, StoreReply(op, Installed(1, "a:4", SECOND)))
    left = alone.step(3, Leave())
    assert [one.deed for one in left.store] == [Deed.RESIGN]
    assert left.wake is None
    assert alone.step(4, StoreReply(left.store[0], Installed(1, "a:4", 0))).store == []
    assert not alone.view().is_in_office


def test_next_life_needs_one_record() -> None:
    alone = core()
    begun(alone, *(EpochSeen(epoch) for epoch in range(1, 50)))
    assert list(alone.durable()) == [EpochSeen(50)]
