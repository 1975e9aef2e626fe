"""Who leads by Gossip, as one node does it: membership comes from the test, and so do the answers of the disk and the store."""

from __future__ import annotations

import pytest

from tests.election.solo import ME, P, Solo
from zjp.election.core import (
    EPOCH_JUMP_MAX,
    SECOND,
    Deed,
    Happened,
    Installed,
    Kind,
    Leave,
    Role,
    Stall,
    StoreReply,
    Time,
    Transfer,
)
from zjp.election.gossip import HOLD_DOWN, PASSED_OVER, PRIORITY_LOWEST
from zjp.wire import peers
from zjp.wire.peers import Alive, Dead, EpochSeen, PingPeer, Suspect

pytestmark = pytest.mark.covers("cluster:gossip")

HIGHER, LOWER = "z", "a"
"""Names that rank above and below the node's own."""


def deeds(node: Solo) -> list[tuple[Deed, int]]:
    return [(op.deed, op.epoch) for op in node.ops]


def leader_of(*known: str, expected: int = 3) -> Solo:
    """A node that leads in epoch 1."""
    node = Solo(*known, expected=expected)
    node.run(2 * P, *known)
    node.answer_store()
    assert node.core.view().is_in_office
    node.ops.clear()
    node.told.clear()
    return node


def told_by(node: Solo, src: str, epoch: int, leader: str) -> None:
    node.hear(src, peers.Gossip(1, epoch, leader, []))


def told_to(node: Solo, to: str) -> tuple[int, str]:
    """What an answer to a ping says of who leads."""
    node.hear(to, PingPeer(1, ME, 1, 0, "", []))
    ack = node.messages(peers.Ack, to)[-1]
    return ack.max_epoch, ack.leader


def run_renewing(node: Solo, span: Time, *answering: str) -> None:
    """The store keeps what it has; its answers are those that change nothing."""
    node.run(span, *answering)
    for op in node.ops:
        assert op.deed is Deed.RENEW


# ── becoming leader ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_single_node_asks_the_store_at_once_and_leads() -> None:
    node = Solo(expected=1)
    assert deeds(node) == [(Deed.INSTALL, 1)]
    assert not node.ops[0].is_elected
    assert node.core.view().role is Role.CANDIDATE
    node.answer_store()
    view = node.core.view()
    assert (view.role, view.leader, view.epoch, view.is_in_office, view.has_quorum) == (Role.LEADER, ME, 1, True, True)


def test_it_leads_only_once_the_store_has_installed_it() -> None:
    node = Solo(LOWER, HIGHER)
    node.rumour(Dead(HIGHER, 1, LOWER), src=LOWER)
    node.run(2 * P, LOWER)
    assert deeds(node) == [(Deed.INSTALL, 1)]
    assert not node.core.view().is_in_office
    node.answer_store(epoch=0, owner="x:1")
    assert not node.core.view().is_in_office
    node.run(P, LOWER)
    node.answer_store()
    assert node.core.view().is_in_office


def test_an_epoch_is_on_the_disk_before_it_is_sought() -> None:
    node = Solo(expected=1, is_held=True)
    assert node.ops == []
    assert EpochSeen(1) in node.disk
    node.persist()
    assert deeds(node) == [(Deed.INSTALL, 1)]


def test_the_choice_must_have_been_stable_for_two_periods() -> None:
    node = Solo(LOWER, "b")
    node.run(2 * P - 1, LOWER, "b")
    assert node.ops == []
    node.run(1, LOWER, "b")
    assert deeds(node) == [(Deed.INSTALL, 1)]


def test_a_change_of_the_choice_begins_its_time_anew() -> None:
    node = Solo(LOWER, HIGHER)
    node.run(P, LOWER, HIGHER)
    node.rumour(Suspect(HIGHER, 1, LOWER), src=LOWER)
    node.run(P, LOWER)
    node.rumour(Alive(HIGHER, 2, 0), src=LOWER)
    node.rumour(Suspect(HIGHER, 2, LOWER), src=LOWER)
    node.run(2 * P - 1, LOWER)
    assert node.ops == []
    node.run(1, LOWER)
    assert deeds(node) == [(Deed.INSTALL, 1)]


