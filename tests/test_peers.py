"""That the comparison with peers measures something: zjp's side is run small, a peer's where it is installed, and the judging by hand-made
marks. How fast anybody is stands in docs/benchmarks-peers.md, never in a test."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks.peers import crash, results, rounds
from benchmarks.peers.__main__ import picture, run_all
from benchmarks.peers.installing import Missing, install, is_installed
from benchmarks.peers.peer import PEERS, Jobs, Peer, named
from benchmarks.peers.session import Mark, Session
from benchmarks.plot import ladders

BY_NAME = {peer.name: peer for peer in PEERS}
SECOND = 10**9


def mark(at_s: float, index: int, pid: int, kind: int) -> Mark:
    return Mark(int(at_s * SECOND), index, pid, kind)


def ended_by(pid: int, indices: range) -> list[Mark]:
    return [mark(0.5, index, pid, kind) for index in indices for kind in (crash.STARTED, crash.ENDED)]


# ── running ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.system
def test_a_quick_run_of_zjp_measures_everything() -> None:
    report = run_all([BY_NAME["zjp-sqlite"]], rounds_count=1, quick=True)
    figures = report["peers"]["zjp-sqlite"]
    assert "skipped" not in figures, figures
    assert min(figures[name]["median"] for name in ("singly_per_s", "callers_per_s", "many_per_s", "drain_per_s", "both_per_s")) > 0
    assert figures["both_producer_us"]["median"] > 0
    assert figures["both_node_us"]["median"] > 0
    assert figures["both_redis_us"]["median"] == 0
    assert 0 < figures["p50_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    assert figures["crashes"][0]["not_ended"] == 0
    assert figures["crashes"][0]["again_s"] is not None
    assert "zjp, SQLite FULL" in results.table(report["peers"], report["crash_limit_s"])
    assert ElementTree.fromstring(picture(report["peers"])) is not None


def measured_small(peer: Peer) -> dict[str, float]:
    if not is_installed(peer):
        pytest.skip(f"{peer.label} is not installed here; python -m benchmarks.peers --peers {peer.name} installs it")
    install(peer)
    with Session(peer) as session:
        return rounds.one_round(session, peer.jobs.scaled(40))


@pytest.mark.system
def test_a_peer_that_is_installed_is_measured_alike() -> None:
    figures = measured_small(BY_NAME["huey"])
    assert min(figures["singly_per_s"], figures["drain_per_s"], figures["both_per_s"]) > 0
    assert figures["both_redis_us"] > 0
    assert figures["both_node_us"] == 0


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize("peer", [peer for peer in PEERS if not peer.is_ours], ids=lambda peer: peer.name)
def test_each_peer_that_is_installed_gets_through(peer: Peer) -> None:
    assert measured_small(peer)["both_total_us"] > 0


def test_a_peer_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match="redis-server is not installed"):
        install(BY_NAME["huey"])


# ── the table of peers ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_peers_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert [peer.name for peer in named("huey, celery")] == ["celery", "huey"]
    assert named(None) == list(PEERS)
    with pytest.raises(ValueError, match="unknown peers sidekiq; there are zjp-redis"):
        named("huey,sidekiq")


def test_every_peer_names_its_exact_version() -> None:
    assert all("==" in peer.requirements[0] for peer in PEERS if peer.requirements)


def test_fewer_jobs_of_a_call_that_is_missing_are_none() -> None:
    assert Jobs(1_000, 100, 0, 4_000).scaled(20) == Jobs(50, 20, 0, 200)


# ── judging ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_of_the_killed_process_counts_until_it_starts_again() -> None:
    killed = crash.JOBS - 1
    marks = [*ended_by(7, range(killed)), mark(0.9, killed, 7, crash.STARTED), mark(2.5, killed, 8, crash.STARTED)]
    done = [*marks, mark(2.6, killed, 8, crash.ENDED)]
    judged = crash.judged(done, victim=7, killed_ns=SECOND)
    assert judged == {
        "running_at_kill": 1, "again_s": 1.5, "all_ended_s": pytest.approx(1.6), "not_ended": 0, "ended_twice": 0,
    }  # fmt: skip


def test_a_job_that_never_starts_again_is_neither_timed_nor_ended() -> None:
    marks = [*ended_by(7, range(crash.JOBS - 1)), mark(0.9, crash.JOBS - 1, 7, crash.STARTED)]
    judged = crash.judged(marks, victim=7, killed_ns=SECOND)
    assert (judged["again_s"], judged["all_ended_s"], judged["not_ended"]) == (None, None, 1)


def test_a_job_of_another_process_is_not_one_of_the_killed_ones() -> None:
    last = crash.JOBS - 1
    marks = [*ended_by(7, range(last)), mark(0.9, last, 8, crash.STARTED), mark(1.2, last, 8, crash.ENDED)]
    assert crash.judged(marks, victim=7, killed_ns=SECOND)["running_at_kill"] == 0


def test_a_job_that_ended_in_two_processes_is_told() -> None:
    marks = [*ended_by(7, range(crash.JOBS)), *ended_by(8, range(2))]
    assert crash.judged(marks, victim=7, killed_ns=SECOND)["ended_twice"] == 2


def test_both_at_once_takes_the_way_that_enqueued_fastest() -> None:
    assert rounds.fastest({"singly_per_s": 3.0, "callers_per_s": 2.0, "drain_per_s": 9.0}) == "singly"
    assert rounds.fastest({"singly_per_s": 3.0, "callers_per_s": 4.0, "many_per_s": 5.0}) == "many"


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_rounds_become_median_least_and_most() -> None:
    assert results.spread([{"a": 1.0}, {"a": 5.0, "b": 2.0}, {"a": 3.0}]) == {
        "a": {"median": 3.0, "min": 1.0, "max": 5.0}, "b": {"median": 2.0, "min": 2.0, "max": 2.0},
    }  # fmt: skip


def test_ours_is_told_as_a_multiple_of_each_peer_alone() -> None:
    rate = {name: {"drain_per_s": {"median": value}} for name, value in (("zjp-redis", 80.0), ("zjp-sqlite", 60.0), ("huey", 4.0))}
    assert results.against(rate, "zjp-redis", "drain_per_s") == {"huey": 20.0}
    assert results.against({"huey": rate["huey"]}, "zjp-redis", "drain_per_s") == {}


def test_the_table_names_who_recovered_who_did_not_and_who_was_skipped() -> None:
    figures = {"version": "1", "drain_per_s": {"median": 1234.0}, "p50_ms": 1.25}
    lost = {"jobs": 100, "again_s": None, "not_ended": 3}
    table = results.table(
        {
            "a": {"label": "A", **figures, "crashes": [{"jobs": 100, "again_s": 0.5, "not_ended": 0}]},
            "b": {"label": "B", **figures, "crashes": [lost]},
            "c": {"label": "C", "version": "1", "skipped": "go is not installed"},
        },
        30.0,
    )
    first, second, last = table.splitlines()[2:]
    assert "| 1,234 |" in first
    assert first.endswith("| 0.50 s | 0 of 100 |")
    assert second.endswith("| not within 30 s | 3 of 100 |")
    assert last == "C: skipped, go is not installed"


def test_ladder_is_ten_times_as_long_by_one_step() -> None:
    def row(value: float) -> dict[str, float]:
        return {"median": value, "min": value, "max": value}

    drawn = ElementTree.fromstring(ladders([("rates", [("zjp", row(1e4)), ("a", row(1e3)), ("b", row(1e2))])]))
    widths = [float(bar.get("width", 0)) for bar in drawn.iter("{http://www.w3.org/2000/svg}rect") if bar.get("height") == "16"]
    assert widths[0] == pytest.approx(2 * widths[1])
    assert widths[2] == 0
