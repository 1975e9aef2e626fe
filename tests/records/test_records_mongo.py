"""What is particular to the records in MongoDB: documents and indexes, limits, what its errors and settings say."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvloop
from msgspec import msgpack, structs
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConfigurationError,
    NetworkTimeout,
    OperationFailure,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from tests.records import wire_server
from tests.records.making import START_MS, Item, id_of, make_item
from zjp.errors import ConfigError, StoreFull, StoreUnavailable, ZjpError
from zjp.job import JobFilter, JobState, format_id
from zjp.records.mongo import MongoRecordStore
from zjp.records.mongo.documents import DATA_BYTES_MAX, Arrivals
from zjp.records.mongo.server import Server, StoreDenied

pytestmark = pytest.mark.covers("mongo:records")

SECRET = "s3cret/p@ss"
ESCAPED = "s3cret%2Fp%40ss"
DAY_S = 86_400.0
Raw = AsyncCollection[dict[str, Any]]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoRecordStore]:
    opened = wire_server.open_in(tmp_path, ttl_s=DAY_S, wall_ms=lambda: START_MS)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[Raw]:
    """The collection beside the store, as a person with a shell sees it."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        wire_server.shared().uri, tz_aware=True, uuidRepresentation="standard"
    )
    yield client[wire_server.database_of(tmp_path)]["records"]
    await client.close()


def refused(uri: str, *, database: str = "records") -> str:
    with pytest.raises(ConfigError) as error:
        asyncio.run(MongoRecordStore(uri, database=database, ttl_s=0, timeout_s=1.0).open())
    return str(error.value)


def huge(payload_bytes: int, result_bytes: int) -> Item:
    record = make_item(0, payload=b"\x81\xa1x\xc6" + payload_bytes.to_bytes(4, "big") + bytes(payload_bytes)).record
    record = structs.replace(record, result=b"\xc6" + result_bytes.to_bytes(4, "big") + bytes(result_bytes))
    return Item(record, msgpack.encode(record))


# Documents and indexes -----------------------------------------------------------------------------------------------------------


async def test_a_document_shows_a_person_what_is_filtered_by(store: MongoRecordStore, raw: Raw) -> None:
    item = make_item(7, tags=("a", "b"), state=JobState.FAILED, run=2)
    await store.append([item])
    (document,) = await raw.find().to_list()
    order = document.pop("order")
    assert order > 0
    assert document == {
        "_id": uuid.UUID(format_id(id_of(item))),
        "run": 2,
        "state": "failed",
        "type": "email",
        "queue": "default",
        "tags": ["a", "b"],
        "created_at": datetime.fromtimestamp(START_MS / 1000 + 0.07, UTC),
        "finished_at": datetime.fromtimestamp(START_MS / 1000 + 0.075, UTC),
        "data": item.data,
    }


@pytest.mark.covers("mongo:limits")
async def test_the_server_is_asked_for_the_indexes_and_for_the_ttl(store: MongoRecordStore, raw: Raw) -> None:
    indexes = await raw.index_information()
    assert {name: index["key"] for name, index in indexes.items()} == {
        "_id_": [("_id", 1)],
        "by_order": [("order", -1)],
        "by_created": [("created_at", -1)],
        "by_finished": [("finished_at", 1)],
        "by_state": [("state", 1), ("order", -1)],
        "by_type": [("type", 1), ("order", -1)],
        "by_queue": [("queue", 1), ("order", -1)],
        "by_tag": [("tags", 1), ("order", -1)],
    }
    assert indexes["by_finished"]["expireAfterSeconds"] == 86_400


async def test_indexes_that_are_gone_are_made_again_after_a_refusal(store: MongoRecordStore, raw: Raw) -> None:
    """What a server says of a hint that names an index it does not have."""
    assert store._server is not None
    await raw.drop()
    with pytest.raises(StoreUnavailable, match="hint provided"):
        async with store._server.asked():
            raise refusal(2, "hint provided does not correspond to an existing index")
    assert await store.get([bytes(16)]) == {}
    assert "by_order" in await raw.index_information()


