"""The file of an election core: what was synced is there after any crash, and what was damaged is told."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.errors import ConfigError
from zjp.node.election_log import MAGIC, REWRITE_BYTES, ElectionLog, put_aside
from zjp.wire.peers import Entry, EpochSeen, LogTail, Promise, Stored, TermVote

pytestmark = pytest.mark.covers("cluster:duties")

BATCHES: list[list[Stored]] = [[EpochSeen(1)], [Promise(2, "a"), TermVote(3, "b")], [LogTail(0, [Entry(1, 3, b"x" * 100)])]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "election.log"


def write(path: Path, batches: list[list[Stored]] = BATCHES) -> list[int]:
    """A new file; where each batch ends."""
    path.unlink(missing_ok=True)
    log = ElectionLog(path)
    assert log.open() == []
    ends = []
    for batch in batches:
        log.append(batch)
        ends.append(path.stat().st_size)
    log.close()
    return ends


def read(path: Path) -> list[Stored]:
    log = ElectionLog(path)
    try:
        return log.open()
    finally:
        log.close()


def flat(batches: list[list[Stored]]) -> list[Stored]:
    return [record for batch in batches for record in batch]


def test_records_come_back_in_order_and_the_file_is_the_owners_alone(path: Path) -> None:
    write(path)
    assert read(path) == flat(BATCHES)
    assert path.stat().st_mode & 0o777 == 0o600


def test_batch_that_was_torn_at_any_byte_is_cut_off_and_the_others_stand(path: Path) -> None:
    before, end = write(path)[-2:]
    whole = path.read_bytes()
    for cut in range(before, end):
        path.write_bytes(whole[:cut])
        assert read(path) == flat(BATCHES[:-1])
        assert path.stat().st_size == before


@pytest.mark.parametrize("rest", [bytes(1), bytes(4096), b"\xff" * 300, b"\x00\x00\x00\x05abcd12345"])
def test_zeros_and_garbage_after_the_last_batch_are_cut_off(path: Path, rest: bytes) -> None:
    write(path)
    path.write_bytes(path.read_bytes() + rest)
    assert read(path) == flat(BATCHES)
    log = ElectionLog(path)
    log.open()
    log.append([EpochSeen(9)])
    log.close()
    assert read(path) == [*flat(BATCHES), EpochSeen(9)]


def test_damage_before_the_last_batch_is_told_and_nothing_is_cut(path: Path) -> None:
    ends = write(path)
    whole = path.read_bytes()
    for at in range(ends[1]):
        damaged = bytearray(whole)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        with pytest.raises(ConfigError, match="is damaged at byte"):
            read(path)
        assert path.stat().st_size == len(whole)


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_told_as_damaged(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("log") / "election.log"
    path.write_bytes(MAGIC + content)
    with contextlib.suppress(ConfigError):
        assert isinstance(read(path), list)


def test_file_that_is_none_of_ours_is_told(path: Path) -> None:
    path.write_bytes(b"something else altogether")
    with pytest.raises(ConfigError, match="is damaged at byte 0"):
        read(path)


def test_grown_file_is_replaced_by_what_counts(path: Path) -> None:
    log = ElectionLog(path)
    log.open()
    big: list[Stored] = [LogTail(0, [Entry(1, 1, bytes(REWRITE_BYTES))])]
    log.append(big)
    assert log.has_grown
    log.rewrite([EpochSeen(7)])
    assert not log.has_grown
    log.append([EpochSeen(8)])
    log.close()
    assert read(path) == [EpochSeen(7), EpochSeen(8)]
    assert path.stat().st_size < 200


def test_crash_while_it_is_replaced_leaves_the_old_one(path: Path) -> None:
    write(path)
    path.with_name("election.log.new").write_bytes(MAGIC + b"half")
    assert read(path) == flat(BATCHES)
    log = ElectionLog(path)
    log.open()
    log.rewrite([EpochSeen(9)])
    log.close()
    assert read(path) == [EpochSeen(9)]


def test_closed_file_takes_nothing(path: Path) -> None:
    log = ElectionLog(path)
    log.open()
    log.close()
    with pytest.raises(OSError, match="is closed"):
        log.append([EpochSeen(1)])


def test_files_of_a_folder_that_is_behind_are_put_aside_in_place_of_earlier_ones(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raft, bully = tmp_path / "election-raft.log", tmp_path / "election-bully.log"
    ring = tmp_path / "election-ring.msgpack"
    ring.touch()
    for batches in (BATCHES[:1], BATCHES[1:]):
        write(raft, batches)
        put_aside(tmp_path)
        assert not raft.exists()
        assert read(tmp_path / "election-raft.behind") == flat(batches)
    bully.write_bytes(b"damaged")
    put_aside(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["election-bully.behind", "election-raft.behind", ring.name]
    assert [line.message for line in caplog.records] == ["election.put_aside"] * 3
    put_aside(tmp_path)
    assert len(caplog.records) == 3


def test_cure_of_a_damaged_file_is_never_an_older_copy(path: Path) -> None:
    path.write_bytes(b"something else altogether")
    with pytest.raises(ConfigError, match=r"Do not put an older copy in its place.* move the file away: then the node asks the others"):
        read(path)
