"""The metric table and the counters behind it."""

from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.metrics import OTHER, SERIES_MAX, TABLE, Counters, MetricKind, Teller, quantile

pytestmark = pytest.mark.covers("main-path:8")

PROMISED = [
    "job_processing_duration_seconds",
    "worker_active_gauge",
    "queue_depth_gauge",
    "node_uptime_seconds",
    "zjp_jobs_submitted_total",
    "zjp_jobs_finished_total",
    "zjp_job_wait_seconds",
    "zjp_queue_oldest_seconds",
    "zjp_retries_total",
    "zjp_leases_expired_total",
    "zjp_fenced_writes_total",
    "zjp_store_seconds",
    "zjp_records_backlog",
    "zjp_worker_rss_bytes",
    "zjp_build_info",
]


def test_table_has_the_promised_names_with_help_and_bounds() -> None:
    assert set(PROMISED) <= set(TABLE)
    for metric in TABLE.values():
        assert re.fullmatch(r"[a-z][a-z_]+", metric.name)
        assert metric.help.endswith(".")
        assert (metric.kind is MetricKind.HISTOGRAM) == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.kind is not MetricKind.COUNTER or metric.name.endswith("_total")


def test_labels_are_those_of_the_contract() -> None:
    assert TABLE["job_processing_duration_seconds"].labels == ("type", "queue", "outcome")
    assert TABLE["queue_depth_gauge"].labels == ("queue", "state")
    assert TABLE["zjp_jobs_finished_total"].labels == ("type", "queue", "outcome")
    assert TABLE["zjp_store_seconds"].labels == ("operation",)


def test_counter_rises_by_batches_and_per_label() -> None:
    counters = Counters()
    counters.add("zjp_jobs_submitted_total", 100)
    counters.add("zjp_jobs_submitted_total")
    counters.add("zjp_jobs_finished_total", 3, ("email", "default", "completed"))
    assert counters.snapshot()["zjp_jobs_submitted_total"]["series"] == [{"labels": [], "value": 101}]
    assert counters.snapshot()["zjp_jobs_finished_total"]["series"] == [
        {"labels": ["email", "default", "completed"], "value": 3}
    ]


def test_gauge_is_set_and_all_its_series_can_be_replaced() -> None:
    counters = Counters()
    counters.set("zjp_worker_rss_bytes", 5, ("0",))
    counters.replace("zjp_worker_rss_bytes", {("1",): 7})
    assert counters.snapshot()["zjp_worker_rss_bytes"]["series"] == [{"labels": ["1"], "value": 7}]


@given(st.lists(st.floats(0, 1e6), max_size=200))
def test_each_value_is_in_the_first_bucket_that_holds_it(values: list[float]) -> None:
    counters = Counters()
    counters.observe_many("zjp_job_wait_seconds", values)
    row = counters.snapshot()["zjp_job_wait_seconds"]
    (series,) = row["series"]
    assert len(series["counts"]) == len(row["bounds"]) + 1
    assert sum(series["counts"]) == len(values)
    for index, bound in enumerate(row["bounds"]):
        assert sum(series["counts"][: index + 1]) == sum(value <= bound for value in values)
    assert series["sum"] == pytest.approx(sum(values))


@given(st.lists(st.floats(0.0001, 3000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantile_is_never_below_the_true_one_and_at_most_one_bucket_above(values: list[float], share: float) -> None:
    counters = Counters()
    counters.observe_many("zjp_job_wait_seconds", values)
    row = counters.snapshot()["zjp_job_wait_seconds"]
    estimate = quantile(row["bounds"], row["series"][0]["counts"], share)
    true = sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]
    assert estimate is not None
    assert estimate >= true
    assert estimate == min(bound for bound in row["bounds"] if bound >= true)


@given(st.lists(st.floats(-1, 1e6), max_size=50))
def test_one_value_is_counted_as_many_are(values: list[float]) -> None:
    one, many = Counters(), Counters()
    for value in values:
        one.observe("zjp_job_wait_seconds", value)
    many.observe_many("zjp_job_wait_seconds", values)
    ones, manys = (counters.snapshot()["zjp_job_wait_seconds"]["series"] for counters in (one, many))
    assert [series["counts"] for series in ones] == ([series["counts"] for series in manys] if values else [])


def test_what_a_node_does_not_count_has_no_series_at_the_start() -> None:
    started = Counters().snapshot()
    assert {name for name, row in started.items() if row["series"]} == {
        name
        for name, row in TABLE.items()
        if row.teller is Teller.NODE and row.kind is not MetricKind.HISTOGRAM and not row.labels
    }


def test_quantile_of_nothing_is_none() -> None:
    assert quantile([1.0, 2.0], [0, 0, 0], 0.5) is None


def test_snapshot_has_the_whole_table_as_plain_data_and_does_not_change_afterwards() -> None:
    counters = Counters()
    counters.observe_many("zjp_store_seconds", [0.1], ("claim",))
    before = counters.snapshot()
    packed = msgspec.msgpack.encode(before)
    counters.observe_many("zjp_store_seconds", [0.1], ("claim",))
    assert list(before) == list(TABLE)
    assert msgspec.msgpack.encode(before) == packed
    assert msgspec.msgpack.decode(packed) == before


def test_label_values_beyond_the_bound_are_counted_together() -> None:
    counters = Counters()
    for index in range(SERIES_MAX + 50):
        counters.add("zjp_jobs_finished_total", 1, (f"type-{index}", "default", "completed"))
    series = counters.snapshot()["zjp_jobs_finished_total"]["series"]
    assert len(series) == SERIES_MAX + 1
    assert series[-1] == {"labels": [OTHER] * 3, "value": 50}


def test_wrong_use_is_our_own_bug() -> None:
    counters = Counters()
    with pytest.raises(KeyError):
        counters.add("zjp_jobs_sbmitted_total")
    with pytest.raises(AssertionError, match="no counter"):
        counters.add("worker_active_gauge")
    with pytest.raises(AssertionError, match="cannot fall"):
        counters.add("zjp_retries_total", -1)
    with pytest.raises(AssertionError, match="no gauge"):
        counters.set("zjp_retries_total", 1)
    with pytest.raises(AssertionError, match="has labels"):
        counters.set("queue_depth_gauge", 1, ("default",))
