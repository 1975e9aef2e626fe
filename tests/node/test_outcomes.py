"""Who pays for what: reports of workers as outcomes for the store."""

from __future__ import annotations

import pytest

from zjp.job import ATTEMPTS_KEPT, SUSPICION_LIMIT, JobFault, JobSpec, JobState, Options, StoredJob, make_id
from zjp.node.outcomes import Costs, Judge, released
from zjp.queue.store import OutcomeKind
from zjp.retry import RetryPolicy
from zjp.wire.messages import Result, ResultKind, TaskInfo, TaskRetry

pytestmark = pytest.mark.covers("main-path:8", "settings:CRASH_LIMIT", "settings:MAX_RETRIES")

FAULT = JobFault("ValueError", "no")


def make_judge(crash_limit: int = 3, max_retries: int = 3) -> Judge:
    policy = RetryPolicy("exponential", base_s=1.0, max_s=60.0, multiplier=2.0, jitter_factor=0.0)
    return Judge("n1", Costs(max_retries=max_retries, retry=policy, crash_limit=crash_limit), lambda: 0.5)


def make_job(options: Options | None = None) -> StoredJob:
    return StoredJob(JobSpec(make_id(1, 2, 3), "email", b"\x80", options=options), created_ms=5)


def make_result(kind: ResultKind, **fields: object) -> Result:
    return Result(make_id(1, 2, 3), kind, 1_000_000, 2_500_000, **fields)  # type: ignore[arg-type]


def test_completed_job_becomes_a_record_with_its_attempt() -> None:
    job = make_job()
    outcome = make_judge().of_result(job, 7, "w1", make_result(ResultKind.COMPLETED, data=b"\x01"), 9_000)
    assert outcome.kind is OutcomeKind.FINISH
    assert outcome.fence == 7
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.result, outcome.record.finished_ms) == (JobState.COMPLETED, b"\x01", 9_000)
    (attempt,) = outcome.record.job.attempts
    assert (attempt.fence, attempt.node, attempt.worker, attempt.outcome) == (7, "n1", "w1", "completed")
    assert (attempt.started_ms, attempt.ended_ms) == (1_000, 2_500)


def test_retry_spends_one_and_carries_the_workers_delay() -> None:
    outcome = make_judge().of_result(make_job(), 7, "w1", make_result(ResultKind.RETRY, error=FAULT, delay_ms=1500), 9)
    assert (outcome.kind, outcome.delay_ms, outcome.job.retries) == (OutcomeKind.RETRY, 1500, 1)
    assert outcome.job.attempts[0].error == FAULT


def test_snooze_spends_nothing() -> None:
    outcome = make_judge().of_result(make_job(), 7, "w1", make_result(ResultKind.SNOOZE, delay_ms=10), 9)
    assert (outcome.kind, outcome.job.retries, outcome.job.crashes) == (OutcomeKind.SNOOZE, 0, 0)


def test_failed_for_good_is_a_record_with_the_error() -> None:
    outcome = make_judge().of_result(make_job(), 7, "w1", make_result(ResultKind.FAILED, error=FAULT), 9)
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.error) == (JobState.FAILED, FAULT)


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_job_fails_as_worker_crashed_at_the_crash_limit_and_not_before(limit: int) -> None:
    judge, job = make_judge(crash_limit=limit), make_job()
    for crash in range(1, limit + 1):
        outcome = judge.of_crash(job, crash, "w1", JobFault("WorkerCrashed", "signal 9"), started_ms=1, now_ms=2)
        assert (outcome.kind is OutcomeKind.FINISH) == (crash == limit)
    assert outcome.record is not None
    assert outcome.record.error is not None
    assert outcome.record.error.type == "WorkerCrashed"
    assert f"{limit} crashes, the limit is {limit}" in outcome.record.error.message
    assert "signal 9" in outcome.record.error.message
    assert job.retries == 0


