"""That the benchmarks measure something: each is run small. How fast zjp is stands in docs/benchmarks.md, never in a test."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks import bare_path, floor, latency, lateness, machine, memory, micro, waiting, whole_path
from benchmarks.plot import bars
from benchmarks.running import running_node
from tests.redis import shared_redis

pytestmark = [pytest.mark.system, pytest.mark.covers("main-path:13", "main-path:judged:3")]


def test_whole_path_tells_rates_and_the_cost_by_process() -> None:
    with running_node(worker_processes="2", worker_count="2") as node:
        figures = whole_path.rounds(lambda: whole_path.sustained(node, jobs=1_000, batch=100), 2)
        drained = whole_path.drain(node, jobs=500, batch=100)
        single = whole_path.singles(node, jobs=500, coroutines=16)
    assert figures["total_us"]["median"] == pytest.approx(
        sum(figures[part]["median"] for part in ("node_us", "workers_us", "producer_us")), rel=0.5
    )
    assert min(figures["jobs_per_s"]["min"], drained["jobs_per_s"], single["submits_per_s"]) > 0


@pytest.mark.parametrize("has_redis", [False, True])
def test_latency_of_the_bare_hops_is_told(has_redis: bool) -> None:
    waits = floor.floor(jobs=30, per_s=500, redis_path=str(shared_redis().socket) if has_redis else "")
    assert 0 < waits["p50_ms"] <= waits["p99_ms"]


@pytest.mark.parametrize("has_redis", [False, True])
def test_bare_hops_at_full_load_carry_every_job_and_tell_the_cost_by_process(has_redis: bool) -> None:
    server = shared_redis() if has_redis else None
    where = {"redis_path": str(server.socket), "redis_pid": server.pid} if server is not None else {}
    records = int(server.send(b"HLEN", b"r").strip(b":\r\n")) if server is not None else 0
    ours, theirs = whole_path.in_turn(lambda: {"one": 1.0}, lambda: bare_path.bare(jobs=1_050, batch=100, **where), 1)
    assert ours == [{"one": 1.0}]
    parts = ("node_us", "workers_us", "producer_us", *(("redis_us",) if has_redis else ()))
    assert all(theirs[0][part] > 0 for part in parts)
    assert theirs[0]["total_us"] == pytest.approx(sum(theirs[0][part] for part in parts))
    assert server is None or server.send(b"HLEN", b"r").strip() == b":%d" % (records + 1_050)


def test_latency_and_idle_cost_are_told() -> None:
    with running_node(worker_processes="2", worker_count="2") as node:
        waits = latency.start_latency(node, jobs=50, per_s=500)
        idle = latency.idle_cpu(node, seconds=0.5)
        assert node.start_s > 0
    assert 0 < waits["p50_ms"] <= waits["p99_ms"] <= waits["max_ms"]
    assert 0 <= idle["total_percent"] < 100


@pytest.mark.covers("cluster:duties")
def test_delayed_jobs_are_never_early_and_how_late_they_are_is_told() -> None:
    with running_node(worker_processes="1", worker_count="1") as node:
        late = lateness.quantiles_ms([*lateness.ready_lateness(node, 300), *lateness.start_lateness(node, 300)])
    assert 0 <= late["min_ms"] <= late["p99_ms"]


@pytest.mark.covers("main-path:judged:5")
def test_cost_with_few_and_many_waiting_jobs_is_told() -> None:
    with running_node(worker_processes="2", worker_count="2") as node:
        *rows, last = waiting.flatness(node, [100, 1_000], probe=500)
    assert last["purged"] > 0
    assert [row["waiting"] for row in rows] == [100, 1_000]
    assert all(row["submit_us"] > 0 and row["run_us"] > 0 and row["node_rss_mib"] > 1 for row in rows)


def test_memory_of_a_waiting_job_is_told() -> None:
    shared_redis()  # skips where there is no server
    few, more = memory.above_payload([1_000, 3_000])
    assert (few["waiting"], more["waiting"]) == (1_000, 3_000)
    assert all(row["bytes_per_job"] > 200 and 0 < row["above_payload"] < row["bytes_per_job"] - 200 for row in (few, more))


def test_small_parts_are_timed() -> None:
    assert all(0 < ns < 1e6 for ns in micro.nanoseconds(calls=1_000).values())


def test_speed_of_the_machine_is_told_beside() -> None:
    assert all(value > 0 for value in machine.speed().values())


def test_plot_is_a_picture_with_a_bar_for_each_part() -> None:
    part = {"median": 5.0, "min": 4.0, "max": 6.0}
    report = {"whole path": {"producer_us": part, "node_us": part, "workers_us": part, "total_us": part, "jobs_per_s": part}}
    picture = ElementTree.fromstring(bars(report))
    widths = [float(bar.get("width", 0)) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert sum(width > 100 for width in widths[1:]) == 3
