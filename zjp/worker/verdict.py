"""Who pays when a worker process dies. Pure.

The mark file says what the process was running: at most one job per slot. A mark counts only for a job that is still held, so a job whose
result came in time is never charged, and an old mark does no harm.

    killed by the pool for its jobs   those time out, or were cancelled while they ran; everything else is innocent
    one job was running               it is charged
    several were running              all are suspects: the death cannot be charged to one of them
    whatever was not running          innocent, back unspent
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..job import JobFault, StoredJob
from .reports import CrashReport

Lost = Sequence[tuple[StoredJob, int, float]]
"""(job, fence, monotonic time of the hand-out) of what the process held."""


def judge(
    lost: Lost,
    marked: Collection[tuple[bytes, int]],
    *,
    seen: Mapping[tuple[bytes, int], float],
    overran: Mapping[bytes, JobFault],
    cancelling: Collection[bytes],
    was_killed: bool,
    clock: tuple[float, int],
    process: CrashReport,
) -> CrashReport:
    """The report with the jobs in it; `process` is it without.

    `seen`: since when what was running was seen running. `cancelling`: ids of jobs that were told to stop. `clock`: now, as (monotonic s,
    Unix ms).
    """

    def started_ms(job: StoredJob, fence: int, since: float) -> int:
        first = seen.get((job.spec.id, fence), since)
        return clock[1] - max(0, int((clock[0] - first) * 1000))

    running = [each for each in lost if (each[0].spec.id, each[1]) in marked]
    timed_out = [
        (job, fence, started_ms(job, fence, since), overran[job.spec.id])
        for job, fence, since in lost
        if job.spec.id in overran
    ]
    started = [(job, fence, started_ms(job, fence, since)) for job, fence, since in running if job.spec.id not in overran]
    paying = [] if was_killed else started
    cancelled = [each for each in started if each[0].spec.id in cancelling] if was_killed else []
    told = {each[0].spec.id for each in timed_out} | {each[0].spec.id for each in (*paying, *cancelled)}
    return CrashReport(
        worker=process.worker,
        pid=process.pid,
        exit_code=process.exit_code,
        rss_bytes=process.rss_bytes,
        cause=process.cause,
        charged=paying[0] if len(paying) == 1 else None,
        suspects=paying if len(paying) > 1 else (),
        innocent=[(job, fence) for job, fence, _ in lost if job.spec.id not in told],
        timed_out=timed_out,
        cancelled=cancelled,
    )
