"""What the simulator keeps of one node: the core, and all that stands around it in a real one."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from zjp.election.core import Config, Core, Event, Role, Send, Uniform, View

from .clock import Clock
from .disk import Disk

NOBODY = View(Role.FOLLOWER, "", 0, False, False, {})
"""What a node that is down shows."""


class Node:
    """`boot` counts lives. `handed`, `durable`: numbers of the last batch given to the disk, and of the last one known to be on it."""

    __slots__ = (
        "boot",
        "clock",
        "config",
        "core",
        "disk",
        "due",
        "durable",
        "fsync_high",
        "fsync_low",
        "handed",
        "held",
        "inbox",
        "index",
        "is_left",
        "is_paused",
        "is_rung",
        "is_up",
        "is_wiped",
        "is_writing",
        "late",
        "name",
        "paused_at",
        "priority",
        "ring_at",
        "same_wakes",
        "uniform",
        "view",
        "wake",
        "woken_at",
    )

    def __init__(self, index: int, name: str, priority: int, clock: Clock, uniform: Uniform) -> None:
        self.index, self.name, self.priority, self.clock, self.uniform = index, name, priority, clock, uniform
        self.core: Core
        self.config: Config
        self.disk = Disk()
        self.boot = 0
        self.is_up = self.is_paused = self.is_left = self.is_wiped = False
        self.view = NOBODY
        self.fsync_low, self.fsync_high = 1_000_000, 5_000_000
        self.reset()

    def reset(self) -> None:
        """Of a life that is over nothing is left but the disk."""
        self.handed = self.durable = 0
        self.held: deque[tuple[int, Sequence[Send]]] = deque()
        self.inbox: deque[Event] = deque()
        self.wake: int | None = None
        self.due = self.late = 0
        """When the timer is due by true time; how late it will ring."""
        self.ring_at: int | None = None
        """The next entry of the heap for it; it may be too early."""
        self.is_rung = self.is_writing = self.is_paused = False
        self.paused_at = 0
        self.woken_at, self.same_wakes = -1, 0
        self.view = NOBODY

    def __repr__(self) -> str:
        return self.name
