"""A voter with an empty folder: it must learn what it may have promised before it promises anything. Pure; Raft's terms, Bully's epochs.

Is it new, or did its disk vanish? It cannot tell, so it asks the other voters for their numbers, and promises nothing until it knows.

What it forgot matters if it helped to elect a leader: then that leader and its other voters know the number, and `n - quorum + 1` of the
others include one of them. The highest of what they say is its number from now on, and it votes in higher ones only. When all others have
told, nothing else is to be known. When a part of them has, a candidate among the rest might still be counting its former vote. Candidates
give up in time, so in that case only what is told after that time counts.

A new cluster: everyone says 0. A majority, itself among them, that knows of no election is enough, so that it starts with a voter missing.
(Wrong only when the missing ones led a cluster in which all of this majority are new or were emptied; the store's epoch heals that.)
Two folders must not be emptied at a time, the second not before the first one's voter votes again. The price: a voter that starts for the
first time after the others have elected is no help until enough of them have told it, of three both.

What the store has installed says too little: a leader may be elected, heard and obeyed while the store is away. Of two voters it is one
of those to be asked all the same: as their witness it may have elected the very leader whose folder this was, and the other never heard.
When the other says nothing for so long as a candidate may count, the store's word and a distance must do.
Source: design.md 7.
"""

from __future__ import annotations

from ..wire.peers import AskTerm, TellTerm
from .ballot import UNINSTALLED_MAX
from .core import EPOCH_JUMP_MAX, Config, Effects, Send, Time, Uniform

NONCES = 1 << 61


class Teaching:
    """`wake`: when `tick` wants to be called. `claims_end`: timeouts after which no candidate counts a vote of a former life.
    `has_witness`: the store votes too, so that nothing is known before `on_looked`."""

    def __init__(
        self,
        now: Time,
        config: Config,
        others: tuple[str, ...],
        quorum: int,
        uniform: Uniform,
        claims_end: int,
        *,
        has_witness: bool = False,
    ) -> None:
        self._others = others
        self._quorum = quorum
        self._interval = config.interval
        self._late_at = now + claims_end * config.timeout
        self._is_late = False
        # Random, so that answers to a former life, wiped too, are not taken for answers to this one.
        self._nonce = int(uniform() * NONCES)
        self._told: dict[str, int] = {}
        self._has_witness = has_witness
        self._installed = None if has_witness else 0
        self.wake = now

    def tick(self, now: Time, out: Effects) -> int | None:
        """Ask again who has not answered. The number to begin with, once it is known."""
        if not self._is_late and now >= self._late_at:
            self._is_late = True
            self._nonce += 1
            self._told.clear()
        if now >= self.wake:
            self.wake = now + self._interval
            out.send += [Send(name, AskTerm(self._nonce)) for name in self._others if name not in self._told]
        return self._verdict()

    def ask(self, name: str, out: Effects) -> None:
        """At once, for it has just come."""
        if name in self._others:
            out.send.append(Send(name, AskTerm(self._nonce)))

    def on_told(self, src: str, message: TellTerm) -> int | None:
        if src in self._others and message.nonce == self._nonce:
            self._told[src] = max(message.term, self._told.get(src, 0))
        return self._verdict()

    def on_looked(self, epoch: int) -> int | None:
        """What the store says is installed."""
        self._installed = epoch
        return self._verdict()

    def _verdict(self) -> int | None:
        if self._installed is None:
            return None
        if len(self._told) < self._needed():
            return self._without_the_other(self._installed) if self._has_witness and self._is_late else None
        lowest, highest = min(self._told.values()), max(self._told.values())
        if highest - lowest > EPOCH_JUMP_MAX:
            # One of them is damaged.
            self._told.clear()
            return None
        return max(highest, self._installed)

    def _without_the_other(self, installed: int) -> int:
        """More than any epoch that can have been granted since the store was told of one. 0: nobody ever led."""
        return installed and installed + UNINSTALLED_MAX

    def _needed(self) -> int:
        if not self._is_late:
            return len(self._others)
        if not any(self._told.values()):
            return self._quorum - 1
        return len(self._others) + 1 - self._quorum + 1
