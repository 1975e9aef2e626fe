"""Words that no member of this cluster would say: damaged numbers, strangers, one's own name, what is meant for somebody else.

A core must not believe them. They come from nowhere, so the watch is not told that they were said; it sees only what the core does then.
None of them is what an honest member might have said: a forged vote in a near term would be believed, as it has to be, for the connection's
key vouches for the name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from zjp.election.core import EPOCH_JUMP_MAX, EPOCH_MAX
from zjp.wire import peers as said
from zjp.wire.peers import PeerMessage

from .node import Node

STRANGER = "stranger"
GUEST = "guest"
"""A node that does not vote: the mesh has met it, and it hears what it is sent; it says nothing."""

Words = Callable[[random.Random, Node, str], PeerMessage]
"""(rng, who hears it, a name of the cluster) -> message."""


def stray(rng: random.Random, algorithm: str, node: Node, peers: Sequence[str]) -> tuple[str, PeerMessage]:
    """From whom, and what. `peers`: the other members."""
    peer = rng.choice(peers) if peers else STRANGER
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice((STRANGER, node.name)), rng.choice(PLAUSIBLE[algorithm])(rng, node, peer)
    if kind == 1:
        return peer, rng.choice(OF_OTHERS[algorithm])(rng, node, peer)
    return peer, rng.choice(DAMAGED[algorithm])(rng, node, peer)


def _far(rng: random.Random, node: Node) -> int:
    """An epoch that is too far above any that this node can have heard of."""
    return min(EPOCH_MAX, node.view.epoch + EPOCH_JUMP_MAX + 1000 + rng.randrange(1 << 30))


def _near(rng: random.Random, node: Node) -> int:
    return node.view.epoch + rng.randrange(3)


def _entries(rng: random.Random, node: Node, peer: str) -> PeerMessage:
    """Of the present term, as its leader would say it, but no log looks like that."""
    term = node.view.epoch
    wrong = rng.choice(([said.Entry(9, 1), said.Entry(7, 1)], [said.Entry(1, term + 5)], [said.Entry(1, 0)]))
    return said.Append(term, 0, 0, 0, 0, wrong)


def _promise(rng: random.Random, node: Node, peer: str) -> PeerMessage:
    return said.Append(node.view.epoch, 0, rng.randrange(1, 5), 0, 0, [said.Entry(1, 1)])


PLAUSIBLE: dict[str, Sequence[Words]] = {
    "raft": (
        lambda rng, node, peer: said.Vote(_near(rng, node), 1 << 20, _near(rng, node)),
        lambda rng, node, peer: said.PreVote(_near(rng, node) + 1, 1 << 20, _near(rng, node)),
        lambda rng, node, peer: said.VoteReply(_near(rng, node), True),
        lambda rng, node, peer: said.PreVoteReply(node.view.epoch, node.view.epoch + 1, True),
        lambda rng, node, peer: said.Append(_near(rng, node), 0, 0, 0, 1 << 30, []),
        lambda rng, node, peer: said.AppendReply(_near(rng, node), 1, True, 1),
        lambda rng, node, peer: said.TimeoutNow(node.view.epoch),
        lambda rng, node, peer: said.AskTerm(rng.randrange(1 << 20)),
        lambda rng, node, peer: said.TellTerm(rng.randrange(1 << 20), 1),
    ),
    "bully": (
        lambda rng, node, peer: said.Beat(_near(rng, node), 1 << 30),
        lambda rng, node, peer: said.BeatAck(node.view.epoch, 1),
        lambda rng, node, peer: said.Claim(_near(rng, node), 100),
        lambda rng, node, peer: said.Grant(_near(rng, node), True, 0),
        lambda rng, node, peer: said.Coordinator(_near(rng, node), 100),
        lambda rng, node, peer: said.Answer(100, 0),
    ),
    "gossip": (
        lambda rng, node, peer: said.Ack(rng.randrange(1 << 40), peer, 1, 0, "", []),
        lambda rng, node, peer: said.Nack(rng.randrange(1 << 40), peer, 1, []),
    ),
}  # fmt: skip
"""What a member may say, said by a stranger or in the hearer's own name."""

OF_OTHERS: dict[str, Sequence[Words]] = {
    "raft": (
        lambda rng, node, peer: said.Ack(1, peer, 1, 0, "", []),
        lambda rng, node, peer: said.TellTerm(rng.randrange(1 << 20), 1),
        lambda rng, node, peer: said.AppendReply(node.view.epoch, 1 << 40, True, 1),
    ),
    "bully": (lambda rng, node, peer: said.TimeoutNow(1), lambda rng, node, peer: said.AskTerm(1)),
    "gossip": (
        lambda rng, node, peer: said.Beat(1, 1),
        lambda rng, node, peer: said.PingPeer(rng.randrange(1 << 40), STRANGER, 0, 0, "", []),
        lambda rng, node, peer: said.PingReq(rng.randrange(1 << 40), node.name, 0, []),
        lambda rng, node, peer: said.PingReq(rng.randrange(1 << 40), peer, 0, []),
        lambda rng, node, peer: said.Nack(rng.randrange(1 << 40), peer, 0, []),
        lambda rng, node, peer: said.Gossip(0, 0, "", [said.Suspect(STRANGER, 5, peer), said.Suspect(peer, 1, STRANGER)]),
        lambda rng, node, peer: said.Gossip(0, 0, "", [said.Suspect(peer, 1, peer), said.Dead(STRANGER, 1, peer)]),
    ),
}  # fmt: skip
"""By a member, but of another algorithm, or for somebody else, or about somebody unknown."""

DAMAGED: dict[str, Sequence[Words]] = {
    "raft": (
        _entries,
        _promise,
        lambda rng, node, peer: said.Append(_far(rng, node), 0, 0, 0, 1, []),
        lambda rng, node, peer: said.Append(0, 0, 0, 0, 1, []),
        lambda rng, node, peer: said.AppendReply(_far(rng, node), 1, True, 1),
        lambda rng, node, peer: said.Vote(_far(rng, node), 1 << 20, _far(rng, node)),
        lambda rng, node, peer: said.PreVote(_far(rng, node), 1 << 20, _far(rng, node)),
        lambda rng, node, peer: said.PreVoteReply(_far(rng, node), 1, False),
        lambda rng, node, peer: said.VoteReply(_far(rng, node), True),
    ),
    "bully": (
        lambda rng, node, peer: said.Beat(_far(rng, node), 1),
        lambda rng, node, peer: said.Claim(_far(rng, node), 100),
        lambda rng, node, peer: said.Elect(-100, _far(rng, node)),
        lambda rng, node, peer: said.Answer(-100, _far(rng, node)),
        lambda rng, node, peer: said.Grant(0, False, _far(rng, node)),
        lambda rng, node, peer: said.Coordinator(_far(rng, node), 100),
    ),
    "gossip": (
        lambda rng, node, peer: said.PingPeer(1, node.name, 1 << 40, 0, "", []),
        lambda rng, node, peer: said.Gossip(0, _far(rng, node), peer, []),
        lambda rng, node, peer: said.Gossip(0, 0, "", [said.Alive(peer, 1 << 40, 1), said.Dead(peer, 1 << 40, STRANGER)]),
        lambda rng, node, peer: said.Gossip(0, 0, "", [said.Suspect(node.name, 1 << 40, peer)]),
    ),
}  # fmt: skip
"""By a member, with numbers that cannot be."""
