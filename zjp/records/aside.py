"""Finished jobs whose records the store refuses for good: passed over, so that those behind them go on. Pure but for the log.

    refused ──► passed over for a while ──► tried again ──► refused: passed over for longer
                                                       └──► taken: forgotten here

They stay in the outbox, where look-ups and listings find them, and count against its bounds like all that waits there. Each is told once,
at ERROR, with what the store said. This is memory only: the next start tries each of them, and tells of it, anew.

One record that is refused has something wrong with it; very many mean that something is wrong with the store. So no more than ASIDE_MAX are
passed over: beyond that the outbox is stuck, as when the store is away.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from ..job import format_id
from ..log import event
from ..retry import RetryPolicy
from .store import RecordItem, Refusal

ASIDE_MAX = 10_000
"""Each round reads past all of them: so many cost it some ms."""
PAUSES = RetryPolicy(base_s=10.0, max_s=300.0, multiplier=2.0, jitter_factor=0.1)
"""Whoever mends what they were refused for waits five minutes at most."""

Key = tuple[bytes, int]
Item = TypeVar("Item", bound=RecordItem)
_log = logging.getLogger(__name__)


class _Pause(NamedTuple):
    tries: int
    until: float


class Aside:
    """Times are those of whoever calls: any clock that only rises."""

    def __init__(self, *, pauses: RetryPolicy = PAUSES, count_max: int = ASIDE_MAX) -> None:
        self._pauses = pauses
        self._count_max = count_max
        self._paused: dict[Key, _Pause] = {}

    def __len__(self) -> int:
        return len(self._paused)

    @property
    def due_at(self) -> float:
        """When the next of them is to be tried again."""
        return min((pause.until for pause in self._paused.values()), default=math.inf)

    def others(self, items: Sequence[Item], now: float) -> Sequence[Item]:
        """Those that are to be tried now."""
        if not self._paused:
            return items
        return [item for item in items if (pause := self._paused.get(key_of(item))) is None or pause.until <= now]

    def add(self, refusals: Sequence[Refusal], now: float, uniform: float) -> bool:
        """False: there are too many, and some will not be passed over."""
        is_all = True
        for refusal in refusals:
            key = key_of(refusal.item)
            former = self._paused.get(key)
            if former is None and len(self._paused) >= self._count_max:
                is_all = False
                continue
            tries = 0 if former is None else former.tries + 1
            self._paused[key] = _Pause(tries, now + self._pauses.delay_s(tries, uniform))
            if former is None:
                _tell(refusal, len(self._paused))
        return is_all

    def forget(self, items: Sequence[RecordItem]) -> None:
        """The store took them."""
        if not self._paused:
            return
        for item in items:
            if self._paused.pop(key_of(item), None) is not None:
                event(_log, logging.INFO, "outbox.taken_after_all", id=format_id(key_of(item)[0]), refused=len(self))

    def forget_due(self, now: float) -> None:
        """The outbox was searched and has none that are due: somebody else moved or removed them."""
        for key in [key for key, pause in self._paused.items() if pause.until <= now]:
            del self._paused[key]


def key_of(item: RecordItem) -> Key:
    job = item.record.job
    return job.spec.id, job.run


def _tell(refusal: Refusal, count: int) -> None:
    job_id, run = key_of(refusal.item)
    event(
        _log, logging.ERROR, "outbox.refused", id=format_id(job_id), run=run, code=refusal.code, reason=refusal.reason,
        refused=count,
    )  # fmt: skip
