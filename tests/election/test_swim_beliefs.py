"""What a node believes of others by Gossip, and for how long: incarnations, tombstones, tables, names that are not there."""

from __future__ import annotations

import pytest

from tests.election.solo import ME, P, Solo
from zjp.election.core import Health, Met
from zjp.election.membership.claims import TOMBSTONE_MIN
from zjp.election.membership.identity import BLOCK, JUMP_MAX
from zjp.election.swim import CONTACT_PERIODS, SYNC_PERIODS
from zjp.wire import peers
from zjp.wire.peers import Ack, Alive, Dead, PingPeer, Reserved, Suspect, Sync, SyncReply

pytestmark = pytest.mark.covers("cluster:gossip")


def ping(seq: int = 7, *, target: str = ME, incarnation: int = 1) -> PingPeer:
    return PingPeer(seq, target, incarnation, 0, "", [])


# ── incarnations ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_incarnation_is_told_before_it_is_reserved_on_the_disk() -> None:
    node = Solo("a", is_held=True)
    node.hear("a", ping())
    node.run(P)
    assert node.sent == []
    assert node.after != []
    node.persist()
    node.hear("a", ping())
    assert node.messages(Ack, "a")[-1].incarnation == 1


def test_the_next_life_begins_above_all_that_the_former_may_have_told() -> None:
    first = Solo("a")
    for incarnation in range(1, 3 * BLOCK):
        first.rumour(Suspect(ME, incarnation, "a"))
    told = first.incarnation
    assert told >= 3 * BLOCK
    for records in (first.disk, first.core.durable()):
        assert Solo("a", disk=records, boot=2).incarnation > told


def test_a_higher_block_is_reserved_before_it_is_used() -> None:
    node = Solo("a", is_held=True)
    node.persist()
    for incarnation in range(1, BLOCK + 10):
        node.rumour(Suspect(ME, incarnation, "a"))
    node.sent.clear()
    node.hear("a", ping())
    assert node.messages(Ack) == []
    node.persist()
    assert [record.incarnation for record in node.disk if isinstance(record, Reserved)] == sorted(
        {BLOCK + 1, *_reserved(node)}
    )
    assert node.incarnation == BLOCK + 10


@pytest.mark.parametrize("claim", [Dead("b", 10, "a"), Suspect("b", 10, "a")])
def test_the_highest_incarnation_heard_is_kept_whatever_came_of_it(claim: Dead | Suspect) -> None:
    node = Solo("a", "b")
    node.rumour(claim)
    accused = node.health("b")
    for stale in (2, 9, 10):
        node.rumour(Alive("b", stale, 0))
        assert node.health("b") is accused
    node.rumour(Alive("b", 11, 0))
    assert node.health("b") is Health.ALIVE


def test_at_the_same_incarnation_dead_is_above_suspect_is_above_alive() -> None:
    node = Solo("a", "b")
    node.rumour(Suspect("b", 5, "a"))
    node.rumour(Alive("b", 5, 0))
    assert node.health("b") is Health.SUSPECT
    node.rumour(Dead("b", 5, "a"))
    node.rumour(Suspect("b", 5, "a"))
    assert node.health("b") is Health.DEAD


@pytest.mark.parametrize("src", ["a", "b"])
def test_a_stale_alive_is_answered_with_the_accusation(src: str) -> None:
    node = Solo("a", "b")
    node.rumour(Dead("b", 10, "a"))
    node.sent.clear()
    node.rumour(Alive("b", 2, 0), src=src)
    assert Dead("b", 10, "a") in node.messages(peers.Gossip, "b")[0].rumours


def test_a_life_with_an_empty_disk_passes_what_is_told_of_the_former_one() -> None:
    node = Solo("a")
    node.hear("a", SyncReply(1, 0, "", [Alive("a", 1, 0), Alive(ME, 5000, 0)]))
    assert node.incarnation == 5001


@pytest.mark.parametrize("kind", ["alive", "suspect", "dead", "header"])
def test_a_jump_of_an_incarnation_is_refused(kind: str) -> None:
    node = Solo("a", "b")
    far = 2 + JUMP_MAX
    if kind == "header":
        node.hear("b", ping(incarnation=far))
        assert node.messages(Ack, "b") == []
    else:
        claims: dict[str, peers.Rumour] = {
            "alive": Alive("b", far, 9),
            "suspect": Suspect("b", far, "a"),
            "dead": Dead("b", far, "a"),
        }
        node.rumour(claims[kind])
    assert node.health("b") is Health.ALIVE
    node.rumour(Alive("b", 2, 5))
    assert node.core.view().members["b"].priority == 5


def test_a_jump_in_an_accusation_of_oneself_is_refused() -> None:
    node = Solo("a")
    node.rumour(Suspect(ME, 2 + JUMP_MAX, "a"), Dead(ME, 2 + JUMP_MAX, "a"), Alive(ME, 2 + JUMP_MAX, 0))
    assert node.incarnation == 1


