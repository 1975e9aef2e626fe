"""Who pays when a worker process dies. Pure.

What may have killed a process is what it had begun. The mark file says what it was running, at most one job per slot, and what each slot
had begun last. A process begins jobs in the order in which they are handed to it: so whatever was handed out before one that had begun
has begun too, and when it is not running it has returned, and its result never came. Such a job may have left a thread that ended the
process, or have closed the descriptors that its result should go through. (Some few that were just being begun are taken for returned;
that makes them suspects, and no more.)

A mark counts only for a job that is still held, so a job whose result came in time is never charged, and an old mark does no harm.

    killed by the pool for its jobs   those time out, or were cancelled while they ran; everything else is innocent
    one job was running               it is charged
    none was, and one had begun in    it is charged: there was nothing else that could have done it
    the whole life of the process
    any other that had begun          a suspect: it may have been another one, or what one before it left behind
    whatever had not begun            innocent, back unspent

Whoever is charged may still be innocent, beside one that had returned. So the last crash that CRASH_LIMIT allows is one in quarantine,
where a job is alone (`outcomes.Judge`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..job import JobFault, StoredJob
from .marks import Mark
from .reports import CrashReport

Lost = Sequence[tuple[StoredJob, int, float]]
"""(job, fence, monotonic time of the hand-out) of what the process held."""
KILLED_FOR_ANOTHER = JobFault("Cancelled", "the job was cancelled while it ran; its process was killed for another job before it stopped")


def judge(
    lost: Lost,
    marked: Collection[Mark],
    *,
    latest: Collection[Mark],
    has_finished: bool,
    seen: Mapping[tuple[bytes, int], float],
    overran: Mapping[bytes, JobFault],
    overstayed: Mapping[bytes, JobFault],
    cancelling: Collection[bytes],
    was_killed: bool,
    clock: tuple[float, int],
    process: CrashReport,
) -> CrashReport:
    """The report with the jobs in it; `process` is it without.

    `lost`: in the order of the hand-out. `marked`: what was running; `latest`: what each slot had begun last. `has_finished`: the process
    had run other jobs, whose results came. `seen`: since when what was running was seen running. `overran`, `overstayed`: what it was
    killed for. `cancelling`: ids of jobs that were told to stop. `clock`: now, as (monotonic s, Unix ms).
    """

    def started_ms(job: StoredJob, fence: int, since: float) -> int:
        first = seen.get((job.spec.id, fence), since)
        return clock[1] - max(0, int((clock[0] - first) * 1000))

    timed_out = [
        (job, fence, started_ms(job, fence, since), overran[job.spec.id])
        for job, fence, since in lost
        if job.spec.id in overran
    ]
    begun = [] if was_killed else [(job, fence, started_ms(job, fence, since)) for job, fence, since in _begun(lost, latest)]
    running = [each for each in begun if (each[0].spec.id, each[1]) in marked]
    charged = running if running or has_finished else begun
    charged = charged if len(charged) == 1 else []
    cancelled = [
        (job, fence, started_ms(job, fence, since), overstayed.get(job.spec.id, KILLED_FOR_ANOTHER))
        for job, fence, since in lost
        if was_killed and (job.spec.id, fence) in marked and job.spec.id in cancelling and job.spec.id not in overran
    ]
    told = {each[0].spec.id for each in timed_out} | {each[0].spec.id for each in cancelled} | {each[0].spec.id for each in begun}
    return CrashReport(
        worker=process.worker,
        pid=process.pid,
        exit_code=process.exit_code,
        rss_bytes=process.rss_bytes,
        cause=process.cause,
        charged=charged[0] if charged else None,
        suspects=[each for each in begun if each not in charged],
        innocent=[(job, fence) for job, fence, _ in lost if job.spec.id not in told],
        timed_out=timed_out,
        cancelled=cancelled,
    )


def _begun(lost: Lost, latest: Collection[Mark]) -> Lost:
    """All up to the last one that is known to have begun."""
    ends = [end for end, (job, fence, _) in enumerate(lost, 1) if (job.spec.id, fence) in latest]
    return lost[: ends[-1]] if ends else []
