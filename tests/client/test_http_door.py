"""What both HTTP doors do with connections, refusals, deadlines, logins and certificates: scripted servers over real sockets."""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.client.http_peer import Heard, HttpPeer, Raw, Reply, problem
from zjp import AsyncClient, Client
from zjp.config.kinds import Addresses
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

SOME_ID = "0197a3f0-0000-7000-8000-000000000000"
Deed = Callable[[Any], Any]
Do = Callable[..., Any]


@pytest.fixture(params=["blocking", "asyncio"])
def do(request: pytest.FixtureRequest) -> Do:
    """`do(deed, address, **options)`: what the deed gives with a client of either kind."""

    def blocking(deed: Deed, *addresses: str, **options: Any) -> Any:
        with Client(*addresses, **{"token": "", "ca_file": "", **options}) as client:
            return deed(client)

    async def later(deed: Deed, *addresses: str, **options: Any) -> Any:
        async with AsyncClient(*addresses, **{"token": "", "ca_file": "", **options}) as client:
            found = deed(client)
            return await found if inspect.isawaitable(found) else found

    if request.param == "blocking":
        return blocking
    return lambda deed, *addresses, **options: asyncio.run(later(deed, *addresses, **options))


def made(heard: Heard) -> Reply:
    return Reply({"id": heard.json()["id"], "existed": False, "durability": "disk"}, 201)


def queues(_: Heard) -> Reply:
    row = {
        "queue": "default",
        "pending": 1,
        "scheduled": 2,
        "retrying": 3,
        "running": 4,
        "paused": False,
        "oldest_seconds": 0.5,
    }
    return Reply({"items": [row], "cursor": None})


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer(queues) as peer:
        yield peer


@pytest.fixture
def other() -> Iterator[HttpPeer]:
    with HttpPeer(queues) as other:
        yield other


def ask(client: Any) -> Any:
    return client.queues()


def submit(client: Any) -> Any:
    return client.submit("email", {"n": 1})


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


# ── who it is ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Guarded:
    """Logs in who knows the password; tokens are numbered, `alive` says which ones are taken."""

    def __init__(self, life_s: float = 3600.0) -> None:
        self.logins, self.alive, self.life_s = 0, set[str](), life_s

    def __call__(self, heard: Heard) -> Reply:
        if heard.path == "/auth/login":
            return self._log_in(heard)
        if heard.headers.get("authorization", "").removeprefix("Bearer ") not in self.alive:
            return problem(401, "unauthenticated", "no valid token")
        return queues(heard)

    def _log_in(self, heard: Heard) -> Reply:
        if heard.json() != {"username": "ann", "password": "right"}:
            return problem(401, "unauthenticated", "wrong name or password")
        self.logins += 1
        self.alive = {f"token-{self.logins}"}
        now = datetime(2001, 1, 1, tzinfo=UTC)  # its clock need not be ours
        until = now + timedelta(seconds=self.life_s)
        told = {
            "token": f"token-{self.logins}",
            "token_type": "Bearer",
            "expires_at": until.isoformat(),
            "role": "user",
        }
        return Reply(told, headers={"Date": format_datetime(now, usegmt=True)})


def test_a_token_is_shown_with_every_call(do: Do, peer: HttpPeer) -> None:
    do(ask, peer.address, token="abc")
    assert peer.heard[0].headers["authorization"] == "Bearer abc"


def test_a_login_is_done_once_and_its_token_used(do: Do, peer: HttpPeer) -> None:
    peer.answer = guarded = Guarded()
    do(_three_times, peer.address, token=None, login=("ann", "right"))
    assert guarded.logins == 1
    assert [heard.path for heard in peer.heard] == ["/auth/login", *["/api/v1/queues"] * 3]


def test_a_token_that_was_ended_is_replaced_by_another_login(do: Do, peer: HttpPeer) -> None:
    peer.answer = guarded = Guarded()
    ended = iter([False, True, False])

    def answer(heard: Heard) -> Reply:
        if heard.path != "/auth/login" and next(ended, False):
            guarded.alive.clear()
        return guarded(heard)

    peer.answer = answer
    do(_three_times, peer.address, token=None, login=("ann", "right"))
    assert guarded.logins == 2


def test_a_token_is_renewed_before_it_ends(do: Do, peer: HttpPeer) -> None:
    peer.answer = guarded = Guarded(life_s=0.0)  # counts as a second, of which 0.8 s are used

    def twice(client: Any) -> Any:
        def past_its_time() -> None:
            client._door._entry._renew_at -= 10.0

        first = client.queues()
        if not inspect.isawaitable(first):
            past_its_time()
            return client.queues()

        async def both() -> None:
            await first
            past_its_time()
            await client.queues()

        return both()

    do(twice, peer.address, token=None, login=("ann", "right"))
    assert guarded.logins == 2
    assert all(heard.headers.get("authorization") != "Bearer token-1" for heard in peer.heard[2:])


