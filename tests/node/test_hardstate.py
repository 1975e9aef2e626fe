"""The data folder: made, held, counted, and its troubles said in words."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from zjp.errors import ConfigError
from zjp.node.hardstate import open_data_dir

pytestmark = pytest.mark.covers("main-path:8", "settings:NODE_ID")

ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "zjp-data"


@contextmanager
def not_root() -> Iterator[None]:
    """Root may write anywhere: permissions are tried as somebody else."""
    former = os.geteuid()
    if former == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(former)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        open_data_dir(path)
    return str(refused.value)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_made_for_the_owner_only_and_its_files_too(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "zjp"
    data = open_data_dir(folder)
    assert mode_of(folder) == 0o700
    assert {file.name: mode_of(file) for file in folder.iterdir()} == {"lock": 0o600, "node-id": 0o600, "boot": 0o600, "home": 0o600}
    assert data.path == folder
    data.close(clean=True)
    assert mode_of(folder / "clean") == 0o600


def test_a_folder_open_to_others_is_tightened_and_that_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    open_data_dir(folder).close(clean=True)
    assert mode_of(folder) == 0o700
    open_data_dir(folder).close(clean=True)
    assert [line.message for line in caplog.records] == ["data_dir.tightened"]
    assert caplog.records[0].fields == {"path": str(folder), "mode": "0755", "now": "0700"}  # type: ignore[attr-defined]


def test_a_folder_with_files_of_others_is_not_taken_from_them(folder: Path) -> None:
    folder.mkdir()
    (folder / "notes.txt").touch()
    folder.chmod(0o1777)
    assert "holds other files (notes.txt) and is open to others (mode 1777)" in refusal(folder)
    assert mode_of(folder) == 0o1777
    folder.chmod(0o700)
    open_data_dir(folder).close(clean=True)
    folder.chmod(0o755)
    open_data_dir(folder).close(clean=True)  # by now it is the node's
    assert mode_of(folder) == 0o700


def test_root_of_a_new_file_system_is_as_good_as_empty(folder: Path) -> None:
    (folder / "lost+found").mkdir(parents=True)
    folder.chmod(0o755)
    open_data_dir(folder).close(clean=True)
    assert mode_of(folder) == 0o700


def test_a_number_under_which_no_life_began_is_the_next_ones_again(folder: Path) -> None:
    """Fails on a model that counts every start: a copy that is refused again and again would get ahead of the one that lives."""
    open_data_dir(folder).close(clean=False)
    for _ in range(3):
        refused = open_data_dir(folder)
        assert refused.boot == 2
        refused.give_boot_back()
        refused.close(clean=False)
    assert (folder / "boot").read_text() == "1\n"


def test_a_number_that_cannot_be_given_back_is_used_up_and_that_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_data_dir(folder)
    (folder / "boot.new").mkdir()
    data.give_boot_back()
    data.close(clean=False)
    assert [line.message for line in caplog.records] == ["data_dir.boot_not_given_back"]
    (folder / "boot.new").rmdir()
    after = open_data_dir(folder)
    assert after.boot == 2
    after.close(clean=False)


def test_the_name_is_made_once_and_kept(folder: Path) -> None:
    first = open_data_dir(folder)
    first.close(clean=True)
    second = open_data_dir(folder)
    second.close(clean=False)
    assert first.node_id == second.node_id
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*-[0-9a-f]{8}", first.node_id)


def test_two_folders_have_two_names(tmp_path: Path) -> None:
    one, other = open_data_dir(tmp_path / "one"), open_data_dir(tmp_path / "other")
    assert one.node_id != other.node_id
    one.close(clean=True)
    other.close(clean=True)


def test_a_configured_name_is_used_as_given_and_does_not_change_the_kept_one(folder: Path) -> None:
    kept = open_data_dir(folder)
    kept.close(clean=True)
    configured = open_data_dir(folder, "node-7")
    configured.close(clean=True)
    again = open_data_dir(folder, None)
    again.close(clean=True)
    assert (configured.node_id, again.node_id) == ("node-7", kept.node_id)
    assert [life.boot for life in (kept, configured, again)] == [1, 2, 3]


def test_the_boot_number_rises_with_each_life_also_after_an_unclean_end(folder: Path) -> None:
    boots = []
    for clean in (True, False, False, True):
        data = open_data_dir(folder)
        boots.append(data.boot)
        data.close(clean=clean)
    assert boots == [1, 2, 3, 4]


def test_only_a_clean_stop_makes_the_next_life_start_from_a_clean_one(folder: Path) -> None:
    was_clean = []
    for clean in (True, True, False, False, True, True):
        data = open_data_dir(folder)
        was_clean.append(data.was_clean)
        assert not (folder / "clean").exists()
        data.close(clean=clean)
        data.close(clean=True)  # a second time does nothing
    assert was_clean == [True, True, True, False, False, True]


def test_a_second_node_in_the_folder_is_refused_with_the_pid_of_the_first(folder: Path) -> None:
    data = open_data_dir(folder)
    text = refusal(folder)
    assert f"DATA_DIR {folder} is held by another node, pid {os.getpid()}" in text
    assert "a DATA_DIR of its own" in text
    data.close(clean=True)
    again = open_data_dir(folder)
    assert again.boot == 2  # the refused one was no life
    again.close(clean=True)


HOLDING = """
import subprocess, sys
from zjp.node.hardstate import open_data_dir
data = open_data_dir(sys.argv[1])
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False)
print(data.boot, child.pid, flush=True)
child.wait()
"""


@pytest.mark.system
def test_kill_9_frees_the_folder_at_once_even_while_a_child_lives_on(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as node:
        assert node.stdout is not None
        boot, child = map(int, node.stdout.readline().split())
        try:
            assert f"pid {node.pid}" in refusal(folder)
            node.kill()
            node.wait()
            os.kill(child, 0)  # it lives
            data = open_data_dir(folder)
        finally:
            os.kill(child, signal.SIGKILL)
    assert (boot, data.boot, data.was_clean) == (1, 2, False)
    data.close(clean=True)


def test_a_folder_that_cannot_be_written_is_refused_with_its_path() -> None:
    with tempfile.TemporaryDirectory() as outer:  # not tmp_path: nobody but its owner may look into that
        Path(outer).chmod(0o755)
        locked = Path(outer) / "locked"
        locked.mkdir()
        locked.chmod(0o500)
        with not_root():
            inside, itself = refusal(locked / "zjp-data"), refusal(locked)
    assert f"DATA_DIR {locked / 'zjp-data'} cannot be used: Permission denied" in inside
    assert f"DATA_DIR {locked} cannot be used: Permission denied ({locked / 'lock'})" in itself
    assert "it must be a folder that user id" in itself


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert f"DATA_DIR {file} cannot be used: a file is in its place" in refusal(file)
    assert f"a file is in its place ({file})" in refusal(file / "zjp-data")


@pytest.mark.parametrize("content", ["", "seven", "-1", "1\n2", "9" * 40])
def test_a_damaged_boot_number_is_refused_and_never_begun_anew(folder: Path, content: str) -> None:
    open_data_dir(folder).close(clean=True)
    (folder / "boot").write_text(content)
    assert "which is no number of starts; write one there" in refusal(folder)
    assert (folder / "boot").read_text() == content
    (folder / "boot").write_text("41")
    data = open_data_dir(folder)  # the refusal has let go of the lock
    assert data.boot == 42
    data.close(clean=True)


@pytest.mark.parametrize("content", ["", "two words", "-", "x" * 65, "ü"])
def test_a_damaged_name_is_refused_unless_one_is_configured(folder: Path, content: str) -> None:
    open_data_dir(folder).close(clean=True)
    (folder / "node-id").write_text(content)
    assert "set NODE_ID, or remove the file" in refusal(folder)
    open_data_dir(folder, "node-1").close(clean=True)


def test_a_clean_mark_that_cannot_be_written_makes_the_next_start_an_unclean_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = open_data_dir(folder)
    (folder / "clean.new").mkdir()  # what a full disk would do
    data.close(clean=True)
    assert caplog.records[-1].message == "data_dir.not_marked_clean"
    again = open_data_dir(folder)
    assert not again.was_clean
    again.close(clean=False)


def test_path_that_sqlite_does_not_open_is_a_wrong_setting(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 200) / ("b" * 200) / ("c" * 100)
    with pytest.raises(ConfigError, match=r"DATA_DIR .* has \d+ bytes, the limit is 450"):
        open_data_dir(folder)
    assert not folder.parent.exists()
