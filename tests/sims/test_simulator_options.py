"""The simulator called wrongly: it ends with 2 and says what to do, as 1 means that an invariant broke. Nothing runs before that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import msgspec
import pytest
from click.testing import CliRunner

from sims.__main__ import main
from sims.election.faults import draw
from sims.options import case_of
from zjp.config import inherited_environment
from zjp.election.core import Config, Wake
from zjp.node.ring import Ring, read_recording

pytestmark = pytest.mark.covers("cluster:simulator")


def refusal(*arguments: str | Path) -> str:
    """What it says, in one line, without the frame that the terminal's width gives it."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 2, (done.output, done.exception)
    assert isinstance(done.exception, SystemExit)
    return " ".join(done.output.split())


@pytest.mark.parametrize("word", ["abc", "1,,2", "1,", "-1", "1.5", "99999", "66", "9" * 5000, "\u00b2", "none,1"])
def test_a_fault_that_is_not_in_the_schedule_is_refused_with_those_that_are(word: str) -> None:
    assert len(draw(1, "chaos", 5)) == 66
    said = refusal("run", "--seed", "1", "--profile", "chaos", "--faults", word)
    assert "is no number of a fault in the schedule of seed 1, chaos, 5 nodes: it has 66, numbered from 0" in said
    assert "--faults" in said
    assert len(said) < 500


def test_faults_are_all_none_or_those_named() -> None:
    assert case_of("raft", 5, 1, "chaos", "", None).faults is None
    assert case_of("raft", 5, 1, "chaos", "none", None).faults == ()
    assert case_of("raft", 5, 1, "chaos", "0,65", None).faults == (0, 65)


@pytest.mark.parametrize("command", ["run", "replay", "plot", "shrink", "fuzz"])
def test_a_bug_of_another_core_is_refused(command: str) -> None:
    said = refusal(command, "--algorithm", "raft", "--planted", "bully-unfaithful")
    assert "bully-unfaithful is a bug in the core of bully, not of raft; leave out --algorithm" in said


def test_a_bug_brings_its_algorithm() -> None:
    assert case_of(None, 5, 1, "lan", "", "bully-unfaithful").algorithm == "bully"
    assert case_of("bully", 5, 1, "lan", "", "bully-unfaithful").algorithm == "bully"
    assert case_of(None, 5, 1, "lan", "", None).algorithm == "raft"


@pytest.mark.parametrize("command", [["plot", "--out"], ["replay", "--svg"], ["shrink", "--svg"]])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_runs(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "there is no folder" in refusal(*command, tmp_path / "none" / "run.svg")
    assert "there is no folder" in refusal(*command, file / "run.svg")
    assert "is a directory" in refusal(*command, tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_no_broken_invariant() -> None:
    said = refusal("plot", "--nodes", "1", "--profile", "calm", "--out", "/dev/full")
    assert "/dev/full: cannot be written: no space left on device" in said


SPOKEN = [["run", "--quiet"], ["run"], ["mutants", "--list"], ["--help"]]
CALM = {"run": ["--nodes", "1", "--profile", "calm"]}


def said_into(out: IO[bytes] | int, command: list[str], unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    words = [*command, *CALM.get(command[0], [])]
    environment = {**inherited_environment(), "PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(
        [sys.executable, "-m", "sims", *words], env=environment, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("command", "unbuffered"), [*((command, "") for command in SPOKEN), (["run"], "1")])
def test_output_that_cannot_be_written_is_no_broken_invariant(command: list[str], unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        done = said_into(full, command, unbuffered)
    assert (done.returncode, done.stderr) == (74, "the output could not be written: No space left on device\n")


@pytest.mark.parametrize("command", SPOKEN[:3])
def test_a_reader_that_leaves_early_is_content(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = said_into(writer, command)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fault_of_the_system_that_is_not_of_the_output_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sims.__main__.run", refuse)
    with pytest.raises(PermissionError):
        CliRunner().invoke(main, ["run"], catch_exceptions=False)


@pytest.mark.parametrize("command", [["fuzz", "--svg"], ["curves", "--out"]])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_runs(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert "cannot be made a folder: file exists" in refusal(*command, file)
    assert "cannot be made a folder: not a directory" in refusal(*command, file / "below")


def test_what_is_no_recording_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("root:x:0:0\n")
    for path in (text, tmp_path / "empty"):
        path.touch()
        said = refusal("replay", "--ring", path)
        assert "is no recording of a node of this version" in said
        assert "election-ring.msgpack" in said
    assert "is a directory" in refusal("replay", "--ring", tmp_path)
    assert "does not exist" in refusal("replay", "--ring", tmp_path / "none")


def test_options_of_a_case_are_refused_beside_a_recording(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.touch()
    said = refusal("replay", "--ring", ring, "--seed", "7", "--nodes", "3")
    assert "--nodes, --seed: of no use beside --ring" in said


def test_a_recording_of_another_version_is_refused(tmp_path: Path) -> None:
    ring = Ring("paxos", Config("a", 1, ("a",), 1, 0, timeout=2, interval=1, lead_for=4), tmp_path / "ring")
    ring.fed(1, Wake())
    path = ring.dump()
    assert "is of algorithm 'paxos'; this version knows bully, raft, gossip" in refusal("replay", "--ring", path)
    odd = msgspec.structs.replace(read_recording(path), events=[(1, "Dream", msgspec.Raw(b"\x80"))])
    path.write_bytes(msgspec.msgpack.encode(odd))
    assert "event 'Dream' is unknown to this version" in refusal("replay", "--ring", path)


def test_there_is_nothing_to_shrink_in_a_run_that_breaks_nothing() -> None:
    assert "this run breaks nothing" in refusal("shrink", "--nodes", "1", "--profile", "calm")