def test_suspects_are_not_charged_and_run_in_quarantine_from_the_second_time_on() -> None:
    judge, job = make_judge(), make_job()
    outcome = judge.of_suspicion(job, 7, "w1", FAULT, started_ms=1, now_ms=2)
    assert (outcome.kind, outcome.job.crashes) == (OutcomeKind.RELEASE, 0)
    assert outcome.job.suspicion < SUSPICION_LIMIT, "what was killed from outside does not wait for a process of its own"
    assert judge.of_suspicion(job, 8, "w2", FAULT, started_ms=3, now_ms=4).job.suspicion >= SUSPICION_LIMIT


def test_job_that_crashed_in_quarantine_runs_there_again() -> None:
    judge, job = make_judge(), make_job()
    job.suspicion = SUSPICION_LIMIT
    outcome = judge.of_crash(job, 7, "q0.1", FAULT, started_ms=1, now_ms=2)
    assert (outcome.job.crashes, outcome.job.suspicion) == (1, SUSPICION_LIMIT)


def test_last_crash_that_the_limit_allows_is_one_in_quarantine() -> None:
    judge, job = make_judge(), make_job()
    suspicions = [judge.of_crash(job, 7, "w1", FAULT, started_ms=1, now_ms=2).job.suspicion for _ in range(2)]
    assert suspicions == [0, SUSPICION_LIMIT]


def test_job_that_was_cancelled_tells_why_it_ended_and_not_why_its_process_did() -> None:
    fault = JobFault("Cancelled", "the job was cancelled")
    outcome = make_judge().of_cancel(make_job(), 7, "w1", fault, started_ms=1, now_ms=2)
    (attempt,) = outcome.job.attempts
    assert (outcome.kind, attempt.outcome, attempt.error) == (OutcomeKind.RELEASE, "cancelled", fault)


def test_timeout_is_retried_with_the_policys_delay_then_fails() -> None:
    judge, job = make_judge(max_retries=1), make_job()
    first = judge.of_timeout(job, 1, "w1", FAULT, task=None, started_ms=1, now_ms=2)
    assert (first.kind, first.delay_ms) == (OutcomeKind.RETRY, 1000)
    second = judge.of_timeout(job, 2, "w1", FAULT, task=None, started_ms=1, now_ms=2)
    assert second.kind is OutcomeKind.FINISH


def test_timeout_of_a_task_with_a_policy_of_its_own_waits_as_that_says() -> None:
    task = TaskInfo("email", retry=TaskRetry("fixed", 5.0, 60.0, 2.0, 0.0))
    outcome = make_judge(max_retries=1).of_timeout(make_job(), 1, "w1", FAULT, task=task, started_ms=1, now_ms=2)
    assert (outcome.kind, outcome.delay_ms) == (OutcomeKind.RETRY, 5000)


@pytest.mark.parametrize(
    ("options", "task", "expected"),
    [
        (None, None, 3),
        (None, TaskInfo("email", max_retries=5), 5),
        (Options(max_retries=0), TaskInfo("email", max_retries=5), 0),
        (Options(), TaskInfo("email"), 3),
    ],
)
def test_retries_are_the_jobs_own_then_the_tasks_then_the_settings(
    options: Options | None, task: TaskInfo | None, expected: int
) -> None:
    assert make_judge().max_retries_of(make_job(options), task) == expected


def test_job_that_never_ends_keeps_a_bounded_number_of_attempts() -> None:
    judge, job = make_judge(), make_job()
    for fence in range(ATTEMPTS_KEPT + 50):
        judge.of_result(job, fence, "w1", make_result(ResultKind.SNOOZE), 9)
    assert len(job.attempts) == ATTEMPTS_KEPT
    assert job.attempts[-1].fence == ATTEMPTS_KEPT + 49


def test_unknown_task_fails_naming_the_type_and_the_known_ones() -> None:
    outcome = make_judge().unserved(make_job(), 7, ["resize", "crawl"], 9)
    assert outcome.record is not None
    assert outcome.record.error is not None
    assert outcome.record.error.type == "UnknownTask"
    assert outcome.record.error.message == "no node serves task 'email' in queue 'default'; known tasks: crawl, resize"


def test_what_never_started_goes_back_as_it_came() -> None:
    job = make_job()
    outcome = released(job, 7)
    assert (outcome.kind, outcome.job, outcome.job.attempts) == (OutcomeKind.RELEASE, job, ())
