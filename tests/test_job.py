"""Jobs: the table of a job's life, what a valid job is and the words of each refusal, ids, filters, and the views that readers get."""

from __future__ import annotations

import re
import uuid
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.wire.build import PATIENT, drawn
from zjp.config.kinds import Queues
from zjp.errors import InvalidJob, JobRejected, PayloadTooLarge
from zjp.job import (
    DELAY_MS_MAX,
    FINAL_STATES,
    TRANSITIONS,
    Attempt,
    JobFault,
    JobFilter,
    JobSpec,
    JobState,
    JobView,
    Limits,
    Options,
    Priority,
    Record,
    StoredJob,
    check_queue,
    check_spec,
    format_id,
    id_prefix,
    make_id,
    parse_id,
    same_content,
    view_live,
    view_record,
)

pytestmark = pytest.mark.covers("main-path:4")

INITIAL = {JobState.PENDING, JobState.SCHEDULED}
ID = bytes(range(16))


def spec(**changes: Any) -> JobSpec:
    return msgspec.structs.replace(JobSpec(ID, "email", b"\x80"), **changes)


def reachable(start: set[JobState]) -> set[JobState]:
    found, fresh = set(start), set(start)
    while fresh:
        fresh = {after for state in fresh for after in TRANSITIONS[state]} - found
        found |= fresh
    return found


# ── the life of a job ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_table_has_a_row_for_every_state() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_every_state_is_reached_from_a_submit() -> None:
    assert reachable(INITIAL) == set(JobState)


@pytest.mark.parametrize("state", JobState)
def test_from_every_state_each_end_can_be_reached_again(state: JobState) -> None:
    """None of them is a trap; `cancelling` may only end as cancelled before it is run again."""
    assert reachable({state}) >= FINAL_STATES


def test_finished_job_is_left_only_by_running_it_again() -> None:
    assert {TRANSITIONS[state] for state in FINAL_STATES} == {frozenset({JobState.PENDING})}
    assert {state for state in JobState if state.is_final} == FINAL_STATES


def test_only_a_job_that_runs_completes_and_only_a_failed_attempt_leads_to_a_retry() -> None:
    assert {state for state in JobState if JobState.COMPLETED in TRANSITIONS[state]} == {JobState.RUNNING}
    assert {state for state in JobState if JobState.RETRYING in TRANSITIONS[state]} == {JobState.RUNNING}


def test_job_being_cancelled_never_goes_back_into_the_queue() -> None:
    assert TRANSITIONS[JobState.CANCELLING] == {JobState.CANCELLED}


def test_every_waiting_job_can_be_cancelled_and_a_delayed_one_runs_only_through_pending() -> None:
    for state in (JobState.PENDING, JobState.SCHEDULED, JobState.RETRYING):
        assert JobState.CANCELLED in TRANSITIONS[state]
    assert {state for state in JobState if JobState.RUNNING in TRANSITIONS[state]} == {JobState.PENDING}


@PATIENT
@given(st.sampled_from(sorted(INITIAL)), st.lists(st.integers(0, 100), max_size=60))
def test_random_walk_counts_one_run_per_end(start: JobState, steps: list[int]) -> None:
    """Each arrival at an end is one run: between two ends lies exactly one `run again`."""
    state, ends, runs = start, 0, 1
    for step in steps:
        after = sorted(TRANSITIONS[state])[step % len(TRANSITIONS[state])]
        assert not (state.is_final and after.is_final)
        ends += after.is_final
        runs += state.is_final
        state = after
    assert runs - ends == (0 if state.is_final else 1)


def test_diagram_in_the_docstring_names_every_state() -> None:
    from zjp import job

    assert job.__doc__ is not None
    assert [state.value for state in JobState if state.value not in job.__doc__] == []


def test_named_priorities_are_those_of_the_contract() -> None:
    assert (Priority.LOW, Priority.NORMAL, Priority.HIGH) == (1, 5, 10)
    assert spec().priority == Priority.NORMAL


