"""What only the SQLite queue promises: its file, its lock, its disk, and that a process killed at any moment loses nothing acknowledged."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.queue.making import (
    ALL,
    NODE,
    Producer,
    SQLiteBench,
    add,
    archive,
    completed,
    ids_of,
    pending,
    released,
    run_all,
)
from zjp.errors import ConfigError, StoreUnavailable
from zjp.job import JobFilter, JobSpec, Options, Record, make_id
from zjp.queue import window
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.queue.store import CancelKind, Durability, Life, Live, LostClaims, SubmitKind

pytestmark = pytest.mark.covers("main-path:5", "settings:DISK_RESERVE")

WRITER = Path(__file__).parent / "killed_writer.py"


@pytest.fixture
async def bench(tmp_path: Path) -> object:
    made = SQLiteBench(tmp_path)
    yield made
    await made.close()


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_file_is_readable_by_its_owner_only(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, producer.spec())
    files = [path for path in bench.path.parent.iterdir() if path.is_file()]
    assert len(files) >= 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


async def test_every_commit_is_synced(bench: SQLiteBench) -> None:
    store = await bench.open()
    assert store.level is Durability.DISK
    db = store._db
    assert db is not None
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_claim_row_is_written_before_its_outcome_even_in_the_same_turn_of_the_loop(bench: SQLiteBench, producer: Producer) -> None:
    """The other way round it would stay behind, for a start to take for a claim that was lost."""
    store = await bench.open()
    one, two = await add(store, *producer.specs(2))
    claim = await store.claim(1, ALL)
    assert await store.finish([completed(claim.fence, claim.jobs[0])]) == []
    assert ids_of(await store.claim(1, ALL)) == [two]
    await store._journal.hear()
    assert store._db is not None
    assert store._db.execute("SELECT fence FROM claims").fetchall() == [(claim.fence + 1,)]
    store = await bench.crash()
    assert bench.lost == LostClaims(1, 0)
    assert await pending(store) == 1
    assert isinstance((await store.get([one]))[0], Record)


async def test_store_in_memory_promises_no_more_than_the_process(bench: SQLiteBench, producer: Producer) -> None:
    async def nothing(_: object) -> dict[bytes, object]:
        return {}

    store = SQLiteQueueStore(
        ":memory:", lease_s=15, starvation_s=60, dedup_s=600, outbox_count_max=10, outbox_bytes_max=1 << 20, disk_reserve_bytes=1 << 60,
        finished=nothing,  # type: ignore[arg-type]
    )  # fmt: skip
    await store.open(Life(NODE, 1), {})
    assert store.level is Durability.PROCESS
    ids = await add(store, *producer.specs(3))
    assert await store.cancel(ids[:1]) == [CancelKind.CANCELLED]
    assert await run_all(store) == ids[1:]
    await store.close()


async def test_second_process_is_told_who_holds_the_file(bench: SQLiteBench) -> None:
    await bench.open()
    program = (
        "import asyncio, sys; from tests.queue.making import SQLiteBench; from pathlib import Path\n"
        f"asyncio.run(SQLiteBench(Path({str(bench.path.parent)!r})).open())"
    )
    done = await asyncio.to_thread(
        lambda: subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    )
    assert f"StoreUnavailable: {bench.path} is in use by process {os.getpid()}; stop that node" in done.stderr


async def test_second_opening_in_the_same_process_is_refused_and_harms_nothing(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    with pytest.raises(StoreUnavailable, match="is in use by process"):
        await bench.make().open(Life(NODE, 9), {})
    await add(store, producer.spec())


async def test_started_job_whose_claim_was_not_written_is_told_with_the_fence_of_its_mark(bench: SQLiteBench, producer: Producer) -> None:
    (job_id,) = await add(await bench.open(), producer.spec())
    await bench.close()
    store = bench.make()
    assert await store.open(Life(NODE, 2), {job_id: 7}) == LostClaims(1, 1)
    (live,) = await store.get([job_id])
    assert isinstance(live, Live)
    (attempt,) = live.job.attempts
    assert (attempt.fence, attempt.node, attempt.outcome) == (7, NODE, "lost")
    assert attempt.started_ms == attempt.ended_ms > 0
    await store.close()


async def test_mark_that_outlived_its_attempt_charges_nothing_more(bench: SQLiteBench, producer: Producer) -> None:
    (job_id,) = await add(await bench.open(), producer.spec())
    await bench.close()
    for boot, mark, suspects in ((2, 7, 1), (3, 7, 0), (4, 6, 0), (5, 8, 1)):
        store = bench.make()
        assert (await store.open(Life(NODE, boot), {job_id: mark})).suspects == suspects
        await store.close()


async def test_file_that_is_no_database_is_refused_and_left_as_it_is(bench: SQLiteBench) -> None:
    bench.path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(ConfigError, match=r"queue-1\.db cannot be used as the queue: file is not a database; nothing was changed"):
        await bench.open()
    assert bench.path.read_bytes() == b"something else entirely" * 100


async def test_corrupt_file_is_refused_and_not_repaired(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(1000))
    await bench.close()
    data = bytearray(bench.path.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 8] = b"\xff" * 8
    bench.path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be used as the queue"):
        await bench.open()
    assert bench.path.read_bytes() == bytes(data)


async def test_folder_in_the_place_of_the_file_is_a_wrong_setting(bench: SQLiteBench) -> None:
    bench.path.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        await bench.open()


async def test_file_of_a_newer_version_is_refused(bench: SQLiteBench) -> None:
    await bench.open()
    await bench.close()
    with sqlite3.connect(bench.path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigError, match="schema version 99, this version of zjp knows up to 2"):
        await bench.open()


async def test_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    bench = SQLiteBench(tmp_path / "missing")
    with pytest.raises(StoreUnavailable, match=r"missing.* cannot be made: No such file or directory; see that DATA_DIR exists"):
        await bench.open()


async def test_failed_opening_lets_go_of_the_lock(bench: SQLiteBench) -> None:
    bench.path.write_bytes(b"something else entirely" * 100)
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot be used as the queue"):
            await bench.open()


async def test_submit_to_a_closed_store_is_refused(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await bench.close()
    with pytest.raises(StoreUnavailable):
        await store.submit([producer.spec()])


# ── a deep queue ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that a test can overflow."""
    monkeypatch.setattr(window, "WINDOW_MAX", 50)
    monkeypatch.setattr(window, "WINDOW_LOW", 20)
    monkeypatch.setattr("zjp.queue.browsing.READ_MAX", 15)