def test_one_that_is_not_the_best_does_not_ask() -> None:
    node = Solo(LOWER, HIGHER)
    node.run(HOLD_DOWN - P, LOWER, HIGHER)
    assert node.ops == []
    assert node.core.view().role is Role.FOLLOWER


def test_priority_counts_before_the_name() -> None:
    node = Solo(LOWER, "b")
    node.know("c", priority=5)
    node.run(4 * P, LOWER, "b", "c")
    assert node.ops == []


def test_without_a_quorum_nobody_asks() -> None:
    node = Solo(LOWER, expected=5)
    node.run(20 * P, LOWER)
    assert node.ops == []
    assert not node.core.view().has_quorum
    node.know("b")
    assert deeds(node) == [(Deed.INSTALL, 1)]


def test_suspects_do_not_count_for_the_quorum() -> None:
    node = Solo(LOWER, "b", expected=5)
    node.rumour(Suspect("b", 1, LOWER), src=LOWER)
    assert not node.core.view().has_quorum


def test_a_candidate_asks_again_each_interval_until_the_former_leader_has_expired() -> None:
    node = Solo(expected=1)
    for _ in range(3):
        node.answer_store(epoch=0, owner="x:1")
        node.run(P)
    assert deeds(node) == [(Deed.INSTALL, 1)] * 4


def test_a_candidate_gives_up_when_a_better_one_is_there() -> None:
    node = Solo(LOWER, "b")
    node.run(2 * P, LOWER, "b")
    node.know(HIGHER)
    assert deeds(node)[-1] == (Deed.RESIGN, 1)
    assert node.core.view().role is Role.FOLLOWER
    assert node.told[-1] == Happened(Kind.ELECTION_FAILED, epoch=1, why="outranked")


def test_a_refused_epoch_is_tried_above() -> None:
    node = Solo(expected=1)
    node.answer_store(epoch=41, owner="x:1")
    assert not node.core.view().is_in_office
    node.run(P)
    assert deeds(node)[-1] == (Deed.INSTALL, 42)
    assert EpochSeen(42) in node.disk
    node.answer_store()
    assert node.core.view().epoch == 42


def test_the_highest_epoch_heard_of_survives_a_restart_and_is_passed() -> None:
    first = Solo("b")
    told_by(first, "b", 7, HIGHER)
    for records in (first.disk, first.core.durable()):
        node = Solo(expected=1, disk=records, boot=2)
        assert deeds(node) == [(Deed.INSTALL, 8)]


def test_an_epoch_out_of_reach_is_refused() -> None:
    node = leader_of(LOWER, "b")
    told_by(node, LOWER, 2 + EPOCH_JUMP_MAX, HIGHER)
    assert node.core.view().is_in_office
    assert node.core.durable()[1] == EpochSeen(1)


# ── holding it ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_leader_renews_each_interval() -> None:
    node = leader_of(LOWER, "b")
    node.run(3 * P, LOWER, "b")
    assert deeds(node) == [(Deed.RENEW, 1)] * 3


def test_a_leader_without_a_quorum_is_out_of_office_at_once_and_resigns_within_a_period() -> None:
    node = leader_of(LOWER, "b")
    node.rumour(Suspect("b", 1, LOWER), src=LOWER)
    node.hear("b", peers.Gossip(1, 0, "", [Suspect(LOWER, 1, "b")]))
    view = node.core.view()
    assert (view.is_in_office, view.has_quorum, view.leader, view.role) == (False, False, "", Role.CANDIDATE)
    node.run(P)
    assert (Deed.RESIGN, 1) in deeds(node)
    assert Happened(Kind.LEADER_LOST, ME, 1, "quorum") in node.told
    assert node.core.view().role is Role.FOLLOWER


