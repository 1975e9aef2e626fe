"""What the user of Redis may do: too little is refused at the start with the cure; what later breaks off for it is told as unknown."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import MasterDownError, OutOfMemoryError, ResponseError, TryAgainError

import zjp
from scripts.redis_server import RedisServer
from tests.queue.making import ALL, Producer, add, completed, run_all
from tests.redis import start_redis
from zjp.errors import ConfigError, OutcomeUnknown, StoreUnavailable
from zjp.job import JobSpec, Record, make_id
from zjp.queue.redis import RedisQueueStore
from zjp.queue.store import DocumentKind, Durability, Life, SubmitKind
from zjp.records.redis import RedisRecordStore
from zjp.redis.address import connections
from zjp.redis.lane import Command, Lane, _is_broken_off, _passes
from zjp.redis.rights import PROBES, _missing, needed
from zjp.redis.script import Script

pytestmark = pytest.mark.covers("redis:connections", "redis:unknown")

SOURCES = Path(zjp.__file__).parent
PREFIX = b"{zjp:zjp}:"
DIRECTLY = {"WAIT", "INFO", "CONFIG", "EVALSHA", "SCRIPT", "PING"}
"""Never in a script: at the start they are called as they are (WAIT: only where a replica is waited for)."""
SHA = "74f0068dcb6c545309f4fded8b9fb85119901f74"
_names = itertools.count()


async def _nothing(ids: Sequence[bytes]) -> Mapping[bytes, Record]:
    return {}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    made = start_redis(options={"appendonly": "yes", "appendfsync": "everysec"})
    yield made
    made.stop()


@pytest.fixture
def user(server: RedisServer) -> Iterator[User]:
    made = User(server)
    yield made
    server.send(b"ACL", b"DELUSER", made.name.encode())


@contextlib.contextmanager
def renaming(folder: Path, *commands: str) -> Iterator[RedisServer]:
    file = folder / "redis.conf"
    file.write_text('save ""\n' + "".join(f'rename-command {command} ""\n' for command in commands))
    server = RedisServer(folder=folder, arguments=[str(file)])
    server.start()
    try:
        yield server
    finally:
        server.stop()


class User:
    def __init__(self, server: RedisServer) -> None:
        self._server, self.name = server, f"app-{next(_names)}"
        server.send(b"FLUSHALL")

    def may(self, *rules: str) -> User:
        told = self._server.send(b"ACL", b"SETUSER", self.name.encode(), *(rule.encode() for rule in rules))
        assert told == b"+OK\r\n", told
        return self

    @property
    def url(self) -> str:
        return f"redis://{self.name}:pw@127.0.0.1:{self._server.port}"


@pytest.fixture
async def opened(user: User) -> AsyncIterator[Callable[..., Any]]:
    stores: list[RedisQueueStore] = []

    async def make(node: str = "node-1") -> RedisQueueStore:
        store = RedisQueueStore(
            user.url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 20, finished=_nothing,
            records_max=100,
        )  # fmt: skip
        await store.open(Life(node, 1), {})
        stores.append(store)
        return store

    yield make
    for store in stores:
        await store.disconnect()


# ── what is tried ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def sent_by_scripts() -> set[str]:
    texts = [path.read_text() for path in SOURCES.glob("**/lua/*.lua")]
    calls = [call for text in texts for call in re.findall(r"call\(((?:[^'(]*'[A-Z]+')+)", text)]
    return {name for call in calls for name in re.findall(r"'([A-Z]+)'", call)}


def sent_by_code() -> set[str]:
    files = [*SOURCES.glob("queue/redis/*.py"), *SOURCES.glob("redis/*.py"), SOURCES / "records/redis.py"]
    texts = [path.read_text() for path in files if path.name not in ("sentinels.py", "rights.py")]
    return {name for text in texts for name in re.findall(r'(?:\(b|_ask\(|connection, b)"([A-Z]{3,})"', text)} - {"SUBSCRIBE"}


def test_every_command_that_is_ever_sent_is_tried() -> None:
    tried = {line.split()[0] for line in PROBES.splitlines()}
    assert {"SADD", "SREM", "HSET", "ZREVRANGEBYSCORE"} <= sent_by_scripts(), "the pattern finds them"
    assert {"INFO", "EVALSHA"} <= sent_by_code()
    assert tried == sent_by_scripts() | (sent_by_code() - DIRECTLY) | {"UNLINK"}


def test_documentation_has_the_line_that_is_needed() -> None:
    text = (SOURCES.parent / "docs" / "operations.md").read_text()
    assert needed("app", b"{zjp:NAME}:").replace("ACL SETUSER app ", "ACL SETUSER app on >PASSWORD ") in text


async def test_user_with_that_line_and_nothing_more_runs_jobs(user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", *needed(user.name, PREFIX).removeprefix(f"ACL SETUSER {user.name} ").split())
    store = await opened()
    ids = await add(store, *Producer().specs(3))
    await store.watch(ids)
    await store.pause("other")
    assert await run_all(store) == ids
    assert (await store.renew({})).alive
    assert store.level is Durability.DISK_1S
    records = RedisRecordStore(user.url, ttl_s=0, count_max=100)
    await records.open()
    assert set(await records.get(ids)) == set(ids)
    await records.close()


async def test_looking_leaves_no_key_behind(server: RedisServer, user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all")
    await opened()
    assert server.send(b"EXISTS", PREFIX + b"rights", PREFIX + b"never", PREFIX + b"never-2") == b":0\r\n"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        ("~* resetchannels +@all", r"it may not publish to channels that begin with \{zjp:zjp\}:\."),
        ("~* &* +@all -incrby -zadd", r"it may not run INCRBY, ZADD\."),
        ("~* resetchannels +@all -hset", r"it may not run HSET; nor publish to channels"),
        ("~{zjp:other}:* &* +@all", "access (one of the keys|a key)"),
        ("~* &* +@all -publish", "run PUBLISH"),
        ("~* &* +@all -subscribe", "(?i)subscribe"),
        ("~* &* +@all -script", "script"),
        ("~* &* +@all -evalsha", "evalsha"),
        ("~* &* +@all -info", "info"),
        ("~* &* +@all -client", "client"),
    ],
)
async def test_user_with_too_few_rights_is_refused_with_those_and_the_line_that_gives_them(
    user: User, opened: Callable[..., Any], rules: str, found: str
) -> None:
    user.may("on", ">pw", *rules.split())
    with pytest.raises(ConfigError, match=found) as refused:
        await opened()
    assert re.search(r"What is needed: ACL SETUSER \S+ resetkeys ~\{zjp:zjp\}:\* resetchannels &\{zjp:zjp\}:\* \+@hash", str(refused.value))


async def test_records_that_may_not_even_ask_who_is_there_say_what_is_needed(user: User) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all", "-info")
    with pytest.raises(ConfigError, match=r"'info' command.*What is needed: ACL SETUSER"):
        await RedisRecordStore(user.url, ttl_s=0, count_max=100).open()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("renamed", "wanted", "named"),
    [
        ("publish lpos hset", None, "HSET, LPOS, PUBLISH"),
        ("info", None, "INFO"),
        ("evalsha", None, "EVALSHA"),
        ("script", None, "SCRIPT"),
        ("client", None, "CLIENT"),
        ("subscribe", None, "SUBSCRIBE"),
        ("wait", Durability.REPLICA, "WAIT"),
    ],
)
async def test_server_that_does_not_know_a_command_is_refused_with_its_name(
    tmp_path: Path, renamed: str, wanted: Durability | None, named: str
) -> None:
    """Fails on a look that knows only how a user's rights are refused: scripts were broken off half-way."""
    with renaming(tmp_path, *renamed.split()) as server:
        store = RedisQueueStore(
            server.url, lease_s=15.0, starvation_s=60.0, dedup_s=600.0, outbox_count_max=1000, outbox_bytes_max=1 << 20, finished=_nothing,
            level_wanted=wanted,
        )  # fmt: skip
        with pytest.raises(ConfigError, match=rf"does not know {named}: renamed.*rename-command.*nothing was started") as refused:
            await store.open(Life("node-1", 1), {})
        assert refused.value.exit_code == 78
        assert server.send(b"EXISTS", PREFIX + b"homes") == b":0\r\n"


