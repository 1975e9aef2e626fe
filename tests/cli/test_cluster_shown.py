"""What `zjp cluster` prints of a node's answers: names that a stranger chose, a cluster that is still forming."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from click.testing import Result

from tests.client.peer import Peer
from zjp.cli.cluster import faults_of
from zjp.wire import messages as m
from zjp.wire.seen import AskCluster, Change, ClusterNode, ClusterReply, DrainNode, History, Transfer

pytestmark = pytest.mark.covers("cluster:seen", "cli:cluster")

Run = Callable[..., Result]
EVIL = "a\nall well\x1b[2J\x9b31m\u202e"
SHOWN = "a\\nall well\\x1b[2J\\x9b31m\\u202e"


def node(name: str, health: str = "alive", address: str = "") -> ClusterNode:
    return ClusterNode(name, 1, address, "follower", health, 1, 0, health == "alive")


def reply_of(
    *nodes: ClusterNode, leader: str = "", algorithm: str = "raft", voters: tuple[str, ...] = ()
) -> ClusterReply:
    return ClusterReply(nodes[0].node, list(nodes), leader, 7, algorithm, 2, list(voters), bool(leader), False, False)


ANSWERS: list[ClusterReply] = []


def answer(request: m.Request) -> m.Reply:
    """The cluster answers in turn, and stays as it was last."""
    if isinstance(request, AskCluster):
        return ANSWERS.pop(0) if len(ANSWERS) > 1 else ANSWERS[0]
    if isinstance(request, Transfer | DrainNode):
        return m.Done(3)
    if isinstance(request, m.AskLeader):
        return m.LeaderReply(EVIL, 7, EVIL, EVIL, False, False, True)
    return History(EVIL, [Change(1, EVIL, EVIL, 7, EVIL, 0, 0)])


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer(answer) as made:
        yield made


@pytest.mark.parametrize(
    "arguments",
    [
        ["nodes"], ["leader"], ["health"], ["history"], ["transfer"], ["transfer", EVIL], ["transfer", "b"], ["drain", "x"],
        ["drain", EVIL], ["drain", EVIL, "--undo"], ["drain", EVIL + "2"],
    ],
    ids=lambda arguments: "-".join(arguments).encode("unicode_escape").decode(),
)  # fmt: skip
def test_no_name_reaches_the_terminal_as_it_is(arguments: list[str], zjp: Run, peer: Peer) -> None:
    """Fails on a model that prints names as they came: a stranger's would say that all is well, and clear the screen."""
    ill = [node(EVIL), node(EVIL + "2", "suspect"), node("b", "dead")]
    ANSWERS[:] = [reply_of(*ill, leader=EVIL), reply_of(*ill, leader=EVIL + "2")]
    told = zjp("cluster", *arguments, env={"ZJP_CLIENT_ADDRESS": peer.address})
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    assert SHOWN in told.output
    assert all(char == "\n" or char.isprintable() for char in told.output), told.output
    assert "all well" not in told.output.splitlines()


@pytest.mark.parametrize(
    ("algorithm", "voters", "is_told"),
    [("raft", (), True), ("bully", (), True), ("bully", ("a",), False), ("gossip", (), False)],
)
def test_health_tells_of_voters_that_are_not_settled_yet(
    algorithm: str, voters: tuple[str, ...], is_told: bool
) -> None:
    faults = faults_of(reply_of(node("a"), node("b"), node("c"), algorithm=algorithm, voters=voters))
    told = "the cluster is still forming: with a there are 3 that have met, and CLUSTER_SIZE asks for more or the store is away"
    assert (told in faults) is is_told