def test_a_wrong_password_is_told_and_tried_once(do: Do, peer: HttpPeer) -> None:
    peer.answer = Guarded()
    with pytest.raises(NotAllowed, match="wrong name or password"):
        do(ask, peer.address, token=None, login=("ann", "wrong"))
    assert len(peer.heard) == 1


def test_token_and_login_together_are_refused(peer: HttpPeer) -> None:
    with pytest.raises(ConfigError, match="token and login are both set"):
        Client(peer.address, token="x", login=("a", "b"))
    with pytest.raises(ConfigError, match="token is for http"):
        Client("tcp://127.0.0.1:5570", cluster="zjp", key_file="", token="x")


def _three_times(client: Any) -> Any:
    first = client.queues()
    if not inspect.isawaitable(first):
        return [client.queues() for _ in range(2)]

    async def rest() -> None:
        await first
        for _ in range(2):
            await client.queues()

    return rest()


def test_coroutines_that_come_together_log_in_once(peer: HttpPeer) -> None:
    peer.answer = guarded = Guarded()

    async def all_at_once() -> None:
        async with AsyncClient(peer.address, login=("ann", "right"), ca_file="") as client:
            await asyncio.gather(*(client.queues() for _ in range(20)))

    asyncio.run(all_at_once())
    assert guarded.logins == 1


def test_threads_share_a_client(peer: HttpPeer) -> None:
    peer.answer = guarded = Guarded()
    with Client(peer.address, login=("ann", "right"), ca_file="") as client, ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: client.queues(), range(40)))) == 40
    assert guarded.logins == 1


def test_a_child_process_makes_connections_and_ids_of_its_own(peer: HttpPeer) -> None:
    peer.answer = made
    with Client(peer.address, token="", ca_file="") as client:
        ours = client.submit("email").id
        pid = os.fork()
        if pid == 0:
            client.submit("email")
            os._exit(0)
        os.waitpid(pid, 0)
        client.submit("email")
    ids, lines = [heard.json()["id"] for heard in peer.heard], [heard.line for heard in peer.heard]
    assert (ids[0], len(set(ids))) == (ours, 3)
    assert lines == [1, 2, 1]


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


# ── TLS ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[HttpPeer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with HttpPeer(queues, context) as secure:
        yield secure


def test_a_certificate_of_a_named_authority_is_trusted(
    do: Do, secure: HttpPeer, authority: trustme.CA, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    assert len(do(ask, secure.address, ca_file=tmp_path / "ca.pem")) == 1


def test_a_certificate_of_an_unknown_authority_is_not(do: Do, secure: HttpPeer) -> None:
    with pytest.raises(NodeUnreachable, match=r"its certificate is not trusted .*CLIENT_CA_FILE"):
        do(ask, secure.address, timeout=0.5)
    assert secure.heard == []


def test_a_certificate_of_another_name_is_not_trusted(do: Do, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    with HttpPeer(queues, context) as peer, pytest.raises(NodeUnreachable, match="not trusted"):
        do(ask, peer.address, ca_file=tmp_path / "ca.pem", timeout=0.5)


def test_a_file_that_holds_no_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"CLIENT_CA_FILE=.*must be a file of certificates in PEM"):
        Client("https://127.0.0.1:1", token="", ca_file=tmp_path / "ca.pem")


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


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("settings:CLIENT_TOKEN", "settings:CLIENT_ADDRESS")
def test_address_and_token_come_from_the_settings(
    do: Do, peer: HttpPeer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("abc\n")
    monkeypatch.setenv("CLIENT_ADDRESS", peer.address)
    monkeypatch.setenv("CLIENT_TOKEN_FILE", str(tmp_path / "token"))
    do(ask, token=None)
    assert peer.heard[0].headers["authorization"] == "Bearer abc"


@pytest.mark.covers("settings:CLIENT_CA_FILE")
def test_the_authority_comes_from_the_settings(
    do: Do, secure: HttpPeer, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("CLIENT_CA_FILE", str(tmp_path / "ca.pem"))
    assert len(do(ask, secure.address, ca_file=None)) == 1


@pytest.mark.covers("settings:CLIENT_ADDRESS")
@pytest.mark.parametrize("text", ["http://a:8080,tcp://b:5570", "http://", "https://a b", "http://ann:pw@a"])
def test_a_wrong_address_in_the_settings_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"one of them|is not an HTTP address"):
        Addresses().parse(text)
    assert Addresses().parse("http://a:8080, https://b/zjp") == ("http://a:8080", "https://b/zjp")
