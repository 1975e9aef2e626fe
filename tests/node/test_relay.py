"""One node asks another on somebody's behalf; the mesh between them is a function call here."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from zjp.errors import NotAllowed, NotFound, Unavailable, WireError
from zjp.node import relay as relaying
from zjp.node.askers import Asker, Askers
from zjp.node.relay import Relay, Relayed
from zjp.wire import messages as m
from zjp.wire.codec import encode_peer
from zjp.wire.desk import AskFeed, AskNode, AskUsers, Feed
from zjp.wire.greeting import PeerEnvelope
from zjp.wire.relayed import REPLY_BYTES_MAX, AskPeer, TellPeer
from zjp.wire.seen import DrainNode

pytestmark = pytest.mark.covers("http:relay")

ADA, BEN = Asker("ada", m.Role.ADMIN, True, is_user=True), Asker("ben", m.Role.USER, True, is_user=True)
DOOR = Asker("http", m.Role.GATEWAY, True)
encode = msgspec.msgpack.encode


class Houses:
    """Nodes n1, n2 and n3, of which n3 is known and never answers. `done`: what was carried out, where, for whom."""

    def __init__(self, vouched: m.Role = m.Role.ADMIN) -> None:
        self.done: list[tuple[str, str, str]] = []
        self.said: list[Relayed] = []
        self.reply: m.Reply = m.Done(3)
        self.at = {
            name: Relay(
                name, Askers(), tell=lambda to, message, name=name: self._tell(name, to, message),  # type: ignore[misc]
                knows=lambda node: node in ("n1", "n2", "n3", "n4"), vouched=vouched,
                carry_out=lambda asker, request, name=name: self._carry_out(name, asker, request),  # type: ignore[misc]
            )
            for name in ("n1", "n2")
        }  # fmt: skip

    def _tell(self, src: str, to: str, message: Relayed) -> bool:
        self.said.append(message)
        encode_peer(PeerEnvelope(1, "zjp", src, 1, 1, to), message)  # within the limits of the mesh
        if to in self.at:
            asyncio.get_running_loop().call_soon(self.at[to].on_message, src, message)
        return to != "n4"

    async def _carry_out(self, name: str, asker: Asker, request: Any) -> m.Reply:
        self.done.append((name, asker.name, type(request).__name__))
        if isinstance(request, AskFeed):
            return Feed(request.timeout_ms, [], 0)
        return self.reply

    async def ask(self, node: str, request: m.Request, asker: Asker = ADA) -> m.Reply:
        return await self.at["n1"].ask(AskNode(node, encode(request)), asker)


async def test_another_node_carries_out_what_is_asked_for_the_user_who_asks() -> None:
    houses = Houses()
    assert await houses.ask("n2", DrainNode("n2")) == m.Done(3)
    assert await houses.ask("n2", m.Ping(), BEN) == m.Done(3)
    assert await houses.ask("n2", m.AskStats(), DOOR) == m.Done(3)
    assert houses.done == [("n2", "ada", "DrainNode"), ("n2", "ben", "Ping"), ("n2", "http", "AskStats")]


async def test_a_node_that_is_asked_for_itself_answers_without_the_mesh() -> None:
    houses = Houses()
    assert await houses.ask("n1", m.AskStats()) == m.Done(3)
    assert (houses.done, houses.said) == ([("n1", "ada", "AskStats")], [])


async def test_the_role_of_what_is_within_is_asked_for_here_and_there() -> None:
    houses = Houses()
    with pytest.raises(NotAllowed, match="DrainNode needs the role admin; ben has user"):
        await houses.ask("n2", DrainNode("n2"), BEN)
    houses.at["n2"].on_message("n1", AskPeer(1, "ben", int(m.Role.USER), encode(DrainNode("n2"))))
    houses.at["n2"].on_message("n1", AskPeer(2, "eve", 4, encode(m.AskStats())))
    await asyncio.gather(*houses.at["n2"]._answering)
    for told in houses.said:
        assert isinstance(told, TellPeer)
        assert msgspec.msgpack.decode(told.body)[1] == "not-allowed"
    assert houses.done == []


async def test_without_keys_a_nodes_word_makes_nobody_an_admin() -> None:
    houses = Houses(vouched=m.Role.USER)
    reply = await houses.ask("n2", DrainNode("n2"))
    assert isinstance(reply, m.Failure)
    assert (reply.code, houses.done) == ("not-allowed", [])


async def test_only_what_looks_at_a_node_or_is_for_it_alone_is_passed_on() -> None:
    houses = Houses()
    for request in (m.Submit([]), AskUsers(), m.Pause("q")):
        with pytest.raises((NotAllowed, WireError)):
            await houses.ask("n2", request)
    with pytest.raises(WireError, match="the limit is 4096"):
        await houses.at["n1"].ask(AskNode("n2", bytes(5000)), ADA)
    assert houses.said == []


async def test_a_node_that_is_unknown_away_or_silent_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "WITHIN_S", 0.01)
    houses = Houses()
    with pytest.raises(NotFound, match="no node 'n9'"):
        await houses.ask("n9", m.Ping())
    with pytest.raises(Unavailable, match="n4 is not connected to n1"):
        await houses.ask("n4", m.Ping())
    with pytest.raises(Unavailable, match="n3 did not answer n1 within"):
        await houses.ask("n3", m.Ping())
    assert houses.at["n1"]._asked == {}


async def test_requests_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "UNDER_WAY_MAX", 0)
    with pytest.raises(Unavailable, match="0 requests to other nodes are under way"):
        await Houses().ask("n2", m.Ping())


async def test_an_answer_that_does_not_fit_is_refused_with_its_size() -> None:
    houses = Houses()
    houses.reply = m.Stats(bytes(REPLY_BYTES_MAX))
    reply = await houses.ask("n2", m.AskStats())
    assert isinstance(reply, m.Failure)
    assert reply.code == "too-large"


async def test_only_the_node_that_was_asked_may_answer() -> None:
    houses = Houses()
    asked = asyncio.create_task(houses.ask("n3", m.Ping()))
    await asyncio.sleep(0)
    houses.at["n1"].on_message("n2", TellPeer(1, encode(m.Done(66))))
    houses.at["n1"].on_message("n3", TellPeer(1, encode(m.Done(1))))
    assert await asked == m.Done(1)


async def test_a_feed_of_another_node_is_waited_for_within_the_time() -> None:
    assert await Houses().ask("n2", AskFeed(1, 60_000)) == Feed(relaying.FEED_MS_MAX, [], 0)


async def test_what_is_under_way_ends_with_the_node() -> None:
    houses = Houses()
    houses.at["n2"].on_message("n1", AskPeer(1, "ada", 3, encode(m.Ping())))
    await houses.at["n2"].close()
    await asyncio.sleep(0)
    assert houses.at["n2"]._answering == set()
