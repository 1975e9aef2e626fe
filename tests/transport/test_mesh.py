"""Nodes that meet: joining, leaving, coming back, refusing, and what does not count as said."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.loopback import IPV6, needs_ipv6
from tests.transport.stations import Hand, Town, beat, town
from zjp.transport.curve import KeyRole, make_pair
from zjp.transport.mesh import LEARNED_MAX
from zjp.transport.roster import WINDOW, Met, Roster, Window
from zjp.wire.codec import encode_peer
from zjp.wire.greeting import MEMBERS_MAX, PEER_BYTES_MAX, Bye, Hello, Member, Members, PeerEnvelope, RefusalKind
from zjp.wire.peers import Append, Entry

pytestmark = pytest.mark.covers("cluster:mesh")

KEYS = pytest.mark.parametrize("has_keys", [False, True], ids=["plain", "curve"])
HELLO = Hello("somewhere", "tcp://127.0.0.1:1", 0, "bully")

# ── joining and leaving ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@KEYS
async def test_two_nodes_meet_and_what_they_say_arrives_in_order(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1", priority=3)
        two = here.open("n2", one, priority=7)
        await here.all_meet(one, two)
        for number in range(200):
            assert one.mesh.send("n2", beat(number))
            assert two.mesh.send("n1", beat(number))
        await one.until(lambda at: len(at.heard) == 200)
        await two.until(lambda at: len(at.heard) == 200)
        assert one.heard == [("n2", beat(number)) for number in range(200)]
        assert two.heard == [("n1", beat(number)) for number in range(200)]
        assert (one.told, two.told) == ([("n2", 7, True)], [("n1", 3, True)])
        assert one.mesh.dropped == two.mesh.dropped == {}


@needs_ipv6
@KEYS
async def test_nodes_meet_over_ipv6(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1", address=IPV6)
        two = here.open("n2", one, address=IPV6)
        await here.all_meet(one, two)


@KEYS
async def test_who_joins_one_seed_meets_all(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        first = here.open("n1")
        others = [here.open(f"n{number}", first) for number in range(2, 6)]
        await here.all_meet(first, *others)
        assert others[0].mesh.send("n5", beat(1))
        await others[3].until(lambda at: at.heard == [("n2", beat(1))])


async def test_seeds_that_name_one_another_and_themselves_make_one_line_each() -> None:
    async with town() as here:
        one = here.open("n1")
        two = here.open("n2", one)
        seeds = [one, two]
        three = here.open("n3", *seeds, address="tcp://127.0.0.1:*")
        three.mesh._dial(three.address, "", is_seed=True)  # a list of seeds that is the same on all nodes names this one too
        three.mesh._dial(one.address.replace("127.0.0.1", "localhost"), "", is_seed=True)
        await here.all_meet(one, two, three)
        assert "n3" not in three.met()
        assert sorted(three.mesh._line_of) == ["n1", "n2"]


@KEYS
async def test_leaving_is_told_at_once_and_a_new_life_is_met_again(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        two.close()
        await one.until(lambda at: at.told[-1] == ("n2", 0, False))
        assert one.mesh.peers()[0].left_s is not None
        assert not one.mesh.send("n2", beat(1))
        again = here.open("n2", one, boot=2)
        await here.all_meet(one, again)
        assert [told[2] for told in one.told] == [True, False, True]
        assert again.mesh.send("n1", beat(2))
        await one.until(lambda at: at.heard == [("n2", beat(2))])
        assert (one.mesh.peers()[0].boot, one.mesh.peers()[0].left_s) == (2, None)


@KEYS
async def test_killed_node_is_missed_and_its_next_life_met_at_the_same_address(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        three = here.open("n3", one)
        await here.all_meet(one, two, three)
        address = two.address
        two.close(says_bye=False)
        await one.until(lambda at: "n2" not in at.met())
        again = here.open("n2", one, boot=2, address=address)
        await here.all_meet(one, again, three)


@KEYS
async def test_another_node_at_the_address_of_one_that_is_gone_is_met(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        address = two.address
        two.close(says_bye=False)
        await one.until(lambda at: "n2" not in at.met())
        here.stations.remove(two)
        await here.all_meet(one, here.open("n3", one, address=address))


@pytest.mark.parametrize(("has_keys", "says_bye"), [(False, True), (True, False)])
async def test_seed_that_comes_back_under_another_name_and_knows_nobody_is_met(has_keys: bool, says_bye: bool) -> None:
    """Its folder was lost, and with it the name that it had made; it is started by the same command."""
    async with town(has_keys=has_keys) as here:
        seed = here.open("n1")
        two = here.open("n2", seed)
        three = here.open("n3", seed)
        await here.all_meet(seed, two, three)
        address = seed.address
        seed.close(says_bye=says_bye)
        here.stations.remove(seed)
        await two.until(lambda at: "n1" not in at.met())
        await here.all_meet(here.open("n4", address=address), two, three)


async def test_next_life_that_comes_before_the_old_one_was_missed_is_lost_and_met() -> None:
    """The core must hear of it: whoever was granted something by the old life must not count the new one for the same."""
    async with town() as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        again = here.open("n2", one, boot=2, home="home of n2")
        await one.until(lambda at: [told[2] for told in at.told] == [True, False, True])
        await again.until(lambda at: at.met() == {"n1"})
        two.mesh.send("n1", beat(1))
        await one.until(lambda at: at.mesh.dropped["boot"] >= 1)
        assert one.heard == []


async def test_node_whose_door_was_open_before_it_listened_is_met_all_the_same() -> None:
    """A Hello that nobody heard is said again, also when the other has said its own meanwhile."""
    async with town() as here:
        one = here.open("n1")
        unheard: list[list[bytes]] = []
        one.door.on_peer = lambda _, frames: unheard.append(frames)
        two = here.open("n2", one)
        await two.until(lambda _: bool(unheard))
        one.door.on_peer = one.mesh._on_frames
        one.mesh._dial(two.address, "", is_seed=True)
        await here.all_meet(one, two)


async def test_seed_that_is_not_there_yet_is_found_when_it_comes() -> None:
    async with town() as here:
        late = here.open("n1")
        address = late.address
        late.close()
        here.stations.remove(late)
        two = here.open("n2")
        two.mesh._dial(address, "", is_seed=True)
        await two.until(lambda at: at.mesh._lines[address].failures >= 2)
        one = here.open("n1", address=address)
        await here.all_meet(one, two)


async def test_two_halves_that_lost_each_other_meet_again_by_the_seeds() -> None:
    async with town() as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        for line in list(two.mesh._lines.values()) + list(one.mesh._lines.values()):
            line.hang_up("cut")
        await two.until(lambda at: ("n1", 0, False) in at.told)
        await here.all_meet(one, two)


# ── refusing ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@KEYS
async def test_nodes_of_different_algorithms_refuse_each_other(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1", algorithm="bully")
        two = here.open("n2", one, algorithm="raft")
        await two.until(lambda at: at.refusals[:1] == [RefusalKind.ALGORITHM])
        assert one.mesh.dropped["algorithm"] >= 1
        assert (one.met(), two.met()) == (set(), set())


@KEYS
async def test_the_second_node_of_one_name_is_refused_while_the_first_lives(has_keys: bool) -> None:
    async with town(has_keys=has_keys) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        twin = here.open("n2", one, boot=9, home="another folder")
        await twin.until(lambda at: at.refusals[:1] == [RefusalKind.TWIN])
        assert two.mesh.send("n1", beat(1))
        await one.until(lambda at: at.heard == [("n2", beat(1))])
        assert one.mesh.dropped["twin"] >= 1
        assert twin.met() == set()
        two.close()
        await here.all_meet(one, twin)


async def test_a_node_of_our_own_name_is_refused_by_ourselves() -> None:
    async with town() as here:
        one = here.open("n1")
        twin = here.open("n1", one, home="another folder")
        await twin.until(lambda at: at.refusals[:1] == [RefusalKind.TWIN])
        assert one.mesh.dropped["twin"] >= 1


async def test_node_of_another_cluster_is_not_heard() -> None:
    async with town() as here:
        one = here.open("n1")
        here.open("n2", one, cluster="other")
        await one.until(lambda at: at.mesh.dropped["cluster"] >= 1)
        assert one.met() == set()


# ── what does not count as said ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"version": 2}, "version"),
        ({"cluster": "other"}, "cluster"),
        ({"to": "n7"}, "to"),
        ({"to": ""}, "to"),
        ({"boot": 4}, "boot"),
        ({"boot": 6}, "stranger"),
        ({"seq": 1}, "duplicate"),
        ({"sender": "nobody"}, "stranger"),
    ],
)
async def test_what_is_not_for_us_or_not_from_now_is_dropped_and_counted(facts: dict[str, Any], reason: str) -> None:
    async with town() as here:
        one = here.open("n1")
        hand = Hand(one)
        hand.say(HELLO, "n2", boot=5, seq=1)
        hand.say(beat(1), **{"sender": "n2", "boot": 5, "seq": 2, **facts})
        hand.say(beat(2), "n2", boot=5, seq=3)
        await one.until(lambda at: at.heard == [("n2", beat(2))])
        assert one.mesh.dropped == {reason: 1}
        hand.close()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([b"mesh", b"\x01"], "shape"),
        ([b"mesh", b"\x96" + bytes(20), b""], "shape"),
        ([b"mesh", b"", b"", b""], "shape"),
        ([b"mesh", bytes(1000), b"x"], "size"),
        ([b"mesh", b"\x90", bytes(PEER_BYTES_MAX + 1)], "size"),
        ([b"mesh", msgspec.msgpack.encode([1, "zjp", "n2", 5, 2, "n1"]), b"\xc1"], "body"),
        ([b"mesh", msgspec.msgpack.encode([1, "zjp", "n2", 5, 2, "n1"]), msgspec.msgpack.encode([220, -1, 0])], "body"),
        ([b"mesh", msgspec.msgpack.encode([1, "zjp", "n2", 5, 2, "n1"]), msgspec.msgpack.encode([1, []])], "body"),
    ],
)
async def test_garbage_is_dropped_and_counted(frames: list[bytes], reason: str) -> None:
    async with town() as here:
        one = here.open("n1")
        hand = Hand(one)
        hand.say(HELLO, "n2", boot=5, seq=1)
        hand.socket.send_multipart(frames)
        hand.say(beat(2), "n2", boot=5, seq=3)
        await one.until(lambda at: at.heard == [("n2", beat(2))])
        assert one.mesh.dropped == {reason: 1}
        hand.close()


async def test_one_nodes_key_cannot_speak_as_another() -> None:
    async with town(has_keys=True) as here:
        one = here.open("n1")
        here.pair("n2")
        hand = Hand(one, here.pair("n3"))
        hand.say(HELLO, "n2")
        hand.say(HELLO, "n3", seq=2)
        hand.say(beat(1), "n2", seq=3)
        hand.say(beat(2), "n3", seq=4)
        await one.until(lambda at: at.heard == [("n3", beat(2))])
        assert one.mesh.dropped == {"key": 2}
        hand.close()


async def test_node_at_an_address_with_a_key_of_no_node_is_not_spoken_to() -> None:
    async with town(has_keys=True) as here:
        one = here.open("n1")
        thief = Town(has_keys=True)
        thief.authorize("n1", here.pair("n1"))
        theirs = thief.open("n2")
        here.pair("n2")
        one.mesh._dial(theirs.address, "n2", is_seed=True)
        await one.until(lambda at: at.mesh._lines[theirs.address].failures >= 3)
        assert one.met() == set()
        theirs.close()


async def test_revoked_node_is_left_and_not_heard() -> None:
    async with town(has_keys=True) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        del here.table[here.pair("n2").public.hex()]
        assert one.door.guard is not None
        one.door.guard.reload()
        one.mesh.recheck_keys()
        assert ("n2", 0, False) in one.told
        two.mesh.send("n1", beat(1))
        await two.until(lambda at: ("n1", 0, False) in at.told)
        assert one.heard == []


async def test_nodes_key_is_changed_while_both_are_authorized() -> None:
    async with town(has_keys=True) as here:
        one = here.open("n1")
        two = here.open("n2", one)
        await here.all_meet(one, two)
        old = here.pair("n2")
        here.pairs["n2"] = make_pair("n2")
        here.authorize("n2", here.pairs["n2"])
        two.close()
        again = here.open("n2", one, boot=2)
        await here.all_meet(one, again)
        del here.table[old.public.hex()]
        here.reload()
        assert again.mesh.send("n1", beat(1))
        await one.until(lambda at: at.heard == [("n2", beat(1))])


async def test_producers_key_says_no_word_of_a_node() -> None:
    async with town(has_keys=True) as here:
        one = here.open("n1")
        web = make_pair("n2")
        here.authorize("n2", web, KeyRole.PRODUCER)
        hand = Hand(one, web)
        hand.say(HELLO, "n2")
        hand.say(beat(1), "n2", seq=2)
        hand.socket.send_multipart([b"a", b"request"])
        await one.until(lambda at: at.requests == [[b"a", b"request"]])
        guard = one.door.guard
        assert guard is not None
        assert guard.refused["no node's key"] == 2
        assert one.mesh.peers() == []
        hand.close()


async def test_members_that_lie_cost_a_bounded_number_of_lines() -> None:
    async with town() as here:
        one = here.open("n1")
        hand = Hand(one)
        hand.say(HELLO, "n2")
        for batch in range(3):
            lies = [Member(f"x{batch}-{number}", 1, f"ipc:///nowhere/{batch}-{number}") for number in range(MEMBERS_MAX)]
            hand.say(Members(lies), "n2", seq=2 + batch)
        hand.say(beat(1), "n2", seq=9)
        await one.until(lambda at: at.heard == [("n2", beat(1))])
        assert len(one.mesh._lines) <= LEARNED_MAX + 1
        hand.close()


def test_message_over_the_limit_is_not_sent() -> None:
    entries = [Entry(number, 1, bytes(PEER_BYTES_MAX // 4)) for number in range(1, 6)]
    with pytest.raises(Exception, match=r"Append is .* bytes, nodes take 524288 from one another"):
        encode_peer(PeerEnvelope(1, "zjp", "n1", 1, 1, "n2"), Append(1, 0, 0, 0, 0, entries))


# ── clients do not delay nodes ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_flood_of_requests_holds_a_beat_up_by_fifty_milliseconds_of_work_at_most() -> None:
    """Counted in work done between the moment the beat was on its way and the moment it was heard, so that a
    busy machine does not matter."""
    work_s, requests = 0.001, 3000
    done = 0

    def work(*_: object) -> None:
        nonlocal done
        done += 1
        end = time.thread_time() + work_s
        while time.thread_time() < end:
            pass

    async with town() as here:
        one = here.open("n1", work=work)
        hand, flood = Hand(one), [Hand(one) for _ in range(4)]
        hand.say(HELLO, "n2")
        await one.until(lambda at: len(at.mesh.peers()) == 1)
        for number in range(requests):
            flood[number % 4].socket.send_multipart([b"envelope", bytes(500)])
        delays: list[float] = []
        for number in range(20):
            before, heard = done, len(one.heard)
            hand.say(beat(number), "n2", seq=2 + number)
            await one.until(lambda at, heard=heard: len(at.heard) > heard)  # type: ignore[misc]
            delays.append((done - before) * work_s)
        assert done < requests, "the flood was over before the beats were"
        assert sorted(delays)[-2] <= 0.05, delays
        for one_hand in [hand, *flood]:
            one_hand.close()


# ── the roster ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.integers(0, 3 * WINDOW), max_size=300))
def test_window_lets_nothing_pass_twice_and_what_is_recent_pass_once(seqs: list[int]) -> None:
    window, seen = Window(), set[int]()
    for seq in seqs:
        is_recent = not seen or seq > max(seen) - WINDOW
        assert window.is_new(seq) == (is_recent and seq not in seen)
        seen.add(seq)


def test_window_of_enormous_numbers_stays_small() -> None:
    window = Window()
    assert window.is_new(0)
    assert window.is_new((1 << 62) - 1)
    assert not window.is_new(0)
    assert window._bits.bit_length() <= WINDOW


def test_full_roster_takes_another_only_in_the_place_of_one_that_is_gone() -> None:
    roster = Roster()
    for number in range(MEMBERS_MAX):
        assert roster.introduce(f"n{number}", 1, HELLO, now=0.0) is Met.NEW
    assert roster.introduce("one more", 1, HELLO, now=1.0) is Met.FULL
    assert roster.introduce("one more", 1, HELLO, now=100.0) is Met.NEW
    assert len(roster.peers) == MEMBERS_MAX


def test_life_that_said_good_bye_does_not_come_back() -> None:
    roster = Roster()
    roster.introduce("n1", 3, HELLO, now=0.0)
    roster.peers["n1"].left_at = 0.5
    assert roster.introduce("n1", 3, HELLO, now=1.0) is Met.OLD
    assert roster.introduce("n1", 2, HELLO, now=1.0) is Met.OLD
    assert roster.introduce("n1", 4, HELLO, now=1.0) is Met.REBORN


def test_bye_needs_no_reason() -> None:
    assert Bye() == Bye("")
