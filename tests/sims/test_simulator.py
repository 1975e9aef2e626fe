"""The simulator of elections: a seed decides all, right cores break nothing, what breaks is replayed, cut down and drawn."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from sims.__main__ import main
from sims.election.faults import MIX, PROFILES, draw
from sims.election.invariants.raft import RaftWatch
from sims.election.invariants.watch import Violation
from sims.election.plot import draw_svg
from sims.election.run import ALGORITHMS, Case, run
from sims.election.shrink import shrink
from sims.election.trace import Broken, State
from tests.sims.toy import Quiet, Split, Toy

pytestmark = pytest.mark.covers("cluster:simulator")

ENVIRONMENTS = ({"PYTHONHASHSEED": "0"}, {"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "4711"})
OF_CI = 120
SEED_OF_STRAYS = 9
"""Its schedule has both kinds: stray words and a guest."""
SEED_OF_DRIVERS = 19
"""Its schedule has all kinds of its own profile."""


def printed(arguments: Sequence[str], environment: dict[str, str]) -> bytes:
    command = [sys.executable, "-m", "sims", "run", *arguments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=60).stdout


def test_the_same_run_prints_the_same_bytes_whatever_the_hash_seed() -> None:
    for algorithm in ALGORITHMS:
        outputs = {printed(["--algorithm", algorithm, "--seed", "3"], environment) for environment in ENVIRONMENTS}
        assert len(outputs) == 1
        assert b"all invariants held" in outputs.pop()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_runs_of_one_case_have_one_digest_and_another_seed_has_another(algorithm: str) -> None:
    one, again, other = (run(Case(algorithm, 5, seed, "chaos")) for seed in (8, 8, 9))
    assert one.digest == again.digest
    assert one.steps == again.steps
    assert one.digest != other.digest


@pytest.mark.timeout(600)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_real_cores_break_nothing_on_the_seeds_of_ci(algorithm: str, tmp_path: Path) -> None:
    """The same as `python -m sims fuzz --seeds 120`: a worker per core, a command for each that fails."""
    command = [
        sys.executable,
        "-m",
        "sims",
        "fuzz",
        "--algorithm",
        algorithm,
        "--seeds",
        str(OF_CI),
        "--svg",
        str(tmp_path),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_each_profile_makes_a_schedule_that_ends_with_the_faults() -> None:
    for profile in PROFILES:
        for seed in range(20):
            faults = draw(seed, profile, 5)
            assert [fault.number for fault in faults] == list(range(len(faults)))
            assert faults == draw(seed, profile, 5)
    assert set(MIX) <= set(PROFILES)


def test_leader_of_an_earlier_term_owes_nothing_that_a_later_one_committed() -> None:
    """Seed 942: a candidate is paused with its votes unread, another one leads a later term and commits, then the first one wakes."""
    assert run(Case("raft", 5, 942, "chaos")).text == ""


@pytest.mark.parametrize("seed", range(5))
def test_links_that_are_missing_for_long_do_not_move_a_raft_leader(seed: int) -> None:
    assert run(Case("raft", 5, seed, "omission")).text == ""


def test_a_raft_leader_whom_a_majority_hears_is_not_half_connected_when_the_rest_shall_agree() -> None:
    assert run(Case("raft", 3, 271, "calm")).text == ""


def test_a_node_that_is_leaving_when_the_cluster_is_healed_is_started_again() -> None:
    assert run(Case("bully", 3, 2336, "chaos", (52,))).text == ""


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_words_that_nobody_of_the_cluster_would_say_are_not_believed(algorithm: str) -> None:
    """They are in the schedule, and the invariants hold all the same; no epoch has jumped."""
    outcome = run(Case(algorithm, 3, SEED_OF_STRAYS, "strays"))
    met = [line.fault.kind for line in outcome.trace.lines if isinstance(line, Broken) and line.begins]
    assert outcome.text == ""
    assert met.count("stray") > 5
    assert "guest" in met
    assert max(line.epoch for line in outcome.trace.lines if isinstance(line, State)) < 1000


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_events_that_tell_nothing_and_an_epoch_of_another_cluster_in_the_store_break_nothing(algorithm: str) -> None:
    outcome = run(Case(algorithm, 3, SEED_OF_DRIVERS, "driver"))
    met = [line.fault.kind for line in outcome.trace.lines if isinstance(line, Broken) and line.begins]
    assert outcome.text == ""
    assert {"moot", "usurp", "leave"} <= set(met)


@pytest.mark.parametrize(
    ("seed", "faults"),
    [(4851, (7, 10, 22, 23, 28, 33, 38)), (4191, (3, 5, 10, 13, 17, 19, 25, 27, 29, 30, 31, 32))],
)
def test_a_voter_emptied_after_an_election_that_the_store_missed_grants_that_epoch_to_nobody_else(
    seed: int, faults: tuple[int, ...]
) -> None:
    assert run(Case("bully", 3, seed, "chaos", faults)).text == ""
    assert run(Case("bully", 3, seed, "chaos")).text == ""


@pytest.mark.parametrize(("seed", "faults"), [(5237, (29, 33)), (8477, (19, 30, 48)), (9197, (50, 65))])
def test_one_of_two_voters_emptied_after_it_led_by_the_stores_word_leads_in_no_epoch_again(
    seed: int, faults: tuple[int, ...]
) -> None:
    assert run(Case("bully", 2, seed, "strays", faults)).text == ""
    assert run(Case("bully", 2, seed, "strays")).text == ""


def test_fuzz_makes_the_folder_for_its_pictures(tmp_path: Path) -> None:
    arguments = "fuzz --algorithm raft --nodes 3 --profile lan --first 1 --seeds 1 --workers 1 --planted raft-duty-without-token --svg"
    folder = tmp_path / "not" / "there"
    done = CliRunner().invoke(main, [*arguments.split(), str(folder)])
    assert done.exit_code == 1
    assert [picture.name for picture in folder.iterdir()] == ["failed-raft-1.svg"]


class WithoutPreVotes(RaftWatch):
    """Does not ask for pre-votes, so that what comes of their absence is seen."""

    def leaves(self, node, to, message) -> None:  # type: ignore[no-untyped-def]
        try:
            super().leaves(node, to, message)
        except Violation as fault:
            if fault.invariant != "R10":
                raise


def test_the_same_links_missing_move_it_again_and_again_without_pre_votes() -> None:
    broken = [
        run(Case("raft", 5, seed, "omission", planted="raft-no-pre-vote"), watched_by=WithoutPreVotes)
        for seed in range(10)
    ]
    assert "RL1" in [outcome.invariant for outcome in broken]


def test_a_toy_core_that_does_right_passes_and_one_that_splits_is_caught_shrunk_and_drawn() -> None:
    assert run(Case("raft", 3, 1, "calm"), Toy, watched_by=Quiet).text == ""
    failed = run(Case("bully", 5, 2, "chaos"), Split, watched_by=Quiet)
    assert failed.invariant == "C2b"
    least = shrink(failed, lambda case: run(case, Split, watched_by=Quiet))
    assert least.invariant == "C2b"
    assert len(least.case.schedule()) <= 30
    assert "--faults" in least.case.command()
    assert ElementTree.fromstring(draw_svg(least)).tag.endswith("svg")


def test_a_failing_run_is_replayed_by_the_command_that_it_prints() -> None:
    arguments = [
        "run",
        "--algorithm",
        "raft",
        "--seed",
        "1",
        "--profile",
        "lan",
        "--planted",
        "raft-duty-without-token",
    ]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 1
    command = first.output.splitlines()[-1].removeprefix("python -m sims ").split()
    assert CliRunner().invoke(main, command).output == first.output


def test_a_run_without_faults_is_no_run_with_all_of_them() -> None:
    assert Case("raft", 5, 1, "chaos", ()).schedule() == []
    assert "--faults none" in Case("raft", 5, 1, "chaos", ()).command()
    assert len(Case("raft", 5, 1, "chaos").schedule()) > 3


def test_the_picture_names_every_node_and_is_one_document() -> None:
    picture = draw_svg(run(Case("raft", 3, 5, "chaos")))
    ElementTree.fromstring(picture)
    assert all(f">n{index}<" in picture for index in range(3))
    assert "http" not in picture.replace("http://www.w3.org/2000/svg", "")
