"""What both HTTP doors do with connections, refusals, deadlines and addresses: scripted servers over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from typing import Any

import pytest

from tests.client.http_both import SOME_ID, Do, ask, do, made, other, peer, queues, submit
from tests.client.http_peer import HttpPeer, Raw, Reply, problem
from zjp import AsyncClient, Client
from zjp.errors import (
    ConfigError,
    Draining,
    InvalidJob,
    JobConflict,
    NodeUnreachable,
    NotAllowed,
    OutcomeUnknown,
    StoreFull,
    StoreUnavailable,
    WireError,
    ZjpError,
)

pytestmark = pytest.mark.covers("client:http")

__all__ = ["do", "other", "peer"]


# ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_call_is_plain_http(do: Do, peer: HttpPeer) -> None:
    (count,) = do(ask, peer.address)
    assert (count.queue, count.pending, count.oldest_s) == ("default", 1, 0.5)
    (heard,) = peer.heard
    assert (heard.method, heard.target) == ("GET", "/api/v1/queues")
    assert heard.headers["accept"] == "application/json"
    assert "authorization" not in heard.headers


def test_a_prefix_of_the_address_stays_in_front(do: Do, peer: HttpPeer) -> None:
    do(ask, peer.address + "/jobs-of-ours/")
    assert peer.heard[0].target == "/jobs-of-ours/api/v1/queues"


def test_a_submit_carries_an_id_of_the_client(do: Do, peer: HttpPeer) -> None:
    peer.answer = made
    job = do(submit, peer.address)
    (heard,) = peer.heard
    assert heard.json() == {"id": job.id, "type": "email", "payload": {"n": 1}, "queue": "default", "priority": 5}
    assert heard.headers["content-type"] == "application/json"
    assert not job.existed


def test_connections_are_kept(do: Do, peer: HttpPeer) -> None:
    def twice(client: Any) -> Any:
        first = client.queues()
        if not inspect.isawaitable(first):
            return client.queues()

        async def both() -> None:
            await first
            await client.queues()

        return both()

    do(twice, peer.address)
    assert [heard.line for heard in peer.heard] == [1, 1]


def test_a_kept_connection_that_was_closed_is_replaced_without_a_word(do: Do, peer: HttpPeer) -> None:
    def twice(client: Any) -> Any:
        first = client.queues()
        if not inspect.isawaitable(first):
            peer.drop_lines()
            return client.queues()

        async def both() -> Any:
            await first
            peer.drop_lines()
            return await client.queues()

        return both()

    assert len(do(twice, peer.address, timeout=5)) == 1
    assert [heard.line for heard in peer.heard] == [1, 2]


@pytest.mark.parametrize(
    "body",
    [
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6;x=y\r\n{"item\r\n7\r\ns": []}\r\n0\r\n\r\n',
        b'HTTP/1.1 200 OK\r\n\r\n{"items": []}',
        b'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"items": []}',
    ],
)
def test_bodies_come_in_every_form(do: Do, peer: HttpPeer, body: bytes) -> None:
    peer.answer = lambda _: Raw(body)
    assert do(ask, peer.address) == []


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 two OK\r\n\r\n",
        b"\x00" * 50,
    ],
)
def test_what_is_no_http_is_told_as_such(do: Do, peer: HttpPeer, data: bytes) -> None:
    peer.answer = lambda _: Raw(data)
    with pytest.raises(NodeUnreachable, match="no API could be reached"):
        do(ask, peer.address, timeout=0.3)


def test_what_is_no_zjp_is_told_as_such(do: Do, peer: HttpPeer) -> None:
    peer.answer = lambda _: Reply(["something", "else"])
    with pytest.raises(WireError, match="it is no zjp API, or of another version"):
        do(ask, peer.address)


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(409, "conflict", "other content"), JobConflict),
        (problem(422, "invalid"), InvalidJob),
        (problem(403, "not-allowed"), NotAllowed),
        (problem(401, "unauthenticated"), NotAllowed),
        (problem(418, "teapot"), WireError),
        (Reply("<html>", 403), NotAllowed),
    ],
)
def test_a_problem_is_raised_as_the_error_that_it_was(
    do: Do, peer: HttpPeer, reply: Reply, kind: type[ZjpError]
) -> None:
    peer.answer = lambda _: reply
    with pytest.raises(kind):
        do(submit, peer.address)
    assert len(peer.heard) == 1


def test_a_refused_caller_is_told_how_to_be_let_in(do: Do, peer: HttpPeer) -> None:
    peer.answer = lambda _: problem(401, "unauthenticated", "no token")
    with pytest.raises(NotAllowed, match=r"no token; give Client\(\.\.\., token=\.\.\.\) or login="):
        do(ask, peer.address)


def test_a_busy_store_is_asked_again_when_it_says(do: Do, peer: HttpPeer) -> None:
    answers = iter([problem(503, "store-unavailable", Retry_After="0")] * 2)
    peer.answer = lambda heard: next(answers, None) or made(heard)
    do(submit, peer.address)
    assert len({heard.json()["id"] for heard in peer.heard}) == 1
    assert len(peer.heard) == 3


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (problem(503, "store-unavailable", Retry_After="60"), StoreUnavailable),
        (problem(507, "store-full", Retry_After="60"), StoreFull),
        (problem(503, "draining"), Draining),
    ],
)
def test_what_does_not_pass_in_time_is_raised_as_it_is(
    do: Do, peer: HttpPeer, reply: Reply, kind: type[ZjpError]
) -> None:
    peer.answer = lambda _: reply
    with pytest.raises(kind, match=r"as told \(asked \d+ times in"):
        do(submit, peer.address, timeout=0.3)


def test_too_many_attempts_are_given_up_at_once_when_the_pause_is_longer_than_the_deadline(
    do: Do, peer: HttpPeer
) -> None:
    peer.answer = lambda _: problem(429, "too-many", Retry_After="600")
    began = time.monotonic()
    with pytest.raises(ZjpError):
        do(ask, peer.address, timeout=30)
    assert time.monotonic() - began < 10


# ── fail-over and repeats ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_dead_api_is_left_for_the_next(do: Do, peer: HttpPeer, other: HttpPeer) -> None:
    peer.stop()
    do(ask, f"{peer.address}, {other.address}")
    assert len(other.heard) == 1
    peer.start()


def test_a_draining_node_sends_its_callers_to_the_next(do: Do, peer: HttpPeer, other: HttpPeer) -> None:
    peer.answer = lambda _: problem(503, "draining", Retry_After="30")
    other.answer = made
    do(submit, peer.address, other.address)
    assert (len(peer.heard), len(other.heard)) == (1, 1)


def test_an_api_that_dies_before_it_answers_is_asked_again_with_the_same_id(do: Do, peer: HttpPeer) -> None:
    silent = iter([None])
    peer.answer = lambda heard: next(silent, made(heard))
    job = do(submit, peer.address)
    assert [heard.json()["id"] for heard in peer.heard] == [job.id, job.id]


def test_a_submit_whose_answer_never_comes_has_an_unknown_outcome(do: Do, peer: HttpPeer) -> None:
    peer.answer = lambda _: None
    with pytest.raises(OutcomeUnknown, match="may or may not have been carried out"):
        do(submit, peer.address, timeout=0.3)


def test_what_must_not_be_done_twice_is_not_repeated(do: Do, peer: HttpPeer) -> None:
    peer.answer = lambda _: None
    with pytest.raises(OutcomeUnknown, match="not repeated by itself"):
        do(lambda client: client.retry(SOME_ID), peer.address)
    assert len(peer.heard) == 1


def test_nobody_there_is_told_with_what_to_do(do: Do, peer: HttpPeer) -> None:
    peer.stop()
    with pytest.raises(NodeUnreachable, match=r"no API could be reached .*refused.*API_ENABLED=true"):
        do(ask, peer.address, timeout=0.2)
    peer.start()


def test_a_silent_api_costs_no_more_than_the_deadline(do: Do, peer: HttpPeer) -> None:
    release = threading.Event()
    peer.answer = lambda heard: release.wait(30) and None
    began = time.monotonic()
    with pytest.raises(NodeUnreachable, match="no answer in time"):
        do(ask, peer.address, timeout=0.3)
    release.set()
    assert time.monotonic() - began < 5


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_closed_client_says_so(peer: HttpPeer) -> None:
    client = Client(peer.address, token="", ca_file="")
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.queues()


async def test_whoever_waits_when_an_async_client_is_closed_is_told(peer: HttpPeer) -> None:
    release = threading.Event()
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    peer.answer = lambda heard: (loop.call_soon_threadsafe(asked.set), release.wait(30), None)[2]
    client = AsyncClient(peer.address, token="", ca_file="")
    waiting = asyncio.ensure_future(client.queues())
    await asked.wait()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting
    release.set()


async def test_a_call_that_is_cancelled_closes_its_connection(peer: HttpPeer) -> None:
    asked = asyncio.Event()
    release = threading.Event()
    loop = asyncio.get_running_loop()
    peer.answer = lambda heard: (loop.call_soon_threadsafe(asked.set), release.wait(30), queues(heard))[2]
    async with AsyncClient(peer.address, token="", ca_file="") as client:
        waiting = asyncio.ensure_future(client.queues())
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        release.set()
        await client.queues()
    assert [heard.line for heard in peer.heard] == [1, 2]


# ── addresses and what JSON cannot say ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("http://ann:secret@localhost:8080", "a name or password in it would end in logs"),
        ("http://localhost:99999", "out of range"),
        ("http://", "no address of an API"),
        ("http://localhost:1,tcp://localhost:2", "a client speaks one of them"),
    ],
)
def test_a_wrong_address_is_told_with_what_is_right(address: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        Client(address, token="", ca_file="")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [b"bytes", float("nan"), [float("inf")]])
def test_what_json_cannot_carry_is_refused_before_it_is_sent(do: Do, peer: HttpPeer, value: Any) -> None:
    with pytest.raises(InvalidJob, match=r"payload\['x'\].*which JSON cannot carry"):
        do(lambda client: client.submit("email", {"x": value}), peer.address)
    assert peer.heard == []


def test_what_only_zeromq_offers_is_refused_by_name(do: Do, peer: HttpPeer) -> None:
    jobs = [("a", {}), {"type": "b", "idempotency_key": "k"}]
    with pytest.raises(InvalidJob, match="idempotency_key of a job in a batch is not available over HTTP"):
        do(lambda client: client.submit_many(jobs), peer.address)