@pytest.mark.usefixtures("small_window")
async def test_jobs_beyond_the_window_are_claimed_in_order_and_once(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    ids = await add(store, *producer.specs(500))
    claimed: list[bytes] = []
    for _ in range(20):
        claimed += ids_of(await store.claim(7, ALL))
        ids += await add(store, *producer.specs(3))
    while found := ids_of(await store.claim(13, ALL)):
        claimed += found
    assert claimed == ids


@pytest.mark.usefixtures("small_window")
async def test_deep_queue_beside_submits_cancels_and_purges_gives_each_job_once(bench: SQLiteBench) -> None:
    store = await bench.open()
    chance = random.Random(7)
    producers = [Producer() for _ in range(3)]
    made: list[bytes] = []
    ended: set[bytes] = set()
    claimed: list[bytes] = []
    working = 4

    async def submit(producer: Producer) -> None:
        nonlocal working
        for _ in range(60):
            made.extend(await add(store, *producer.specs(chance.randint(1, 12))))
        working -= 1

    async def cancel() -> None:
        nonlocal working
        for _ in range(60):
            asked = chance.sample(made, min(len(made), 5))
            for job_id, verdict in zip(asked, await store.cancel(asked), strict=True):
                if verdict is CancelKind.CANCELLED:
                    ended.add(job_id)
            await asyncio.sleep(0)
        working -= 1

    async def claim() -> None:
        while working or await pending(store):
            found = await store.claim(chance.randint(1, 30), ALL)
            claimed.extend(ids_of(found))
            await store.finish([completed(found.fence, job) for job in found.jobs])
            await asyncio.sleep(0)

    await asyncio.gather(*(submit(producer) for producer in producers), cancel(), claim())
    assert len(claimed) == len(set(claimed))
    assert set(claimed) | ended == set(made)
    assert not set(claimed) & ended


@pytest.mark.usefixtures("small_window")
async def test_deep_queue_is_purged_whole(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(400))
    held = await store.claim(5, ALL)
    assert await store.purge("default") == 395
    new = await add(store, *producer.specs(100))
    claimed: list[bytes] = []
    while found := ids_of(await store.claim(1000, ALL)):
        claimed += found
    assert claimed == new
    assert await store.finish([completed(held.fence, job) for job in held.jobs]) == []


async def test_memory_holds_a_bounded_part_of_a_deep_queue(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    for _ in range(25):
        await add(store, *producer.specs(1000))
    (level,) = store._state.window.levels.values()
    assert level.waiting == 25_000
    assert len(level.ready) <= window.WINDOW_MAX


async def test_purge_waits_for_room_in_the_outbox(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open(outbox_count_max=1500)
    for _ in range(4):
        await add(store, *producer.specs(1000))
    purging = asyncio.create_task(store.purge("default"))
    async with asyncio.timeout(30):
        while not purging.done():
            await archive(bench, store)
            await asyncio.sleep(0)
    assert await purging == 4000
    assert store.backlog().count <= 750


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_new_jobs_cost_no_look_up(bench: SQLiteBench, producer: Producer) -> None:
    asked: list[object] = []

    async def finished(ids: object) -> dict[bytes, object]:
        asked.append(ids)
        return {}

    store = await bench.open(finished=finished)
    for _ in range(5):
        await add(store, *producer.specs(10))
    store = await bench.open(finished=finished)
    await add(store, *producer.specs(10))
    assert asked == []
    await store.submit([JobSpec(b"made by caller!!", "noop", b"\x80")])
    assert len(asked) == 1


@pytest.mark.parametrize("options", [None, Options(delay_ms=1000), Options(delay_ms=10**9)])
async def test_live_job_of_a_forgotten_session_is_known_even_if_its_clock_is_ahead(bench: SQLiteBench, options: Options | None) -> None:
    store = await bench.open()
    ahead = JobSpec(make_id(10**14, 77, 1), "noop", b"\x80", options=options)
    await add(store, ahead)
    for _ in range(12):
        bench.pass_time(120)
        await store.tend(10)
    store = await bench.open()
    assert [answer.kind for answer in await store.submit([ahead])] == [SubmitKind.EXISTED]
    assert len((await store.list(JobFilter(), b"", 10)).jobs) == 1


# ── a crash before the claim was written ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_after_an_unclean_stop_claims_are_on_disk_before_they_are_handed_out(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(4))
    store = await bench.crash()
    claim = await store.claim(2, ALL)
    db = sqlite3.connect(bench.path)
    assert db.execute("SELECT fence FROM claims").fetchall() == [(claim.fence,)]
    db.close()
    await store.claim(2, ALL)
    await bench.crash()
    assert bench.lost == LostClaims(4, 0)


async def test_claims_leave_nothing_behind_when_their_jobs_are_through(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    await add(store, *producer.specs(9))
    first, second, third = [await store.claim(3, ALL) for _ in range(3)]
    await store.finish([completed(first.fence, job) for job in first.jobs])
    await store.finish([completed(second.fence, job) for job in second.jobs[:2]])
    await store.finish([released(second.fence, job) for job in second.jobs[2:]])
    db = sqlite3.connect(bench.path)
    assert db.execute("SELECT fence FROM claims").fetchall() == [(third.fence,)]
    await bench.lose_lease(store)
    assert db.execute("SELECT fence FROM claims").fetchall() == []
    db.close()
    assert store._state.claims == {}
    assert store._state.lapsing == set()


async def test_folder_that_is_moved_away_costs_no_submit(bench: SQLiteBench, producer: Producer) -> None:
    store = await bench.open()
    folder = bench.path.parent
    folder.rename(folder.with_name("moved"))
    bench.pass_time(2.0)
    await add(store, producer.spec())
    folder.with_name("moved").rename(folder)
    assert await pending(store) == 1


# ── kill -9 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def kill_once(bench: SQLiteBench, path: Path, *, acks: int) -> tuple[set[bytes], set[bytes]]:
    """Start a writer, kill it after some acknowledgements. Returns (jobs acknowledged, outcomes acknowledged)."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import runpy, sys; sys.argv[1:] = [{str(path)!r}]; runpy.run_path({str(WRITER)!r}, run_name='__main__')",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    submitted: set[bytes] = set()
    finished: set[bytes] = set()
    async with asyncio.timeout(60):
        for _ in range(acks):
            line = (await child.stdout.readline()).split()
            (submitted if line[0] == b"submitted" else finished).update(bytes.fromhex(part.decode()) for part in line[1:])
        child.send_signal(signal.SIGKILL)
        for line in (await child.stdout.read()).splitlines(keepends=True):
            if line.endswith(b"\n"):  # acknowledged before the kill, read after it
                parts = line.split()
                (submitted if parts[0] == b"submitted" else finished).update(bytes.fromhex(part.decode()) for part in parts[1:])
        await child.wait()
    return submitted, finished


@pytest.mark.parametrize("kills", [20, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])])
async def test_process_killed_at_any_moment_loses_nothing_acknowledged(bench: SQLiteBench, kills: int) -> None:
    chance = random.Random(kills)
    submitted: set[bytes] = set()
    finished: set[bytes] = set()
    for _ in range(kills):
        more, done = await kill_once(bench, bench.path, acks=chance.randint(1, 25))
        submitted |= more
        finished |= done
    store = await bench.open(outbox_count_max=10**7, outbox_bytes_max=1 << 32)
    in_outbox = [item.record.job.spec.id for item in await store.outbox(10**7)]
    live: list[bytes] = []
    while claim := ids_of(await store.claim(1000, ALL)):
        live += claim
    assert len(in_outbox) == len(set(in_outbox))
    assert len(live) == len(set(live))
    assert not set(live) & set(in_outbox)
    assert submitted <= set(live) | set(in_outbox)
    assert finished <= set(in_outbox)
    assert len(submitted) > 10 * kills
