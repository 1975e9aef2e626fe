"""`zjp users` and `zjp token` with a real node and its API: from the first admin to a token that ends."""

from __future__ import annotations

import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from click.testing import CliRunner

from tests.cli.conftest import Run
from tests.system.running import Ended, RunningNode, await_that, first
from zjp import Client, passwords
from zjp.api.auth.dev import DEV_USERS
from zjp.cli import cli
from zjp.transport.gate import gate_address
from zjp.wire.desk import User

pytestmark = [pytest.mark.system, pytest.mark.covers("cli:users", "http:auth")]

SECRET = "k9Qw3vJx7Lp0Zt5Rb8Ym2Nc6Hd4Fg1Sa-one"
WORD = "a quite long sentence"
SEEN_S = 5.0
"""More than the 2 s within which a change counts everywhere."""


class Place:
    """A node, its API and a command line beside them."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.node = RunningNode(
            folder, api_enabled=True, server_port=0, metrics_port=0, auth_enabled=True, jwt_secret=SECRET, worker_count=1, **settings,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return str(first(lambda: self.node.events("api.listening") or None, 30.0, "the API listens")[-1]["url"])

    def zjp(self, *arguments: str, stdin: str = "", **settings: str) -> Ended:
        """In this process; with the settings of who runs the node."""
        env = {"ZJP_DATA_DIR": str(self.node.data_dir), **settings}
        done = CliRunner(env=env).invoke(cli, arguments, input=stdin, prog_name="zjp")
        return Ended(done.exit_code, done.stdout, done.stderr)

    def token(self, name: str, word: str = WORD, *more: str) -> Ended:
        return self.zjp("token", "--name", name, "--password-file", "-", "--url", self.url, *more, stdin=f"{word}\n")

    def get(self, path: str, token: str) -> httpx.Response:
        return httpx.get(
            self.url + path, headers={"authorization": f"Bearer {token.strip()}"}, timeout=20.0, trust_env=False
        )

    def is_let_in(self, token: str) -> bool:
        return self.get("/auth/me", token).status_code == 200


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("users"), auth_dev_users=True)
    with place.node:
        yield place


def test_user_is_added_listed_logs_in_gets_another_password_and_is_removed(place: Place) -> None:
    added = place.zjp("users", "add", "ann", "--role", "user", "--password-file", "-", stdin=f"{WORD}\n")
    assert (added.code, added.out) == (0, ""), added
    listed = place.zjp("users", "list", "--json").json()
    assert [(user["role"], user["is_dev"]) for user in listed if user["name"] == "ann"] == [("user", False)]
    told = place.token("ann")
    assert (told.code, told.err.startswith("user, until ")) == (0, True), told
    assert place.get("/auth/me", told.out).json()["name"] == "ann"
    assert place.get("/api/v1/stats", told.out).status_code == 200
    assert place.get("/api/v1/users", told.out).status_code == 403

    changed = place.zjp("users", "passwd", "ann", "--password-file", "-", stdin="another long one\n")
    assert changed.code == 0, changed
    await_that(lambda: not place.is_let_in(told.out), SEEN_S)
    assert (place.token("ann").code, place.token("ann", "another long one").code) == (77, 0)

    again = place.token("ann", "another long one").out
    assert place.zjp("users", "remove", "ann").code == 2, "nobody is there to be asked"
    assert place.zjp("users", "remove", "ann", "--yes").code == 0
    await_that(lambda: not place.is_let_in(again), SEEN_S)
    assert place.token("ann", "another long one").code == 77
    assert (
        place.zjp("users", "remove", "ann", "--yes").code,
        place.zjp("users", "passwd", "ann", "--password-file", "-").code,
    ) == (1, 1)


def test_dev_users_have_the_promised_passwords_and_roles(place: Place) -> None:
    for name in ("admin", "user", "worker"):
        told = place.token(name, f"{name}123", "--json").json()
        assert told["role"] == name
        assert place.get("/api/v1/audit", told["token"]).status_code == (200 if name == "admin" else 403)
    listed = place.zjp("users", "list").out
    assert listed.count("AUTH_DEV_USERS") == 3


def test_logins_and_acts_are_read_in_the_audit(place: Place) -> None:
    assert place.zjp("users", "add", "eva", "--role", "worker", "--password-file", "-", stdin=f"{WORD}\n").code == 0
    place.token("eva", "wrong password")
    token = place.token("admin", "admin123").out

    def seen() -> set[tuple[str, str, str]] | None:
        items = place.get("/api/v1/audit?limit=100", token).json()["items"]
        found = {(item["what"], item["subject"], item["origin"]) for item in items}
        return found if {("login-failed", "eva", "127.0.0.1"), ("login", "admin", "127.0.0.1")} <= found else None

    found = first(seen, SEEN_S, "the log-ins in the audit")
    assert any(subject == "eva" and what != "login-failed" for what, subject, _ in found), found


def test_local_token_comes_in_with_its_role(place: Place) -> None:
    told = place.zjp("token", "--local", "--name", "ci", "--role", "worker", ZJP_JWT_SECRET=SECRET)
    assert place.get("/auth/me", told.out).json()["name"] == "local:ci"
    assert place.get("/api/v1/users", told.out).status_code == 403


def test_submit_is_for_users_and_admins_also_by_the_short_way(place: Place) -> None:
    def submit(token: str | None) -> int:
        headers = {} if token is None else {"authorization": f"Bearer {token.strip()}"}
        return httpx.post(
            f"{place.url}/api/v1/jobs", json={"type": "email"}, headers=headers, timeout=20.0, trust_env=False
        ).status_code

    tokens = [place.token(name, f"{name}123").out for name in ("worker", "user", "admin")]
    assert [submit(token) for token in (None, "a.b.c", *tokens)] == [401, 401, 403, 201, 201]


def test_plain_connection_may_not_change_users_while_auth_is_on(place: Place) -> None:
    told = place.zjp("users", "list", "--address", place.node.address)
    assert (told.code, "AskUsers needs the role admin" in told.err) == (77, True), told


def test_audit_of_a_browser_session_over_a_real_socket(place: Place) -> None:
    with httpx.Client(base_url=place.url, timeout=20.0, trust_env=False) as browser:
        site = {"origin": place.url}
        told = browser.post(
            "/auth/login?session=cookie", json={"username": "admin", "password": "admin123"}, headers=site
        )
        assert told.status_code == 200, told.text
        assert browser.get("/auth/me").json()["csrf"] == told.json()["csrf"]
        unsafe: dict[str, Any] = {"headers": {**site, "x-csrf-token": told.json()["csrf"]}}
        made = {"name": "bea", "password": WORD, "role": "user"}
        assert browser.post("/api/v1/users", json=made, headers=site).status_code == 403
        assert browser.post("/api/v1/users", json=made, **unsafe).status_code == 201
        assert browser.delete("/api/v1/users/bea", **unsafe).status_code == 204
        assert browser.post("/auth/logout", **unsafe).status_code == 204
        assert browser.get("/auth/me").status_code == 401


@pytest.mark.covers("http:tls", "settings:AUTH_DEV_USERS")
def test_over_tls_without_dev_users(tmp_path: Path) -> None:
    """One node more, for what needs other settings: dev users end with the setting, and a certificate changes while it runs."""
    authority = trustme.CA()
    ca_file, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca_file)

    def issue() -> None:
        made = authority.issue_cert("localhost", "127.0.0.1")
        cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        key.write_bytes(made.private_key_pem.bytes())

    issue()
    place = Place(tmp_path / "node", tls_enabled=True, tls_cert_file=cert, tls_key_file=key)
    with place.node:
        with Client(gate_address(place.node.data_dir)) as operator:
            for name, role, word in DEV_USERS:
                operator.put_user(User(name, role, passwords.make(word), is_dev=True))
        assert place.zjp("users", "add", "root", "--role", "admin", "--password-file", "-", stdin=f"{WORD}\n").code == 0
        assert place.url.startswith("https://127.0.0.1:")
        assert place.token("root", WORD, "--ca-file", str(ca_file)).code == 0
        assert place.token("admin", "admin123", "--ca-file", str(ca_file)).code == 77
        assert place.token("root", WORD).code == 69, "nobody vouches for that certificate"
        assert [user["name"] for user in place.zjp("users", "list", "--json").json()] == ["root"]

        trust = ssl.create_default_context(cafile=str(ca_file))
        with httpx.Client(base_url=place.url, verify=trust, timeout=20.0, trust_env=False) as held:
            before = serial_of(held)
            issue()
            os.kill(place.node.pid, signal.SIGHUP)
            await_that(lambda: place.node.events("api.reloaded"), 10.0)
            assert held.get("/healthz").headers["strict-transport-security"] == "max-age=31536000"
            with httpx.Client(base_url=place.url, verify=trust, timeout=20.0, trust_env=False) as new:
                assert serial_of(new) != before
            cert.write_text("no certificate")
            os.kill(place.node.pid, signal.SIGHUP)
            await_that(lambda: place.node.events("api.not_reloaded"), 10.0)
            with httpx.Client(base_url=place.url, verify=trust, timeout=20.0, trust_env=False) as new:
                assert serial_of(new) != before


def serial_of(client: httpx.Client) -> str:
    """Of the certificate that the connection was made with."""
    with client.stream("GET", "/healthz") as answer:
        stream = answer.extensions["network_stream"]
        return str(stream.get_extra_info("ssl_object").getpeercert()["serialNumber"])


# ── without a node ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "word", "code", "fault"),
    [
        (("add", "ann", "--role", "user"), WORD, 2, "no terminal to ask for the password"),
        (("add", "ann", "--role", "user", "--password-file", "-"), "", 2, "its first line is empty"),
        (("add", "ann", "--role", "user", "--password-file", "-"), "short", 2, "accepted are 8 to 1024"),
        (("add", "ann", "--role", "user", "--password-file", "-"), "password123", 2, "everybody tries"),
        (("add", "ann", "--role", "root", "--password-file", "-"), WORD, 2, "root"),
        (("add", "a b", "--role", "user", "--password-file", "-"), WORD, 2, "is no name of a user"),
        (("add", "local:x", "--role", "user", "--password-file", "-"), WORD, 2, "is no name of a user"),
        (("add", "ann"), WORD, 2, "--role"),
        (("remove", "ann"), "", 2, "add --yes"),
        (("list", "--timeout", "50ms"), "", 69, "no node could be reached"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told(zjp: Run, arguments: tuple[str, ...], word: str, code: int, fault: str) -> None:
    done = zjp("users", *arguments, stdin=f"{word}\n")
    assert done.exit_code == code, done.output
    assert fault in done.stderr
    assert not word or word == "password123" or word not in done.output


def test_no_verb_takes_a_password_as_an_argument(zjp: Run) -> None:
    for verb in ("users add", "users passwd", "token"):
        shown = zjp(*verb.split(), "--help").output
        assert "--password-file" in shown
        assert "--password " not in shown
    assert json.dumps(shown)
