"""What the records say of ids that a submit brings, and what holds while they say nothing.

An id that a caller made is noted in the queue when its job is stored, for as long as a repeat of it is promised to be recognised. So it
can be stored without the records: whether the note is there is decided in the same step. What the records add is only a repeat that
comes later, while its record still lives. An id of a producer's session has no note: at or below the session's highest counter it may be a
job that has finished, and where nobody can say so, nothing may be stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import Unavailable
from ..job import JobSpec
from .store import FinishedLookup

Asked = Mapping[bytes, JobSpec]
"""id -> what was submitted"""


async def find_finished(finished: FinishedLookup, asked: Asked) -> tuple[dict[bytes, JobSpec], Unavailable | None]:
    """Those that have a record, as they were submitted then; and why the records have said nothing, where they have not."""
    try:
        found = await finished(list(asked))
    except Unavailable as fault:
        return {}, fault
    return {job_id: record.job.spec for job_id, record in found.items()}, None


def is_noted(spec: JobSpec) -> bool:
    """Whether the queue itself remembers the id of such a job."""
    return spec.options is not None and spec.options.caller_id