@pytest.mark.covers("mongo:limits")
@pytest.mark.parametrize(("ttl_s", "expected"), [(0.2, 1), (1e12, (1 << 31) - 1), (0, None)])
async def test_ttls_that_the_server_would_refuse_are_fitted(
    tmp_path: Path, raw: Raw, ttl_s: float, expected: int | None
) -> None:
    store = wire_server.open_in(tmp_path, ttl_s=ttl_s, wall_ms=lambda: START_MS)
    await store.open()
    await store.close()
    assert (await raw.index_information())["by_finished"].get("expireAfterSeconds") == expected


async def test_a_document_that_is_no_record_hides_no_others(
    store: MongoRecordStore, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    items = [make_item(number) for number in range(3)]
    await store.append(items)
    for broken in ({"data": b"\xc1"}, {"data": "text"}, {"data": b"\x93\x01\x02\x03"}):
        await raw.update_one({"_id": uuid.UUID(format_id(id_of(items[1])))}, {"$set": broken})
        page = await store.list(JobFilter(), b"", 10)
        assert list(page.records) == [items[2].record, items[0].record]
        assert await store.get([id_of(item) for item in items]) == {id_of(items[n]): items[n].record for n in (0, 2)}
    assert {line.message for line in caplog.records if line.name.startswith("zjp")} == {"records.unreadable"}


async def test_a_document_that_is_no_record_ends_no_listing(store: MongoRecordStore, raw: Raw) -> None:
    items = [make_item(number) for number in range(12)]
    await store.append(items)
    for number in (11, 10, 9, 5):
        await raw.update_one({"_id": uuid.UUID(format_id(id_of(items[number])))}, {"$set": {"data": b"\xc1"}})
    readable = [one.record for number, one in enumerate(items) if number not in (11, 10, 9, 5)]
    for limit in (1, 2, 4):
        found, cursor = [], b""
        while True:
            page = await store.list(JobFilter(), cursor, limit)
            found += page.records
            if not (cursor := page.cursor):
                break
        assert found == readable[::-1]


async def test_writes_ask_for_a_majority_and_the_journal(store: MongoRecordStore) -> None:
    server = store._server
    assert server is not None
    assert server._write_concern == {"w": "majority", "j": True, "wtimeout": 30_000}
    assert server.records.write_concern.document == server._write_concern


async def test_two_nodes_write_and_list_the_same_records(tmp_path: Path) -> None:
    stores = [wire_server.open_in(tmp_path, wall_ms=lambda: START_MS) for _ in range(2)]
    for store in stores:
        await store.open()
    items = [make_item(number) for number in range(600)]
    again = [make_item(number, run=2) for number in range(0, 600, 3)]
    await asyncio.gather(*(store.append(some) for store in stores for some in (items, again, items[::-1])))
    for store in stores:
        assert await store.count() == 600
        seen, cursor = [], b""
        while page := await store.list(JobFilter(), cursor, 50):
            seen += page.records
            cursor = page.cursor
            if not cursor:
                break
        assert len(seen) == 600
        expected = {id_of(item): item.record for item in (*items, *again)}
        assert {record.job.spec.id: record for record in seen} == expected
        await store.close()


def test_orders_rise_whatever_the_clock_does_and_go_on_after_what_is_there() -> None:
    arrivals = Arrivals()
    orders = [*arrivals.take(3, START_MS), *arrivals.take(3, START_MS - 5000), *arrivals.take(1, START_MS + 1)]
    assert orders == sorted(set(orders))
    late = Arrivals()
    late.note(orders[-1])
    assert late.take(1, START_MS - 60_000)[0] >> 12 > orders[-1] >> 12
    assert Arrivals().take(1, 3_800_000_000_000)[0] < 1 << 63  # the year 2090


def test_a_clock_that_showed_a_far_year_for_a_moment_leaves_numbers_for_what_comes() -> None:
    arrivals = Arrivals()
    orders = [*arrivals.take(3, 4_100_000_000_000), *arrivals.take(3, START_MS)]  # the year 2099
    assert orders == sorted(set(orders))
    assert orders[-1] < 1 << 63


def test_it_works_in_uvloop_as_well(tmp_path: Path) -> None:
    async def use() -> int:
        store = wire_server.open_in(tmp_path, wall_ms=lambda: START_MS)
        await store.open()
        await store.append([make_item(number) for number in range(1500)])
        await store.close()
        await store.open()
        count = await store.count()
        await store.close()
        return count

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(use()) == 1500


def test_only_whoever_keeps_records_in_mongodb_loads_its_driver() -> None:
    run = "import sys, zjp, zjp.client.blocking, zjp.records.sqlite; print('pymongo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True).stdout == "False\n"


# Limits --------------------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("mongo:limits")
async def test_a_record_too_large_for_a_document_loses_its_payload_and_stops_nothing(
    store: MongoRecordStore, caplog: pytest.LogCaptureFixture
) -> None:
    whole, without_payload, without_both = huge(7 << 20, 7 << 20), huge(10 << 20, 10 << 20), huge(1 << 20, 16 << 20)
    assert len(whole.data) < DATA_BYTES_MAX < len(without_payload.data)
    for item, payload, result in (
        (whole, whole.record.job.spec.payload, whole.record.result),
        (without_payload, b"\x80", without_payload.record.result),
        (without_both, b"\x80", b"\xc0"),
    ):
        await store.append([item, make_item(1)])
        found = (await store.get([id_of(item)]))[id_of(item)]
        assert (found.job.spec.payload, found.result) == (payload, result)
        await store.remove([id_of(item)])
    assert [line.message for line in caplog.records if line.name.startswith("zjp")] == ["records.shortened"] * 2


@pytest.mark.covers("mongo:limits")
async def test_a_bulk_of_large_records_is_written_in_parts(store: MongoRecordStore) -> None:
    items = [make_item(n, payload=b"\x81\xa1x\xc6" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)) for n in range(30)]
    await store.append(items)
    pages = [await store.list(JobFilter(), b"", 500)]
    while pages[-1].cursor:
        pages.append(await store.list(JobFilter(), pages[-1].cursor, 500))
    assert [record for page in pages for record in page.records] == [item.record for item in reversed(items)]
    assert [len(page.records) for page in pages] == [7, 7, 7, 7, 2]


