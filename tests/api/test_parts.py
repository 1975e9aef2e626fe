"""Parts of the API that need no node: whose address counts, what many ask at once, what is too deep."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zjp.api import cluster as clusters
from zjp.api.caller import Problem
from zjp.api.glance import Glance
from zjp.api.proxies import Proxies
from zjp.api.reading import DEPTH_MAX, brackets_of, check_depth, check_media_type
from zjp.api.shapes import decode_cursor, encode_cursor
from zjp.errors import InvalidJob, StoreUnavailable
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("http:problems")


@pytest.mark.covers("settings:TRUSTED_PROXIES")
@pytest.mark.parametrize(
    ("peer", "forwarded", "counts"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.1, nonsense", "10.0.0.1"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_only_what_a_trusted_proxy_heard_counts(peer: str, forwarded: str, counts: str) -> None:
    proxies = Proxies("10.0.0.0/8, fd00::1")
    assert proxies.address({"client": (peer, 1)}, {"x-forwarded-for": forwarded}) == counts
    assert Proxies(None).address({"client": (peer, 1)}, {"x-forwarded-for": forwarded}) == peer


async def test_one_answer_is_shared_and_a_failure_is_not_kept() -> None:
    asked = 0
    go = asyncio.Event()

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await go.wait()
        if asked == 1:
            raise ValueError("first")
        return asked

    glance = Glance(ask, 60.0)
    waiting = [asyncio.ensure_future(glance()) for _ in range(3)]
    await asyncio.sleep(0)
    go.set()
    assert [type(one) for one in await asyncio.gather(*waiting, return_exceptions=True)] == [ValueError] * 3
    assert [await glance() for _ in range(3)] == [2, 2, 2]
    assert asked == 2


async def test_one_who_leaves_does_not_take_the_answer_from_the_others() -> None:
    go = asyncio.Event()

    async def ask() -> str:
        await go.wait()
        return "there"

    glance = Glance(ask, 60.0)
    first, second = asyncio.ensure_future(glance()), asyncio.ensure_future(glance())
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    assert await second == "there"


class Nodes:
    """Two, of which the client speaks to `a`. `away`: who is asked and refuses."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.asked = 0

    async def cluster(self) -> Any:
        nodes = [SimpleNamespace(node=name, is_up=True) for name in ("a", "b")]
        return SimpleNamespace(node="a", nodes=nodes)

    async def ask_node(self, node: str, _: m.AskStats) -> m.Stats:
        self.asked += 1
        if node in self.away:
            raise StoreUnavailable("planted")
        return m.Stats(msgspec.msgpack.encode(self.table(node)))

    async def own(self) -> dict[str, Any]:
        return self.table("a")

    def table(self, node: str) -> dict[str, Any]:
        worker = dict.fromkeys(("pid", "state", "slots", "busy", "current", "done", "failed", "rss_bytes", "started_at_ms"), 0)
        return {"node": node, "workers": [{"name": f"{node}-1", **worker}]}


async def test_workers_of_a_node_that_answers_again_are_shown_with_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails on an API that keeps what it heard of some of the nodes as long as what it heard of all."""
    monkeypatch.setattr(clusters, "PARTIAL_S", 0.0)
    nodes: Any = Nodes()
    cluster = clusters.Cluster(nodes, nodes.own)
    nodes.away = {"b"}
    assert [row["node"] for row in await cluster.workers_json()] == ["a"]
    nodes.away = set()
    assert [row["node"] for row in await cluster.workers_json()] == ["a", "b"]
    assert [row["node"] for row in await cluster.workers_json()] == ["a", "b"]
    assert nodes.asked == 2


async def test_node_that_refuses_is_not_asked_for_every_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "PARTIAL_S", 60.0)  # never longer than all of them are kept
    monkeypatch.setattr(clusters, "CLUSTER_S", 60.0)
    nodes: Any = Nodes()
    cluster = clusters.Cluster(nodes, nodes.own)
    nodes.away = {"b"}
    assert [len(await cluster.workers_json()) for _ in range(20)] == [1] * 20
    assert nodes.asked == 1


def test_depth_is_counted_without_what_stands_in_texts() -> None:
    check_depth(b'{"a": "' + b"[" * 500 + b'"}')
    check_depth(b'{"a": "\\"' + b"[" * 500 + b'\\\\"}')
    check_depth(b'{"a":"\\n","b":"' + b"[" * 500 + b'\\n"}')
    check_depth(b"[" + b"[],{}," * 500 + b"1]")
    check_depth(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)


@given(st.integers(DEPTH_MAX + 1, 200), st.lists(st.text("[]{}\"\\\n a"), max_size=5))
def test_no_text_hides_depth(deep: int, texts: list[str]) -> None:
    nested: Any = texts
    for level in range(deep):
        nested = [*texts, nested] if level % 2 else {"a": texts, **dict.fromkeys(texts, 1), "z": nested}
    with pytest.raises(Problem):
        check_depth(json.dumps(nested).encode())


@given(st.recursive(st.text("[]{}\"\\ a"), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_brackets_are_those_of_the_structure(value: Any) -> None:
    def shape(one: Any) -> str:
        return f"[{''.join(map(shape, one))}]" if isinstance(one, list) else ""

    assert brackets_of(json.dumps(value).encode()) == shape(value).encode()


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"'])
def test_json_in_utf_8_is_taken(kind: str) -> None:
    check_media_type({"content-type": kind})


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json; charset=latin-1", "application/x-www-form-urlencoded", "text/json"])
def test_other_bodies_are_not(kind: str) -> None:
    with pytest.raises(Problem, match="415"):
        check_media_type({"content-type": kind})


def test_cursor_comes_back_as_it_went() -> None:
    for cursor in (b"L", b"\x00\xff" * 20, b"R" + bytes(8)):
        assert decode_cursor(str(encode_cursor(cursor))) == cursor
    assert (encode_cursor(b""), decode_cursor("")) == (None, b"")
    with pytest.raises(InvalidJob):
        decode_cursor("a b")
