"""What an election core is: one interface for Bully, Raft and Gossip. Pure: (state, event, now) -> Effects.

The same objects run in a node (driven by sockets, a file and a clock) and in the simulator (driven by a seed). A driver

    1. feeds one event at a time: `effects = core.step(now, event)`; it reads all input there is before it says Wake
    2. appends `effects.persist` to the disk, in order; one fsync may take several batches; then it says Persisted(number)
    3. sends `effects.send` at once, whatever the disk does
    4. sends `effects.send_after` once every batch handed over so far, this one included, is durable
    5. asks the store for each of `effects.store`, and brings the answer back as StoreReply
    6. has one timer: `effects.wake` replaces it; None: nothing to wait for
    7. writes `effects.happened` to the log, the metrics, the events

Nothing that a crash could take back may have been said: that is why promises travel in `send_after`. A message may be lost, late, doubled
or out of order; `src` is the one that the connection's key vouches for. A core is made anew at each start, from the records on the disk.

What is made at every step (Recv, Send, Effects, View) is a msgspec Struct, which is made in a fifth of the time of a frozen dataclass.

Leading is not yet being allowed: the leader's epoch must be *installed* in the store (office.py), and every write of a duty carries it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import msgspec

from ..wire.peers import PeerMessage, Stored

Time = int
"""Nanoseconds of the node's own monotonic clock."""
MS: Time = 1_000_000
SECOND: Time = 1_000_000_000
EPOCH_MAX = (1 << 53) - 1
"""Numbers in Redis scripts are doubles."""
EPOCH_JUMP_MAX = 1 << 20
"""An epoch that is further above the own one than this is refused: one damaged message must not use all of them up."""


@dataclass(frozen=True, slots=True)
class Config:
    """`voters`: who may vote, this node among them or not (Bully, Raft); Gossip's quorum is that of `expected` nodes. Times as Time.
    `expected` is len(voters) where both are given. `lead_for`: how long the store keeps an installed leader that does not renew."""

    me: str
    boot: int
    voters: tuple[str, ...]
    expected: int
    priority: int
    timeout: Time
    interval: Time
    lead_for: Time

    @property
    def owner(self) -> str:
        """The leader's name in the store: one life of one node."""
        return f"{self.me}:{self.boot}"

    @property
    def quorum(self) -> int:
        return self.expected // 2 + 1


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Recv(msgspec.Struct, frozen=True):
    src: str
    message: PeerMessage


@dataclass(frozen=True, slots=True)
class Wake:
    """The time asked for has come, or a little later."""


@dataclass(frozen=True, slots=True)
class Persisted:
    """The batch of this number, and all before it, are durable."""

    number: int


@dataclass(frozen=True, slots=True)
class Installed:
    """The leadership in the store. `left`: until it expires by the store's clock; 0: it has, or there never was one."""

    epoch: int
    owner: str
    left: Time


@dataclass(frozen=True, slots=True)
class StoreReply:
    """`installed` after `op` was tried; None: the store did not answer, and the step may or may not have been done."""

    op: StoreOp
    installed: Installed | None


@dataclass(frozen=True, slots=True)
class Met:
    """The mesh has greeted a peer, or lost it (`is_up` False: a hint, never a proof)."""

    peer: str
    priority: int
    is_up: bool


@dataclass(frozen=True, slots=True)
class Stall:
    """This process did not run for `lag`: what it did not hear in that time says nothing about the others."""

    lag: Time


@dataclass(frozen=True, slots=True)
class Transfer:
    """Asked by an operator, or by this node itself: hand the leadership to `to` (empty: whoever is best). Ignored by one that does not
    lead, unless it `is_unfit` as it could not do a leader's work now: then its coming back by rank is put off for another hold-down."""

    to: str = ""
    is_unfit: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """This node stops: resign, say good-bye."""


Event = Recv | Wake | Persisted | StoreReply | Met | Stall | Transfer | Leave


# ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Send(msgspec.Struct, frozen=True):
    to: str
    message: PeerMessage


@dataclass(frozen=True, slots=True)
class Batch:
    """Records to append, one fsync. Numbers rise by one from 1 within a life."""

    number: int
    records: tuple[Stored, ...]


class Deed(str, Enum):
    INSTALL = "install"
    RENEW = "renew"
    RESIGN = "resign"


@dataclass(frozen=True, slots=True)
class StoreOp:
    """`is_elected`: a majority granted this epoch, so an installed lower one need not have expired. Numbers never repeat in a life."""

    number: int
    deed: Deed
    epoch: int
    owner: str
    lead_for: Time
    is_elected: bool = False


class Kind(str, Enum):
    ELECTION_STARTED = "election_started"
    ELECTION_FAILED = "election_failed"
    LEADER_ELECTED = "leader_elected"
    """Told by everyone who learns of a new leader; `took` is told by the leader itself."""
    LEADER_LOST = "leader_lost"
    FENCE_INSTALLED = "fence_installed"
    FENCE_REFUSED = "fence_refused"
    MEMBER_JOINED = "member_joined"
    MEMBER_SUSPECT = "member_suspect"
    MEMBER_REFUTED = "member_refuted"
    MEMBER_DEAD = "member_dead"
    MEMBER_LEFT = "member_left"
    MEMBER_REPLACED = "member_replaced"
    """A voter came back with an empty folder; it learns before it votes."""
    PARTITION_SUSPECTED = "partition_suspected"


@dataclass(frozen=True, slots=True)
class Happened:
    """For the log, metrics and plots. `why`: one of the constant words the core documents. `node`: whom it is about."""

    kind: Kind
    node: str = ""
    epoch: int = 0
    why: str = ""
    took: Time = 0


class Effects(msgspec.Struct):
    """What to do now; see the module's docstring for the order."""

    send: list[Send] = msgspec.field(default_factory=list)
    persist: Batch | None = None
    send_after: list[Send] = msgspec.field(default_factory=list)
    store: list[StoreOp] = msgspec.field(default_factory=list)
    happened: list[Happened] = msgspec.field(default_factory=list)
    wake: Time | None = None


# ── what a core shows ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Role(str, Enum):
    LEADER = "leader"
    CANDIDATE = "candidate"
    FOLLOWER = "follower"
    LEARNER = "learner"
    """No voter, or one with an empty folder that does not yet know what it may have promised."""


class Health(str, Enum):
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Member:
    """`since`: when this state was first seen here."""

    health: Health
    since: Time
    priority: int = 0


class View(msgspec.Struct, frozen=True):
    """`leader`: who leads as far as this node knows, in `epoch`; empty: nobody. `is_in_office`: this node leads and the store has its
    epoch: it may try its duties. `has_quorum`: it hears a majority (a leader), or hears of one (the others)."""

    role: Role
    leader: str
    epoch: int
    is_in_office: bool
    has_quorum: bool
    members: Mapping[str, Member]


Uniform = Callable[[], float]
"""Random numbers in [0, 1): the driver's generator, so that a seed gives the same run."""


class Core(Protocol):
    """Made with (config, uniform). `start` exactly once, then `step`."""

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        """`records`: all that is on the disk, in order, none when this is the first life or the folder was emptied."""

    def step(self, now: Time, event: Event) -> Effects: ...

    def view(self) -> View: ...

    def durable(self) -> Sequence[Stored]:
        """The fewest records that `start` would need: the driver rewrites its file with them when that has grown. Only what was persisted
        before may be asked for by a later start, so the driver syncs the new file before it drops the old."""
