"""What became of claimed jobs, told to the server until it has answered.

Of a call that was not answered nobody knows whether it was carried out, so its caller repeats the batch as it is. If the first one was
carried out after all, none of its jobs is held any more, and taken for a new batch all of them would be refused although they are written.
So a repeat bears the number of the call that was not answered, and the script gives that call's answer again. It keeps the last answer of
a life only, with its number: a batch that comes again after another is taken for a new one.

A batch takes two calls when jobs of it are being cancelled. What the first was answered is remembered until the second is: its answer
is no longer the last one.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ...redis.lane import CutOff
from ..store import Outcome, Refused
from .claiming import Sorted, cancelled_arguments, sort_outcomes
from .fresh import Fresh
from .held import Held

REPEAT_AT = 2
"""Place in the arguments of the script that says whether this is a repeat."""


class _Batch:
    """As far as it came. `number`: of the call that was not answered; 0: none is out."""

    __slots__ = ("answer", "number", "outcomes")

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes = tuple(outcomes)
        self.number = 0
        self.answer: tuple[list[bytes], list[bytes]] | None = None
        """Of the first call: those refused, those that are being cancelled."""

    def is_of(self, outcomes: Sequence[Outcome]) -> bool:
        return len(self.outcomes) == len(outcomes) and all(map(operator.is_, self.outcomes, outcomes))


class Finishing:
    """`call`: the script, with these arguments. `note`: the outbox's count and bytes, and whether jobs may have become ready.
    `records_max`: 0: records are kept elsewhere. `tell`: of the ids that are final."""

    def __init__(
        self, life: bytes, call: Callable[[list[Any]], Awaitable[Any]], *, records_max: int, dedup_s: float, server_ms: Callable[[], int],
        note: Callable[[int, int, bool], None], tell: Callable[[Sequence[bytes]], None], fresh: Fresh, held: Held,
    ) -> None:  # fmt: skip
        self._life, self._call, self._records_max, self._dedup_ms = life, call, records_max, int(dedup_s * 1000)
        self._server_ms, self._note, self._tell, self._fresh, self._held = server_ms, note, tell, fresh, held
        self._calls = 0
        self._unanswered: _Batch | None = None

    async def finish(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        found = sort_outcomes(outcomes)
        ids = found.ids()
        if len(set(ids)) != len(ids):  # never from a node; then one by one, so that the second of two is refused
            return [job_id for outcome in outcomes for job_id in await self.finish([outcome])]
        batch, self._unanswered = self._unanswered, None
        if batch is None or not batch.is_of(outcomes):
            batch = _Batch(outcomes)
        try:
            refused, cancelling = await self._write(batch, found)
        except BaseException as fault:
            self._unanswered = batch  # it may have been carried out: a repeat asks for its answer again
            if isinstance(fault, CutOff):
                raise Refused(str(fault)) from fault
            raise
        for fence, left in found.by_fence():
            self._held.remove(fence, left)
        unknown, final = set(refused), found.final_ids(cancelling)
        self._tell([job_id for job_id in final if job_id not in unknown] if unknown else final)
        return [outcome.job.spec.id for outcome in outcomes if outcome.job.spec.id in unknown] if unknown else []

    async def _write(self, batch: _Batch, found: Sorted) -> tuple[list[bytes], list[bytes]]:
        now_ms, are_records_here = self._server_ms(), self._records_max > 0
        if batch.answer is None:
            batch.answer = await self._ask(batch, found.arguments(now_ms, self._held, are_records_here=are_records_here))
            if not are_records_here:
                self._keep_copies(found, {*batch.answer[0], *batch.answer[1]})
        refused, cancelling = batch.answer
        if cancelling:
            marked = set(cancelling)
            again = [outcome for outcome in batch.outcomes if outcome.job.spec.id in marked]
            more, _ = await self._ask(batch, cancelled_arguments(again, now_ms))
            refused = [*refused, *more]
        return refused, cancelling

    def _keep_copies(self, found: Sorted, lost: set[bytes]) -> None:
        for record, data in found.encoded():
            if record.job.spec.id not in lost:
                self._fresh.add(record, data)

    async def _ask(self, batch: _Batch, arguments: list[Any]) -> tuple[list[bytes], list[bytes]]:
        is_repeat = batch.number > 0
        if not is_repeat:
            self._calls += 1
            batch.number = self._calls
        head = [self._life, batch.number, b"1" if is_repeat else b"0", self._records_max, self._dedup_ms]
        refused, cancelling, count, data_bytes, has_more = await self._call([*head, *arguments])
        batch.number = 0
        self._note(count, data_bytes, bool(has_more))
        return refused, cancelling
