"""The figures that others published. Times in ms where not said.

AvailSim: Ongaro, Consensus: Bridging Theory and Practice (2014), section 9.3: five servers, each message 30 to 40 ms one way, timeouts of
300 to 600 ms, 10,000 elections. The text gives rounded values; the quantiles are read off the vector drawing of its figure.
Split votes: the same, section 9.2, a closed formula for a fixed latency. Detection: Das, Gupta, Motivala, SWIM (2002), section 3. What
ScaleCube measured: its wiki, "Cluster Membership", averages of 100 runs, 1 % loss, a ping each second, gossip each 300 ms to three.
"""

from __future__ import annotations

from math import comb, e

WAN_ONE_WAY_MS = (30, 40)
WAN_TIMEOUT_MS = 300
WAN_MEAN_MS = {1: 475, 2: 650}
"""By servers that are down, of five. In the text."""
WAN_P999_MS = {1: 1500, 2: 3000}
WAN_DRAWN_MEAN_MS = {1: 468, 2: 632}
"""The points on the curves of the figure."""
WAN_DRAWN_MS = {
    1: {1: 370, 5: 375, 10: 379, 20: 389, 30: 399, 40: 410, 50: 423, 60: 439, 70: 461, 80: 490, 90: 562, 95: 814, 98: 922, 99: 1005,
        99.5: 1197, 99.8: 1298, 99.9: 1385},
    2: {1: 372, 5: 379, 10: 387, 20: 402, 30: 421, 40: 442, 50: 469, 60: 511, 70: 737, 80: 848, 90: 1074, 95: 1336, 98: 1705, 99: 1929,
        99.5: 2152, 99.8: 2389, 99.9: 2853},
}  # fmt: skip
"""By servers that are down: per cent of the elections -> took no longer."""

SPLIT_TEXT = {0.01: 0.0006, 0.1: 0.052, 0.2: 0.181}
"""Latency as a share of the timeout range -> share of split votes, five servers of which one is down. In the text."""

SWIM_DETECTION_PERIODS = 1 / (1 - 1 / e)
"""From a crash until somebody probes the dead member, in expectation, for large groups. Section 3.1."""
SWIM_MESSAGES = 2.0
"""A member sends and answers one ping each period when nothing fails."""

SCALECUBE_PING_MS = 1000
SCALECUBE_GOSSIP_MS = 300
SCALECUBE_DETECTION_MS = {5: 1440, 20: 1589, 50: 1559, 100: 1639}
SCALECUBE_DISSEMINATION_MS = {5: 2154, 10: 2990, 20: 2716, 30: 2859, 50: 3483, 100: 3177, 150: 3734, 200: 3617}
SCALECUBE_BYTES_S = {5: 821, 10: 1136, 20: 870, 30: 656, 50: 588, 100: 661, 150: 584, 200: 582}

LIFEGUARD_FEWER = (50, 100)
"""So many times fewer false positives than SWIM with slow members. Dadgar, Phillips, Currey (2018)."""


def split_rate(servers: int, alive: int, latency: float) -> float:
    """Share of the first terms that elect nobody: too many time out within one latency. Section 9.2, for a fixed latency."""
    least = alive - servers // 2 + 1
    return sum(comb(alive, k) * latency**k * (1 - latency) ** (alive - k) for k in range(least - 1, alive + 1))