@pytest.mark.usefixtures("server")
async def test_records_name_the_command_that_the_server_does_not_know(tmp_path: Path) -> None:
    with renaming(tmp_path, "client") as server, pytest.raises(ConfigError, match=r"does not know CLIENT: renamed"):
        await RedisRecordStore(server.url, ttl_s=0, count_max=100).open()


async def test_user_who_may_not_read_the_configuration_is_promised_what_info_says(user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all", "-config")
    assert (await opened()).level is Durability.PROCESS


# ── a right that is taken away at run time ───────────────────────────────────────────────────────────────────────────────────────────


async def test_submit_that_was_broken_off_is_unknown_and_its_repeat_is_stored(user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all")
    store = await opened()
    spec = JobSpec(make_id(time.time_ns() // 1_000_000, 1, 1), "noop", b"\x80", "default", 5)
    user.may("-rpush")
    with pytest.raises(OutcomeUnknown, match="broke off"):
        await store.submit([spec])
    user.may("+rpush")
    assert [answer.kind for answer in await store.submit([spec])] == [SubmitKind.CREATED]
    assert await run_all(store) == [spec.id]


async def test_job_that_was_stored_before_its_waking_failed_is_unknown_and_no_error(user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all")
    front, worker = await opened("front"), await opened("worker")
    await worker.claim(1, ALL)  # idle: it is to be woken
    user.may("resetchannels")
    spec = Producer().spec()
    with pytest.raises(OutcomeUnknown, match="broke off"):
        await front.submit([spec])
    assert [answer.kind for answer in await front.submit([spec])] == [SubmitKind.EXISTED]
    assert await run_all(worker) == [spec.id]


async def test_pause_that_was_broken_off_is_unknown(user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all")
    store = await opened()
    user.may("-hincrby")
    with pytest.raises(OutcomeUnknown, match="broke off"):
        await store.pause("default")


@pytest.mark.parametrize("right", ["incrby", "zadd", "hdel"])
async def test_outcome_that_was_broken_off_is_written_when_the_right_is_back(user: User, opened: Callable[..., Any], right: str) -> None:
    """Fails on a script that takes the job out of the queue first: it was nowhere then, for ever."""
    user.may("on", ">pw", "~*", "&*", "+@all")
    store = await opened()
    ids = await add(store, *Producer().specs(3))
    claim = await store.claim(3, ALL)
    user.may(f"-{right}")
    outcomes = [completed(claim.fence, job) for job in claim.jobs]
    with pytest.raises(StoreUnavailable, match="broke off"):
        await store.finish(outcomes)
    user.may(f"+{right}")
    assert await store.finish(outcomes) == []
    records = RedisRecordStore(user.url, ttl_s=60, count_max=100)
    await records.open()
    assert set(await records.get(ids)) == set(ids)
    assert await store.get(ids) == [None] * 3
    await records.close()


# ── what is told of which error ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "passes", "is_broken_off"),
    [
        (MasterDownError("Link with MASTER is down and replica-serve-stale-data is set to 'no'."), True, False),
        (TryAgainError("Multiple keys request during rehashing of slot"), True, False),
        (ResponseError(f"MISCONF Errors writing to the AOF file script: {SHA}, on @user_script:7."), True, False),
        (ResponseError(f"Error running script (call to f_{SHA}): @user_script:7: @user_script: 7: -READONLY You can't write"), True, False),
        (OutOfMemoryError(f"command not allowed when used memory > 'maxmemory'. script: {SHA}, on @user_script:9."), False, False),
        (ResponseError(f"WRONGTYPE Operation against a key script: {SHA}, on @user_script:1."), False, True),
        (ResponseError("ACL failure in script: User x has no permissions to run 'del' script: on @user_script:9."), False, True),
        (ResponseError(f"Error running script (call to f_{SHA}): @user_script:7: The user executing the script can't run"), False, True),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), False, False),
        (ResponseError("unknown command 'LPOSITION'"), False, False),
    ],
)
def test_error_is_told_by_its_class_and_by_where_it_came_from(error: Exception, passes: bool, is_broken_off: bool) -> None:
    assert (_passes(error), _is_broken_off(error)) == (passes, is_broken_off)


@pytest.mark.parametrize(
    ("run", "access", "publish"),
    [
        (
            "The user executing the script can't run this command or subcommand",
            "The user executing the script can't access at least one of the keys mentioned in the command arguments",
            "The user executing the script can't publish to the channel mentioned in the command",
        ),
        (
            "ACL failure in script: User app has no permissions to run the 'hset' command",
            "ACL failure in script: No permissions to access a key",
            "ACL failure in script: No permissions to access a channel",
        ),
    ],
    ids=["Redis 7.0", "Valkey, Redis from 7.2 on"],
)
def test_lacking_right_is_told_by_what_a_script_was_answered(run: str, access: str, publish: str) -> None:
    probes = [[b"HSET", b"k", b"f", b"x"], [b"GET", b"k"], [b"PUBLISH", b"c", b"x"], [b"DEL", b"k"]]
    answers = [*(f"ERR {text}".encode() for text in (run, access, publish)), b"WRONGTYPE Operation against a key"]
    assert _missing(probes, answers, "p:") == "run HSET; nor use keys that begin with p:; nor publish to channels that begin with p:"


async def test_replica_without_its_master_is_unavailable(server: RedisServer, user: User, opened: Callable[..., Any]) -> None:
    user.may("on", ">pw", "~*", "&*", "+@all")
    store = await opened()
    server.send(b"CONFIG", b"SET", b"replica-serve-stale-data", b"no")
    server.send(b"REPLICAOF", b"127.0.0.1", b"1")
    try:
        with pytest.raises(StoreUnavailable, match="Link with MASTER is down"):
            await store.documents(DocumentKind.USER)
    finally:
        server.send(b"REPLICAOF", b"NO", b"ONE")


@pytest.mark.parametrize("flushes", [1, 2, 4])
async def test_script_that_others_flush_again_is_loaded_again(server: RedisServer, flushes: int) -> None:
    """Fails on a lane that loads once: the call was told as an error of the node."""
    server.send(b"SCRIPT", b"FLUSH", b"SYNC")
    lane, script = Lane(connections(server.url, password=None, db=0, name="test")), Script("zjp.queue", "turn", PREFIX, has_flags=False)
    left = flushes

    def load() -> list[Command]:
        nonlocal left
        left -= 1
        return [*script.load(), (b"SCRIPT", b"FLUSH", b"SYNC")] if left >= 0 else [*script.load()]

    server.send(b"DEL", PREFIX + b"turn")
    assert await lane.call(lambda _: script.command([b"life", b"1000"]), load) == 1
    await lane.close()