# ── what a valid job is ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "job",
    [
        spec(),
        spec(type="x" * 128, queue="q" * 64, priority=1),
        spec(type="mail.send-now_2:eu", queue="größe", priority=10),
        spec(queue="mails:eu-5"),
        spec(queue="a*"),
        spec(payload=b"\x8f"),
        spec(payload=b"\xde\x00\x00"),
        spec(payload=b"\xdf\x00\x00\x00\x00"),
        spec(options=Options()),
        spec(options=Options(delay_ms=DELAY_MS_MAX, max_retries=0, timeout_ms=1, soft_timeout_ms=1)),
        spec(options=Options(run_at_ms=1, max_retries=1000, unique_key="k" * 256, tags=("t",) * 16)),
        spec(options=Options(unique_key="any text, with spaces\n漢😀")),
    ],
)
def test_valid_job_is_taken(job: JobSpec) -> None:
    check_spec(job, Limits())


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"id": b"short"}, "id is 5 bytes, it must be 16; leave it out to have one made"),
    ({"id": b""}, "id is 0 bytes"),
    ({"type": ""}, "type has 0 characters, it must have 1 to 128"),
    ({"type": "x" * 129}, "type has 129 characters, it must have 1 to 128"),
    ({"type": "a b"}, "type 'a b' holds spaces or control characters; use letters, digits, '.', '-', '_' or ':'"),
    ({"type": "a\x00"}, r"type 'a\x00' holds spaces or control characters"),
    ({"queue": "q" * 65}, "queue has 65 characters, it must have 1 to 64"),
    ({"queue": "\ud800"}, r"queue '\ud800' holds spaces or control characters"),
    ({"queue": "a,b"}, "queue 'a,b' cannot be named in QUEUES, where ',' stands between queues, a last ':' and number are a weight"),
    ({"queue": "a:5"}, "queue 'a:5' cannot be named in QUEUES"),
    ({"queue": "a:٥"}, "queue 'a:٥' cannot be named in QUEUES"),
    ({"queue": "*"}, "queue '*' cannot be named in QUEUES"),
    ({"priority": 0}, "priority is 0, it must be 1 (low) to 10 (high)"),
    ({"priority": 11}, "priority is 11, it must be 1 (low) to 10 (high)"),
    ({"payload": b""}, "payload is not a msgpack map; pass keyword arguments, as in"),
    ({"payload": b"\x90"}, "payload is not a msgpack map"),
    ({"payload": b"\xc0"}, "payload is not a msgpack map"),
    ({"payload": b'{"a":1}'}, "payload is not a msgpack map"),
]
REFUSED_OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"delay_ms": 1, "run_at_ms": 1}, "delay and run_at are both set; give one of them"),
    ({"delay_ms": -1}, "delay is -1 ms, it must be 0 to 316224000000"),
    ({"delay_ms": DELAY_MS_MAX + 1}, "delay is 316224000001 ms, it must be 0 to 316224000000"),
    ({"run_at_ms": -1}, "run_at is -1 Unix ms, it must be 0 to"),
    ({"run_at_ms": 1 << 44}, "run_at is 17592186044416 Unix ms, it must be 0 to"),
    ({"max_retries": -1}, "max_retries is -1, it must be 0 to 1000"),
    ({"max_retries": 1001}, "max_retries is 1001, it must be 0 to 1000"),
    ({"timeout_ms": 0}, "timeout is 0 ms, it must be 1 to 316224000000"),
    ({"soft_timeout_ms": 0}, "soft_timeout is 0 ms, it must be 1 to 316224000000"),
    ({"unique_key": "k" * 257}, "unique_key has 257 characters, the limit is 256; hash it first"),
    ({"idempotency_key": "k" * 257}, "idempotency_key has 257 characters, the limit is 256; hash it first"),
    (
        {"unique_key": "a\ud800"},
        r"unique_key 'a\ud800' holds half a surrogate pair, which is no text; decode it properly or hash it",
    ),
    ({"tags": ("t",) * 17}, "there are 17 tags, the limit is 16"),
    ({"tags": ("",)}, "tag has 0 characters, it must have 1 to 64"),
    ({"tags": ("x" * 65,)}, "tag has 65 characters, it must have 1 to 64"),
    ({"tags": ("a b",)}, "tag 'a b' holds spaces"),
]


@pytest.mark.parametrize(("changes", "text"), REFUSED)
def test_invalid_job_is_refused_with_value_limit_and_what_to_do(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob, match=re.escape(text)):
        check_spec(spec(**changes), Limits())


@pytest.mark.parametrize(("changes", "text"), REFUSED_OPTIONS)
def test_invalid_option_is_refused_with_value_limit_and_what_to_do(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob, match=re.escape(text)):
        check_spec(spec(options=Options(**changes)), Limits())


def test_payload_over_the_limit_is_refused_with_both_sizes() -> None:
    limits = Limits(payload_bytes_max=10)
    check_spec(spec(payload=b"\x81" + bytes(9)), limits)
    text = "payload is 11 bytes, the limit is 10; store it elsewhere and pass a reference, or raise MAX_PAYLOAD"
    with pytest.raises(PayloadTooLarge, match=text):
        check_spec(spec(payload=b"\x81" + bytes(10)), limits)