@pytest.mark.covers("mongo:limits")
async def test_a_range_of_creation_with_few_records_is_found_at_once_among_many(store: MongoRecordStore) -> None:
    await store.append([make_item(number) for number in range(15_000)])
    wanted = JobFilter(created_after_ms=START_MS + 100, created_before_ms=START_MS + 300)
    page = await store.list(wanted, b"", 50)
    assert list(page.records) == [make_item(number).record for number in range(29, 9, -1)]
    assert (page.scanned, page.cursor) == (20, b"")


# Settings and errors -------------------------------------------------------------------------------------------------------------


@pytest.mark.covers("mongo:errors")
@pytest.mark.parametrize(
    ("uri", "text"),
    [
        ("http://db:27017", "begins with 'http:', it must begin with mongodb:// or mongodb+srv://"),
        ("db:27017", "has no scheme, it must begin with mongodb:// or mongodb+srv://"),
        ("", "has no scheme"),
        ("mongodb://", "is not usable"),
        ("mongodb://db:port", "MONGODB_URI (db:port/records) is not usable"),
        ("mongodb://db/?w=-3", "(db/records) is not usable"),
        (f"mongodb://me:{SECRET}@db:27017", "is not usable"),
        (f"mongodb://me:{ESCAPED}@db:0", "(db:0/records) is not usable"),
        (f"mongodb+srv://me:{ESCAPED}@db.example:1", "(db.example:1/records) is not usable"),
        ("mongodb://db/?nothing=1", "(db/records) is not usable: Unknown option"),
        (f"mongodb://me:{ESCAPED}@db/?authMechanism={ESCAPED}", "(db/records) is not usable"),
    ],
)
def test_a_uri_that_is_none_is_refused_without_its_password(uri: str, text: str) -> None:
    message = refused(uri)
    assert text in message
    assert not {SECRET, ESCAPED, "s3cret", "p@ss"} & {
        part for part in (SECRET, ESCAPED, "s3cret", "p@ss") if part in message
    }


