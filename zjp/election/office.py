"""The leader's office: an elected epoch, installed in the store and kept there. Pure; every core has one.

    nothing ──seek──► asking ──installed──► held ──renewed, again and again
       ▲                │ refused              │ something else is there now
       └────────────────┴──────────────────────┘ lost: the answer's epoch is the floor for the next try

The store accepts only a rising epoch. A refusal therefore tells what to campaign above: so wiped disks, or a change of algorithm, heal
themselves. A store that does not answer is asked again, every interval. It may answer others meanwhile: whether it does, and who had
better lead then, is no matter of the core's (zjp/node/reach.py); until another is installed there, nothing is lost by asking. A slow one
may answer after it was asked again, so that every answer counts that is newer than the last one.
"""

from __future__ import annotations

from enum import Enum

from .core import Config, Deed, Effects, Happened, Kind, StoreOp, StoreReply, Time

ASKED_MAX = 64
"""Questions whose answers are awaited; the oldest is given up."""


class Turn(Enum):
    """What an answer of the store made of it."""

    SAME = "same"
    HELD = "held"
    """Installed just now."""
    LOOKED = "looked"
    """`floor` is what is installed, to one that only asked."""
    LOST = "lost"
    """Refused, or another is there now. `floor` is the installed epoch."""


class Office:
    """`wake`: when `tick` wants to be called, None: never."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._number = 0
        self._asked: dict[int, Time] = {}
        """Numbers of the ops whose answers are awaited, and when each was asked."""
        self.epoch = 0
        """Sought or held; 0: none."""
        self.is_held = False
        self._is_elected = False
        self.floor = 0
        """The highest epoch that the store was seen to have installed."""
        self.until: Time = 0
        """By this node's clock: the store keeps what is held at least so long, counted from when it was asked."""
        self.wake: Time | None = None
        self.is_looking = False

    def look(self, at: Time) -> None:
        """Ask, from `at` on, what is installed, until the store says it: then `floor` is that and `is_looking` false. It is asked to
        install epoch 0, which is above none, so that nothing changes there. Not while something is sought or held."""
        self.is_looking, self.wake = True, at

    def look_away(self) -> None:
        self.is_looking = False
        self.drop()

    def seek(self, now: Time, epoch: int, *, is_elected: bool, out: Effects) -> None:
        self.drop()
        self.epoch = epoch
        self._is_elected = is_elected
        self._ask(now, Deed.INSTALL, out)

    def tick(self, now: Time, out: Effects) -> None:
        """Renew, or ask again. Call it at every Wake."""
        if self.wake is not None and now >= self.wake:
            self._ask(now, Deed.RENEW if self.is_held else Deed.INSTALL, out)

    def on_reply(self, now: Time, reply: StoreReply, out: Effects) -> Turn:
        asked_at = self._asked.get(reply.op.number)
        if asked_at is None:
            return Turn.SAME
        self._asked = {number: at for number, at in self._asked.items() if number > reply.op.number}
        there = reply.installed
        if there is None:
            return Turn.SAME
        self.floor = max(self.floor, there.epoch)
        if self.is_looking:
            self.look_away()
            return Turn.LOOKED
        if there.epoch < self.epoch:
            # Not installed yet: one without votes waits for the former leader's end. Or not any more: the store lost its last writes.
            self.is_held = False
            return Turn.SAME
        if there.epoch > self.epoch or there.owner != self._config.owner:
            out.happened.append(Happened(Kind.FENCE_REFUSED, there.owner, there.epoch))
            self.drop()
            return Turn.LOST
        self.until = asked_at + there.left
        if self.is_held:
            return Turn.SAME
        self.is_held = True
        out.happened.append(Happened(Kind.FENCE_INSTALLED, self._config.me, self.epoch))
        return Turn.HELD

    def resign(self, now: Time, out: Effects) -> None:
        """Tell the store, so that the next one need not wait; nothing when none was sought."""
        if self.epoch:
            self._ask(now, Deed.RESIGN, out)
        self.drop()

    def drop(self) -> None:
        """Not mine any more. What the store says to earlier questions is no matter now, but to a look."""
        if self.is_looking:
            return
        self.epoch, self.is_held, self.until, self.wake = 0, False, 0, None
        self._asked.clear()

    def _ask(self, now: Time, deed: Deed, out: Effects) -> None:
        self._number += 1
        elected = deed is Deed.INSTALL and self._is_elected
        out.store.append(StoreOp(self._number, deed, self.epoch, self._config.owner, self._config.lead_for, elected))
        self._asked[self._number] = now
        if len(self._asked) > ASKED_MAX:
            del self._asked[next(iter(self._asked))]
        self.wake = now + self._config.interval
