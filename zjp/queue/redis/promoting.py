"""Delayed jobs that are to run now: their due time stands inside, so they are read, changed here, and put back where nobody moved them."""

from __future__ import annotations

from collections.abc import Sequence

from .layout import is_finished, live_value, read_job
from .looking import Ask


async def promote(ask: Ask, deed: Ask, ids: Sequence[bytes], now_ms: int) -> list[bool]:
    left = list(dict.fromkeys(ids))
    promoted: set[bytes] = set()
    while left:
        values = dict(zip(left, await ask("HMGET", [b"j", *left]), strict=True))
        live = [job_id for job_id in left if values[job_id] and not is_finished(values[job_id])]
        arguments = [b"0", *(part for job_id in live for part in (job_id, values[job_id], _due_now(values[job_id], now_ms)))]
        answers = await deed("promote", arguments) if live else []
        promoted |= {job_id for job_id, answer in zip(live, answers, strict=True) if answer == 1}
        left = [job_id for job_id, answer in zip(live, answers, strict=True) if answer == 2]
    return [_take(promoted, job_id) for job_id in ids]


def _due_now(value: bytes, now_ms: int) -> bytes:
    job = read_job(value)
    job.due_ms = now_ms
    return live_value(job, is_retry=value[:1] == b"r")


def _take(ids: set[bytes], job_id: bytes) -> bool:
    """Whether it is among them; a second time it is not."""
    if job_id not in ids:
        return False
    ids.discard(job_id)
    return True
