"""Who gets in: a matrix of wrong keys, mechanisms, greetings and broken handlers on the real socket. Nobody of it gets in."""

from __future__ import annotations

import asyncio
import os
import resource
import struct
from collections.abc import Callable

import pytest
import zmq
from zmq.utils import z85

from tests.loopback import IPV6, needs_ipv6
from tests.transport.house import Configure, House, Socket, house, soon, with_pair
from zjp.errors import ConfigError, Unavailable
from zjp.transport.curve import ZAP_ENFORCE_DOMAIN, KeyPair, make_pair, protect_server
from zjp.transport.door import Door
from zjp.transport.probe import DoorIsOpen, dialled, self_test
from zjp.wire.greeting import MESH

pytestmark = pytest.mark.covers("cluster:curve")

# ── wrong keys and mechanisms ────────────────────────────────────────────────────────────────────────────────────────────────────────


def plain(_: House) -> Configure:
    return lambda socket: None


def password(_: House) -> Configure:
    def configure(socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.PLAIN_USERNAME, b"admin")
        socket.setsockopt(zmq.PLAIN_PASSWORD, b"admin")

    return configure


def stranger(at: House) -> Configure:
    return with_pair(make_pair("stranger"), at.node.public)


def stranger_of_the_same_name(at: House) -> Configure:
    return with_pair(make_pair("admin-1"), at.node.public)


def wrong_server_key(at: House) -> Configure:
    return with_pair(at.people["admin"], make_pair("other").public)


def own_key_as_server_key(at: House) -> Configure:
    return with_pair(at.people["admin"], at.people["admin"].public)


def public_of_another(at: House) -> Configure:
    """Anybody may know an admin's public key."""
    return with_pair(KeyPair("x", at.people["admin"].public, make_pair("x").secret), at.node.public)


def zeros(at: House) -> Configure:
    return with_pair(KeyPair("x", bytes(32), bytes(32)), at.node.public)


def revoked(at: House) -> Configure:
    at.revoke("admin")
    return at.key("admin")


def a_server_itself(at: House) -> Configure:
    return lambda socket: protect_server(socket, at.people["admin"])


def domain_of_its_own(at: House) -> Configure:
    def configure(socket: zmq.Socket[bytes]) -> None:
        stranger(at)(socket)
        socket.setsockopt(zmq.ZAP_DOMAIN, b"zjp")

    return configure


WRONG: dict[str, Callable[[House], Configure]] = {
    made.__name__: made
    for made in (
        plain, password, stranger, stranger_of_the_same_name, wrong_server_key, own_key_as_server_key, public_of_another, zeros,
        revoked, a_server_itself, domain_of_its_own,
    )
}  # fmt: skip


@pytest.mark.parametrize("kind", [zmq.DEALER, zmq.REQ, zmq.ROUTER], ids=["DEALER", "REQ", "ROUTER"])
@pytest.mark.parametrize("wrong", WRONG)
async def test_wrong_key_does_not_get_in(wrong: str, kind: int) -> None:
    async with house() as at:
        _, events = at.connect(WRONG[wrong](at), kind)
        assert await soon(events.get()) is not None
        await at.hears_nobody_but("producer")


# ── wrong greetings ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def greeting(mechanism: bytes, *, major: int = 3, is_server: bool = False) -> bytes:
    return (
        b"\xff" + bytes(8) + b"\x7f" + bytes([major, 0]) + mechanism.ljust(20, b"\0") + bytes([is_server]) + bytes(31)
    )


HELLO = b"\x04\xc8" + b"\x05HELLO" + b"\x01\x00" + bytes(72) + os.urandom(120)
MESSAGE = b"\x01\x02it\x00\x06is me!"
RAW = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(64),
    "zeros": bytes(200),
    "noise": b"\x16\x03\x01" + os.urandom(300),
    "null": greeting(b"NULL") + b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER" + MESSAGE,
    "plain": greeting(b"PLAIN") + b"\x04\x12\x05HELLO\x05admin\x05admin" + MESSAGE,
    "unknown mechanism": greeting(b"GSSAPI") + MESSAGE,
    "no mechanism": greeting(b"") + MESSAGE,
    "curve, message at once": greeting(b"CURVE") + MESSAGE,
    "curve, hello of noise": greeting(b"CURVE") + HELLO + MESSAGE,
    "curve, ready at once": greeting(b"CURVE") + b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER" + MESSAGE,
    "curve, as a server": greeting(b"CURVE", is_server=True) + HELLO,
    "command of a gigabyte": greeting(b"CURVE") + b"\x06" + struct.pack(">Q", 1 << 30) + bytes(1 << 16),
    "version 2, which has no keys": b"\xff" + bytes(7) + b"\x01\x7f\x01\x05\x00\x00" + MESSAGE,
    "version 1, which has no keys": b"\x01\x00" + b"\x03it" + b"\x06is me",
}