@PATIENT
@given(drawn(JobSpec))
def test_any_job_is_taken_or_rejected(job: JobSpec) -> None:
    try:
        check_spec(job, Limits())
    except JobRejected as fault:
        text = str(fault)
    else:
        text = ""
    assert len(text) < 1_000


@PATIENT
@given(st.text(st.sampled_from("ab:,*5٥- "), min_size=1, max_size=6))
def test_queue_that_a_job_may_be_sent_to_can_be_named_in_the_setting(name: str) -> None:
    try:
        check_queue(name)
    except InvalidJob:
        return
    assert Queues().parse(f"{name},other:3") == ((name, 1), ("other", 3))


# ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

times_ms = st.integers(0, (1 << 48) - 1)
sessions = st.integers(0, (1 << 42) - 1)
counters = st.integers(0, (1 << 32) - 1)


@PATIENT
@given(times_ms, sessions, counters)
def test_id_is_a_uuid_of_version_7_that_holds_time_session_and_counter(now_ms: int, session: int, counter: int) -> None:
    job_id = make_id(now_ms, session, counter)
    made = uuid.UUID(bytes=job_id)
    assert (len(job_id), made.version, made.variant) == (16, 7, uuid.RFC_4122)
    bits = int(made)
    assert bits >> 80 == now_ms
    assert (bits >> 64 & 0xFFF) << 30 | (bits >> 32 & 0x3FFFFFFF) == session
    assert bits & 0xFFFFFFFF == counter


@PATIENT
@given(st.tuples(times_ms, counters), st.tuples(times_ms, counters), sessions)
def test_ids_of_a_session_are_in_the_order_they_were_made(
    one: tuple[int, int], other: tuple[int, int], session: int
) -> None:
    assume(one != other)
    ids = {pair: make_id(pair[0], session, pair[1]) for pair in (one, other)}
    assert (ids[one] < ids[other]) == (one < other)


@PATIENT
@given(times_ms, times_ms, counters, counters, sessions, sessions)
def test_bytes_6_to_12_name_the_session_and_nothing_else(
    early_ms: int, late_ms: int, low: int, high: int, session: int, other: int
) -> None:
    """Stores tell the ids of two producers apart by these bytes; the id's prefix ends there."""
    one, two, foreign = make_id(early_ms, session, low), make_id(late_ms, session, high), make_id(early_ms, other, low)
    assert one[6:12] == two[6:12]
    assert (one[6:12] == foreign[6:12]) == (session == other)
    assert one == id_prefix(early_ms, session) + low.to_bytes(4, "big")


def test_counter_beyond_32_bits_wraps_and_leaves_the_session_alone() -> None:
    assert make_id(1, 2, 1 << 32) == make_id(1, 2, 0)


@PATIENT
@given(st.binary(min_size=16, max_size=16))
def test_id_reads_back_from_its_text_in_any_spelling(job_id: bytes) -> None:
    text = format_id(job_id)
    assert text == str(uuid.UUID(bytes=job_id))
    assert parse_id(text) == parse_id(text.upper()) == parse_id(text.replace("-", "")) == job_id


@pytest.mark.parametrize(
    "text", ["", "5", "x" * 36, "0197a3f0-0000-7000-8000-00000000000", "0197a3f0  00007000800000000000000", "٣" * 32]
)
def test_text_that_is_no_id_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        InvalidJob, match=r"job id .* is not a UUID; it looks like 0197a3f0-0000-7000-8000-000000000000"
    ):
        parse_id(text)


@PATIENT
@given(st.text())
def test_any_text_gives_16_bytes_or_invalid_job(text: str) -> None:
    try:
        assert len(parse_id(text)) == 16
    except InvalidJob:
        return


# ── filters, repeats, views ──────────────────────────────────────────────────────────────────────────────────────────────────────────

TAGGED = StoredJob(spec(queue="mail", options=Options(tags=("eu", "new"))), created_ms=1_000)


@pytest.mark.parametrize(
    ("wanted", "is_accepted"),
    [
        (JobFilter(), True),
        (JobFilter(state=JobState.PENDING), True),
        (JobFilter(state=JobState.RUNNING), False),
        (JobFilter(type="email"), True),
        (JobFilter(type="emai"), False),
        (JobFilter(queue="mail"), True),
        (JobFilter(queue="default"), False),
        (JobFilter(tag="new"), True),
        (JobFilter(tag="ne"), False),
        (JobFilter(created_after_ms=1_000), True),
        (JobFilter(created_after_ms=1_001), False),
        (JobFilter(created_before_ms=1_001), True),
        (JobFilter(created_before_ms=1_000), False),
        (JobFilter(JobState.PENDING, "email", "mail", "eu", 1_000, 1_001), True),
        (JobFilter(JobState.PENDING, "email", "mail", "us", 1_000, 1_001), False),
    ],
)
def test_filter_accepts_what_it_names(wanted: JobFilter, is_accepted: bool) -> None:
    assert wanted.accepts(TAGGED, JobState.PENDING) == is_accepted


