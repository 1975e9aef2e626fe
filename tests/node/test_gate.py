"""Who may speak for whom at a node's two doors."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.node.gated import TOKEN, gated
from zjp.errors import NotAllowed
from zjp.node.askers import Askers
from zjp.transport.curve import Holder, KeyRole
from zjp.transport.gate import gate_address, make_gate, remove_gate
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("http:gate")


async def test_the_http_door_speaks_for_users_who_may_do_what_their_role_may(tmp_path: Path) -> None:
    async with gated(tmp_path, is_auth_on=True) as node, node.door() as door:
        await door.speaking_for("ada", m.Role.ADMIN).pause("default")
        assert (await door.speaking_for("ben", m.Role.WORKER).queues())[0].paused
        with pytest.raises(NotAllowed, match="Resume needs the role admin; ben has user"):
            await door.speaking_for("ben", m.Role.USER).resume("default")
        assert node.done == [("ada", "Pause"), ("ben", "Queues")]


async def test_submits_of_many_users_travel_as_the_door_and_share_a_batch(tmp_path: Path) -> None:
    async with gated(tmp_path, is_auth_on=True) as node, node.door() as door:
        await door.ping()
        voices = [door.speaking_for(name, m.Role.USER) for name in ("ada", "ben", "cy")]
        jobs = await asyncio.gather(*(voice.submit("noop") for voice in voices))
        assert len({job.id for job in jobs}) == 3
        assert node.done == [("http", "Ping"), ("http", "Submit")]


@pytest.mark.parametrize("gate", [b"", TOKEN, b"guessed"])
async def test_nobody_speaks_for_others_over_tcp(tmp_path: Path, gate: bytes) -> None:
    async with gated(tmp_path) as node, node.client(gate=gate) as client:
        with pytest.raises(NotAllowed):
            await client.speaking_for("ada", m.Role.ADMIN).queues()
        assert node.done == []
        assert node.counted("zjp_connections_refused_total") == {("false claim",): 1}


async def test_a_wrong_token_is_refused_at_the_gate_whatever_is_asked(tmp_path: Path) -> None:
    async with gated(tmp_path) as node, node.client(node.gate, b"guessed") as client:
        with pytest.raises(NotAllowed, match="only the HTTP door that the node started has one"):
            await client.ping()


async def test_an_operator_at_the_gate_is_admin_but_speaks_for_nobody(tmp_path: Path) -> None:
    async with gated(tmp_path, is_auth_on=True) as node, node.client(node.gate) as client:
        await client.pause("default")
        with pytest.raises(NotAllowed, match="only the HTTP door may speak for others"):
            await client.speaking_for("ada", m.Role.USER).ping()
        assert node.done == [("local", "Pause")]


async def test_a_plain_connection_is_admin_while_auth_is_off_and_user_while_it_is_on(tmp_path: Path) -> None:
    async with gated(tmp_path / "off") as node, node.client() as client:
        await client.pause("default")
    async with gated(tmp_path / "on", is_auth_on=True) as node, node.client() as client:
        await client.submit("noop")
        with pytest.raises(NotAllowed, match=r"while auth is on: ask at ipc://.*gate.sock on the node's machine"):
            await client.pause("default")


@pytest.mark.parametrize("role", [4, -1, 99])
async def test_the_door_cannot_make_anybody_a_gateway(tmp_path: Path, role: int) -> None:
    askers = Askers(gate=TOKEN)
    envelope = m.Envelope(1, "zjp", "s", 0, 1, TOKEN, "ada", role)
    with pytest.raises(NotAllowed, match=f"role {role}, which is none"):
        askers.who(envelope, None, True)


def test_a_user_without_a_role_is_refused_and_a_role_without_a_user_is_nobodys_name() -> None:
    """Auth is off: everybody is admin, and has no name."""
    askers = Askers(gate=TOKEN)
    with pytest.raises(NotAllowed):
        askers.who(m.Envelope(1, "zjp", "s", 0, 1, TOKEN, "ada", 0), None, True)
    asker = askers.who(m.Envelope(1, "zjp", "s", 0, 1, TOKEN, "", 3), None, True)
    assert (asker.name, asker.role) == ("local", m.Role.ADMIN)


@pytest.mark.parametrize("role", list(KeyRole))
def test_of_the_keys_only_a_gateways_speaks_for_others(role: KeyRole) -> None:
    holder = Holder("key-1", role, b"k" * 32)
    askers, envelope = Askers(gate=TOKEN), m.Envelope(1, "zjp", "s", 0, 1, b"", "ada", 2)
    if role is KeyRole.GATEWAY:
        assert askers.who(envelope, holder, False).name == "ada"
    else:
        with pytest.raises(NotAllowed):
            askers.who(envelope, holder, False)


def test_without_a_token_of_its_own_a_node_takes_none() -> None:
    with pytest.raises(NotAllowed):
        Askers().who(m.Envelope(1, "zjp", "s", 0, 1, b"anything"), None, True)


def test_askers_who_may_not_see_each_others_answers_share_no_source() -> None:
    """A repeat is recognised by source, sender and number: who names another's session must not get its answers."""
    askers, own, token = Askers(gate=TOKEN), m.Envelope(1, "zjp", "s", 0, 1), m.Envelope(1, "zjp", "s", 0, 1, TOKEN)
    holder = Holder("key-1", KeyRole.PRODUCER, b"k" * 32)
    sources = [
        askers.who(own, None, False).source, askers.who(own, None, True).source, askers.who(token, None, True).source,
        askers.who(own, holder, False).source,
    ]  # fmt: skip
    assert len(set(sources)) == 4


def test_the_gate_lies_in_the_data_folder_or_is_linked_from_it(tmp_path: Path) -> None:
    short, deep = tmp_path / "data", tmp_path / ("long" * 30)
    deep.mkdir()
    assert gate_address(short) == make_gate(short) == f"ipc://{short}/gate.sock"
    made = make_gate(deep)
    assert made == gate_address(deep) == make_gate(deep)
    folder = Path(made.removeprefix("ipc://")).parent
    assert (len(made) < 108, folder.stat().st_mode & 0o777) == (True, 0o700)
    remove_gate(deep)
    assert not folder.exists()
    remove_gate(short)


def test_a_link_that_leads_to_somebody_elses_folder_is_replaced(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    open_to_all = tmp_path / "zjp-gate-open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    (deep / "gate").symlink_to(open_to_all)
    assert str(open_to_all) not in make_gate(deep)
    remove_gate(deep)