@pytest.mark.parametrize("sent", RAW)
async def test_wrong_greeting_is_cut_off(sent: str) -> None:
    async with house() as at:
        host, _, port = at.address.removeprefix("tcp://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(RAW[sent])
        try:
            while await soon(reader.read(1 << 16)):
                pass
        except ConnectionError:
            pass
        writer.close()
        await at.hears_nobody_but("producer")


# ── broken handlers: the four ways in which ZAP lets everybody in ────────────────────────────────────────────────────────────────────


def never_started(at: House) -> None:
    at.guard.start = lambda context: None  # type: ignore[method-assign]
    at.bind()


def in_another_context(at: House) -> None:
    start = at.guard.start
    at.guard.start = lambda context: start(at.context)  # type: ignore[method-assign]
    at.bind()


def stopped(at: House) -> None:
    at.bind()
    at.guard.stop()


def raises(at: House) -> None:
    def judge(_: object) -> object:
        raise LookupError("no such table")

    at.guard._judge = judge  # type: ignore[assignment,method-assign]
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    at.bind()


BROKEN: dict[str, Callable[[House], None]] = {
    made.__name__: made for made in (never_started, in_another_context, stopped, raises)
}


@pytest.mark.parametrize("who", ["plain", "stranger", "admin"])
@pytest.mark.parametrize("broken", BROKEN)
async def test_nobody_gets_in_while_the_handler_is_broken(broken: str, who: str) -> None:
    """Not even those who may: no answer means no."""
    async with house(is_bound=False) as at:
        BROKEN[broken](at)
        _, events = at.connect(at.key("admin") if who == "admin" else WRONG[who](at))
        assert await soon(events.get()) is not None
        assert at.heard.empty()


# ── the self-test ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_self_test_is_content_with_a_door_that_is_shut() -> None:
    async with house() as at:
        await at.door.test()
        assert at.guard.refused["unknown key"] == 1
        assert at.heard.empty()


@pytest.mark.parametrize("how", ["no handler", "empty domain", "no keys"])
async def test_self_test_finds_an_open_door(how: str) -> None:
    """What libzmq makes of a CURVE server without a handler, and of one with option 93 but without a domain."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    own = make_pair("n1")
    socket = context.socket(zmq.ROUTER)
    if how != "no keys":
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, z85.encode(own.secret))
    if how == "no handler":
        socket.setsockopt(zmq.ZAP_DOMAIN, b"zjp")
    if how == "empty domain":
        socket.setsockopt(ZAP_ENFORCE_DOMAIN, 1)
    socket.bind("tcp://127.0.0.1:*")
    try:
        with pytest.raises(DoorIsOpen, match=r"let somebody in with .*; the door stays shut") as told:
            await self_test(socket.getsockopt_string(zmq.LAST_ENDPOINT), own)
        assert told.value.exit_code == 78
    finally:
        context.destroy(linger=0)


async def test_self_test_is_not_content_with_a_door_that_lets_nobody_in() -> None:
    async with house(is_bound=False) as at:
        never_started(at)
        with pytest.raises(Unavailable, match="refused the node's own key"):
            await at.door.test()


def test_wildcard_address_is_knocked_at_by_loopback() -> None:
    assert dialled("tcp://0.0.0.0:5570") == "tcp://127.0.0.1:5570"
    assert dialled("tcp://[::]:5570") == "tcp://[::1]:5570"
    assert dialled("tcp://10.0.0.1:5570") == "tcp://10.0.0.1:5570"


@needs_ipv6
async def test_door_on_an_ipv6_address_is_tested_and_cuts_revoked_keys() -> None:
    async with house(is_bound=False) as at:
        at.bind(IPV6)
        await at.door.test()
        _, events = await at.guest("producer")
        at.revoke("producer")
        assert await soon(events.get()) == "the connection broke"
        await at.hears_nobody_but("admin")


@needs_ipv6
async def test_door_on_all_addresses_is_reached_over_ipv4_as_well() -> None:
    async with house(is_bound=False) as at:
        at.bind("tcp://[::]:*")
        await at.door.test()
        at.address = at.address.replace("[::]", "127.0.0.1")
        await at.hears_nobody_but("admin")


# ── what cannot be bound ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("tcp://203.0.113.7:5570", "that is no address of this machine: set ZMQ_BIND (--zmq-bind) to another place"),  # RFC 5737: nobody's
        ("tcp://nosuch0:5570", "this machine has no address or network interface of that name: set ZMQ_BIND"),
        ("ipc:///no/such/folder/door", "no such file or directory; set ZMQ_BIND"),
    ],
)
async def test_address_that_cannot_be_bound_is_told_with_what_it_lacks(address: str, why: str) -> None:
    async with house(is_bound=False) as at:
        with pytest.raises(Unavailable) as told:
            at.bind(address)
        assert str(told.value).startswith(f"ZMQ_BIND={address}: ")
        assert why in str(told.value)
        assert "listens there" not in str(told.value)


async def test_address_that_is_taken_is_told_so() -> None:
    async with house() as at:
        door = Door(at._hear, at._hear)
        with pytest.raises(Unavailable, match="another node or program listens there: stop it, or set ZMQ_BIND"):
            door.bind(at.address)
        door.close()


# ── live sessions ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def spoken(at: House, role: str) -> tuple[Socket, asyncio.Queue[str | None]]:
    """A guest who was heard, and who says no more."""
    socket, events = await at.guest(role)
    socket.send(b"before")
    assert (await soon(at.heard.get()))[1] == [b"before"]
    return socket, events


async def test_revoked_key_is_cut_while_it_is_idle_and_the_others_stay() -> None:
    async with house() as at:
        _, events = await spoken(at, "producer")
        admin, admins_events = await spoken(at, "admin")
        at.revoke("producer")
        assert await soon(events.get()) == "the connection broke"
        admin.send(b"still here")
        assert (await soon(at.heard.get()))[1] == [b"still here"]
        assert admins_events.empty()


async def test_revoked_key_that_never_spoke_is_cut_and_an_honest_one_connects_again() -> None:
    def returning(socket: Socket) -> None:
        at.key("admin")(socket)
        socket.setsockopt(zmq.RECONNECT_IVL, 10)

    async with house() as at:
        _, events = await at.guest("producer")
        admin, admins_events = at.connect(returning)
        assert await soon(admins_events.get()) is None
        at.revoke("producer")
        assert await soon(events.get()) == "the connection broke"
        assert await soon(admins_events.get()) == "the connection broke"
        while await soon(admins_events.get()) is not None:
            pass
        admin.send(b"here again")
        assert (await soon(at.heard.get()))[1] == [b"here again"]


async def test_a_reload_that_revokes_nothing_cuts_nobody() -> None:
    async with house() as at:
        silent, events = await at.guest("producer")
        at.guard.reload()
        silent.send(b"first word")
        assert (await soon(at.heard.get()))[1] == [b"first word"]
        assert events.empty()


async def test_what_a_revoked_key_said_and_nobody_has_read_yet_is_not_heard() -> None:
    async with house() as at:
        socket, events = await spoken(at, "producer")
        pump = at.door._pump
        assert pump is not None
        socket.send(b"after")
        assert pump.socket.poll(10_000)  # it has come in; as nothing is awaited here, the door has not read it
        at.revoke("producer")
        assert await soon(events.get()) == "the connection broke"
        await at.hears_nobody_but("admin")
        assert at.guard.refused["revoked key"] == 1


async def test_what_has_gone_is_forgotten_when_keys_are_revoked() -> None:
    async with house() as at:
        for role in ("admin", "observer"):
            await spoken(at, role)
        assert len(at.door._sessions._spoken) == 2
        at.revoke("observer")
        assert [known.user_id for known in at.door._sessions._spoken.values()] == [at.people["admin"].public.hex()]


async def test_without_a_free_descriptor_nobody_is_cut_and_the_key_is_gone_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with house() as at:
        socket, _ = await spoken(at, "producer")
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
        try:
            at.revoke("producer")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert "curve.not_cut" in caplog.messages
        socket.send(b"after")
        await at.hears_nobody_but("admin")


async def test_revoked_key_gets_no_answer() -> None:
    async with house() as at:
        socket, _ = await at.guest("producer")
        socket.send(b"what is it?")
        caller, _ = await soon(at.heard.get())
        assert at.door.send(caller, [b"this"])
        at.revoke("producer")
        assert not at.door.send(caller, [b"a secret"])


async def test_two_keys_of_one_name_live_side_by_side_until_one_is_revoked() -> None:
    async with house() as at:
        at.people["new"] = make_pair("producer-1")
        old = at.table[at.people["producer"].public.hex()]
        at.table[at.people["new"].public.hex()] = type(old)(old.name, old.role, at.people["new"].public)
        at.guard.reload()
        for key in ("producer", "new"):
            socket, _ = await at.guest(key)
            socket.send(key.encode())
            caller, _ = await soon(at.heard.get())
            assert caller.holder is not None
            assert caller.holder.name == "producer-1"
        at.revoke("producer")
        _, events = at.connect(at.key("producer"))
        assert await soon(events.get()) == "the key was refused"
        await at.guest("new")


async def test_keys_that_cannot_be_read_leave_the_old_ones() -> None:
    async with house() as at:
        own = at.node.public.hex()
        producer = at.table[at.people["producer"].public.hex()]
        at.table[own] = type(producer)("thief", producer.role, at.node.public)
        with pytest.raises(ConfigError, match="own key is authorized as producer thief"):
            at.guard.reload()
        await at.hears_nobody_but("producer")


# ── whose message it is ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_routing_id_of_another_gets_neither_his_name_nor_his_answers() -> None:
    def named(role: str) -> Configure:
        def configure(socket: zmq.Socket[bytes]) -> None:
            socket.setsockopt(zmq.ROUTING_ID, b"victim")
            at.key(role)(socket)

        return configure

    async with house() as at:
        victim, events = at.connect(named("admin"))
        assert await soon(events.get()) is None
        victim.send(b"mine")
        caller, _ = await soon(at.heard.get())
        thief, events = at.connect(named("observer"))
        assert await soon(events.get()) is None
        thief.send(b"mine too")
        await at.hears_nobody_but("producer")
        assert at.door.send(caller, [b"yours"])
        assert await asyncio.to_thread(victim.poll, 10_000)
        assert victim.recv() == b"yours"
        assert thief.poll(0) == 0


@pytest.mark.parametrize("role", ["producer", "observer", "admin"])
async def test_only_a_nodes_key_speaks_to_nodes(role: str) -> None:
    async with house() as at:
        socket, _ = await at.guest(role)
        socket.send_multipart([MESH, b"envelope", b"body"])
        await at.hears_nobody_but(role)
        assert at.peers_heard.empty()
        assert at.guard.refused["no node's key"] == 1
        node, _ = await at.guest("node")
        node.send_multipart([MESH, b"envelope", b"body"])
        assert (await soon(at.peers_heard.get()))[1] == [MESH, b"envelope", b"body"]


# ── those who cost something ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_half_open_connections_are_dropped_and_keep_nobody_out() -> None:
    async with house() as at:
        host, _, port = at.address.removeprefix("tcp://").partition(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
        await at.hears_nobody_but("producer")
        for reader, writer in silent:
            while await soon(reader.read(1 << 16)):  # until the door has had enough of it
                pass
            writer.close()


async def test_flood_of_strangers_leaves_no_descriptor_behind() -> None:
    async with house() as at:
        await at.hears_nobody_but("producer")
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(100):
            socket, events = at.connect(stranger(at))
            assert await soon(events.get()) == "the key was refused"
            at._pumps[-1][1].stop()
            socket.disable_monitor()
            at._pumps.pop()[1].socket.close(0)
            socket.close(0)
        await at.hears_nobody_but("admin")
        for _ in range(1000):
            if len(os.listdir("/proc/self/fd")) <= before + 8:
                break
            await asyncio.to_thread(os.sched_yield)
        assert len(os.listdir("/proc/self/fd")) <= before + 8
        assert at.guard.refused["unknown key"] == 100
