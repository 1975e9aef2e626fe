"""The judge of merged logs: the invariants of elections as far as they show from outside, and how long each fail-over took. Pure.

    C1   one leader per token: all that anybody tells of an epoch, and what the store had, name one node
    C2   tokens rise: the store's lead never falls; each node that gets the office gets it above all before it
    C2b  who got the office had it in the store, in that epoch (the store is sampled: an epoch that was gone again within two samples
         counts as seen when the samples go above it)
    C3   the epoch of the leader that a node follows never falls within one life of it; with Bully and Raft not across its lives either
    C6   ticks of a schedule each once, none missing
    B1   Bully, R1 Raft: as C1, for those elected, in office or not. (That a majority granted it does not show from outside.)
    Z    the store refused what was written in a stopped leader's name, and what the leader itself still tried when it went on

Two nodes may both believe to lead for a moment, in different epochs: that is why every write carries its epoch. It is no fault.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.cluster.stage import Sample
from tests.cluster.watch import Line

DURABLE = frozenset({"bully", "raft"})
SAMPLED_WITHIN_S = 0.5
"""Between the store's answer to a leader and its line in the log, and the sample that shows it, on a busy machine."""


def node_of(owner: str) -> str:
    return owner.rpartition(":")[0]


def broken(algorithm: str, lines: Sequence[Line], samples: Sequence[Sample]) -> list[str]:
    """What broke, in words that begin with the invariant's name; empty: nothing. Both by time."""
    return [
        *_one_leader_per_epoch(algorithm, lines, samples),
        *_store_rises(samples),
        *_offices_rise(lines),
        *_offices_were_granted(lines, samples),
        *_followed_rises(algorithm, lines),
    ]


def _one_leader_per_epoch(algorithm: str, lines: Sequence[Line], samples: Sequence[Sample]) -> Iterator[str]:
    told: dict[int, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for line in lines:
        if line.event in ("leader_elected", "fence_installed"):
            told[line.epoch][line.about].add(line.node)
    for epoch, leaders in sorted(told.items()):
        if len(leaders) > 1:
            who = "; ".join(f"{leader} says {', '.join(sorted(by))}" for leader, by in sorted(leaders.items()))
            yield f"{'C1' if algorithm == 'gossip' else 'B1' if algorithm == 'bully' else 'R1'}: epoch {epoch} has several leaders: {who}"
    owners: dict[int, set[str]] = defaultdict(set)
    for sample in samples:
        owners[sample.epoch].add(sample.owner)
    for epoch, names in sorted(owners.items()):
        if len(names) > 1:
            yield f"C1: the store had several owners in epoch {epoch}: {', '.join(sorted(names))}"
        leaders = told.get(epoch, {})
        if epoch and leaders and not {node_of(name) for name in names} & leaders.keys():
            yield f"C1: in epoch {epoch} the store had {', '.join(sorted(names))}, and the nodes {', '.join(sorted(leaders))}"


def _store_rises(samples: Sequence[Sample]) -> Iterator[str]:
    for before, after in itertools.pairwise(samples):
        if after.epoch < before.epoch:
            yield f"C2: the store's epoch fell from {before.epoch} ({before.owner}) to {after.epoch} ({after.owner})"


def _offices_rise(lines: Sequence[Line]) -> Iterator[str]:
    """A node may be confirmed again in the epoch it has: the store had forgotten, or had not answered."""
    highest, holder = 0, ""
    for line in (one for one in lines if one.event == "fence_installed"):
        # Two lines of different nodes may change places within the time it takes to write them; epochs that differ in it do too.
        if line.epoch < highest and line.about != holder and not _is_late(line, lines, highest):
            yield f"C2: {line.about} got the office in epoch {line.epoch}, after {holder} had got it in {highest}"
        if line.epoch > highest:
            highest, holder = line.epoch, line.about


def _is_late(line: Line, lines: Sequence[Line], highest: int) -> bool:
    """It was stopped, or slow: the answer was true when the store gave it, and the higher epoch is at most so much older."""
    higher = next(one for one in lines if one.event == "fence_installed" and one.epoch == highest)
    return line.at - higher.at < SAMPLED_WITHIN_S


def _offices_were_granted(lines: Sequence[Line], samples: Sequence[Sample]) -> Iterator[str]:
    seen = {(sample.epoch, node_of(sample.owner)) for sample in samples}
    for line in (one for one in lines if one.event == "fence_installed"):
        is_passed = any(line.at - SAMPLED_WITHIN_S <= one.at <= line.at + SAMPLED_WITHIN_S and one.epoch > line.epoch for one in samples)
        if (line.epoch, line.about) not in seen and not is_passed:
            yield f"C2b: {line.about} believes to have the office in epoch {line.epoch}; the store never had that"


def _followed_rises(algorithm: str, lines: Sequence[Line]) -> Iterator[str]:
    followed: dict[str, int] = Counter()
    for line in lines:
        if line.event == "node.started" and algorithm not in DURABLE:
            followed[line.node] = 0
        if line.event == "leader_elected":
            if line.epoch < followed[line.node]:
                yield f"C3: {line.node} followed epoch {followed[line.node]}, then {line.about} in epoch {line.epoch}"
            followed[line.node] = max(followed[line.node], line.epoch)


def ticks_broken(seconds: Sequence[int], every_s: int = 1) -> list[str]:
    """Of a schedule that catches up: the seconds of all its jobs, in any order."""
    counts = Counter(seconds)
    doubled = sorted(second for second, count in counts.items() if count > 1)
    missing = sorted(set(range(min(counts), max(counts) + 1, every_s)) - counts.keys()) if counts else []
    faults = [f"C6: the tick of {second} has {counts[second]} jobs" for second in doubled]
    return faults + [f"C6: the tick of {second} is missing" for second in missing]


def leaderless(lines: Sequence[Line], stops: Sequence[tuple[float, str]], until: float) -> list[tuple[float, float]]:
    """Spans (from, to) in which no node was in office, from the first that was. `stops`: (when, who) was killed or stopped."""
    marks = [(line.at, line.node, line) for line in lines] + [(at, node, None) for at, node in stops]
    office: dict[str, int] = {}
    spans: list[tuple[float, float]] = []
    empty_since: float | None = None
    for at, node, line in sorted(marks, key=lambda mark: mark[0]):
        had = bool(office)
        if line is None or (line.event in ("leader_lost", "fence_refused") and (line.about == node or line.event == "fence_refused")):
            office.pop(node, None)
        elif line.event == "fence_installed":
            office[node] = line.epoch
        if had and not office:
            empty_since = at
        elif office and empty_since is not None:
            spans.append((empty_since, at))
            empty_since = None
    return spans if empty_since is None else [*spans, (empty_since, until)]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all does not exceed; nan without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))] if ordered else float("nan")
