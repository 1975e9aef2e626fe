"""The checker: right histories pass, each planted bug is caught by the check that is for it, and it says what it could not judge."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sims.checkers import CHECKS, judge_ops
from sims.history import Recorder
from sims.lines import Ack, Cancel, Dead, Effect, Fault, Lease, Line, Open, Renew, Requeue, Run, Submit
from sims.mutants import MUTANTS, Mutant
from sims.reference import SHAPES, Shape, from_outside, simulate

SEEDS = range(5)


@pytest.mark.parametrize("name", SHAPES)
def test_right_histories_pass(name: str) -> None:
    for seed in SEEDS:
        ops = simulate(SHAPES[name], seed)
        for view in (ops, from_outside(ops)):
            verdict = judge_ops(view)
            assert verdict.is_valid, (seed, [finding.examples for finding in verdict.findings if finding.violations])


_rate = st.floats(0.0, 0.15)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.builds(
        Shape,
        jobs=st.integers(1, 40),
        nodes=st.integers(2, 3),
        workers=st.integers(1, 3),
        batch=st.integers(1, 5),
        max_retries=st.integers(0, 3),
        raises=_rate,
        snoozes=_rate,
        discards=_rate,
        crashes=_rate,
        worker_kills=_rate,
        node_kills=st.floats(0.0, 0.03),
        pauses=st.floats(0.0, 0.03),
        cancels=_rate,
        requeues=st.floats(0.0, 0.05),
        promotes=_rate,
        scans=_rate,
        ticks=st.floats(0.0, 0.05),
        unknowns=_rate,
        refusals=_rate,
        repeats=_rate,
        delays=_rate,
    ),
    seed=st.integers(0, 1 << 32),
)
def test_any_history_of_the_reference_queue_passes(shape: Shape, seed: int) -> None:
    ops = simulate(shape, seed)
    for view in (ops, from_outside(ops)):
        verdict = judge_ops(view)
        assert verdict.is_valid, [finding.examples for finding in verdict.findings if finding.violations]


def test_the_reference_queue_shows_all_that_can_happen() -> None:
    """Else the tests above would prove nothing of the rare cases."""
    seen: Counter[str] = Counter()
    for seed in range(40):
        verdict = judge_ops(simulate(SHAPES["everything"], seed))
        seen.update(verdict.counts)
        for target, kills in verdict.kills.items():
            seen.update({f"{target} {moment}": count for moment, count in kills.moments.items()})
    wanted = [
        "recovered", "jobs_run_again", "submits_refused", "submits_unknown", "effects_stale", "effects_duplicate",
        "cancels_cancelled", "cancels_cancelling", "cancels_finished", "final_done", "final_dead", "final_cancelled",
        "worker run", "worker result", "worker ack", "node claim", "node run", "node result", "node ack",
    ]  # fmt: skip
    assert [what for what in wanted if not seen[what]] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught_by_its_check(mutant: Mutant) -> None:
    histories = mutant.histories(3)
    assert len(histories) == 3
    for seed, right, wrong in histories:
        assert judge_ops(right).is_valid, seed
        verdict = judge_ops(wrong)
        assert not verdict.is_valid
        assert mutant.check in verdict.violated, (seed, verdict.violated)
        assert set(verdict.violated) <= {mutant.check} | mutant.also, seed


def test_a_retry_that_was_carried_out_twice_is_two_ends_too_many() -> None:
    """The client asked for one run, and a second copy of its request made another. Fails on a check that leaves jobs with a retry out."""
    caught = 0
    for seed in range(20):
        ops = simulate(SHAPES["run again"], seed)
        asked = Counter(op.job for op in ops if isinstance(op, Requeue) and op.type == "invoke")
        ended = Counter(op.job for op in ops if isinstance(op, Ack | Dead) and op.type == "ok")
        for job in [job for job, times in asked.items() if times > 1 and ended[job] > times]:
            first = next(op for op in ops if isinstance(op, Requeue) and op.job == job)
            once = [op for op in ops if not (isinstance(op, Requeue) and op.job == job and op.t > first.t + 1 and op.type == "invoke")]
            verdict = judge_ops(once)
            assert "C8" in verdict.violated, (seed, job)
            caught += 1
    assert caught > 0


def test_every_check_has_a_planted_bug() -> None:
    assert [check.id for check in CHECKS] == [f"C{number}" for number in range(1, 17)]
    assert {check.id for check in CHECKS} == {mutant.check for mutant in MUTANTS}


def test_a_history_from_outside_says_what_was_not_judged() -> None:
    verdict = judge_ops(from_outside(simulate(SHAPES["worker kills"], 1)))
    reasons = {finding.id: finding.reason for finding in verdict.findings}
    assert verdict.is_valid
    assert "C6" not in verdict.checked
    assert reasons["C6"] == "no lease lines in the history"
    assert reasons["C14"] == "no lease lines in the history"
    assert "C9" in verdict.checked
    assert reasons["C5"] == "no lease lines: judged by the fences the sink saw, not by those granted"


def test_an_empty_history_is_not_valid() -> None:
    assert not judge_ops([]).is_valid


def test_examples_are_bounded_and_all_violations_counted() -> None:
    ops: list[Line] = [Run(t=n, p="w", type="ok", job=f"j{n}", fence=1, pid=1) for n in range(50)]
    ops.append(Submit(t=60, p="cli", type="invoke", job="another"))
    unexpected = judge_ops(ops).findings[1]
    assert unexpected.violations == 50
    assert len(unexpected.examples) == 10


def test_a_late_run_of_a_woken_worker_is_excused_only_by_its_pause() -> None:
    ops: list[Line] = [
        Submit(t=1, p="cli", type="invoke", job="j"),
        Submit(t=2, p="cli", type="ok", job="j"),
        Cancel(t=500, p="cli", type="ok", job="j", val="cancelled"),
        Run(t=700, p="w", type="ok", job="j", fence=1, pid=7),
    ]
    pause = Fault(t=100, t1=600, p="nemesis", type="ok", kind="stop", pids=[7])
    assert judge_ops(ops).violated == ["C7"]
    assert judge_ops([*ops, pause]).is_valid
    assert judge_ops([*ops, Fault(t=100, t1=600, p="nemesis", type="ok", kind="stop", pids=[8])]).violated == ["C7"]


MS = 1_000_000


def granted_twice(*more: Line, lease_ms: int = 3000, second_ms: int) -> list[Line]:
    """Node n1 asks for a job at 1,000 ms and hears of it at 5,000; n2 has it at `second_ms`."""
    return [
        Submit(t=1, p="cli", type="invoke", job="j"),
        Submit(t=2, p="cli", type="ok", job="j"),
        Open(t=4, p="n1", type="ok", node="n1", boot=1, t0=3, lease_ms=lease_ms),
        Open(t=4, p="n2", type="ok", node="n2", boot=1, t0=3, lease_ms=lease_ms),
        *more,
        Lease(t=second_ms * MS, p="n2", type="ok", job="j", fence=2, node="n2", boot=1, t0=(second_ms - 1) * MS),
        Ack(t=(second_ms + 1) * MS, p="n2", type="invoke", job="j", fence=2),
        Ack(t=(second_ms + 2) * MS, p="n2", type="ok", job="j", fence=2),
        Lease(t=5000 * MS, p="n1", type="ok", job="j", fence=1, node="n1", boot=1, t0=1000 * MS),
    ]


def renewed(from_ms: int, to_ms: int, type: str) -> Renew:
    return Renew(t=to_ms * MS, p="n1", type=type, node="n1", boot=1, t0=from_ms * MS)


@pytest.mark.parametrize(("second_ms", "violated"), [(3850, ["C6"]), (3905, [])])
def test_a_lease_that_was_lost_counts_anew_from_the_question_and_was_lost_by_the_answer(second_ms: int, violated: list[str]) -> None:
    """Fails on a checker that lets the new lease begin with the answer: it held for 100 ms less."""
    ops = granted_twice(renewed(500, 501, "ok"), renewed(900, 999, "fail"), second_ms=second_ms)
    assert judge_ops(ops).violated == violated


@pytest.mark.parametrize(("until_ms", "violated"), [(4999, []), (999, ["C6"])])
def test_a_holder_who_was_stopped_before_it_heard_of_its_claim_was_hit(until_ms: int, violated: list[str]) -> None:
    """Fails on a checker for which a claim begins when its holder hears of it."""
    stop = Fault(t=900 * MS, t1=until_ms * MS, p="nemesis", type="ok", kind="stop", node="n1")
    assert judge_ops(granted_twice(renewed(500, 501, "ok"), stop, second_ms=2000)).violated == violated


def test_a_kill_counts_only_with_a_started_job_in_the_victim() -> None:
    def kill(t: int, pid: int) -> Fault:
        return Fault(t=t, t1=t + 1, p="nemesis", type="ok", kind="kill", val="worker", pids=[pid])

    ops: list[Line] = [
        kill(5, 7),
        Run(t=10, p="w7", type="ok", job="j", fence=1, pid=7),
        kill(20, 8),
        kill(30, 7),
        Run(t=1_000_000_030, p="w9", type="ok", job="j", fence=2, pid=9),
    ]
    kills = judge_ops(ops).kills["worker"]
    assert (kills.total, kills.started) == (3, 1)
    assert kills.moments == {"claim": 0, "run": 1, "result": 0, "ack": 0}
    assert kills.rerun_p99_s == 1.0


def _run_checker(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sims.checkers", *map(str, arguments)]
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, cwd=root, env=os.environ, timeout=60, check=False)


def test_the_command_prints_the_verdict_and_exits_with_it(tmp_path: Path) -> None:
    ops = simulate(SHAPES["worker kills"], 3)
    with Recorder(tmp_path / "all.jsonl", "all") as recorder:
        recorder.append(ops)
    right = _run_checker(tmp_path)
    assert right.returncode == 0
    assert right.stdout.splitlines()[-1] == "valid"
    assert "kills of worker" in right.stdout

    effects = [op for op in ops if isinstance(op, Effect) and op.type == "ok"]
    with Recorder(tmp_path / "sink2.jsonl", "sink2") as recorder:
        recorder.append(effects[:1])
    wrong = _run_checker("--json", tmp_path)
    assert wrong.returncode == 1
    verdict = json.loads(wrong.stdout)
    assert [finding["id"] for finding in verdict["findings"] if finding["violations"]] == ["C4"]


def test_the_command_refuses_a_damaged_history(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"f":"run"\n{"f":"workload","t":1,"p":"x","type":"ok"}\n')
    damaged = _run_checker(path)
    assert damaged.returncode == 2
    assert "line 1" in damaged.stderr


@pytest.mark.slow
def test_two_hundred_thousand_jobs_are_judged_in_seconds(tmp_path: Path) -> None:
    # A gross limit: the aim is about 5 s on a quiet core, a quadratic check would take hours.
    path = tmp_path / "big.jsonl"
    with Recorder(path, "x") as recorder:
        for start in range(0, 200_000, 1_000):
            recorder.append([line for n in range(start, start + 1_000) for line in _plain_job(n)])
    done = _run_checker(path)
    assert done.returncode == 0
    assert "lines: 1200000" in done.stdout


def _plain_job(number: int) -> list[Line]:
    from sims.lines import Ack, Final, Lease

    job, t, fence = f"job-{number:08}", number * 1_000 + 1, number // 100 + 1
    return [
        Submit(t=t, p="x", type="invoke", job=job, max_retries=3),
        Submit(t=t + 1, p="x", type="ok", job=job, level="disk"),
        Lease(t=t + 2, p="x", type="ok", job=job, fence=fence, node="n1", boot=1),
        Run(t=t + 3, p="x", type="ok", job=job, fence=fence, pid=7, attempt=1),
        Ack(t=t + 4, p="x", type="ok", job=job, fence=fence),
        Final(t=t + 1_000_000_000, p="x", type="ok", job=job, val="done"),
    ]
