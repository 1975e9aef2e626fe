"""What nodes say to one another about who leads, and what they write down of it. PROTOCOL_VERSION (messages.py) covers these too. Pure.

    Raft      PreVote, Vote, Append and their answers, TimeoutNow
    Bully     Beat, Elect, Claim and their answers, Coordinator, Resign
    both      AskTerm/TellTerm
    Gossip    Ping, PingReq, Ack, Nack, Gossip, Sync, SyncReply, with rumours on the back of each

msgspec Structs in array form with an integer tag: fields are only added at the end, with a default; tags are never used again. Numbers are
bounded here, so that a decoder refuses what no node would say. Terms and epochs start at 1; 0 is "none yet".
"""

from __future__ import annotations

from typing import Annotated

import msgspec

ENTRIES_MAX = 256
RUMOURS_MAX = 64
TABLE_MAX = 4096
"""Members in one Sync."""

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*\Z"
"""What NODE_ID allows: a name is printed, logged and put into files and keys, and without CURVE a stranger may send one. Not `$`, which
stands before a last line feed, too."""
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=NAME)]
NameOrNone = Annotated[str, msgspec.Meta(max_length=64, pattern=rf"{NAME}|^\Z")]
"""Empty: nobody."""
Epoch = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
Number = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Priority = Annotated[int, msgspec.Meta(ge=-(1 << 31), lt=1 << 31)]


# ── Raft ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Entry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """`data` empty: the no-op that a new leader appends."""

    index: Epoch
    term: Epoch
    data: bytes = b""


class PreVote(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=200):
    """Would you vote for me in `term`? Changes nothing at either side."""

    term: Epoch
    last_index: Epoch
    last_term: Epoch


class PreVoteReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=201):
    """`term`: the answerer's own; `for_term`: the one that was asked about."""

    term: Epoch
    for_term: Epoch
    is_granted: bool


class Vote(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=202):
    """`is_transfer`: the leader itself asked for this election, so its being heard is no reason to refuse."""

    term: Epoch
    last_index: Epoch
    last_term: Epoch
    is_transfer: bool = False


class VoteReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=203):
    term: Epoch
    is_granted: bool


class Append(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=204):
    """Heartbeat too. `round` rises with each broadcast of a leader; the answer repeats it."""

    term: Epoch
    prev_index: Epoch
    prev_term: Epoch
    commit: Epoch
    round: Number
    entries: Annotated[list[Entry], msgspec.Meta(max_length=ENTRIES_MAX)]


class AppendReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=205):
    """`match`: highest index known to be the leader's, when it fits; else `hint_index`, `hint_term` say where to look."""

    term: Epoch
    round: Number
    is_ok: bool
    match: Epoch
    hint_index: Epoch = 0
    hint_term: Epoch = 0


class TimeoutNow(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=206):
    """From the leader: campaign at once, I hand over to you."""

    term: Epoch


class AskTerm(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=207):
    """A voter with an empty folder asks what it may have promised in its former life. `nonce`: the answer repeats it."""

    nonce: Number


class TellTerm(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=208):
    """The answerer's highest term. It has heard of no higher one, so the asker voted in none that counts above it."""

    nonce: Number
    term: Epoch


# ── Bully ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Beat(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=220):
    """The coordinator lives. `round` rises; the answer repeats it."""

    epoch: Epoch
    round: Number


class BeatAck(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=221):
    epoch: Epoch
    round: Number


class Elect(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=222):
    """To those that rank above me: do you live? I would lead else."""

    priority: Priority
    max_epoch: Epoch


class Answer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=223):
    """I live and rank above you: stand back."""

    priority: Priority
    max_epoch: Epoch


class Claim(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=224):
    """Grant me `epoch`; 0: would you grant me the next one? `is_takeover`: I have followed the coordinator for the hold-down and rank above
    it, so its being heard is no reason to refuse."""

    epoch: Epoch
    priority: Priority
    is_takeover: bool = False


