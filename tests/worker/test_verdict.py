from __future__ import annotations

import pytest

from zjp.job import JobFault, JobSpec, StoredJob
from zjp.worker.reports import CrashReport
from zjp.worker.verdict import KILLED_FOR_ANOTHER, judge

pytestmark = pytest.mark.covers("main-path:7")

PROCESS = CrashReport(worker="w0.1", pid=1, exit_code=-11, rss_bytes=0, cause="it died")
NOW = (100.0, 1_000_000)


def held(count: int) -> list[tuple[StoredJob, int, float]]:
    return [(StoredJob(JobSpec(bytes([n]) * 16, "task", b"\x80"), 0), 7, 99.0) for n in range(count)]


def report(lost: list[tuple[StoredJob, int, float]], marked: set[tuple[bytes, int]], **how: object) -> CrashReport:
    details: dict[str, object] = {
        "latest": marked,
        "has_finished": False,
        "seen": {},
        "overran": {},
        "overstayed": {},
        "cancelling": (),
        "was_killed": False,
        **how,
    }
    return judge(lost, marked, clock=NOW, process=PROCESS, **details)  # type: ignore[arg-type]


def ids(items: object) -> list[bytes]:
    return [item[0].spec.id for item in items]  # type: ignore[attr-defined]


def marks(lost: list[tuple[StoredJob, int, float]], *indexes: int, fence: int = 7) -> set[tuple[bytes, int]]:
    return {(lost[index][0].spec.id, fence) for index in indexes}


def test_the_one_job_that_was_running_is_charged() -> None:
    lost = held(3)
    found = report(lost, marks(lost, 0))
    assert found.charged is not None
    assert found.charged[0] is lost[0][0]
    assert ids(found.innocent) == [lost[1][0].spec.id, lost[2][0].spec.id]
    assert not found.suspects


def test_the_one_job_that_was_running_is_charged_and_what_had_returned_before_it_is_suspect() -> None:
    lost = held(4)
    found = report(lost, marks(lost, 2), has_finished=True)
    assert found.charged is not None
    assert found.charged[0] is lost[2][0]
    assert ids(found.suspects) == [each[0].spec.id for each in lost[:2]]
    assert ids(found.innocent) == [lost[3][0].spec.id]


def test_the_one_job_that_had_returned_is_a_suspect_only_where_others_had_run_before_it() -> None:
    lost = held(2)
    found = report(lost, set(), latest=marks(lost, 0), has_finished=True)
    assert found.charged is None
    assert ids(found.suspects) == [lost[0][0].spec.id]


def test_the_one_job_that_had_returned_and_whose_result_never_came_is_charged() -> None:
    lost = held(2)
    found = report(lost, set(), latest=marks(lost, 0))
    assert found.charged is not None
    assert found.charged[0] is lost[0][0]
    assert ids(found.innocent) == [lost[1][0].spec.id]


def test_what_was_handed_out_before_a_job_that_had_begun_had_begun_too() -> None:
    lost = held(5)
    found = report(lost, set(), latest=marks(lost, 3, 1))
    assert found.charged is None
    assert ids(found.suspects) == [each[0].spec.id for each in lost[:4]]
    assert ids(found.innocent) == [lost[4][0].spec.id]


def test_several_that_were_running_are_suspects_and_nobody_is_charged() -> None:
    lost = held(4)
    found = report(lost, marks(lost, 0, 1))
    assert found.charged is None
    assert ids(found.suspects) == [lost[0][0].spec.id, lost[1][0].spec.id]
    assert len(found.innocent) == 2


def test_a_mark_of_a_former_claim_charges_nobody() -> None:
    lost = held(1)
    found = report(lost, marks(lost, 0, fence=6))
    assert found.charged is None
    assert ids(found.innocent) == [lost[0][0].spec.id]


def test_a_mark_of_a_job_that_was_reported_charges_nobody() -> None:
    lost = held(2)
    found = report(lost[1:], marks(lost, 0))
    assert found.charged is None
    assert len(found.innocent) == 1


def test_after_a_hard_time_out_only_the_job_that_overran_pays() -> None:
    lost = held(4)
    late = lost[2][0].spec.id
    fault = JobFault("Timeout", "too long")
    found = report(lost, marks(lost, 1, 2), overran={late: fault}, was_killed=True)
    assert [(item[0].spec.id, item[3]) for item in found.timed_out] == [(late, fault)]
    assert found.charged is None
    assert not found.suspects
    assert len(found.innocent) == 3


def test_after_a_kill_for_a_cancelled_job_nobody_pays() -> None:
    lost = held(4)
    told = {lost[0][0].spec.id, lost[3][0].spec.id}
    found = report(lost, marks(lost, 0, 1), cancelling=told, was_killed=True)
    assert found.charged is None
    assert not found.suspects
    assert [(item[0].spec.id, item[2]) for item in found.cancelled] == [(lost[0][0].spec.id, 999_000)]
    assert ids(found.innocent) == [each[0].spec.id for each in lost[1:]]


def test_of_two_cancelled_jobs_only_the_one_that_its_process_was_killed_for_says_so() -> None:
    lost = held(2)
    first, second = lost[0][0].spec.id, lost[1][0].spec.id
    fault = JobFault("Cancelled", "it did not stop")
    found = report(
        lost, marks(lost, 0, 1), overstayed={first: fault}, cancelling={first, second}, was_killed=True
    )
    assert [(item[0].spec.id, item[3].message) for item in found.cancelled] == [
        (first, "it did not stop"),
        (second, KILLED_FOR_ANOTHER.message),
    ]


def test_a_job_that_was_told_to_stop_and_crashed_before_it_was_killed_is_charged() -> None:
    lost = held(1)
    found = report(lost, marks(lost, 0), cancelling={lost[0][0].spec.id})
    assert found.charged is not None
    assert not found.cancelled


def test_the_start_is_when_it_was_first_seen_running_else_when_it_was_handed_out() -> None:
    lost = held(2)
    seen = {(lost[0][0].spec.id, 7): 99.75}
    found = report(lost, marks(lost, 0, 1), seen=seen)
    assert [started_ms for _, _, started_ms in found.suspects] == [999_750, 999_000]
