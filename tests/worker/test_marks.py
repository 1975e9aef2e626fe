"""What a worker process has marked is what it had started, however it ends."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import timeit
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.bounds import allowed
from zjp.worker.marks import MarkFile, read_folder

pytestmark = pytest.mark.covers("main-path:7")

ROOT = Path(__file__).parent.parent.parent
A, B, C = (bytes([letter]) * 16 for letter in b"abc")
SLOT_BYTES, MARK_BYTES = 64, 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w1.1.marks"


def test_a_new_file_has_no_marks_and_only_the_owner_can_read_it(path: Path) -> None:
    marks = MarkFile.create(path, 3)
    assert marks.read() == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_blocks * 512 >= path.stat().st_size
    marks.close()


def test_what_one_side_marks_the_other_sees_until_it_is_cleared_or_replaced(path: Path) -> None:
    node, worker = MarkFile.create(path, 3), MarkFile.open(path)
    worker.mark(2, A, 7)
    worker.mark(0, B, 7)
    assert node.read() == [(B, 7), (A, 7)]
    worker.mark(2, C, 8)
    worker.clear(0)
    assert node.read() == [(C, 8)]
    worker.clear(2)
    assert node.read() == []
    assert node.read_latest() == [(B, 7), (C, 8)], "what has ended can still be told"
    worker.mark(2, C, 8)
    assert node.read() == [(C, 8)]
    worker.close()
    node.close()


@pytest.mark.parametrize("slots", [1, 10, 1000])
def test_every_slot_holds_its_own_mark_and_there_is_none_beyond(path: Path, slots: int) -> None:
    marks = MarkFile.create(path, slots)
    made = [(number.to_bytes(16, "big"), (1 << 53) - number) for number in range(slots)]
    for slot, (job_id, fence) in enumerate(made):
        marks.mark(slot, job_id, fence)
    assert marks.read() == made
    with pytest.raises(Exception, match="requires a buffer"):
        marks.mark(slots, A, 1)
    marks.close()


def test_a_new_file_in_the_place_of_an_old_one_leaves_the_old_one_to_who_has_it_mapped(path: Path) -> None:
    old = MarkFile.create(path, 2)
    new = MarkFile.create(path, 1)
    old.mark(1, A, 1)
    assert new.read() == []
    assert read_folder(path.parent) == {}
    old.close()
    new.close()


def test_the_next_life_reads_all_marks_of_the_folder_and_passes_over_what_is_none(tmp_path: Path) -> None:
    for name, marked in (("w1.1", [A]), ("w2.1", [B, C]), ("w3.9", [])):
        marks = MarkFile.create(tmp_path / f"{name}.marks", 4)
        for slot, job_id in enumerate(marked):
            marks.mark(slot, job_id, 5)
        marks.close()
    (tmp_path / "empty.marks").touch()
    (tmp_path / "short.marks").write_bytes(b"zjpmark1" + b"\1" * 70)
    (tmp_path / "other.txt").write_bytes(b"x" * 500)
    (tmp_path / "folder").mkdir()
    assert read_folder(tmp_path) == {A: 5, B: 5, C: 5}
    assert read_folder(tmp_path / "missing") == {}


@given(former=st.integers(1, 1 << 40), passed=st.integers(1, 1 << 16), cut=st.integers(0, MARK_BYTES))
@example(former=255, passed=1, cut=1)
@example(former=1, passed=1, cut=24)
def test_a_mark_cut_short_anywhere_is_the_former_one_or_the_new_one_or_none(
    former: int, passed: int, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The first `cut` bytes of the new mark over the old one: what a kill in the midst of the writing leaves."""
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "cut.marks"
    marks = MarkFile.create(path, 1)
    marks._numbers = iter((former, former + passed))  # type: ignore[assignment]
    marks.mark(0, A, 7)
    before = path.read_bytes()
    marks.mark(0, B, 7)
    after = path.read_bytes()
    marks.close()
    middle = SLOT_BYTES + cut
    path.write_bytes(before[:SLOT_BYTES] + after[SLOT_BYTES:middle] + before[middle:])
    found = read_folder(folder)
    assert found in (({A: 7}, {}) if cut <= 8 else ({B: 7}, {}) if cut > 32 else ({},))
    assert cut > 0 or found == {A: 7}
    assert cut < MARK_BYTES or found == {B: 7}


MARKING = """
import sys
from zjp.worker.marks import MarkFile
marks = MarkFile.open(sys.argv[1])
ids = [bytes([letter]) * 16 for letter in range(1, 200)]
print("marking", flush=True)
while True:
    for job_id in ids:
        marks.mark(0, job_id, 5)
"""


@pytest.mark.system
def test_no_look_at_a_process_that_marks_and_no_kill_of_it_shows_a_mixed_id(path: Path) -> None:
    for _ in range(5):
        node = MarkFile.create(path, 1)
        seen: set[bytes] = set()
        with subprocess.Popen(
            [sys.executable, "-c", MARKING, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "marking\n"
            while len(seen) < 150:
                seen.update(job_id for job_id, _ in node.read())
            process.kill()
        last = [job_id for job_id, _ in node.read()]
        assert dict.fromkeys(last, 5) == read_folder(path.parent)
        assert all(len(set(job_id)) == 1 for job_id in [*seen, *last])
        node.close()


def test_a_mark_costs_next_to_nothing(path: Path) -> None:
    """0.15 us as measured; the bound leaves room for a busy machine, not for a system call."""
    marks = MarkFile.create(path, 4)
    job_id = os.urandom(16)
    best_s = min(timeit.repeat(lambda: marks.mark(1, job_id, 77), number=10_000, repeat=20)) / 10_000
    marks.close()
    assert best_s < allowed(1e-6)