def test_tag_filter_refuses_a_job_without_options() -> None:
    assert not JobFilter(tag="eu").accepts(StoredJob(spec(), created_ms=1), JobState.PENDING)


@PATIENT
@given(drawn(StoredJob), st.sampled_from(JobState), drawn(JobFilter))
def test_filter_with_less_in_it_accepts_no_fewer_jobs(job: StoredJob, state: JobState, wanted: JobFilter) -> None:
    looser = msgspec.structs.replace(wanted, state=None, type="", tag="")
    assert looser.accepts(job, state) or not wanted.accepts(job, state)


@pytest.mark.parametrize("change", [{"type": "sms"}, {"payload": b"\x81\xa1a\x01"}, {"queue": "bulk"}])
def test_repeat_with_other_type_payload_or_queue_is_other_content(change: dict[str, Any]) -> None:
    assert not same_content(spec(), spec(**change))


def test_repeat_may_differ_in_priority_and_options() -> None:
    assert same_content(spec(), spec(priority=9, options=Options(delay_ms=5)))


FAULT = JobFault("ValueError", "no such user", "Traceback ...")
ATTEMPTS = (
    Attempt(5, "n-1", "n-1/1", 100, 200, "retried", FAULT),
    Attempt(9, "n-2", "n-2/3", 300, 400, "failed", FAULT),
)
FULL = StoredJob(
    spec(queue="mail", priority=8, options=Options(max_retries=3, timeout_ms=500, unique_key="k", tags=("eu",))),
    created_ms=50,
    due_ms=60,
    run=2,
    retries=1,
    crashes=1,
    attempts=ATTEMPTS,
    progress=b"\x81",
)
SHARED = {
    "id": ID,
    "type": "email",
    "queue": "mail",
    "priority": 8,
    "payload": b"\x80",
    "created_ms": 50,
    "due_ms": 60,
    "run": 2,
    "retries": 1,
    "crashes": 1,
    "max_retries": 3,
    "timeout_ms": 500,
    "unique_key": "k",
    "tags": ("eu",),
    "attempts": ATTEMPTS,
    "progress": b"\x81",
}


def test_view_of_a_live_job_says_where_it_runs() -> None:
    view = view_live(FULL, JobState.RUNNING, node="n-3", worker="n-3/1", started_ms=500)
    assert view == JobView(**SHARED, status=JobState.RUNNING, node="n-3", worker="n-3/1", started_ms=500)


def test_view_of_a_record_says_how_it_ended_and_where_it_ran_last() -> None:
    view = view_record(Record(FULL, JobState.FAILED, 410, b"", FAULT))
    ended = {"status": JobState.FAILED, "finished_ms": 410, "error": FAULT}
    assert view == JobView(**SHARED, **ended, node="n-2", worker="n-2/3", started_ms=300)


def test_view_of_a_record_that_never_ran_names_no_node() -> None:
    view = view_record(Record(StoredJob(spec(), created_ms=1), JobState.CANCELLED, 2))
    assert (view.node, view.worker, view.started_ms, view.finished_ms) == ("", "", 0, 2)


def test_view_of_a_job_without_options_leaves_the_choices_open() -> None:
    view = view_live(StoredJob(spec(), created_ms=1), JobState.PENDING)
    assert (view.max_retries, view.timeout_ms, view.unique_key, view.tags) == (None, None, "", ())


@PATIENT
@given(drawn(Record))
def test_view_of_any_record_holds_its_result_and_every_attempt(record: Record) -> None:
    view = view_record(record)
    assert (view.result, view.error, view.attempts) == (record.result, record.error, record.job.attempts)
    assert (view.status, view.id, view.payload) == (record.state, record.job.spec.id, record.job.spec.payload)


# ── what waiting costs ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_waiting_job_costs_few_bytes_over_its_names_and_payload() -> None:
    """The store keeps this form a million times; unset options and counts must cost next to nothing."""
    job = spec(payload=b"\x81" + b"x" * 30)
    assert len(msgspec.msgpack.encode(job)) <= len(job.id + job.payload) + len(job.type + job.queue) + 10
    assert (
        len(msgspec.msgpack.encode(StoredJob(job, created_ms=1_700_000_000_000)))
        <= len(msgspec.msgpack.encode(job)) + 20
    )
