"""The words with which nodes meet: they come back as they were, and anything else is refused within the limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.config.table import TABLE
from zjp.errors import WireError
from zjp.wire import greeting, peers, reach, relayed
from zjp.wire.codec import decode_peer, decode_peer_envelope, decode_request, encode_peer
from zjp.wire.greeting import (
    MEMBERS_MAX,
    MESH,
    Bye,
    Hello,
    Member,
    Members,
    PeerEnvelope,
    RefusalKind,
    Refused,
    Welcome,
)

pytestmark = pytest.mark.covers("cluster:mesh", "main-path:3")

ENVELOPE = PeerEnvelope(1, "zjp", "n1", 3, 7, "n2")
WORDS = [
    Hello("home", "tcp://a:1", -3, "raft"),
    Welcome("home", "tcp://a:1", 3, "raft", [Member("n3", 1, "ipc:///x")]),
    Members([]),
    Bye("later"),
    *(Refused(kind, "because") for kind in RefusalKind),
    relayed.AskPeer(7, "ada", 3, b"asked"),
    relayed.TellPeer(7, b"told"),
    reach.AskStore(7),
    reach.TellStore(7, True),
    peers.Beat(1, 2),
    peers.Sync(1, True, 2, "n1", [peers.Alive("n2", 1, 0)]),
]


def refusal(decode: Callable[..., Any], given: Any) -> str:
    """The text of the WireError, empty when there was none; any other exception fails the test."""
    try:
        decode(given)
    except WireError as fault:
        return str(fault)
    return ""


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_word_comes_back_as_it_was(word: Any) -> None:
    frames = encode_peer(ENVELOPE, word)
    assert decode_peer_envelope(frames) == ENVELOPE
    assert decode_peer(frames[2]) == word


def test_every_greeting_is_among_them() -> None:
    assert {type(word) for word in WORDS} >= set(get_args(greeting.Greeting | relayed.Relayed | reach.Reaching))


def test_tags_are_of_the_greetings_own_and_used_once() -> None:
    words = get_args(greeting.Greeting | relayed.Relayed | reach.Reaching)
    tags = [cls.__struct_config__.tag for cls in words]
    assert len(set(tags)) == len(tags)
    assert all(260 <= tag < 280 for tag in tags)


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_frames_give_an_envelope_or_wire_error(frames: list[bytes]) -> None:
    for shape in (frames, [MESH, *frames[:2]], [MESH, msgspec.msgpack.encode([1, "zjp", *frames]), b""]):
        assert len(refusal(decode_peer_envelope, shape)) < 400


@given(st.integers(190, 290), st.lists(st.one_of(st.integers(), st.text(), st.binary(), st.lists(st.text())), max_size=6))
def test_any_data_under_a_tag_gives_a_word_or_wire_error(tag: int, fields: list[Any]) -> None:
    try:
        body = msgspec.msgpack.encode([tag, *fields])
    except OverflowError:  # more than msgpack can say
        return
    assert len(refusal(decode_peer, body)) < 400


@pytest.mark.parametrize(
    "fields",
    [
        [260, "h", "", 0, "bully"],
        [260, "h", "a" * 301, 0, "bully"],
        [260, "h" * 65, "a", 0, "bully"],
        [260, "h", "a", 1 << 31, "bully"],
        [262, [["n", 1, "a"]] * (MEMBERS_MAX + 1)],
        [262, [["", 1, "a"]]],
        [262, [["n", -1, "a"]]],
        [263, "x" * 501],
        [264, "nothing", ""],
        [265],
        [267, -1],
        [268, 1],
        [1, [["id", "t", b""]]],
    ],
)
def test_what_no_node_would_say_is_refused(fields: list[Any]) -> None:
    with pytest.raises(WireError, match="message of a node of"):
        decode_peer(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("name", ["a\nb", "a\n", "\x1b[2J", "a b", "-a", ".a", "\u0430", "a/b", "a:1", "a" * 65, ""])
def test_name_that_no_node_may_have_is_refused_wherever_it_stands(name: str) -> None:
    """A stranger's Hello without CURVE: what it calls itself would stand in the log and on the terminal."""
    with pytest.raises(ValueError, match="does not have the right form"):
        TABLE["NODE_ID"].kind.parse(name)
    body = encode_peer(ENVELOPE, Bye())[2]
    envelope = msgspec.msgpack.encode([1, "zjp", name, 3, 7, "n2"])
    assert refusal(decode_peer_envelope, [MESH, envelope, body])
    assert refusal(decode_peer, msgspec.msgpack.encode([262, [[name, 1, "tcp://a:1"]]]))
    assert refusal(decode_peer, encode_peer(ENVELOPE, peers.Sync(1, True, 2, "n1", [peers.Alive(name, 1, 0)]))[2])
    if name:
        assert refusal(decode_peer, encode_peer(ENVELOPE, peers.Gossip(1, 2, name, []))[2])
        assert refusal(decode_peer, encode_peer(ENVELOPE, peers.Resign(1, name))[2])


@pytest.mark.parametrize("name", ["a", "0", "node-1.internal_x", "a" * 64])
def test_every_name_that_a_node_may_have_is_taken(name: str) -> None:
    assert TABLE["NODE_ID"].kind.parse(name) == name
    assert decode_peer(msgspec.msgpack.encode([262, [[name, 1, "tcp://a:1"]]])) == Members([Member(name, 1, "tcp://a:1")])
    for leader in (name, ""):
        word = peers.Gossip(1, 2, leader, [])
        assert decode_peer(encode_peer(ENVELOPE, word)[2]) == word


def test_clients_cannot_say_what_nodes_say() -> None:
    for word in WORDS:
        with pytest.raises(WireError):
            decode_request(encode_peer(ENVELOPE, word)[2])
