"""Records that MongoDB refuses for good: the others go on, and the refused ones are told, kept and tried again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec import msgpack
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DocumentTooLarge

from tests.records import wire_server
from tests.records.making import START_MS, Item, id_of, make_item
from tests.records.outboxes import Outbox, drain_of, ids_in, within
from zjp.errors import StoreUnavailable
from zjp.job import Record, format_id, make_id
from zjp.records.aside import Aside
from zjp.records.events import Event, EventFilter
from zjp.records.mongo import MongoRecordStore
from zjp.records.mongo.documents import Arrivals
from zjp.records.mongo.server import Server
from zjp.records.mongo.writing import append
from zjp.records.store import RecordsRefused
from zjp.retry import RetryPolicy

pytestmark = pytest.mark.covers("mongo:errors")

DEADLINE_S = 60.0
AGAIN = RetryPolicy(kind="fixed", base_s=0.02, max_s=0.02)
PAYLOAD = b"\x81\xa1x\x01"
Raw = AsyncCollection[dict[str, Any]]
Refuse = Callable[[Mapping[str, Any]], Mapping[str, Any] | None]


# The server that speaks MongoDB's protocol, with a unique index that zjp has not made -----------------------------------------------


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoRecordStore]:
    opened = wire_server.open_in(tmp_path, wall_ms=lambda: START_MS)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def raw(tmp_path: Path) -> AsyncIterator[Raw]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(wire_server.shared().uri)
    yield client[wire_server.database_of(tmp_path)]["records"]
    await client.close()


async def test_a_record_that_a_foreign_index_keeps_out_holds_up_no_other_and_arrives_once_that_is_gone(
    store: MongoRecordStore, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    await raw.create_index([("type", 1)], unique=True, name="node_id_1")
    items = [make_item(number, type=f"t{number % 29}") for number in range(30)]
    outbox = Outbox(store, items)
    drain = drain_of(outbox, aside=Aside(pauses=AGAIN))
    alone, tried_again = asyncio.Event(), asyncio.Event()

    def look(name: str, number: int) -> None:
        if len(outbox.items) == 1 and drain.refused:
            (tried_again if alone.is_set() and name == "append" else alone).set()

    outbox.before = look
    running = asyncio.create_task(drain.run())
    drain.wake()
    await within(DEADLINE_S, alone.wait())
    await within(DEADLINE_S, tried_again.wait())
    assert (outbox.items, drain.moved, drain.refused, drain.fault) == ([items[29]], 29, 1, None)
    assert await ids_in(store) == [id_of(item) for item in items[:29]]
    (told,) = [line for line in caplog.records if line.message == "outbox.refused"]
    assert told.levelno == logging.ERROR
    fields = told.fields  # type: ignore[attr-defined]
    assert (fields["id"], fields["code"]) == (format_id(id_of(items[29])), 11000)
    assert "node_id_1" in fields["reason"]
    await raw.drop_index("node_id_1")
    await within(DEADLINE_S, outbox.emptied.wait())
    assert await drain.stop(DEADLINE_S) == 0
    await running
    assert (drain.moved, drain.refused) == (30, 0)
    assert await store.get([id_of(items[29])]) == {id_of(items[29]): items[29].record}


async def test_what_is_there_already_is_no_refusal_although_a_foreign_index_has_it_too(
    store: MongoRecordStore, raw: Raw
) -> None:
    await raw.create_index([("type", 1)], unique=True)
    again = make_item(0, run=2, type="t0")
    await store.append([make_item(0, type="t0"), make_item(1, type="t1")])
    await store.append([make_item(0, type="t0"), make_item(1, type="t1"), again])
    assert (await store.get([id_of(again)]))[id_of(again)].job.run == 2


async def test_an_event_that_a_foreign_index_keeps_out_holds_up_no_other(
    store: MongoRecordStore, raw: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    await raw.database["events"].create_index([("subject", 1)], unique=True)
    events = [
        Event(make_id(START_MS + n, 7, n), START_MS + n, "joined", "node-1", subject)
        for n, subject in enumerate(("a", "b", "a", "c"))
    ]
    await store.append_events(events)
    await store.append_events(events[:2])
    page = await store.list_events(EventFilter(), b"", 10)
    assert list(page.events) == [events[3], events[1], events[0]]
    assert [line.fields["code"] for line in caplog.records if line.message == "events.refused"] == [11000]  # type: ignore[attr-defined]


# Replies that this server never gives ----------------------------------------------------------------------------------------------


class Database:
    """Answers `command` as MongoDB does; `refuse` says with which error, if any, a document is kept out."""

    def __init__(self, refuse: Refuse, *, bytes_max: int = 1 << 30) -> None:
        self._refuse = refuse
        self._bytes_max = bytes_max
        self.there: dict[bytes, Mapping[str, Any]] = {}
        self.database = self

    async def command(self, command: Mapping[str, Any]) -> Mapping[str, Any]:
        documents = command.get("documents") or [update["u"] for update in command["updates"]]
        if sum(len(document["data"]) for document in documents) > self._bytes_max:
            raise DocumentTooLarge("insert command document too large")
        errors = []
        for index, document in enumerate(documents):
            error = self._refuse(document)
            if error is None and document["_id"] in self.there and "documents" in command:
                error = {"code": 11000, "keyPattern": {"_id": 1}, "errmsg": "E11000 duplicate key"}
            if error is None:
                self.there[document["_id"]] = document
            else:
                errors.append({"index": index, **error})
        return {"ok": 1, "writeErrors": errors}

    async def find(self, where: Mapping[str, Any], _: object) -> AsyncIterator[Mapping[str, Any]]:
        for job_id in where["_id"]["$in"]:
            if job_id in self.there:
                yield self.there[job_id]


class Asked(Server):
    def __init__(self, database: Database) -> None:
        super().__init__("mongodb://db:27017", database="records", timeout_s=5.0)
        self._answers = database

    @contextlib.asynccontextmanager
    async def asked(self, within_s: float | None = None) -> AsyncIterator[Raw]:
        yield cast(Raw, self._answers)


ITEMS = [make_item(number, payload=PAYLOAD) for number in range(8)]
ODD = ITEMS[3]


async def appended(database: Database, items: Sequence[Item] = ITEMS) -> RecordsRefused | None:
    server = Asked(database)
    try:
        await append(server, items, Arrivals(), START_MS)
    except RecordsRefused as refused:
        return refused
    finally:
        await server.close()
    return None


def payload_of(document: Mapping[str, Any]) -> bytes:
    return msgpack.decode(document["data"], type=Record).job.spec.payload


def only_odd(error: Mapping[str, Any], *, whole: bool = False) -> Refuse:
    def refuse(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        is_meant = bytes(document["_id"]) == id_of(ODD) and (not whole or payload_of(document) == PAYLOAD)
        return error if is_meant else None

    return refuse


FOREIGN = "E11000 duplicate key error collection: db.records index: "


@pytest.mark.parametrize(
    "error",
    [
        {"code": 121, "errmsg": "Document failed validation"},
        {"code": 17280, "errmsg": "key too large to index"},
        {"code": 2, "errmsg": "object to insert too large"},
        {"code": 11000, "keyPattern": {"type": 1}, "errmsg": FOREIGN + "_id_ dup key"},
        {"code": 11000, "keyPattern": {"_id": 1, "type": 1}, "errmsg": FOREIGN + "both dup key"},
        {"code": 11000, "errmsg": FOREIGN + "node_id_1 dup key: { type: 'index: _id_x' }"},
    ],
)
async def test_a_refusal_that_is_final_for_one_document_names_it_and_all_others_are_written(
    error: Mapping[str, Any],
) -> None:
    database = Database(only_odd(error))
    refused = await appended(database)
    assert refused is not None
    assert [(refusal.item, refusal.code, refusal.reason) for refusal in refused.refusals] == [
        (ODD, error["code"], error["errmsg"])
    ]
    assert {bytes(job_id) for job_id in database.there} == {id_of(item) for item in ITEMS if item is not ODD}


@pytest.mark.parametrize("named", [{"keyPattern": {"_id": 1}, "errmsg": ""}, {"errmsg": FOREIGN + "_id_ dup key"}])
async def test_one_that_another_node_writes_meanwhile_is_there(named: Mapping[str, Any]) -> None:
    assert await appended(Database(only_odd({"code": 11000, **named}))) is None


async def test_a_refused_record_is_taken_without_its_payload_and_result(caplog: pytest.LogCaptureFixture) -> None:
    database = Database(only_odd({"code": 121, "errmsg": "too long"}, whole=True))
    assert await appended(database) is None
    assert sorted(map(payload_of, database.there.values())) == [b"\x80"] + [PAYLOAD] * 7
    (told,) = [line.fields for line in caplog.records if line.message == "records.shortened"]  # type: ignore[attr-defined]
    assert told == {"id": format_id(id_of(ODD)), "code": 121, "reason": "too long"}


async def test_an_error_that_may_pass_is_raised_and_names_its_job() -> None:
    with pytest.raises(StoreUnavailable, match=rf"document {format_id(id_of(ODD))}: write conflict \(code 112\)"):
        await appended(Database(only_odd({"code": 112, "errmsg": "write conflict"})))


async def test_a_command_that_is_refused_whole_for_its_size_goes_in_parts(caplog: pytest.LogCaptureFixture) -> None:
    large = make_item(9, payload=b"\x81\xa1x\xc5\x20\x00" + bytes(0x2000))
    short = Database(lambda document: None, bytes_max=2 * len(ODD.data))
    assert await appended(short, [*ITEMS, large]) is None
    assert len(short.there) == 9
    assert [line.message for line in caplog.records] == ["records.shortened"]
    refused = await appended(Database(lambda document: None, bytes_max=10))
    assert refused is not None
    assert [refusal.item for refusal in refused.refusals] == ITEMS