class Grant(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=225):
    """`promised`: the highest epoch that the answerer has granted to anyone. To a Claim of 0 only who would grant answers."""

    epoch: Epoch
    is_granted: bool
    promised: Epoch


class Coordinator(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=226):
    """I lead in `epoch`, a majority granted it."""

    epoch: Epoch
    priority: Priority


class Resign(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=227):
    """I lead no more; `to`: who should follow (empty: whoever ranks highest). Epoch 0: I lead nothing, and leave."""

    epoch: Epoch
    to: NameOrNone = ""


# ── Gossip ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Alive(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=240):
    node: Name
    incarnation: Number
    priority: Priority


class Suspect(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=241):
    """`by`: who suspects."""

    node: Name
    incarnation: Number
    by: Name


class Dead(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=242):
    """`by` is the node itself: it left."""

    node: Name
    incarnation: Number
    by: Name


Rumour = Alive | Suspect | Dead
Rumours = Annotated[list[Rumour], msgspec.Meta(max_length=RUMOURS_MAX)]


class PingPeer(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=243):
    """`incarnation`: the sender's own, in every message of gossip. `max_epoch`: the highest it has heard of;
    `leader`: who has that."""

    seq: Number
    target: Name
    incarnation: Number
    max_epoch: Epoch
    leader: NameOrNone
    rumours: Rumours


class PingReq(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=244):
    """Ping `target` for me; tell me also when it does not answer."""

    seq: Number
    target: Name
    incarnation: Number
    rumours: Rumours


class Ack(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=245):
    """`seq` of the ping; of the PingReq when `target`, not the sender, is the one that answered."""

    seq: Number
    target: Name
    incarnation: Number
    max_epoch: Epoch
    leader: NameOrNone
    rumours: Rumours


class Nack(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=246):
    """I did ask, and am alive; `target` did not answer in time."""

    seq: Number
    target: Name
    incarnation: Number
    rumours: Rumours


class Gossip(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=247):
    incarnation: Number
    max_epoch: Epoch
    leader: NameOrNone
    rumours: Rumours


class Sync(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=248):
    """The sender's whole table; `is_join`: it is new here. Answered by SyncReply."""

    incarnation: Number
    is_join: bool
    max_epoch: Epoch
    leader: NameOrNone
    table: Annotated[list[Rumour], msgspec.Meta(max_length=TABLE_MAX)]


class SyncReply(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=249):
    incarnation: Number
    max_epoch: Epoch
    leader: NameOrNone
    table: Annotated[list[Rumour], msgspec.Meta(max_length=TABLE_MAX)]


PeerMessage = (
    PreVote | PreVoteReply | Vote | VoteReply | Append | AppendReply | TimeoutNow | AskTerm | TellTerm
    | Beat | BeatAck | Elect | Answer | Claim | Grant | Coordinator | Resign
    | PingPeer | PingReq | Ack | Nack | Gossip | Sync | SyncReply
)  # fmt: skip


# ── what a core writes down ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class TermVote(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Raft. The last one counts. `vote`: whom this node voted for in `term`, empty: nobody yet."""

    term: Epoch
    vote: str


class LogTail(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Raft. The log from `entries[0].index` on is these; what stood there before is gone. Empty `entries`: cut the log after `after`."""

    after: Epoch
    entries: list[Entry]


class Taught(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """Raft. This folder was empty when the cluster was not, and a majority has since told their terms: it votes in higher terms only."""

    term: Epoch


class Promise(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """Bully. `epoch` was granted to `to`; none below, and no other in it, ever will be. Empty `to`: only heard of."""

    epoch: Epoch
    to: str


class Reserved(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """Gossip. Incarnations below this one may have been used."""

    incarnation: Number


class EpochSeen(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """Gossip. The highest epoch heard of."""

    epoch: Epoch


Stored = TermVote | LogTail | Taught | Promise | Reserved | EpochSeen
