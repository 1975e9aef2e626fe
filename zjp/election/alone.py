"""The core of a node that has no peers: it leads as soon as the store lets it. Pure.

    campaigning ──persisted──► seeking ──installed──► in office
         ▲                                               │ another is installed
         └───────────────────────────────────────────────┘ its epoch is the floor

With `is_elected` it takes the place of whoever is installed: right for a store that only this node can reach, where that can only be a
former life of it. Without, it waits until the installed leadership has ended by the store's clock, unless it is that of a former life,
which is surely over: so several such nodes on one store have one leader, and another when that one falls silent.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import EpochSeen, Stored
from .core import (
    Batch,
    Config,
    Effects,
    Event,
    Happened,
    Health,
    Kind,
    Leave,
    Member,
    Persisted,
    Role,
    StoreReply,
    Time,
    Uniform,
    View,
    Wake,
)
from .office import Office, Turn


class Alone:
    def __init__(self, config: Config, uniform: Uniform, *, is_elected: bool) -> None:
        self._config, self._is_elected = config, is_elected
        self._office = Office(config)
        self._epoch = 0
        """The highest that this node ever sought."""
        self._number = 0
        self._since: Time = 0
        self._leader = ""
        """The owner last seen installed."""
        self._is_leaving = False

    def start(self, now: Time, records: Sequence[Stored]) -> Effects:
        self._epoch = max((record.epoch for record in records if isinstance(record, EpochSeen)), default=0)
        self._since = now
        out = Effects()
        self._campaign(now, out)
        return out

    def step(self, now: Time, event: Event) -> Effects:
        out = Effects()
        if (
            isinstance(event, Persisted)
            and event.number == self._number
            and not self._office.epoch
            and not self._is_leaving
        ):
            self._office.seek(now, self._epoch, is_elected=self._is_elected, out=out)
        elif isinstance(event, Wake):
            self._office.tick(now, out)
        elif isinstance(event, StoreReply):
            self._on_reply(now, event, out)
        elif isinstance(event, Leave):
            self._is_leaving = True
            self._office.resign(now, out)
        out.wake = self._office.wake
        return out

    def _on_reply(self, now: Time, reply: StoreReply, out: Effects) -> None:
        there = reply.installed
        if there is not None:
            self._note_leader(there.owner if there.left else "", there.epoch, out)
        turn = self._office.on_reply(now, reply, out)
        if self._is_leaving:
            return
        if turn is Turn.LOST:
            self._campaign(now, out)
        elif (
            there is not None
            and self._office.epoch > there.epoch
            and self._is_former_life(there.owner)
            and not reply.op.is_elected
        ):
            self._office.seek(now, self._epoch, is_elected=True, out=out)

    def _is_former_life(self, owner: str) -> bool:
        return _node_of(owner) == self._config.me and owner != self._config.owner

    def _note_leader(self, owner: str, epoch: int, out: Effects) -> None:
        if owner == self._leader:
            return
        if self._leader:
            out.happened.append(Happened(Kind.LEADER_LOST, _node_of(self._leader), epoch))
        if owner:
            out.happened.append(Happened(Kind.LEADER_ELECTED, _node_of(owner), epoch))
        self._leader = owner

    def _campaign(self, now: Time, out: Effects) -> None:
        """No epoch is sought that a later life could seek again."""
        self._epoch = max(self._epoch, self._office.floor) + 1
        self._number += 1
        out.persist = Batch(self._number, (EpochSeen(self._epoch),))
        out.happened.append(Happened(Kind.ELECTION_STARTED, self._config.me, self._epoch, "alone"))

    def view(self) -> View:
        held = self._office.is_held
        return View(
            role=Role.LEADER if held else Role.CANDIDATE,
            leader=self._config.me if held else _node_of(self._leader),
            epoch=self._office.epoch or self._office.floor,
            is_in_office=held,
            has_quorum=True,
            members={self._config.me: Member(Health.ALIVE, self._since, self._config.priority)},
        )

    def durable(self) -> Sequence[Stored]:
        return (EpochSeen(self._epoch),)


def _node_of(owner: str) -> str:
    return owner.rpartition(":")[0]
