"""What is said about the cluster itself: who is in it, who led and why that changed, and what an operator may ask of it. Pure.

These are requests and replies like those of messages.py, whose unions hold them; the tags are of the same series. What a node tells is what
it sees: two nodes that cannot hear each other tell different things, and each is right about itself.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from .greeting import MEMBERS_MAX

HISTORY_MAX = 500


class ClusterNode(msgspec.Struct, array_like=True, frozen=True):
    """One node, as the answering one sees it. `boot` 0, `address` empty: not met in this life. `role`: leader, candidate, follower or
    learner. `health`: alive, suspect, dead or left, since `since_ms` (0: not known). `is_up`: it can be reached by the mesh."""

    node: str
    boot: int
    address: str
    role: str
    health: str
    since_ms: int
    priority: int
    is_up: bool


class Change(msgspec.Struct, array_like=True, frozen=True):
    """Something that happened to the leadership, as one node saw it. `node`: whom it is about. `why`: the cause, where there is one to
    tell. `took_ms`: of the election, told by who won it. `leaderless_ms`: before it, how long the node that tells this heard of
    no leader."""

    at_ms: int
    kind: str
    node: str
    epoch: int
    why: str
    took_ms: int
    leaderless_ms: int


class AskCluster(msgspec.Struct, array_like=True, frozen=True, tag=20):
    """Answered by ClusterReply."""


class AskHistory(msgspec.Struct, array_like=True, frozen=True, tag=21):
    """Answered by History: up to `limit` of the latest changes, newest first."""

    limit: int = 50


class Transfer(msgspec.Struct, array_like=True, frozen=True, tag=22):
    """Hand the leadership to node `to`; empty: to whoever is best. Only the leader can. Answered by Done once it has begun."""

    to: str = ""


class DrainNode(msgspec.Struct, array_like=True, frozen=True, tag=23):
    """Take no more jobs, claim none, let what runs finish, hand the leadership over; `is_draining` False: go on as before. Only the node of
    this name does it. Answered by Done with the number of jobs that it still holds."""

    node: str
    is_draining: bool = True


class ClusterReply(msgspec.Struct, array_like=True, frozen=True, tag=44):
    """`node`: who answers. `nodes`: by name. `leader`, `epoch`: as in LeaderReply. `voters`: by name; empty where votes are not named
    (gossip, a node without a mesh) or not yet. `quorum`: so many must agree on a leader; 0: the store alone decides. `is_draining`:
    the one that answers takes no jobs. `is_leader_idle`: the store does not confirm the leader, as far as the answering node knows,
    so schedules wait. `kept_voters`, `other_voters`: those that the answering node kept, and those that the store names instead, which is
    why it has no part in elections; empty while the two are the same."""

    node: str
    nodes: Annotated[list[ClusterNode], msgspec.Meta(max_length=2 * MEMBERS_MAX)]
    leader: str
    epoch: int
    algorithm: str
    quorum: int
    voters: Annotated[list[str], msgspec.Meta(max_length=MEMBERS_MAX)]
    has_quorum: bool
    is_in_office: bool
    is_draining: bool
    is_leader_idle: bool = False
    kept_voters: Annotated[list[str], msgspec.Meta(max_length=MEMBERS_MAX)] = []
    other_voters: Annotated[list[str], msgspec.Meta(max_length=MEMBERS_MAX)] = []


class History(msgspec.Struct, array_like=True, frozen=True, tag=45):
    """Answers AskHistory. `node`: who saw it so."""

    node: str
    changes: Annotated[list[Change], msgspec.Meta(max_length=HISTORY_MAX)]
