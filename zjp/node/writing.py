"""Writing outcomes until each of them is written, or refused because its lease was lost: what a worker has done must not be forgotten.

A store that is away is asked again, with the batch as it is. One that is there and refuses a batch for good, as Redis does with a value
above its `proto-max-bulk-len`, must not hold up what else is in it, so the batch is taken apart:

    refused twice      its large outcomes go one at a time, behind all others; a batch without any in halves
    one large one      its job fails, with the reason, and the result is dropped; if the store takes that
    any other one      is given back, to be tried later: it may not be given up, since nothing tells that it is to blame

What is large enough to have been refused goes one at a time from then on, until one of that size is taken.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

import msgspec

from ..errors import Unavailable
from ..job import JobFault, JobState, Record
from ..log import event
from ..queue.store import Outcome, OutcomeKind, Refused

STORE_RETRY_S = (0.05, 2.0)
REFUSALS = 2
"""Of one batch, before it is taken apart. Each of them is several tries."""
LARGE_BYTES = 1_000_000
"""No setting of Redis refuses what is smaller: its lowest limit is 1 MiB."""

log = logging.getLogger(__name__)
_encode = msgspec.msgpack.Encoder().encode


class Writing:
    """`finish`: writes a batch. `held`: told why one could not be written yet. `broke`: told of an internal error, which was logged.
    Raises nothing."""

    def __init__(
        self, finish: Callable[[list[Outcome]], Awaitable[None]], *, held: Callable[[str], None], broke: Callable[[], None]
    ) -> None:  # fmt: skip
        self._finish, self._held, self._broke = finish, held, broke
        self._refused_bytes = 0
        """Of the smallest outcome that was refused alone; 0: none is."""

    async def insist(self, batch: list[Outcome]) -> list[Outcome]:
        """Returns those that are refused and cannot be given up."""
        parts = deque(_large_ones_last(batch, self._refused_bytes) if self._refused_bytes else [batch])
        left: list[Outcome] = []
        original: dict[int, Outcome] = {}
        while parts:
            part = parts.popleft()
            fault = await self._write(part)
            if fault is None:
                self._note_taken(part)
            elif len(part) > 1:
                parts.extendleft(reversed(_taken_apart(part)))
            elif (failed := self._given_up(part[0], fault)) is not None:
                original[id(failed)] = part[0]
                parts.append([failed])
            else:  # refused without its result as well: then that was not to blame
                left.append(original.get(id(part[0]), part[0]))
        return left

    async def _write(self, batch: list[Outcome]) -> Refused | None:
        """Until it is done, or refused for good."""
        pause_s, refusals = STORE_RETRY_S[0], 0
        refusals_max = 1 if self._refused_bytes else REFUSALS
        while True:
            try:
                await self._finish(batch)
                return None
            except Refused as fault:
                self._held(str(fault))
                refusals += 1
                if refusals >= refusals_max:
                    return fault
            except Unavailable as fault:
                self._held(str(fault))
                refusals = 0
            except Exception:
                log.exception("finish.failed")
                self._broke()
            pause_s = min(pause_s * 2, STORE_RETRY_S[1])
            await asyncio.sleep(pause_s * (0.5 + random.random()))

    def _note_taken(self, part: Iterable[Outcome]) -> None:
        if self._refused_bytes and max(map(bytes_of, part)) >= self._refused_bytes:
            self._refused_bytes = 0

    def _given_up(self, outcome: Outcome, fault: Refused) -> Outcome | None:
        """The same job as failed without its result; None: it has none, or is not large."""
        size_bytes, record = bytes_of(outcome), outcome.record
        if size_bytes < LARGE_BYTES:
            return None
        self._refused_bytes = min(size_bytes, self._refused_bytes or size_bytes)
        if outcome.kind is not OutcomeKind.FINISH or record is None or not record.result:
            return None
        reason = (
            f"the result is {len(record.result)} bytes, {size_bytes} with its job, and the queue's store refuses that, so it was dropped: "
            f"{fault}. Or store it elsewhere and return a reference, and lower MAX_RESULT"
        )
        job, told = record.job, JobFault("ResultRefused", reason)
        event(log, logging.ERROR, "outcome.result_refused", job=job.spec.id.hex(), type=job.spec.type, bytes=size_bytes, reason=str(fault))
        if job.attempts:
            last = msgspec.structs.replace(job.attempts[-1], outcome="failed", error=told)
            job = msgspec.structs.replace(job, attempts=(*job.attempts[:-1], last))
        return Outcome(outcome.fence, job, outcome.kind, Record(job, JobState.FAILED, int(time.time() * 1000), b"", told))


def _large_ones_last(batch: list[Outcome], large_bytes: int) -> list[list[Outcome]]:
    """All others together, then each of those alone."""
    is_large = [bytes_of(outcome) >= large_bytes for outcome in batch]
    others = [outcome for outcome, large in zip(batch, is_large, strict=True) if not large]
    alone = [[outcome] for outcome, large in zip(batch, is_large, strict=True) if large]
    return [others, *alone] if others else alone


def _taken_apart(batch: list[Outcome]) -> list[list[Outcome]]:
    parts = _large_ones_last(batch, LARGE_BYTES)
    middle = len(batch) // 2
    return parts if len(parts) > 1 else [batch[:middle], batch[middle:]]


def bytes_of(outcome: Outcome) -> int:
    """About what the store is given of it."""
    return len(_encode(outcome.record if outcome.record is not None else outcome.job))
