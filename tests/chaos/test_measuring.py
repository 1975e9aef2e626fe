"""The chaos runner's own instruments: what it measures and follows must be right before its verdicts mean anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sims.history import Recorder
from sims.lines import End, Fault, Lease, Line, Open, Release, Renew, Run, Submit
from tests.chaos import __main__ as chaos
from tests.chaos import report
from tests.chaos.experiment import Plan
from tests.chaos.figures import CALM, measure
from tests.chaos.processes import Grip, children_of, is_alive, number_of, pid_of, until_all_ended
from tests.chaos.shared_figures import measure_shared
from tests.chaos.tails import NodeTail, WorkerTail

pytestmark = [
    pytest.mark.covers("main-path:12"),
    pytest.mark.skipif(sys.platform != "linux", reason="chaos needs procfs and pidfd, so Linux"),
]

MS = 1_000_000


@pytest.mark.parametrize(
    "plan",
    [
        Plan(kills=60, node_kills=3, drains=1, others=3, calm_share=0.25, limit_s=360.0),
        Plan(kills=5, node_kills=6, queue="redis", nodes=3, records="mongo", redis_kills=9, redis_stops=2, resets=8, zombies=7, seed=7),
    ],
)
def test_a_run_is_repeated_by_the_command_that_its_report_tells(plan: Plan) -> None:
    words = report.command(plan).split()
    assert chaos.plan_of(chaos._parser().parse_args(words[words.index("tests.chaos") + 1 :])) == plan


def said(line_class: type[Line], t_ms: int, type: Any = "ok", /, **fields: Any) -> Line:
    return line_class(t=t_ms * MS, p="x", type=type, **fields)


def killed_worker(rerun_ms: int, *others: Line, mood: str = CALM) -> list[Line]:
    """Job J runs in process 41, which is killed at 20 ms, and again in process 42."""
    lines = [
        said(Submit, 1, "invoke", job="J"),
        said(Lease, 9, job="J", fence=7, node="n"),
        said(Run, 10, job="J", fence=7, pid=41),
        said(Fault, 20, t1=21 * MS, kind="kill", val=f"worker run {mood}", pids=[41]),
        said(Release, 25, job="J", fence=7),
        said(Run, rerun_ms, job="J", fence=8, pid=42),
        said(End, rerun_ms + 5, job="J", fence=8, pid=42),
    ]
    return sorted([*lines, *others], key=lambda line: line.t)


def test_time_to_run_again_counts_from_the_kill() -> None:
    figures = measure(killed_worker(120))
    assert list(figures.worker_reruns.seconds) == [0.1]


@pytest.mark.covers("redis:nodes")
def test_takeovers_of_low_priority_are_told_apart_as_they_wait_for_others_first() -> None:
    lines: list[Line] = []
    for job, priority, again_ms in (("usual", 5, 3_000), ("low", 1, 15_000)):
        lines += [
            said(Submit, 1, "invoke", job=job, priority=priority),
            said(Lease, 9, job=job, fence=7, node="n"),
            said(Run, 10, job=job, fence=7, pid=41),
            said(Run, again_ms, job=job, fence=8, pid=51),
            said(End, again_ms + 5, job=job, fence=8, pid=51),
        ]
    lines.append(said(Fault, 20, t1=21 * MS, kind="kill", val="node any", node="n", pids=[40, 41]))
    figures = measure_shared(sorted(lines, key=lambda line: line.t), Counter(), None)
    assert figures.takeovers.seconds == [2.98]
    assert figures.low_takeovers.seconds == [14.98]


def test_run_again_in_a_storm_of_faults_is_told_apart() -> None:
    figures = measure(killed_worker(920, mood="storm"))
    assert figures.worker_reruns.count == 0
    assert list(figures.storm_reruns.seconds) == [0.9]


def test_job_whose_end_was_reported_before_the_kill_is_no_hit() -> None:
    reported = said(Release, 15, job="J", fence=7)
    assert measure(killed_worker(120, reported)).worker_reruns.count == 0


@pytest.mark.parametrize(("attempt", "spent"), [(1, 0), (2, 1)])
def test_attempt_that_a_drain_spent_is_seen(attempt: int, spent: int) -> None:
    lines = [
        said(Run, 10, job="J", fence=7, pid=41, attempt=1),
        said(Fault, 20, t1=90 * MS, kind="drain", val="node", node="n", pids=[1, 41]),
        said(Release, 80, job="J", fence=7),
        said(Run, 200, job="J", fence=8, pid=42, attempt=attempt),
    ]
    figures = measure(lines)
    assert (figures.handed_back_by_drains, figures.spent_by_drains) == (1, spent)


@pytest.mark.parametrize(("silent_ms", "lost_early"), [(4_000, 1), (5_001, 0)])
def test_lease_given_up_before_its_time_is_seen(silent_ms: int, lost_early: int) -> None:
    lines = [
        said(Open, 1, node="n", boot=1, lease_ms=5000),
        said(Renew, 1000, node="n", boot=1),
        said(Renew, 1000 + silent_ms, "fail", node="n", boot=1),
    ]
    assert measure(lines).leases_lost_early == lost_early


def test_renewal_that_was_answered_late_counts_from_when_it_was_asked_for() -> None:
    lines = [
        said(Open, 1, node="n", boot=1, lease_ms=5000),
        said(Renew, 2000, t0=1000 * MS, node="n", boot=1),
        said(Renew, 6500, "fail", t0=6400 * MS, node="n", boot=1),
    ]
    assert measure(lines).leases_lost_early == 0


def test_follower_reads_whole_lines_only(tmp_path: Path) -> None:
    path = tmp_path / "w1.jsonl"
    with Recorder(path, "w1") as recorder:
        latest: dict[str, int] = {}
        tail = WorkerTail(path, 1, latest)
        recorder.write("run", "ok", job="J", fence=7, pid=1)
        with path.open("ab") as torn:
            torn.write(b'{"f":"end","t":5,"p":"w1","type":"ok","job":"J",')
        assert tail.look() == []
        assert list(tail.running) == [("J", 7)]
        assert latest == {"J": 7}
        with path.open("ab") as rest:
            rest.write(b'"fence":7,"pid":1}\n')
        assert tail.look() == [("J", 7)]
        assert (list(tail.running), list(tail.ended)) == ([], [("J", 7)])
        tail.close()


def test_follower_of_the_node_knows_which_reports_are_under_way(tmp_path: Path) -> None:
    path = tmp_path / "n1.jsonl"
    with Recorder(path, "n1") as recorder:
        tail = NodeTail(path)
        recorder.write("lease", "ok", job="J", fence=7)
        recorder.write("ack", "invoke", job="J", fence=7)
        tail.look()
        assert (tail.granted, tail.asked, tail.answered) == (1, {("J", 7)}, set())
        recorder.write("ack", "ok", job="J", fence=7)
        tail.look()
        assert (tail.asked, tail.answered) == (set(), {("J", 7)})
        tail.close()


def test_process_is_known_by_number_and_its_end_is_seen() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    number = number_of(child.pid)
    try:
        assert pid_of(number) == child.pid
        assert number in children_of(os.getpid())
        grip = Grip(number)
        grip.send(signal.SIGKILL)
        assert until_all_ended([grip], 10.0) is not None
        assert not is_alive(number)
    finally:
        child.kill()
        child.communicate()
    with pytest.raises(ProcessLookupError):
        number_of(child.pid)
