"""The judge of power cuts must be right before its verdicts mean anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from sims.history import load
from tests.power.judge import describe, judge
from tests.power.ledger import Account, Ledger, Told

pytestmark = pytest.mark.covers("power:judge")

S = 1_000_000_000
CUT_NS = 100 * S


def account(*jobs: str, at_s: float = 90.0, told: dict[str, str] | None = None, unanswered: tuple[str, ...] = ()) -> Account:
    at_ns = int(at_s * S)
    ends = {job: Told(at_ns, outcome) for job, outcome in (told or {}).items()}
    return Account(dict.fromkeys(jobs, at_ns), ends, [unanswered] if unanswered else [])


def test_all_that_was_told_is_there_and_done() -> None:
    verdict = judge(account("a", "b", told={"a": "x"}), CUT_NS, {"a": "x", "b": ""}, {"a": "x", "b": "y"}, loss_age_max_s=None)
    assert verdict.wrong == []
    assert (verdict.acknowledged, verdict.told, verdict.found, verdict.finished) == (2, 1, 2, 1)


def test_acknowledged_job_that_is_nowhere_is_lost() -> None:
    verdict = judge(account("a", "b"), CUT_NS, {"b": "x"}, {"b": "x"}, loss_age_max_s=None)
    assert verdict.wrong == ["1 acknowledged jobs lost, first a"]
    assert verdict.lost_ages_s == [10.0]
    assert "lost 1, undone 0, the oldest 10.000 s old" in describe(verdict)


@pytest.mark.parametrize("first", ["", "y"])
def test_end_that_was_told_and_is_not_so_any_more_is_undone(first: str) -> None:
    verdict = judge(account("a", told={"a": "x"}), CUT_NS, {"a": first}, {"a": "y"}, loss_age_max_s=None)
    assert verdict.wrong == ["1 ends undone that had been told, first a"]


@pytest.mark.parametrize(("at_s", "excused"), [(99.0, 1), (98.7, 0)])
def test_loss_is_excused_up_to_the_age_the_store_said(at_s: float, excused: int) -> None:
    verdict = judge(account("a", at_s=at_s), CUT_NS, {}, {}, loss_age_max_s=1.2)
    assert (verdict.excused, len(verdict.wrong)) == (excused, 1 - excused)


def test_answer_that_arrives_after_the_cut_counts_like_the_others() -> None:
    verdict = judge(account("a", at_s=100.1), CUT_NS, {}, {}, loss_age_max_s=None)
    assert (verdict.on_their_way, len(verdict.wrong)) == (1, 1)


def test_job_that_ends_twice_in_different_ways_is_seen() -> None:
    verdict = judge(account("a"), CUT_NS, {"a": "x"}, {"a": "y"}, loss_age_max_s=None)
    assert verdict.wrong == ["1 jobs with two ends, first a"]


@pytest.mark.parametrize(("found", "wrong"), [("", 0), ("bc", 0), ("b", 1)])
def test_request_without_an_answer_is_there_whole_or_not_at_all(found: str, wrong: int) -> None:
    there = dict.fromkeys(found, "x")
    verdict = judge(account("a", unanswered=("b", "c")), CUT_NS, {"a": "x", **there}, {"a": "x", **there}, loss_age_max_s=None)
    assert len(verdict.wrong) == len(verdict.torn) == wrong


def test_job_that_is_there_and_never_ends_is_stuck() -> None:
    verdict = judge(account("a"), CUT_NS, {"a": ""}, {"a": ""}, loss_age_max_s=1.2)
    assert verdict.wrong == ["1 jobs stuck, first a"]


def test_files_that_fail_their_own_check_are_corrupt() -> None:
    assert judge(account(), CUT_NS, {}, {}, loss_age_max_s=1.2, corrupt=["zjp.db: row 3"]).wrong == ["corrupt: zjp.db: row 3"]


def test_ledger_keeps_from_cut_to_cut_what_is_still_there(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "h.jsonl")
    ledger.asks(["a", "b"])
    ledger.acknowledges(["a", "b"])
    ledger.leaves_open(["c"])
    ledger.cuts(CUT_NS)
    ledger.starts_over({"a": "x"})
    kept = ledger.account()
    ledger.close()
    assert (list(kept.acknowledged), kept.told["a"].outcome, kept.jobs) == (["a"], "x", ["a"])
    assert judge(kept, CUT_NS, {"a": "x"}, {"a": "x"}, loss_age_max_s=None).acknowledged == 0, "it was counted at the cut before"
    assert [line.type for line in load([tmp_path / "h.jsonl"]).ops if line.t != CUT_NS] == ["invoke"] * 2 + ["ok"] * 2 + ["info", "ok"]
