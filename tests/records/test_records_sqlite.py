"""What is particular to the records on SQLite: the file, its faults, its threads."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from tests.records.making import Item, id_of, make_item
from zjp.errors import ConfigError, StoreFull, StoreUnavailable
from zjp.job import JobFilter
from zjp.records.sqlite import SQLiteRecordStore

pytestmark = pytest.mark.covers("main-path:6")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


async def opened(path: Path, *, bytes_max: int = 0) -> SQLiteRecordStore:
    store = SQLiteRecordStore(path, ttl_s=0, bytes_max=bytes_max)
    await store.open()
    return store


def overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 8192))


def modes(folder: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}


async def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        await opened(path)
    return str(refused.value)


async def test_files_are_readable_by_the_owner_only(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT, 0o644))
    store = await opened(path)
    await store.append([make_item(0)])
    assert modes(path.parent) == {"records.db": 0o600, "records.db-wal": 0o600, "records.db-shm": 0o600}
    await store.close()
    assert modes(path.parent) == {"records.db": 0o600}


async def test_commits_are_synced_to_the_disk(path: Path) -> None:
    store = await opened(path)
    parts = store._open_parts()
    modes = await parts.writing.call(lambda: parts.writer.sql.execute("PRAGMA synchronous").fetchone())
    assert modes == (2,)  # FULL
    await store.close()


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    content = b"no database at all\n" * 500
    path.write_bytes(content)
    text = asyncio.run(refusal(path))
    assert "is damaged" in text
    assert "move it away" in text
    assert path.read_bytes() == content


async def test_a_file_whose_pages_are_overwritten_is_refused(path: Path) -> None:
    store = await opened(path)
    await store.append([make_item(number) for number in range(2000)])
    await store.close()
    overwrite(path)
    assert "is damaged" in await refusal(path)


async def test_another_database_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE photos(id INTEGER)")
    assert "not one of records" in await refusal(path)


async def test_a_newer_schema_is_refused(path: Path) -> None:
    await (await opened(path)).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version=7")
    assert "has schema 7, this version knows up to 1" in await refusal(path)


async def test_a_folder_that_is_missing_is_named(path: Path) -> None:
    missing = path.parent / "nowhere" / "records.db"
    assert f"{missing} cannot be opened: No such file or directory" in await refusal(missing)


async def test_a_full_file_refuses_whole_bulks_and_goes_on_when_there_is_room(path: Path) -> None:
    store = await opened(path, bytes_max=400_000)
    stored: list[Item] = []
    bulk: list[Item] = []
    fault = None
    while fault is None:
        bulk = [make_item(len(stored) + number) for number in range(100)]
        try:
            await store.append(bulk)
            stored += bulk
        except StoreFull as full:
            fault = full
    assert "cannot grow: database or disk is full; free disk space or lower RECORDS_TTL" in str(fault)
    assert len(stored) > 100
    assert await store.count() == len(stored)
    assert await store.get([id_of(item) for item in bulk]) == {}
    assert await store.remove([id_of(item) for item in stored[:500]]) == 500
    await store.append(bulk[:50])
    assert await store.count() == len(stored) - 450
    newest = await store.list(JobFilter(), b"", 50)
    assert list(newest.records) == [item.record for item in reversed(bulk[:50])]
    await store.close()


async def test_readers_are_answered_while_the_writer_waits_and_a_file_held_too_long_is_unavailable(path: Path) -> None:
    store = await opened(path)
    await store.append([make_item(0)])
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        append = asyncio.ensure_future(store.append([make_item(1)]))
        assert len(await store.get([id_of(make_item(0))])) == 1
        assert not append.done()
        with pytest.raises(StoreUnavailable, match="does not answer: database is locked"):
            await append
        holder.execute("ROLLBACK")
    await store.append([make_item(1)])
    assert await store.count() == 2
    await store.close()


async def test_what_gathered_behind_a_transaction_is_one_and_a_bad_call_in_it_fails_alone(path: Path) -> None:
    store = await opened(path)
    good = make_item(1)
    bad = replace(good, record=structs.replace(good.record, finished_ms=None))  # refused by the table
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        calls = [
            asyncio.ensure_future(store.append([item])) for item in (make_item(0), bad, make_item(2), make_item(3))
        ]
        await store.get([])  # the writer has them by now
        holder.execute("ROLLBACK")
        answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), sqlite3.IntegrityError, type(None), type(None)]
    assert await store.count() == 3
    await store.close()


async def test_a_call_that_was_cancelled_disturbs_nobody(path: Path) -> None:
    store = await opened(path)
    given_up = asyncio.ensure_future(store.append([make_item(0)]))
    await asyncio.sleep(0)
    given_up.cancel()
    await store.append([make_item(1)])
    assert len(await store.get([id_of(make_item(1))])) == 1
    await store.close()


async def test_a_listing_stops_at_a_bound_of_bytes_and_goes_on_from_there(path: Path) -> None:
    store = await opened(path)
    large = [
        make_item(number, payload=b"\x81\xa1x\xc6" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20))
        for number in range(20)
    ]
    await store.append(large)
    pages = [await store.list(JobFilter(), b"", 500)]
    while pages[-1].cursor:
        pages.append(await store.list(JobFilter(), pages[-1].cursor, 500))
    assert [record for page in pages for record in page.records] == [item.record for item in reversed(large)]
    assert [len(page.records) for page in pages] == [7, 7, 6]
    await store.close()


async def test_two_names_with_one_checksum_are_told_apart(path: Path) -> None:
    store = await opened(path)
    twins = ("plumless", "buckeroo")  # crc32 gives 0x4ddb0c25 for both
    await store.append([make_item(number, type=twins[number % 2], queue=twins[number % 2]) for number in range(10)])
    for name in twins:
        for wanted in (JobFilter(type=name), JobFilter(queue=name)):
            page = await store.list(wanted, b"", 500)
            assert [record.job.spec.type for record in page.records] == [name] * 5
    await store.close()
