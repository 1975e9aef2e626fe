"""Who leads, as this node has heard: a pair of epoch and name, told on the back of pings and gossip. A hint: the store alone decides.

A higher epoch counts, once the disk has it: no node tells, or seeks, an epoch that a crash would make it forget, or the cluster could
come to it twice after the store has lost its last writes. In the same epoch only the leader's own word counts: it says that it leads, or,
by naming nobody, that it does so no more.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..wire.peers import EpochSeen, Stored
from .core import EPOCH_JUMP_MAX, EPOCH_MAX, Effects, Happened, Kind
from .membership.journal import Journal

NAME_MAX = 64


class Heard:
    """`leader` leads in `epoch`; empty: nobody does any more, or it is not known. `highest`: of all epochs heard of or tried."""

    def __init__(self, me: str, journal: Journal) -> None:
        self._me = me
        self._journal = journal
        self._written_in = 0
        self._durable = 0
        self.highest = 0
        self.epoch = 0
        self.leader = ""
        self.version = 0
        """Rises when `leader`, or what may be told, has changed."""

    def start(self, records: Sequence[Stored]) -> None:
        self.highest = max((record.epoch for record in records if isinstance(record, EpochSeen)), default=0)
        self._durable = self.highest

    def on_durable(self) -> None:
        if self._durable != self.highest and self._journal.durable >= self._written_in:
            self._durable = self.highest
            self.version += 1

    @property
    def told(self) -> tuple[int, str]:
        """What to say: who leads, else how far the epochs have come."""
        if self.leader and self.epoch <= self._durable:
            return self.epoch, self.leader
        return self._durable, ""

    def see(self, epoch: int) -> bool:
        """Take note of an epoch. False: it is out of reach."""
        if epoch > min(EPOCH_MAX, self.highest + EPOCH_JUMP_MAX):
            return False
        self._reach(epoch)
        return True

    def see_installed(self, epoch: int) -> None:
        """The store has it, however high."""
        self._reach(epoch)

    def claim(self, epoch: int) -> int:
        """One that this node wants. The batch after which it may be sought."""
        self._reach(epoch)
        return self._written_in

    def hear(self, src: str, epoch: int, leader: str, *, is_mine: bool, out: Effects) -> None:
        """`is_mine`: this node holds that epoch."""
        if (epoch, leader) == (self.epoch, self.leader) or len(leader) > NAME_MAX or not self.see(epoch):
            return
        if leader == self._me:
            # From a former life, or not known yet that it is over.
            if not is_mine and epoch >= self.epoch:
                self._set(epoch, "", "resigned", out)
        elif leader and (epoch > self.epoch or (epoch == self.epoch and src == leader)):
            self._set(epoch, leader, "higher_epoch", out)
        elif src == self.leader and epoch >= self.epoch:
            self._set(self.epoch, "", "resigned", out)

    def lead(self, epoch: int, took: int, out: Effects) -> None:
        """This node does."""
        if (epoch, self._me) != (self.epoch, self.leader):
            self.see_installed(epoch)
            self._set(epoch, self._me, "higher_epoch", out, took)

    def lose(self, why: str, out: Effects) -> None:
        """Whoever led does so no more: resigned, fenced off, dead."""
        if self.leader:
            self._set(self.epoch, "", why, out)

    def _reach(self, epoch: int) -> None:
        if epoch > self.highest:
            self.highest = epoch
            self._written_in = self._journal.write(EpochSeen(epoch))

    def _set(self, epoch: int, leader: str, why: str, out: Effects, took: int = 0) -> None:
        if self.leader and leader != self.leader:
            out.happened.append(Happened(Kind.LEADER_LOST, self.leader, self.epoch, why))
        if leader:
            out.happened.append(Happened(Kind.LEADER_ELECTED, leader, epoch, took=took))
        self.epoch, self.leader = epoch, leader
        self.version += 1

    def durable(self) -> EpochSeen:
        return EpochSeen(self.highest)
