"""Every setting of the node arrives where it counts: in the pool's, the judge's, the stores' or the submits' share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.traceability import covers
from zjp.config import TABLE, Settings
from zjp.job import Limits
from zjp.node.node import Node
from zjp.node.outcomes import Costs
from zjp.node.shares import client_environment, costs, limits, pool_settings, renew_s
from zjp.node.stores import make_queue, make_records
from zjp.queue.sqlite import SQLiteQueueStore
from zjp.records.sqlite import SQLiteRecordStore
from zjp.worker.settings import ChildSettings, PoolSettings, child_settings

pytestmark = pytest.mark.covers("main-path:8")


@dataclass
class Handed:
    """What the parts of a node were given. Of the stores: their keyword arguments."""

    pool: PoolSettings
    costs: Costs
    limits: Limits
    queue: dict[str, Any]
    records: dict[str, Any]
    renew_s: float


async def _no_records(ids: Any) -> dict[bytes, Any]:
    return {}


def handed(settings: Settings, folder: Path) -> Handed:
    queue: dict[str, Any] = {}
    records: dict[str, Any] = {}

    def queue_store(path: Path, **given: Any) -> SQLiteQueueStore:
        queue.update(given, path=path)
        return SQLiteQueueStore(path, **given)

    def record_store(path: Path, **given: Any) -> SQLiteRecordStore:
        records.update(given, path=path)
        return SQLiteRecordStore(path, **given)

    make_queue(settings, folder, _no_records, embedded=queue_store)
    make_records(settings, folder, embedded=record_store)
    pool = pool_settings(settings, node="n1", folder=folder)
    return Handed(pool, costs(settings), limits(settings), queue, records, renew_s(settings))


ARRIVES: dict[str, tuple[str, list[Callable[[Handed], Any]]]] = {
    "WORKER_COUNT": ("7", [lambda it: it.pool.slots]),
    "WORKER_PROCESSES": ("3", [lambda it: it.pool.processes]),
    "WORKER_MAX_JOBS": ("11", [lambda it: it.pool.max_jobs]),
    "WORKER_MAX_RSS": ("1GiB", [lambda it: it.pool.max_rss_bytes]),
    "LOAD_BALANCER_STRATEGY": ("least_loaded", [lambda it: it.pool.strategy]),
    "CRASH_LIMIT": ("9", [lambda it: it.costs.crash_limit]),
    "CANCEL_GRACE": ("13s", [lambda it: it.pool.cancel_grace_s]),
    "RECORDS_TTL": ("3h", [lambda it: it.records["ttl_s"]]),
    "EVENTS_TTL": ("5h", [lambda it: it.records["events_ttl_s"]]),
    "OUTBOX_MAX": ("77", [lambda it: it.queue["outbox_count_max"]]),
    "OUTBOX_MAX_BYTES": ("5MiB", [lambda it: it.queue["outbox_bytes_max"]]),
    "DISK_RESERVE": ("3MiB", [lambda it: it.queue["disk_reserve_bytes"]]),
    "MAX_PAYLOAD": ("2KiB", [lambda it: it.limits.payload_bytes_max]),
    "MAX_RESULT": ("4KiB", [lambda it: it.pool.max_result_bytes]),
    "DEDUP_WINDOW": ("17m", [lambda it: it.queue["dedup_s"]]),
    "LEASE_DURATION": ("2400ms", [lambda it: it.queue["lease_s"], lambda it: it.renew_s * 3]),
    "STARVATION_LIMIT": ("19s", [lambda it: it.queue["starvation_s"]]),
    "RETRY_POLICY": ("fixed", [lambda it: it.pool.retry.kind, lambda it: it.costs.retry.kind]),
    "MAX_RETRIES": ("21", [lambda it: it.pool.max_retries, lambda it: it.costs.max_retries]),
    "RETRY_BASE_DELAY": ("23s", [lambda it: it.pool.retry.base_s, lambda it: it.costs.retry.base_s]),
    "RETRY_MAX_DELAY": ("29m", [lambda it: it.pool.retry.max_s, lambda it: it.costs.retry.max_s]),
    "RETRY_MULTIPLIER": ("3.5", [lambda it: it.pool.retry.multiplier, lambda it: it.costs.retry.multiplier]),
    "RETRY_JITTER_FACTOR": ("0.25", [lambda it: it.pool.retry.jitter_factor, lambda it: it.costs.retry.jitter_factor]),
    "JOB_TIMEOUT": ("31s", [lambda it: it.pool.job_timeout_s]),
    "SOFT_TIMEOUT": ("37s", [lambda it: it.pool.soft_timeout_s]),
    "LOG_LEVEL": ("warning", [lambda it: it.pool.log_level]),
    "LOG_FORMAT": ("console", [lambda it: it.pool.log_format]),
    "CLUSTER_NAME": ("other", [lambda it: it.pool.environment["CLUSTER_NAME"]]),
    "APP": ("tests.fakes:plain", [lambda it: it.pool.app]),
}
"""NAME -> (another value than the default, everywhere it has to arrive)."""

SEEN_FROM_OUTSIDE = {
    "NODE_ID", "QUEUES", "SHUTDOWN_GRACE", "DATA_DIR", "REQUIRE_DURABILITY", "ZMQ_BIND", "ZMQ_ALLOW_PLAIN",
    "CLIENT_ADDRESS", "REDIS_ADDR", "REDIS_PASSWORD", "REDIS_DB", "RECORDS_MAX", "MONGODB_URI", "MONGODB_DATABASE", "MONGODB_TIMEOUT",
    "CURVE_ENABLED", "CURVE_DIR", "CLIENT_KEY_FILE", "CLIENT_SERVER_KEY", "CLUSTER_SEEDS", "CLUSTER_SIZE", "NODE_PRIORITY",
    "ELECTION_ALGORITHM", "ELECTION_TIMEOUT", "ELECTION_INTERVAL", "ZMQ_ADVERTISE", "CLIENT_TOKEN", "CLIENT_CA_FILE",
}  # fmt: skip
"""The node itself acts on these: tests of their own say how."""
OF_THE_API = {row.name for row in TABLE.values() if row.group in ("HTTP API", "Metrics") and not row.later}
"""All of them go to the process of the HTTP API (test_api.py); what it makes of each, its own tests say."""


@pytest.mark.parametrize("name", ARRIVES)
def test_setting_arrives_where_it_counts(name: str, tmp_path: Path) -> None:
    row, (text, places) = TABLE[name], ARRIVES[name]
    wanted = row.kind.parse(text)
    assert wanted != row.default, "a value that is not the default shows that it arrives"
    given = handed(replace(Settings(), **{row.field: wanted}), tmp_path)
    for place in places:
        assert place(given) == (pytest.approx(wanted) if isinstance(wanted, float) else wanted)


def test_no_setting_is_forgotten() -> None:
    available = {name for name, row in TABLE.items() if not row.later}
    assert available - set(ARRIVES) - SEEN_FROM_OUTSIDE - OF_THE_API == set(), (
        "say in ARRIVES where the new ones have to arrive"
    )
    assert SEEN_FROM_OUTSIDE & set(ARRIVES) == set()
    held = {cover.id for cover in covers() if cover.path != "tests/node/test_shares.py"}
    assert {f"settings:{name}" for name in SEEN_FROM_OUTSIDE | OF_THE_API} - held == set()


async def test_a_node_gives_its_parts_their_shares(tmp_path: Path) -> None:
    changed = {TABLE[name].field: TABLE[name].kind.parse(text) for name, (text, _) in ARRIVES.items() if name != "APP"}
    settings = replace(Settings(), data_dir=tmp_path / "data", zmq_bind="tcp://127.0.0.1:*", api_enabled=False, disk_reserve_bytes=0, **{
        field: value for field, value in changed.items() if field != "disk_reserve_bytes"
    })  # fmt: skip
    node = Node(settings)
    await node.start()
    try:
        assert node.pool._settings == pool_settings(settings, node=node._data.node_id, folder=settings.data_dir)
        assert node.dispatch._judge._costs == costs(settings)
        assert node.dispatch._renew_s == renew_s(settings)
        assert node.dispatch._weights == dict(settings.queues)
        assert node.intake._limits == limits(settings)
        assert isinstance(node.queue, SQLiteQueueStore)
        assert node.queue._lease_s == settings.lease_duration_s
    finally:
        await node.stop(0.0)


def test_a_worker_process_is_given_all_that_the_pool_knows_of_its_jobs(tmp_path: Path) -> None:
    changed = {TABLE[name].field: TABLE[name].kind.parse(text) for name, (text, _) in ARRIVES.items()}
    pool = pool_settings(Settings(**changed), node="n1", folder=tmp_path)
    child = child_settings(
        pool,
        worker="w0.1",
        slots=1,
        inbox="in",
        outbox="out",
        marks_path="marks",
        parent_pid=1,
        folder="here",
        python_path=None,
    )
    shared = set(PoolSettings.__struct_fields__) & set(ChildSettings.__struct_fields__) - {"slots", "folder"}
    assert {
        "max_retries",
        "retry",
        "job_timeout_s",
        "soft_timeout_s",
        "max_result_bytes",
        "log_level",
        "log_format",
    } <= shared
    assert {field: getattr(child, field) for field in shared} == {field: getattr(pool, field) for field in shared}


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "tcp://127.0.0.1:5570"),
        ({"zmq_bind": "tcp://0.0.0.0:7000"}, "tcp://127.0.0.1:7000"),
        ({"zmq_bind": "tcp://[::]:7000"}, "tcp://[::1]:7000"),
        ({"zmq_bind": "tcp://127.0.0.1:*"}, None),
        ({"client_address": ("tcp://a:1", "tcp://b:2")}, "tcp://a:1,tcp://b:2"),
    ],
)
def test_tasks_that_submit_speak_to_their_own_node_unless_told_otherwise(
    given: dict[str, Any], address: str | None
) -> None:
    assert client_environment(Settings(**given)).get("CLIENT_ADDRESS") == address
