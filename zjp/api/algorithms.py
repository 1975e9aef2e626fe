"""How each election algorithm works here, in words: for /api/v1/election/algorithms and the dashboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..config import TABLE
from ..config.table import ELECTION_DEFAULTS_S
from ..units import show_duration


class Algorithm(NamedTuple):
    title: str
    summary: str
    steps: Sequence[str]
    promises: Sequence[str]


COMMON_PROMISES = (
    "Every leadership has an epoch that only rises; the store keeps the highest and refuses what an older leader writes.",
    "Jobs are not lost or run twice for want of a leader: only the leader's own duties (schedules, clean-up) wait for one.",
)

ALGORITHMS: Mapping[str, Algorithm] = {
    "bully": Algorithm(
        "Bully",
        "The node with the highest priority that can be reached leads, as soon as a majority grants it a new epoch.",
        (
            "The coordinator sends a heartbeat every ELECTION_INTERVAL.",
            "A node that hears none for ELECTION_TIMEOUT asks the nodes above it; one that answers takes over from there.",
            "If none of them answers, the node asks all for a grant of the next epoch.",
            "With the grants of a majority it is coordinator, tells everybody, and takes the epoch to the store.",
            "Of two nodes neither has a majority without the other, so the store is the witness.",
        ),
        (
            "One coordinator in an epoch at most.",
            "A higher node that comes and goes causes no change by itself.",
            *COMMON_PROMISES,
        ),
    ),
    "raft": Algorithm(
        "Raft",
        "Terms, votes and a majority: the leader election of Raft with pre-votes and a log of who may vote.",
        (
            "The leader sends a heartbeat every ELECTION_INTERVAL.",
            "A follower that hears none for a random time from ELECTION_TIMEOUT on asks in a pre-vote whether it could win.",
            "If a majority would vote for it, it raises the term and asks for votes; each node votes once in a term, on disk.",
            "With a majority of votes it leads, and commits an entry of its term before it does anything as the leader.",
            "A leader that hears no majority steps down.",
        ),
        (
            "One leader in a term at most, whatever is lost, late, doubled or crashes.",
            "A leader that a majority hears is not replaced by a node that was cut off.",
            *COMMON_PROMISES,
        ),
    ),
    "gossip": Algorithm(
        "Gossip",
        "Failure detection by probes that spread by rumour; of those alive the best ranked leads, which the store confirms.",
        (
            "Every ELECTION_INTERVAL each node probes one other, and by way of others when it does not answer.",
            "A node that answers nobody is suspected, and dead when it does not deny it in time; rumours travel on the probes.",
            "Of the nodes that are alive the one with the highest priority claims the lead, if it sees a quorum.",
            "Who claims takes the next epoch in the store; a claim with a lower epoch gives way.",
        ),
        (
            "Traffic of one node does not grow with the number of nodes.",
            "While rumours differ two nodes may claim the lead; the store lets one of them act.",
            *COMMON_PROMISES,
        ),
    ),
}
SETTINGS = ("ELECTION_ALGORITHM", "ELECTION_TIMEOUT", "ELECTION_INTERVAL", "CLUSTER_SIZE", "NODE_PRIORITY")


def algorithm_json(name: str, in_use: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`values`: NAME -> text of the settings as they are."""
    one = ALGORITHMS[name]
    timeout_s, interval_s = ELECTION_DEFAULTS_S[name]
    defaults = {"ELECTION_TIMEOUT": show_duration(timeout_s), "ELECTION_INTERVAL": show_duration(interval_s)}
    return {
        "name": name,
        "title": one.title,
        "summary": one.summary,
        "steps": list(one.steps),
        "promises": list(one.promises),
        "settings": [
            {
                "name": setting,
                "default": defaults.get(setting, TABLE[setting].default_text),
                "value": values.get(setting),
                "meaning": TABLE[setting].meaning,
            }
            for setting in SETTINGS
        ],
        "is_in_use": name == in_use,
    }