def test_a_quorum_that_is_back_within_a_period_keeps_the_leader() -> None:
    node = leader_of(LOWER, "b")
    node.rumour(Suspect("b", 1, LOWER), src=LOWER)
    node.hear("b", peers.Gossip(1, 0, "", [Suspect(LOWER, 1, "b")]))
    node.run(P // 2)
    node.hear("b", peers.Gossip(2, 0, "", []))
    assert node.core.view().is_in_office
    node.run(P, "b", LOWER)
    assert (Deed.RESIGN, 1) not in deeds(node)


def test_total_silence_is_the_loss_of_the_quorum() -> None:
    others = [f"a{index}" for index in range(8)]
    node = leader_of(*others, expected=9)
    node.run(5 * P + 1)
    assert (Deed.RESIGN, 1) in deeds(node)
    assert sum(member.health.value == "alive" for member in node.core.view().members.values()) >= 5


def test_a_leader_that_hears_the_others_and_is_heard_by_none_resigns() -> None:
    """Seen with a leader whose packets were dropped: it renewed its office for 7 s, and nobody could follow."""
    others = [f"a{index}" for index in range(30)]
    node = leader_of(*others, expected=9)
    for step in range(28):
        node.run(P // 2)
        node.hear(others[step % 30], PingPeer(1, ME, 1, 0, "", []))
    assert (Deed.RESIGN, 1) in deeds(node)
    assert sum(member.health.value == "alive" for member in node.core.view().members.values()) >= 20


def test_a_nack_shows_that_a_leader_is_heard() -> None:
    others = [f"a{index}" for index in range(30)]
    node = leader_of(*others, expected=9)
    for _ in range(28):
        node.run(P // 2)
        for name in others:
            for asked in node.messages(peers.PingReq, name)[-1:]:
                node.hear(name, peers.Nack(asked.seq, asked.target, 1, []))
    assert (Deed.RESIGN, 1) not in deeds(node)


def test_what_was_not_heard_in_a_stall_is_no_silence() -> None:
    node = leader_of(LOWER, "b")
    node.run(P, LOWER, "b")
    node.now += 60 * SECOND
    node.step(Stall(60 * SECOND))
    node.run(P, LOWER, "b")
    assert node.core.view().is_in_office


def test_a_leader_that_hears_of_a_higher_epoch_leads_no_more() -> None:
    node = leader_of(LOWER, "b")
    told_by(node, LOWER, 2, "b")
    view = node.core.view()
    assert (view.leader, view.epoch, view.is_in_office) == ("b", 2, False)
    assert Happened(Kind.LEADER_LOST, ME, 1, "higher_epoch") in node.told


def test_a_leader_whom_the_store_has_replaced_leads_no_more() -> None:
    node = leader_of(LOWER, "b")
    node.run(P, LOWER, "b")
    node.answer_store(epoch=9, owner="b:1")
    assert not node.core.view().is_in_office
    assert Happened(Kind.LEADER_LOST, ME, 1, "fenced") in node.told


def test_what_the_former_life_led_is_over() -> None:
    node = Solo(LOWER, "b", boot=2)
    told_by(node, LOWER, 5, ME)
    assert node.core.view().leader == ""
    assert told_to(node, LOWER) == (5, "")


# ── a better one ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_better_one_that_joins_leads_after_the_hold_down_by_resignation() -> None:
    node = leader_of(LOWER, "b")
    node.know(HIGHER)
    run_renewing(node, HOLD_DOWN - 1, LOWER, "b", HIGHER)
    node.run(1, LOWER, "b", HIGHER)
    assert deeds(node)[-1] == (Deed.RESIGN, 1)
    assert Happened(Kind.LEADER_LOST, ME, 1, "outranked") in node.told
    assert told_to(node, LOWER) == (1, "")


def test_the_better_one_is_told_as_soon_as_the_store_is_free() -> None:
    node = leader_of(LOWER, "b")
    node.know(HIGHER)
    node.run(HOLD_DOWN, LOWER, "b", HIGHER)
    node.sent.clear()
    node.answer_store(left=0)
    assert [(send.to, type(send.message)) for send in node.sent] == [(HIGHER, peers.Gossip)]


def test_one_that_comes_and_goes_does_not_take_over() -> None:
    node = leader_of(LOWER, "b")
    node.know(HIGHER)
    for incarnation in range(1, 6):
        run_renewing(node, HOLD_DOWN - P, LOWER, "b", HIGHER)
        node.rumour(Suspect(HIGHER, incarnation, LOWER), src=LOWER)
        node.rumour(Alive(HIGHER, incarnation + 1, 0), src=LOWER)
    assert node.core.view().is_in_office


def test_the_better_one_does_not_ask_while_the_leader_is_well() -> None:
    node = Solo(LOWER, "b")
    told_by(node, LOWER, 3, LOWER)
    node.run(HOLD_DOWN, LOWER, "b")
    assert node.ops == []
    told_by(node, LOWER, 3, "")
    assert deeds(node) == [(Deed.INSTALL, 4)]


def test_it_asks_after_all_when_the_leader_never_steps_back() -> None:
    node = Solo(LOWER, "b")
    told_by(node, LOWER, 3, LOWER)
    node.run(HOLD_DOWN + 4 * P, LOWER, "b")
    assert deeds(node) == [(Deed.INSTALL, 4)]


def test_a_leader_that_is_suspected_is_followed_two_periods_later() -> None:
    node = Solo(LOWER, HIGHER)
    told_by(node, HIGHER, 3, HIGHER)
    node.run(20 * P, LOWER, HIGHER)
    node.rumour(Suspect(HIGHER, 1, LOWER), src=LOWER)
    node.run(2 * P, LOWER)
    assert deeds(node) == [(Deed.INSTALL, 4)]
    assert node.core.view().members[HIGHER].health.value == "suspect"


def test_a_leader_that_left_is_followed_at_once() -> None:
    node = Solo(LOWER, HIGHER)
    told_by(node, HIGHER, 3, HIGHER)
    node.run(20 * P, LOWER, HIGHER)
    node.rumour(Dead(HIGHER, 1, HIGHER), src=LOWER)
    assert deeds(node) == [(Deed.INSTALL, 4)]


def test_a_best_one_that_does_not_lead_is_passed_over_and_gets_no_other_chance_soon() -> None:
    node = Solo(LOWER, HIGHER)
    node.run(HOLD_DOWN + 2 * P, LOWER, HIGHER)
    assert deeds(node) == [(Deed.INSTALL, 1)]
    node.answer_store()
    node.ops.clear()
    run_renewing(node, PASSED_OVER - P, LOWER, HIGHER)
    node.run(2 * P, LOWER, HIGHER)
    assert (Deed.RESIGN, 1) in deeds(node)


# ── told to go ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_transfer_makes_the_holder_stand_back_for_the_hold_down() -> None:
    node = leader_of(LOWER, "b")
    node.step(Transfer())
    assert node.core.view().is_in_office
    node.run(3 * P, LOWER, "b")
    assert deeds(node)[-1] == (Deed.RESIGN, 1)
    assert Happened(Kind.LEADER_LOST, ME, 1, "transfer") in node.told
    assert Alive(ME, 2, PRIORITY_LOWEST) in _rumours(node)
    told_by(node, "b", 2, "b")
    node.run(HOLD_DOWN - 3 * P, LOWER, "b")
    assert node.core.view().members[ME].priority == 0
    assert node.incarnation == 3


def test_a_transfer_changes_nothing_where_nobody_else_may_lead() -> None:
    node = leader_of(expected=1)
    node.step(Transfer())
    node.run(2 * HOLD_DOWN)
    assert node.core.view().is_in_office


def test_a_transfer_to_the_best_of_the_others_is_a_transfer() -> None:
    node = leader_of(LOWER, "b")
    node.step(Transfer("b"))
    node.run(3 * P, LOWER, "b")
    assert Happened(Kind.LEADER_LOST, ME, 1, "transfer") in node.told


@pytest.mark.parametrize(("to", "why"), [(LOWER, "outranked"), ("nobody", "no_such_target")])
def test_a_transfer_to_one_that_would_not_be_chosen_is_refused_and_changes_nothing(to: str, why: str) -> None:
    node = leader_of(LOWER, "b")
    node.step(Transfer(to))
    assert Happened(Kind.ELECTION_FAILED, to, 1, why) in node.told
    run_renewing(node, 2 * HOLD_DOWN, LOWER, "b")
    assert node.core.view().is_in_office
    assert node.incarnation == 1


def test_a_transfer_asked_of_one_that_does_not_lead_is_ignored() -> None:
    node = Solo(LOWER, HIGHER)
    node.step(Transfer())
    assert node.incarnation == 1


def test_a_leader_that_leaves_resigns_and_names_nobody() -> None:
    node = leader_of(LOWER, "b")
    node.sent.clear()
    node.step(Leave())
    assert deeds(node) == [(Deed.RESIGN, 1)]
    assert {(message.max_epoch, message.leader) for message in node.messages(peers.Gossip)} == {(1, "")}
    assert not node.core.view().is_in_office
    node.step(StoreReply(node.ops[-1], Installed(1, f"{ME}:1", 0)))
    node.run(20 * P)
    assert deeds(node) == [(Deed.RESIGN, 1)]


# ── what is heard and told ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "message",
    [
        PingPeer(1, ME, 1, 6, HIGHER, []),
        peers.Ack(1, "b", 1, 6, HIGHER, []),
        peers.Gossip(1, 6, HIGHER, []),
        peers.Sync(1, False, 6, HIGHER, []),
        peers.SyncReply(1, 6, HIGHER, []),
    ],
)
def test_who_leads_is_learned_from_every_message_that_tells_it(message: peers.PeerMessage) -> None:
    node = Solo("b")
    node.hear("b", message)
    view = node.core.view()
    assert (view.leader, view.epoch) == (HIGHER, 6)
    assert told_to(node, "b") == (6, HIGHER)
    assert Happened(Kind.LEADER_ELECTED, HIGHER, 6) in node.told


def test_an_epoch_is_on_the_disk_before_it_is_told() -> None:
    node = Solo("b")
    told_by(node, "b", 3, "b")
    node.is_held = True
    told_by(node, "b", 6, HIGHER)
    assert told_to(node, "b") == (3, "")
    node.persist()
    assert told_to(node, "b") == (6, HIGHER)


def test_a_lower_epoch_changes_nothing() -> None:
    node = Solo("b")
    told_by(node, "b", 6, HIGHER)
    told_by(node, "b", 5, "b")
    assert node.core.view().leader == HIGHER


def test_only_the_leader_itself_says_that_it_leads_no_more() -> None:
    node = Solo("b", HIGHER)
    told_by(node, "b", 6, HIGHER)
    told_by(node, "b", 6, "")
    assert node.core.view().leader == HIGHER
    told_by(node, HIGHER, 6, "")
    assert node.core.view().leader == ""
    told_by(node, "b", 6, HIGHER)
    assert node.core.view().leader == ""


def test_a_dead_leader_leads_no_more() -> None:
    node = Solo("b", HIGHER)
    told_by(node, "b", 6, HIGHER)
    node.rumour(Dead(HIGHER, 1, "b"), src="b")
    assert node.core.view().leader == ""
    assert Happened(Kind.LEADER_LOST, HIGHER, 6, "dead") in node.told


def test_a_new_leader_is_told_to_others_as_a_rumour_is() -> None:
    node = Solo("a", "b", "c")
    node.run(4 * P, "a", "b", "c")
    node.sent.clear()
    told_by(node, "b", 6, HIGHER)
    node.run(P // 5, "a", "b", "c")
    assert {message.leader for message in node.messages(peers.Gossip)} == {HIGHER}
    assert len(node.messages(peers.Gossip)) == 3
    node.run(4 * P, "a", "b", "c")
    node.sent.clear()
    node.run(4 * P, "a", "b", "c")
    assert node.messages(peers.Gossip) == []


def _rumours(node: Solo) -> list[peers.Rumour]:
    return [rumour for send in node.sent for rumour in getattr(send.message, "rumours", [])]
