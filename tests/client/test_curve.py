"""A client with keys, at a real node's door: what each role may ask, and what is said to one who is not let in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.queue.making import SQLiteBench
from tests.records.making import START_MS
from zjp import AsyncClient, Client
from zjp.errors import ConfigError, NodeUnreachable, NotAllowed, NotFound, ZjpError
from zjp.job import Limits
from zjp.node.intake import Intake
from zjp.node.jobs import Jobs
from zjp.node.schedules import Schedules
from zjp.node.stats import NodeStats
from zjp.records.sqlite import SQLiteRecordStore
from zjp.transport.curve import Holder, KeyPair, KeyRole, make_pair, write_pair
from zjp.transport.zap import Guard
from zjp.wire import desk as d
from zjp.wire import messages as m
from zjp.wire.seen import AskCluster, AskHistory, DrainNode, Transfer

pytestmark = pytest.mark.covers("cluster:curve")

LIMIT = 20


class Node:
    """A node's door, with keys for each role in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = make_pair("n1")
        self.pairs: dict[str, KeyPair] = {role.value: make_pair(f"{role.value}-1") for role in KeyRole}
        for name, pair in self.pairs.items():
            write_pair(folder / f"{name}.key", pair)
        self.guard = Guard(self.own, self._authorized)
        self.address = ""
        self.public = self.own.public.hex()

    def _authorized(self) -> dict[str, Holder]:
        return {pair.public.hex(): Holder(pair.name, KeyRole(role), pair.public) for role, pair in self.pairs.items()}

    def client(self, role: str, *, server_key: str | None = None) -> AsyncClient:
        return AsyncClient(
            self.address,
            cluster="zjp",
            timeout=LIMIT,
            key_file=self.folder / f"{role}.key",
            server_key=server_key or self.public,
        )


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Node]:
    made = Node(folder)
    bench = SQLiteBench(folder)
    queue = await bench.open()
    records = SQLiteRecordStore(folder / "records.db", ttl_s=0, wall_ms=lambda: START_MS)
    await records.open()

    async def ask_stats() -> bytes:
        return b"\x80"

    async def nothing_to_tell(*_: object) -> m.Reply:
        raise NotFound("no cluster here")

    intake = Intake(
        node="n1", boot=1, cluster="zjp", limits=Limits(), queue=queue, jobs=Jobs(queue, records), stats=NodeStats("n1", 1),
        ask_stats=ask_stats, tasks=list, guard=made.guard, schedules=Schedules(queue, Limits(), list),
        ask_leader=nothing_to_tell,  # type: ignore[arg-type]
        more=dict.fromkeys((AskCluster, AskHistory, Transfer, DrainNode), nothing_to_tell),
        desk={kind: nothing_to_tell for kind in m.LEAST_ROLE if kind.__module__ == d.__name__},
    )  # fmt: skip
    made.address = intake.bind("tcp://127.0.0.1:*")
    try:
        yield made
    finally:
        await intake.close(0)
        await records.close()
        await bench.close()


DEEDS: dict[type, Callable[[AsyncClient], object]] = {
    m.Submit: lambda client: client.submit("noop"),
    m.Get: lambda client: client.get_many([bytes(16)]),
    m.Wait: lambda client: client.as_completed([bytes(16)], 1).__anext__(),
    m.Cancel: lambda client: client.cancel_many([bytes(16)]),
    m.Requeue: lambda client: client.retry_many([bytes(16)]),
    m.Promote: lambda client: client.promote_many([bytes(16)]),
    m.List: lambda client: client.jobs(limit=1).__anext__(),
    m.Queues: lambda client: client.queues(),
    m.Pause: lambda client: client.pause("default"),
    m.Resume: lambda client: client.resume("default"),
    m.Purge: lambda client: client.purge("default"),
    m.AskStats: lambda client: client.stats(),
    m.Ping: lambda client: client.ping(),
    m.AddSchedule: lambda client: client.schedules.add("beat", "noop", every="1h"),
    m.ListSchedules: lambda client: client.schedules.list(),
    m.ChangeSchedule: lambda client: client.schedules.change("none", paused=True),
    m.RemoveSchedule: lambda client: client.schedules.remove("none"),
    m.RunSchedule: lambda client: client.schedules.run("none"),
    m.AskLeader: lambda client: client.leader(),
    AskCluster: lambda client: client.cluster(),
    AskHistory: lambda client: client.history(),
    Transfer: lambda client: client.transfer(),
    DrainNode: lambda client: client.drain("n1"),
    d.AskUsers: lambda client: client.users(),
    d.PutUser: lambda client: client.put_user(d.User("ada", "user")),
    d.RemoveUser: lambda client: client.remove_user("ada"),
    d.AskEvents: lambda client: client.events(),
    d.Note: lambda client: client.note("login", "ada"),
    d.AskFailures: lambda client: client.failures(),
    d.AskFeed: lambda client: client.feed(),
    d.RemoveJobs: lambda client: client.remove_jobs([bytes(16)]),
    d.AskNode: lambda client: client.ask_node("n2", m.Ping()),
    m.AskRuns: lambda client: client._ask(m.AskRuns([bytes(16)])),
}
MAY = {"node": None, "observer": m.Role.WORKER, "producer": m.Role.USER, "admin": m.Role.ADMIN, "gateway": m.Role.GATEWAY}


