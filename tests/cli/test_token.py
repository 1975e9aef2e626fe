"""`zjp token`: on stdout the token alone; signed here, or got from an API that is none or refuses."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from zjp.tokens import make_ring

pytestmark = pytest.mark.covers("cli:token")

SECRET = "k9Qw3vJx7Lp0Zt5Rb8Ym2Nc6Hd4Fg1Sa-one"
LOCAL = ("token", "--local", "--name", "ci", "--role", "user")


def test_local_token_is_signed_by_the_secret_and_belongs_to_no_user(zjp: Run) -> None:
    done = zjp(*LOCAL, "--ttl", "10m", env={"ZJP_JWT_SECRET": SECRET})
    assert done.exit_code == 0, done.stderr
    claims = make_ring(SECRET, None, issuer="zjp", audience="zjp").read(done.stdout.strip(), time.time())
    assert (claims.name, claims.role, claims.epoch, claims.expires_at - claims.issued_at) == (
        "local:ci",
        "user",
        0,
        600,
    )
    assert "user, until 20" in done.stderr


def test_local_token_has_the_settings_life_issuer_and_audience(zjp: Run) -> None:
    env = {"ZJP_JWT_SECRET": SECRET, "ZJP_JWT_TTL": "5m", "ZJP_JWT_ISSUER": "here", "ZJP_JWT_AUDIENCE": "there"}
    done = zjp(*LOCAL, "--json", env=env)
    answer = json.loads(done.stdout)
    claims = make_ring(SECRET, None, issuer="here", audience="there").read(answer["token"], time.time())
    assert claims.expires_at - claims.issued_at == 300
    assert {key: answer[key] for key in ("token_type", "name", "role")} == {
        "token_type": "Bearer",
        "name": "local:ci",
        "role": "user",
    }


@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (LOCAL, 78, "JWT_SECRET: there is no secret that signs tokens; make one with"),
        (("token", "--local", "--name", "ci"), 2, "--local takes --name and --role"),
        (("token", "--local", "--role", "user"), 2, "--local takes --name and --role"),
        ((*LOCAL, "--url", "http://127.0.0.1:1"), 2, "asks no API"),
        ((*LOCAL, "--ttl", "2h", "--role", "root"), 2, "root"),
        ((*LOCAL, "--ttl", "soon"), 2, "soon"),
        ((*LOCAL[:3], "a b", *LOCAL[4:]), 2, "'a b' is no name of a user"),
        (("token", "--role", "user"), 2, "are for --local"),
        (("token", "--name", "ann"), 2, "no terminal to ask for the password"),
        (("token", "--name", "ann", "--password-file", "-", "--url", "ftp://x"), 2, "accepted is http://HOST:PORT"),
        (("token", "--name", "ann", "--password-file", "nowhere"), 2, "cannot be read"),
        (
            ("token", "--name", "ann", "--password-file", "-", "--url", "http://127.0.0.1:1"),
            69,
            "no answer from an API there",
        ),
        (
            ("token", "--name", "ann", "--password-file", "-", "--url", "https://127.0.0.1:1", "--ca-file", "no"),
            78,
            "--ca-file no",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_what_is_wrong_is_told(zjp: Run, arguments: tuple[str, ...], code: int, fault: str) -> None:
    done = zjp(*arguments, stdin="a password\n")
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert fault in done.stderr


def test_local_token_lives_a_year_at_most(zjp: Run) -> None:
    done = zjp(*LOCAL, "--ttl", "400d", env={"ZJP_JWT_SECRET": SECRET})
    assert (done.exit_code, "between 1s and 365d" in done.stderr) == (2, True)


def test_short_secret_signs_nothing(zjp: Run) -> None:
    done = zjp(*LOCAL, env={"ZJP_JWT_SECRET": "short"})
    assert (done.exit_code, "5 bytes, accepted are 32" in done.stderr) == (78, True)


# ── what an API may answer ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Odd(BaseHTTPRequestHandler):
    """Answers with what the server holds, and keeps what it was asked."""

    server: OddServer

    def do_POST(self) -> None:
        self.server.asked.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class OddServer(HTTPServer):
    answer: tuple[int, bytes] = (200, b"{}")

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Odd)
        self.asked: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[OddServer]:
    with OddServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "code", "fault"),
    [
        ((200, b"<html>"), 1, "is it the API of zjp?"),
        ((200, b"[]"), 1, "is it the API of zjp?"),
        ((200, b'{"token": 5}'), 1, "is it the API of zjp?"),
        ((401, b'{"detail": "name or password is wrong"}'), 77, "name or password is wrong"),
        ((403, b'{"detail": "not from \\u001b[31m there"}'), 77, "not from \\x1b[31m there"),
        ((429, b'{"detail": "too many attempts; the next one counts in 9 s"}'), 69, "the next one counts in 9 s"),
        ((503, b"{}"), 69, "Service Unavailable"),
    ],
    ids=str,
)
def test_answer_of_an_api_becomes_an_exit_code(
    zjp: Run, server: OddServer, answer: tuple[int, bytes], code: int, fault: str
) -> None:
    server.answer = answer
    done = zjp("token", "--name", "ann", "--password-file", "-", "--url", server.url, stdin="a password\n")
    assert (done.exit_code, done.stdout) == (code, ""), done.output
    assert fault in done.stderr
    assert "a password" not in done.output


def test_token_of_an_api_is_printed_alone_and_the_password_travels_in_the_body(
    zjp: Run, server: OddServer, tmp_path: Path
) -> None:
    server.answer = (
        200,
        b'{"token": "a.b.c", "token_type": "Bearer", "role": "user", "expires_at": "2027-01-01T00:00:00.000Z"}',
    )
    file = tmp_path / "word"
    file.write_text("a password\nand more\n")
    done = zjp("token", "--name", "ann", "--password-file", str(file), "--url", f"{server.url}/below/")
    assert (done.exit_code, done.stdout) == (0, "a.b.c\n")
    ((path, body),) = server.asked
    assert (path, json.loads(body)) == ("/below/auth/login", {"username": "ann", "password": "a password"})
