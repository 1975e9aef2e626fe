"""How both HTTP doors show who they are and whom they trust: tokens, logins, certificates, settings."""

from __future__ import annotations

import asyncio
import inspect
import os
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.client.http_both import Do, ask, do, made, peer, queues
from tests.client.http_peer import Heard, HttpPeer, Reply, problem
from zjp import AsyncClient, Client
from zjp.config.kinds import Addresses
from zjp.errors import (
    ConfigError,
    NodeUnreachable,
    NotAllowed,
)

pytestmark = pytest.mark.covers("client:http")

__all__ = ["do", "peer"]


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
        do(ask, secure.address, timeout=60)  # at once: it will not be trusted later either
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
