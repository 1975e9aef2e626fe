"""The secret that signs tokens is changed while node and API run: by SIGHUP, with two secrets live in between."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from tests.system.running import RunningNode, await_that, first
from zjp.tokens import secret_keys

pytestmark = [pytest.mark.system, pytest.mark.covers("http:tokens", "settings:JWT_SECRET")]

OLD, NEW = "old-" + "Xc8vQ2pLmN4kR7tZ" * 3, "new-" + "Bw9sHj3dFg6yUe1a" * 3
LIMIT_S = 30.0


class Rotating:
    """A node with its API whose secret stands in its zjp.toml."""

    def __init__(self, node: RunningNode, file: Path, url: str) -> None:
        self.node, self._file = node, file
        self.client = httpx.Client(base_url=url, timeout=LIMIT_S, trust_env=False)

    def use(self, text: str, *, event: str = "api.reloaded") -> None:
        """And SIGHUP; until it was read."""
        before = len(self.node.events(event))
        self._file.write_text(f'jwt_secret = "{text}"\n')
        os.kill(self.node.pid, signal.SIGHUP)
        await_that(lambda: len(self.node.events(event)) > before, LIMIT_S)

    def log_in(self) -> str:
        answer = self.client.post("/auth/login", json={"username": "user", "password": "user123"})
        return str(answer.raise_for_status().json()["token"])

    def comes_in(self, token: str) -> bool:
        return self.client.get("/auth/me", headers={"authorization": f"Bearer {token}"}).status_code == 200


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[Rotating]:
    file = tmp_path / "zjp.toml"
    file.write_text(f'jwt_secret = "{OLD}"\n')
    with RunningNode(
        tmp_path, config=file, worker_count=1, worker_processes=1, api_enabled=True, server_port=0, metrics_enabled=False,
        auth_enabled=True, auth_dev_users=True,
    ) as node:  # fmt: skip
        listening = first(lambda: node.events("api.listening") or None, LIMIT_S)[-1]
        made = Rotating(node, file, f"http://127.0.0.1:{listening['port']}")
        yield made
        made.client.close()


def key_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def test_secret_is_changed_while_everybody_stays_logged_in_and_the_old_one_ends(rotating: Rotating) -> None:
    (old_key,), (new_key,) = secret_keys(OLD), secret_keys(NEW)
    old = rotating.log_in()
    assert key_of(old) == old_key.kid

    rotating.use(f"{NEW},{OLD}")
    new = rotating.log_in()
    assert key_of(new) == new_key.kid
    assert rotating.comes_in(old)
    assert rotating.comes_in(new)

    rotating.use("too short", event="node.not_reloaded")
    assert rotating.comes_in(old)

    rotating.use(NEW)
    assert not rotating.comes_in(old)
    assert rotating.comes_in(new)
    assert rotating.comes_in(rotating.log_in())