# ── the dead ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_member_is_remembered_for_the_time_of_a_tombstone() -> None:
    node = Solo("a", "b")
    node.rumour(Dead("b", 1, "a"))
    node.run(TOMBSTONE_MIN - 1, "a")
    assert node.health("b") is Health.DEAD
    node.run(1, "a")
    assert node.health("b") is None


def test_what_a_table_calls_dead_is_suspected_and_may_refute() -> None:
    node = Solo("a", "b")
    node.hear("a", SyncReply(1, 0, "", [Alive("a", 1, 0), Dead("b", 1, "a")]))
    assert node.health("b") is Health.SUSPECT


def test_what_a_table_says_of_one_that_left_is_final() -> None:
    node = Solo("a", "b")
    node.hear("a", SyncReply(1, 0, "", [Dead("b", 1, "b")]))
    assert node.health("b") is Health.LEFT


def test_a_table_revives_nobody_at_the_same_incarnation() -> None:
    node = Solo("a", "b")
    node.rumour(Dead("b", 3, "a"))
    node.hear("a", Sync(1, False, 0, "", [Alive("a", 1, 0), Alive("b", 3, 0)]))
    assert node.health("b") is Health.DEAD
    assert Dead("b", 3, "a") in node.messages(SyncReply, "a")[-1].table
    node.hear("a", Sync(1, False, 0, "", [Alive("b", 4, 0)]))
    assert node.health("b") is Health.ALIVE


def test_gossip_goes_to_three_each_fifth_of_a_period_the_recently_dead_among_them() -> None:
    node = Solo("a", "b", "c")
    node.rumour(Dead("c", 1, "a"))
    node.run(P, "a", "b")
    node.sent.clear()
    node.rumour(Alive("x", 1, 0))
    node.run(P // 5, "a", "b")
    everyone = {send.to for send in node.sent if isinstance(send.message, peers.Gossip)}
    assert len(everyone) == 3
    node.run(P, "a", "b")
    assert "c" in {send.to for send in node.sent if isinstance(send.message, peers.Gossip)}


# ── tables and contacts ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_names_are_asked_at_the_start_and_one_that_is_absent_for_ever() -> None:
    node = Solo(voters=("a", "b", ME))
    assert [(send.to, type(send.message)) for send in node.sent] == [("a", Sync), ("b", Sync)]
    node.know("a")
    node.run(2 * P, "a")
    for _ in range(20):
        node.sent.clear()
        node.run(CONTACT_PERIODS * P, "a")
        assert [send.to for send in node.sent if isinstance(send.message, Sync) and send.to != "a"] == ["b"]


def test_the_dead_are_asked_for_ever_those_who_left_are_not() -> None:
    node = Solo("a", "b", "c")
    node.rumour(Dead("b", 1, "a"), Dead("c", 1, "c"))
    node.run(4 * TOMBSTONE_MIN, "a")
    node.sent.clear()
    node.run(2 * CONTACT_PERIODS * P, "a")
    assert {send.to for send in node.sent if isinstance(send.message, Sync) and send.to != "a"} == {"b"}


def test_tables_are_compared_with_one_member_each_thirty_periods() -> None:
    node = Solo("a", "b")
    node.run(40 * P, "a", "b")
    node.sent.clear()
    node.run(10 * SYNC_PERIODS * P, "a", "b")
    assert len(node.messages(Sync)) == 10


def test_a_table_is_answered_with_the_own_one() -> None:
    node = Solo("a", "b")
    node.hear("x", Sync(4, True, 0, "", [Alive("x", 4, 0)]))
    (reply,) = node.messages(SyncReply, "x")
    assert reply.table == [Alive(ME, 1, 0), Alive("a", 1, 0), Alive("b", 1, 0), Alive("x", 4, 0)]
    assert node.health("x") is Health.ALIVE


def test_a_peer_that_the_mesh_has_greeted_is_asked_for_its_table() -> None:
    node = Solo()
    node.step(Met("a", 0, is_up=True))
    node.run(0)
    assert [send.to for send in node.sent if isinstance(send.message, Sync)] == ["a"]


def test_many_peers_greeted_at_once_are_asked_three_at_a_time() -> None:
    node = Solo()
    for index in range(30):
        node.step(Met(f"n{index:02}", 0, is_up=True))
    node.run(0)
    assert len(node.messages(Sync)) == 3
    # All that came with the first table need not be asked.
    node.hear("n00", SyncReply(1, 0, "", [Alive(f"n{index:02}", 1, 0) for index in range(27)]))
    node.run(P)
    assert {send.to for send in node.sent if isinstance(send.message, Sync)} == {
        "n00",
        "n01",
        "n02",
        "n27",
        "n28",
        "n29",
    }


def test_one_that_is_not_known_is_answered_and_asked_who_it_is() -> None:
    node = Solo("a")
    node.hear("x", ping())
    node.run(0)
    assert len(node.messages(Ack, "x")) == 1
    assert len(node.messages(Sync, "x")) == 1
    assert node.health("x") is None


def _reserved(node: Solo) -> set[int]:
    return {record.incarnation for record in node.disk if isinstance(record, Reserved)}