def test_every_request_has_a_row_here() -> None:
    assert set(DEEDS) == set(m.LEAST_ROLE)


@pytest.mark.parametrize("role", MAY)
async def test_each_role_may_do_what_it_may_and_nothing_else(tmp_path: Path, role: str) -> None:
    able = MAY[role]
    async with node(tmp_path) as at, at.client(role) as client:
        for kind, least in m.LEAST_ROLE.items():
            refused = ""
            try:
                await DEEDS[kind](client)  # type: ignore[misc]
            except NotAllowed as fault:
                refused = str(fault)
            except (ZjpError, StopAsyncIteration):
                pass  # what is asked about is not there: it was looked at
            assert bool(refused) == (able is None or able < least), f"{role}: {kind.__name__}: {refused}"
            assert not refused or f"{role}-1 has one of role {role}" in refused


async def test_one_who_is_not_let_in_is_told_why(tmp_path: Path) -> None:
    async with node(tmp_path) as at:
        stranger = make_pair("stranger")
        write_pair(tmp_path / "stranger.key", stranger)
        async with AsyncClient(
            at.address, cluster="zjp", timeout=1, key_file=tmp_path / "stranger.key", server_key=at.public
        ) as client:
            with pytest.raises(NodeUnreachable, match="the key was refused"):
                await client.ping()
        async with AsyncClient(at.address, cluster="zjp", timeout=1, key_file="") as client:
            with pytest.raises(NodeUnreachable, match="only one of the two uses CURVE"):
                await client.ping()
        other = make_pair("other").public.hex()
        async with AsyncClient(
            at.address, cluster="zjp", timeout=1, key_file=tmp_path / "admin.key", server_key=other
        ) as client:
            with pytest.raises(NodeUnreachable, match="the handshake failed"):
                await client.ping()


async def test_the_key_of_the_node_is_found_among_several(tmp_path: Path) -> None:
    """One key per node, and an address does not say whose it is; the same while a node's key is being changed."""
    others = [make_pair("other").public.hex() for _ in range(3)]
    async with node(tmp_path) as at, at.client("producer", server_key=",".join([*others, at.public])) as client:
        assert (await client.ping()).node == "n1"


async def test_revoked_client_is_cut_off_within_a_second_in_the_middle_of_its_work(tmp_path: Path) -> None:
    async with node(tmp_path) as at, at.client("producer") as client, at.client("admin") as other:
        await client.submit("noop")
        del at.pairs["producer"]
        at.guard.reload()
        client._timeout_s = 1.0
        with pytest.raises((NodeUnreachable, TimeoutError)):
            await client.submit("noop")
        assert sum(count.pending for count in await other.queues()) == 1


async def test_blocking_client_has_keys_too(tmp_path: Path) -> None:
    import asyncio

    async with node(tmp_path) as at:

        def ask() -> str:
            with Client(
                at.address,
                cluster="zjp",
                timeout=LIMIT,
                key_file=tmp_path / "producer.key",
                server_key=f"{'ab' * 32},{at.public}",
            ) as client:
                return client.ping().node

        assert await asyncio.to_thread(ask) == "n1"


@pytest.mark.covers("settings:CLIENT_KEY_FILE", "settings:CLIENT_SERVER_KEY")
async def test_keys_come_from_the_settings_when_none_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with node(tmp_path) as at:
        monkeypatch.setenv("ZJP_CLIENT_ADDRESS", at.address)
        monkeypatch.setenv("ZJP_CLIENT_KEY_FILE", str(tmp_path / "observer.key"))
        monkeypatch.setenv("ZJP_CLIENT_SERVER_KEY", at.public)
        async with AsyncClient(timeout=LIMIT) as client:
            assert (await client.ping()).node == "n1"
            with pytest.raises(NotAllowed):
                await client.submit("noop")


def test_half_a_configuration_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    write_pair(tmp_path / "web.key", make_pair("web"))
    for key_file, server_key, fault in (
        (tmp_path / "web.key", "", "CLIENT_KEY_FILE is set, and CLIENT_SERVER_KEY is not"),
        ("", "ab" * 32, "CLIENT_SERVER_KEY is set, and CLIENT_KEY_FILE is not"),
        (tmp_path / "web.key", "nonsense", "CLIENT_SERVER_KEY is no key: 8 characters"),
        (tmp_path / "none.key", "ab" * 32, "none.key: cannot be read"),
    ):
        with pytest.raises(ConfigError, match=fault):
            Client("tcp://127.0.0.1:1", cluster="zjp", key_file=key_file, server_key=server_key)