@pytest.mark.covers("mongo:errors")
def test_a_database_name_that_is_none_is_refused() -> None:
    assert "is not usable: " in refused("mongodb://127.0.0.1:1", database="a.b")


@pytest.mark.covers("mongo:errors")
async def test_a_host_that_nobody_knows_is_away_and_named_without_password() -> None:
    for scheme, host in (("mongodb", "db.invalid:27017"), ("mongodb+srv", "db.cluster.invalid")):
        store = MongoRecordStore(f"{scheme}://me:{ESCAPED}@{host}", database="records", ttl_s=0, timeout_s=1.0)
        await store.open()
        with pytest.raises(StoreUnavailable, match=host) as fault:
            await store.append([make_item(0)])
        assert "s3cret" not in str(fault.value)
        await store.close()


def refusal(code: int, text: str) -> OperationFailure:
    return OperationFailure(text, code, {"errmsg": text, "code": code})


@pytest.mark.covers("mongo:errors")
@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (
            refusal(18, "Authentication failed."),
            StoreDenied,
            "cannot authenticate: Authentication failed.; check its name",
        ),
        (refusal(13, "not authorized on records"), StoreDenied, "is not authorized: not authorized on records"),
        (
            refusal(14031, "available disk space is low"),
            StoreFull,
            "is full: available disk space is low (code 14031); free",
        ),
        (refusal(8000, "you are over your space quota"), StoreFull, "is full: you are over your space quota"),
        (refusal(11600, f"interrupted {SECRET}"), StoreUnavailable, "refused: interrupted *** (code 11600)"),
        (
            WTimeoutError("waiting timed out", 64, {"errmsg": "waiting timed out"}),
            StoreUnavailable,
            "or raise MONGODB_TIMEOUT (5s)",
        ),
        (NetworkTimeout("timed out"), StoreUnavailable, "did not answer in time (timed out)"),
        (ServerSelectionTimeoutError(f"{ESCAPED} refused, Timeout: 2s"), StoreUnavailable, "*** refused"),
        (ConfigurationError("no such name"), StoreUnavailable, "does not answer: no such name"),
        (OperationFailure("x" * 5000), StoreUnavailable, "refused: " + "x" * 300 + "... (code None)"),
    ],
)
async def test_every_error_of_the_driver_says_where_what_and_what_to_do(
    error: OperationFailure, kind: type[ZjpError], text: str
) -> None:
    server = Server(f"mongodb://me:{ESCAPED}@db:27017", database="records", timeout_s=5.0)
    translated = server.translated(error)
    assert type(translated) is kind
    assert str(translated).startswith("MongoDB db:27017/records")
    assert text in str(translated)
    assert "s3cret" not in str(translated)
    await server.close()


@pytest.mark.covers("mongo:errors")
async def test_a_login_that_the_server_cannot_check_is_no_silent_success(tmp_path: Path) -> None:
    """The server of these tests knows no users: with a log-in in the URI nothing is read or written."""
    uri = wire_server.shared().uri.replace("mongodb://", f"mongodb://me:{ESCAPED}@")
    store = MongoRecordStore(uri, database=wire_server.database_of(tmp_path), ttl_s=0, timeout_s=1.0)
    await store.open()
    with pytest.raises(StoreUnavailable) as fault:
        await store.append([make_item(0)])
    assert "s3cret" not in str(fault.value)
    await store.close()
