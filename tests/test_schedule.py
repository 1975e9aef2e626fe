"""What a valid schedule is, and the identity of its ticks and jobs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.errors import InvalidJob, PayloadTooLarge
from zjp.job import Limits, Options, format_id
from zjp.schedule import (
    CatchUp,
    Removable,
    Schedule,
    ScheduleChange,
    changed,
    check_schedule,
    is_same_plan,
    job_of,
    tick_id,
    tick_of,
)
from zjp.ticks import altered, begun, due, upcoming

pytestmark = pytest.mark.covers("cluster:schedules")

NOW_MS = 1_780_000_000_000
NIGHTLY = Schedule("nightly", "backup", cron="30 2 * * *", zone="Europe/Berlin")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": ""}, "name has 0 characters, it must have 1 to 48"),
        ({"name": "a b"}, "name 'a b' holds spaces"),
        ({"type": ""}, "type has 0 characters"),
        ({"queue": "q" * 65}, "queue has 65 characters"),
        ({"queue": "*"}, r"queue '\*' cannot be named in QUEUES"),
        ({"priority": 11}, "priority is 11"),
        ({"payload": b"\xc0"}, "payload is not a msgpack map"),
        ({"every_ms": 1000}, "both are set; give one of them"),
        ({"cron": ""}, "none of them is; give one of them"),
        ({"cron": "", "every_ms": 999}, "every is 999 ms, it must be 1000"),
        ({"cron": "", "every_ms": -1}, "every is -1 ms"),
        (
            {"cron": "1 2 3"},
            r"cron '1 2 3' is not understood \(Wrong number of fields\); give minute hour day month weekday",
        ),
        ({"cron": "² 0 0 * * *"}, r"cron '² 0 0 \* \* \*' is not understood \(Bad second\); give minute hour"),
        ({"cron": "61 * * * *"}, r"not understood \(Bad minute\)"),
        ({"cron": "0 0 29 2 MON#5", "zone": "UTC"}, None),
        ({"cron": "0 0 31 2,4 *"}, "not understood"),
        ({"cron": "* " * 200}, "cron has 400 characters, the limit is 256"),
        ({"zone": "Mars/Olympus"}, "zone 'Mars/Olympus' is no time zone; give an IANA name such as Europe/Berlin"),
        ({"zone": "../../etc/passwd"}, "is no time zone"),
        ({"zone": ""}, "is no time zone"),
        ({"options": Options(delay_ms=5)}, "delay is for one job; a schedule makes many"),
        ({"options": Options(idempotency_key="x")}, "idempotency_key is for one job"),
        ({"options": Options(tags=("t",) * 16)}, "there are 16 tags, the limit for a schedule is 15"),
    ],
)
def test_wrong_schedule_is_refused_with_what_is_accepted(fields: dict[str, Any], told: str | None) -> None:
    asked = msgspec.structs.replace(NIGHTLY, **fields)
    if told is None:
        assert begun(asked, NOW_MS, Limits()).next_ms
        return
    with pytest.raises(InvalidJob, match=told):
        begun(asked, NOW_MS, Limits())


def test_payload_of_a_schedule_is_bounded() -> None:
    with pytest.raises(PayloadTooLarge, match="the limit is 65536"):
        check_schedule(msgspec.structs.replace(NIGHTLY, payload=b"\x80" + bytes(65536)), Limits())


@given(st.integers(0, 1 << 42), st.lists(st.integers(1, 1 << 31), unique=True, min_size=2, max_size=50))
def test_each_tick_has_an_id_of_its_own_in_the_shape_of_all_ids(created_ms: int, seconds: list[int]) -> None:
    schedule = msgspec.structs.replace(NIGHTLY, created_ms=created_ms)
    ids = [tick_id(schedule, second * 1000 + created_ms % 1000) for second in seconds]
    assert len(set(ids)) == len(ids)
    assert [tick_of(job_id) // 1000 for job_id in ids] == seconds
    assert all(format_id(job_id)[14] == "7" and format_id(job_id)[19] in "89ab" for job_id in ids)


def test_same_tick_has_the_same_id_and_another_schedule_has_another() -> None:
    made = begun(NIGHTLY, NOW_MS, Limits())
    assert tick_id(made, NOW_MS) == tick_id(altered(made, ScheduleChange(priority=9), NOW_MS, Limits()), NOW_MS)
    assert tick_id(made, NOW_MS) != tick_id(msgspec.structs.replace(made, name="weekly"), NOW_MS)
    assert tick_id(made, NOW_MS) != tick_id(msgspec.structs.replace(made, created_ms=NOW_MS + 1), NOW_MS)


def test_job_of_a_schedule_carries_its_name_as_a_tag() -> None:
    schedule = msgspec.structs.replace(
        NIGHTLY, options=Options(tags=("night",), max_retries=2), queue="slow", priority=2
    )
    spec = job_of(schedule, b"i" * 16)
    assert (spec.type, spec.queue, spec.priority) == ("backup", "slow", 2)
    assert spec.options == Options(tags=("night", "schedule:nightly"), max_retries=2)


def test_interval_takes_the_place_of_a_cron_expression_and_the_other_way_round() -> None:
    hourly = changed(NIGHTLY, ScheduleChange(every_ms=3_600_000))
    assert (hourly.cron, hourly.every_ms) == ("", 3_600_000)
    again = changed(hourly, ScheduleChange(cron="@daily"))
    assert (again.cron, again.every_ms) == ("@daily", 0)


def test_a_change_of_options_leaves_those_alone_that_it_does_not_name_and_empties_what_it_gives_empty() -> None:
    full = msgspec.structs.replace(NIGHTLY, options=Options(tags=("a", "b"), max_retries=2, timeout_ms=5_000, unique_key="k"))
    assert changed(full, ScheduleChange(priority=1)).options == full.options
    assert changed(full, ScheduleChange(tags=())).options == Options(max_retries=2, timeout_ms=5_000, unique_key="k")
    assert changed(full, ScheduleChange(unique_key="")).options == Options(max_retries=2, timeout_ms=5_000, tags=("a", "b"))
    changes = ScheduleChange(tags=("c",), max_retries=0, timeout_ms=1, soft_timeout_ms=1, unique_key="other")
    assert changed(full, changes).options == Options(
        max_retries=0, timeout_ms=1, soft_timeout_ms=1, unique_key="other", tags=("c",)
    )


def test_a_change_takes_away_what_it_is_to_be_without_and_leaves_the_rest() -> None:
    options = Options(tags=("a",), max_retries=2, timeout_ms=5_000, soft_timeout_ms=3_000, unique_key="k")
    full = msgspec.structs.replace(NIGHTLY, options=options)
    assert changed(full, ScheduleChange(without=(Removable.TIMEOUT, Removable.SOFT_TIMEOUT))).options == Options(
        tags=("a",), max_retries=2, unique_key="k"
    )
    assert changed(full, ScheduleChange(without=tuple(Removable))).options == Options(tags=("a",))
    assert changed(full, ScheduleChange(tags=(), without=tuple(Removable))).options is None
    assert changed(msgspec.structs.replace(NIGHTLY, options=None), ScheduleChange(without=tuple(Removable))).options is None


def test_a_schedule_whose_last_option_is_taken_away_is_the_same_plan_as_one_added_without() -> None:
    tagged = msgspec.structs.replace(NIGHTLY, options=Options(tags=("a",)))
    assert is_same_plan(changed(tagged, ScheduleChange(tags=())), msgspec.structs.replace(NIGHTLY, options=None))


def test_new_timing_counts_from_the_change_and_the_rest_leaves_the_ticks_alone() -> None:
    made = begun(msgspec.structs.replace(NIGHTLY, cron="", every_ms=60_000), NOW_MS, Limits())
    assert upcoming(made, 2) == [NOW_MS + 60_000, NOW_MS + 120_000]
    assert altered(made, ScheduleChange(queue="slow"), NOW_MS + 90_000, Limits()).next_ms == NOW_MS + 60_000
    assert altered(made, ScheduleChange(every_ms=10_000), NOW_MS + 90_000, Limits()).next_ms == NOW_MS + 100_000


def test_change_never_brings_a_fired_tick_back_though_the_clock_was_set_back() -> None:
    made = begun(msgspec.structs.replace(NIGHTLY, cron="* * * * *"), NOW_MS, Limits())
    found = due(made, made.next_ms)
    assert found is not None
    (tick,) = found.ticks
    again = altered(found.schedule, ScheduleChange(cron="*/1 * * * *"), tick - 30_000, Limits())
    assert again.next_ms == tick + 60_000
    earlier = altered(found.schedule, ScheduleChange(cron="*/1 * * * *"), tick - 90_000, Limits())
    assert upcoming(earlier, 2) == [tick - 60_000, tick + 60_000]


def test_what_was_missed_while_paused_is_not_caught_up() -> None:
    made = begun(msgspec.structs.replace(NIGHTLY, cron="", every_ms=60_000, catch_up=CatchUp.ALL), NOW_MS, Limits())
    paused = altered(made, ScheduleChange(is_paused=True), NOW_MS, Limits())
    resumed = altered(paused, ScheduleChange(is_paused=False), NOW_MS + 3_630_000, Limits())
    assert resumed.next_ms == NOW_MS + 3_660_000


def test_schedule_of_a_queue_that_only_older_versions_took_can_be_paused_and_given_another_queue() -> None:
    old = msgspec.structs.replace(begun(NIGHTLY, NOW_MS, Limits()), queue="a,b")
    paused = altered(old, ScheduleChange(is_paused=True), NOW_MS, Limits())
    assert (paused.is_paused, altered(paused, ScheduleChange(is_paused=False), NOW_MS, Limits()).queue) == (True, "a,b")
    with pytest.raises(InvalidJob, match="queue 'a,b' cannot be named in QUEUES"):
        altered(old, ScheduleChange(priority=9), NOW_MS, Limits())
    assert altered(old, ScheduleChange(priority=9, queue="a-b"), NOW_MS, Limits()).queue == "a-b"


def test_same_plan_is_told_apart_from_another_whatever_the_nodes_noted() -> None:
    made = begun(NIGHTLY, NOW_MS, Limits())
    assert is_same_plan(made, NIGHTLY)
    assert not is_same_plan(made, msgspec.structs.replace(NIGHTLY, priority=6))
