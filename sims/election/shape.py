"""What a simulated cluster is made of: how many nodes, their settings, how good the network is when no fault spoils it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from zjp.election.core import MS, SECOND, Config

from .network import GOOD, Quality


@dataclass(frozen=True, slots=True)
class Shape:
    """Every node is a voter; the last one ranks highest. `wake_late`: how late a timer may ring. `store_high`: slowest way to the store.
    `is_bare`: no hints of a mesh and no duties, as in the published models: cores, links, disks and the store."""

    algorithm: str
    count: int
    quality: Quality = GOOD
    timeout: int = 500 * MS
    interval: int = 100 * MS
    lead_for: int = 5 * SECOND
    wake_late: int = 1 * MS
    store_high: int = 2 * MS
    is_bare: bool = False

    def gossiping(self) -> Shape:
        """Gossip's `interval` is a period, its `timeout` the shortest suspicion, four of them."""
        return replace(self, interval=200 * MS, timeout=800 * MS, lead_for=2 * SECOND)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"n{index}" for index in range(self.count))

    @property
    def priorities(self) -> tuple[int, ...]:
        return tuple(range(self.count))

    @property
    def quorum(self) -> int:
        return self.count // 2 + 1

    def config(self, index: int, boot: int) -> Config:
        names = self.names
        return Config(
            names[index], boot, names, self.count, self.priorities[index], self.timeout, self.interval, self.lead_for
        )
