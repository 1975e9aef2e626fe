"""How long a Bully coordinator may lead without hearing more: rounds of beats, and of two voters the store. Pure.

An answer proves that its sender followed when it got the beat, and so after the beat was *sent*; when the answer arrives says nothing. So
an answer renews for as long as it would have from the sending of its round, and one that comes very late renews nothing. The store's
answers count from when it was asked, for the same reason (office.py).

**Two voters, the store as the witness.** A majority of two is both, so alone neither could replace the other. The store is the third
vote. One that has its own grant and no word from the other seeks the office without being elected; the store gives it only when the
installed leadership has ended, by its renewals' running out or by resigning. Why that is safe, and does not flip:

    - At most one is in office: there is one office, and its epochs only rise. At most one leads by the store, too: who holds the office
      counts its end from when it *asked*, the store from when it answered, so the holder stops first (as far as clocks run alike).
    - A coordinator whose peer is gone leads on as long as either counts: the peer answered a round sent within a timeout, or the store
      keeps the office. It steps down when a renewal is refused, or when the peer is silent for a timeout and the store for lead_for.
    - Two that are cut off from each other both seek. One is installed and renews; the other is refused each time and keeps asking, with
      an epoch above the installed one that it has promised to itself. It gets in only after the first has failed to renew for lead_for,
      or has resigned; then the first one's renewal is refused. So each change needs a holder that the store lost: no flipping.
    - When they hear each other again the seeker hears a Beat, follows, and seeks no more. If the seeker speaks first its claim is
      refused, for the holder leads. So the one in office stays, and a higher one takes over after the hold-down by the usual claim.
    - One epoch, one coordinator: who leads in e by the store has promised e to itself, so no majority of two can grant e to the other.
      One whose folder is empty, and that the other does not tell what it promised (teaching.py), takes the store's word at last: it
      promises nothing up to UNINSTALLED_MAX above what is installed, for who led without an office is not known there.
"""

from __future__ import annotations

from .core import Config, Time
from .office import Office

FOREVER: Time = 1 << 62


class Lease:
    """`quorum`: of the voters, this node included. `witness`: of two voters, the office, which counts as the other's answer."""

    def __init__(self, config: Config, quorum: int, witness: Office | None) -> None:
        self._timeout = config.timeout
        self._others = quorum - 1
        self._kept = config.timeout // config.interval + 2
        """Rounds whose sending is remembered; answers to older ones are too late to count."""
        self._witness = witness
        self._round = 0
        self._sent: dict[int, Time] = {}
        self._acked: dict[str, Time] = {}
        self._quorum_at: Time = 0
        """When the newest round was sent that a majority answered; at first when leading began."""
        self._doubt_until: Time = 0

    def begin(self, now: Time) -> None:
        """Rounds go on rising, so that an answer of a former leadership is none of this one's."""
        self._quorum_at, self._doubt_until = now, 0
        self._sent.clear()
        self._acked.clear()

    def send(self, now: Time) -> int:
        """The number of the round that is sent now."""
        self._round += 1
        self._sent[self._round] = now
        self._sent.pop(self._round - self._kept, None)
        return self._round

    def ack(self, voter: str, round: int) -> None:
        sent_at = self._sent.get(round)
        if sent_at is None or sent_at <= self._acked.get(voter, -1):
            return
        self._acked[voter] = sent_at
        if len(self._acked) >= self._others:
            nth = sorted(self._acked.values(), reverse=True)[self._others - 1]
            self._quorum_at = max(self._quorum_at, nth)

    def stall(self, now: Time, lag: Time, wait: Time) -> None:
        """Not made longer: the others did not hear *this* node. But it may ask once more, out of office, for `wait`, before it stops."""
        self._doubt_until = min(now + wait, self.end() + lag)

    def end(self) -> Time:
        """Until when a majority is known to follow. Alone there is no quorum to lose."""
        if not self._others:
            return FOREVER
        end = self._quorum_at + self._timeout
        return max(end, self._witness.until) if self._witness is not None and self._witness.is_held else end

    def stop_at(self) -> Time:
        """When to lead no more."""
        return max(self.end(), self._doubt_until)
