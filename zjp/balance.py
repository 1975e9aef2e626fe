"""Which worker process gets the next job: the four strategies of LOAD_BALANCER_STRATEGY over the credit table.

Credits are a list by worker index: how many more jobs that process may be given now; 0 or less means not eligible (busy, draining,
dead). The strategies only choose; sending and the meaning of a credit are the worker pool's.

    round_robin    the next one in turn that has credit
    least_loaded   the one with most credit; equals in turn, or an idle system would give every single job to the first
    random         each one that has credit with the same chance
    priority       jobs of priority 8 and more as least_loaded, the others as round_robin

Pure: the random draw is passed in. The only state is whose turn it was. Workers come and go by index: a list that became shorter
or longer since the last call is fine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MethodType
from typing import ClassVar

URGENT_PRIORITY = 8
"""Jobs of at least this priority go to the process with most credit under `priority`."""


class Balancer:
    """Chooses worker indexes by one strategy. One per pool; not shared between threads."""

    __slots__ = ("_last", "pick", "strategy")

    pick: Callable[[Sequence[int], int, float], int]
    """`pick(credits, priority, draw)`: the worker for one job, or -1 when none has credit. `draw`: from [0, 1), used by `random` only.

    The credit is not taken: the caller does that once the job is on its way."""

    def __init__(self, strategy: str) -> None:
        if strategy not in self.STRATEGIES:
            raise ValueError(f"strategy is {strategy!r}, it must be one of {', '.join(self.STRATEGIES)}")
        self.strategy = strategy
        self.pick = MethodType(self.STRATEGIES[strategy], self)
        self._last = -1

    def _round_robin(self, credits: Sequence[int], priority: int, draw: float) -> int:
        count = len(credits)
        worker = self._last
        for _ in range(count):
            worker += 1
            if worker >= count:
                worker = 0
            if credits[worker] > 0:
                self._last = worker
                return worker
        return -1

    def _least_loaded(self, credits: Sequence[int], priority: int, draw: float) -> int:
        most = max(credits, default=0)
        if most <= 0:
            return -1
        try:
            worker = credits.index(most, self._last + 1)
        except ValueError:  # none after the last one: begin again
            worker = credits.index(most)
        self._last = worker
        return worker

    def _random(self, credits: Sequence[int], priority: int, draw: float) -> int:
        eligible = [worker for worker, credit in enumerate(credits) if credit > 0]
        return eligible[int(draw * len(eligible))] if eligible else -1

    def _priority(self, credits: Sequence[int], priority: int, draw: float) -> int:
        choose = self._least_loaded if priority >= URGENT_PRIORITY else self._round_robin
        return choose(credits, priority, draw)

    STRATEGIES: ClassVar[dict[str, Callable[[Balancer, Sequence[int], int, float], int]]] = {
        "round_robin": _round_robin,
        "least_loaded": _least_loaded,
        "random": _random,
        "priority": _priority,
    }
