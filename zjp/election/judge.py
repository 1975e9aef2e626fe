"""What a Bully voter says to a claim: the rules in the order in which they count. Pure; nothing is changed here.

**Coming back.** A node that ranks above the coordinator follows it for the hold-down, ten timeouts; a silence or another coordinator
begins the count anew. Then it asks those above itself and claims, as a takeover, while the old one leads on; voters grant that if they
too have followed this coordinator so long. The old one leads until it hears of the new: one change, and no time without a leader. One that
is not stable for ten timeouts changes nothing.
"""

from __future__ import annotations

from enum import Enum

from ..wire.peers import Claim
from .ballot import Ballot
from .campaign import HOLD_DOWN, Campaign
from .core import Config, Time
from .reign import Reign
from .roster import Roster

HOLD_DOWN_SLACK = 1
"""Timeouts by which a voter's count of the hold-down may lag: clocks do not run alike, beats arrive at different times."""


class Verdict(Enum):
    GRANT = "grant"
    FAITHFUL = "faithful"
    """A living coordinator is heard, and the claimant may not take over from it."""
    AGAIN = "again"
    """Granted before, to the same claimant."""
    BULLY = "bully"
    """This node ranks above and would rather lead itself; it has not tried in vain."""
    PROMISED = "promised"
    """This epoch, or a higher one, is given away. Said to epoch 0, the probe: this node would grant the next."""


def judge(
    now: Time, config: Config, src: str, claim: Claim, ballot: Ballot, roster: Roster, reign: Reign, campaign: Campaign
) -> Verdict:
    # The coordinator's own claim says that it leads no more.
    is_heard = reign.leader == config.me or (reign.leader != src and reign.is_heard(now))
    if is_heard and not (claim.is_takeover and _may_take_over(now, config, src, roster, reign)):
        return Verdict.FAITHFUL
    if (claim.epoch, src) == (ballot.promised, ballot.promised_to):
        return Verdict.AGAIN
    is_free = not reign.leader and not campaign.failures and src != campaign.favoured
    if is_free and roster.outranks(config.me, src):
        return Verdict.BULLY
    return Verdict.PROMISED if claim.epoch <= ballot.promised else Verdict.GRANT


def _may_take_over(now: Time, config: Config, src: str, roster: Roster, reign: Reign) -> bool:
    """This node too has followed so long. What the claimant says of itself is not enough: it may have come back a moment ago."""
    is_stable = now - reign.since >= config.timeout * (HOLD_DOWN - HOLD_DOWN_SLACK)
    return is_stable and roster.outranks(src, reign.leader)
