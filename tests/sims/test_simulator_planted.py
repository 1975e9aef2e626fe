"""Planted bugs: each changes one line that is there once, and is caught on its kept seed by the invariant that is named for it."""

from __future__ import annotations

from collections import Counter

import pytest

from sims.election.planted import FOLDER, Planted
from sims.election.planted_bugs import PLANTED
from sims.election.proving import prove_kept
from sims.election.run import BROKE

pytestmark = pytest.mark.covers("cluster:simulator")

BUGS_MIN = 24


def test_there_are_bugs_of_every_algorithm() -> None:
    counts = Counter(bug.algorithm for bug in PLANTED.values())
    assert sum(counts.values()) >= BUGS_MIN
    assert min(counts["raft"], counts["bully"], counts["gossip"]) >= 5


@pytest.mark.parametrize("bug", PLANTED.values(), ids=PLANTED)
def test_the_line_is_there_once_and_one_line_takes_its_place(bug: Planted) -> None:
    right = (FOLDER / "election" / bug.file).read_text().splitlines()
    planted = bug.source().splitlines()
    assert len(right) == len(planted)
    assert sum(one != other for one, other in zip(right, planted, strict=True)) == 1
    compile(bug.source(), bug.file, "exec")


@pytest.mark.parametrize("bug", PLANTED.values(), ids=PLANTED)
def test_it_is_caught_by_an_invariant_where_the_right_core_passes(bug: Planted) -> None:
    assert bug.invariants
    assert BROKE not in bug.invariants
    proof = prove_kept(bug)
    assert proof.is_caught, proof.text
    assert proof.shown == bug.invariants[0], "the list begins with the one that the kept case shows"


def test_a_line_that_has_gone_is_said_to_be_gone() -> None:
    gone = Planted("gone", "raft", "raft.py", "no such line", "pass", ("R1",), 0, "lan")
    with pytest.raises(ValueError, match=r"gone: the line 'no such line' is in election/raft.py 0 times"):
        gone.source()
