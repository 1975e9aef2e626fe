"""Retries by hand: finished jobs run again, once for each time that a client asked.

    client ── AskRuns ──► node      "its run is 3"
    client ── Requeue(3) ──► node   run 4, unless a run above 3 was made before; sent again, to this node or another, it says the same

A request may come twice, and its first copy may lie in a node that was stopped, and wake when the job has run again and finished again. So
the run that the client saw travels with the request, and a copy that comes late finds a later one. What it finds may be old as well by the
time that the store is asked: a node may be stopped there, too, and a job leaves the queue when the records have it. So the store tells with
each look how far requeues have come, and is told it again with what was found: it refuses whose next run was made since (queue/store.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import structs

from ..errors import OutcomeUnknown, StoreUnavailable, Unavailable
from ..job import Record
from ..queue.store import Live, Overtaken, QueueStore
from ..records.store import RecordStore

UNKNOWN_RUN = -1
ROUNDS_MAX = 5
"""A second one tells why the store refused. More are needed only while thousands of other jobs are run again during each look."""

Asked = tuple[bytes, int]
"""id, and the run that the client knows of"""


class Retries:
    def __init__(self, queue: QueueStore, records: RecordStore) -> None:
        self._queue, self._records = queue, records

    async def runs(self, ids: Sequence[bytes]) -> list[int]:
        latest = await latest_of(ids, await self._queue.get(ids), self._records)
        return [latest[job_id].job.run if job_id in latest else UNKNOWN_RUN for job_id in ids]

    async def requeue(self, ids: Sequence[bytes], runs: Sequence[int]) -> list[str]:
        """In order: requeued (by this request or another, before), live, unique, unknown. An id that stands twice is run again once, and
        told alike. A run above the latest, which only lost data can bring about, is followed by the next one, so that a copy of the
        request finds that made.

        Raises: StoreFull, StoreUnavailable (nothing was done), OutcomeUnknown."""
        asked = list(zip(ids, runs, strict=True))
        told: dict[Asked, str] = {}
        refused: set[bytes] = set()
        try:
            for _ in range(ROUNDS_MAX):
                await self._round([one for one in asked if one not in told], told, refused)
                if all(one in told for one in asked):
                    return [told[one] for one in asked]
            raise StoreUnavailable("too many other jobs are being run again; ask again a little later")
        except Unavailable as fault:
            if "requeued" not in told.values():
                raise
            raise OutcomeUnknown(f"some of the jobs run again, and of the others it is not known: {fault}") from fault

    async def _round(self, left: Sequence[Asked], told: dict[Asked, str], refused: set[bytes]) -> None:
        """Who can be told now joins `told`; whom the store refuses, `refused`: the next round sees why."""
        ids = list(dict.fromkeys([job_id for job_id, _ in left]))
        since, found = await self._queue.look(ids)
        latest = await latest_of(ids, found, self._records)
        seen = {(job_id, run): _told(latest.get(job_id), run, was_refused=job_id in refused) for job_id, run in left}
        if "requeued" in seen.values():
            await self._queue.confirm(since)
        told |= {one: verdict for one, verdict in seen.items() if verdict}
        ready: dict[bytes, Record] = {}
        for job_id, run in left:
            if not seen[job_id, run] and isinstance(entry := latest[job_id], Record):
                ready[job_id] = _following(ready.get(job_id, entry), run)
        try:
            done = await self._queue.requeue(list(ready.values()), since) if ready else []
        except Overtaken:
            return
        taken = {job_id for job_id, is_done in zip(ready, done, strict=True) if is_done}
        refused |= ready.keys() - taken
        told |= {(job_id, run): "requeued" for job_id, run in left if job_id in taken and not seen[job_id, run]}


async def latest_of(ids: Sequence[bytes], in_queue: Sequence[Live | Record | None], records: RecordStore) -> dict[bytes, Live | Record]:
    """Those that are known, each as what it is now. `in_queue`: what the queue told of them, which must have been asked first."""
    found = {job_id: entry for job_id, entry in zip(ids, in_queue, strict=True) if entry is not None}
    missing = [job_id for job_id in dict.fromkeys(ids) if job_id not in found]
    return found | dict(await records.get(missing)) if missing else found


def _following(record: Record, run: int) -> Record:
    """As the store takes it, for the run after this one."""
    return record if record.job.run >= run else structs.replace(record, job=structs.replace(record.job, run=run))


def _told(entry: Live | Record | None, run: int, *, was_refused: bool) -> str:
    """The verdict on what was found; empty: it is finished, and is to run again."""
    if entry is None or run < 0:
        return "unknown"
    if entry.job.run > run:
        return "requeued"
    if isinstance(entry, Live):
        return "live"
    options = entry.job.spec.options
    return "unique" if was_refused and options is not None and options.unique_key else ""
