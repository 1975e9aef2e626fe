"""A node and the process of its HTTP API, for real: started, told, ended together; and the node without it."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from tests.system.running import RunningNode, await_that, first
from zjp import Client
from zjp.errors import WrongState
from zjp.transport.gate import gate_address
from zjp.wire.desk import User
from zjp.wire.messages import AskStats, Stats

pytestmark = [pytest.mark.system, pytest.mark.covers("http:process", "settings:API_ENABLED")]

LIMIT_S = 30.0
APP = "tests.cli.node_tasks:app"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    with RunningNode(
        tmp_path, app=APP, worker_count=2, worker_processes=1, api_enabled=True, server_port=0, metrics_port=0
    ) as made:
        yield made


def listening(node: RunningNode, count: int = 1) -> dict[str, object]:
    """What the API says of the ports it has, in its `count`-th life."""
    return first(lambda: node.events("api.listening")[count - 1 :] or None, LIMIT_S, "api.listening")[0]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def api_pid(node: RunningNode) -> int:
    return int(node.events("api.started")[-1]["pid"])


def test_api_comes_with_its_node_is_replaced_when_it_dies_and_ends_with_it(node: RunningNode) -> None:
    with urllib.request.urlopen(f"{listening(node)['url']}/healthz", timeout=LIMIT_S) as answer:
        assert answer.status == 200
    former = api_pid(node)
    os.kill(former, signal.SIGKILL)
    with urllib.request.urlopen(f"{listening(node, 2)['url']}/healthz", timeout=LIMIT_S) as answer:
        assert answer.status == 200
    present = api_pid(node)
    assert present != former
    os.kill(node.pid, signal.SIGHUP)
    await_that(lambda: node.events("api.reloaded"), LIMIT_S)
    assert node.stop() == 0
    assert not is_alive(present)
    assert node.events("api.killed") == []


def test_api_is_gone_soon_after_its_node_was_killed(node: RunningNode) -> None:
    listening(node)
    pid = api_pid(node)
    node.kill()
    await_that(lambda: not is_alive(pid), LIMIT_S)


def test_node_does_its_work_while_the_api_cannot_have_its_port(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with RunningNode(
            tmp_path, app=APP, worker_count=2, worker_processes=1, api_enabled=True, server_port=port, metrics_enabled=False
        ) as node:
            ended = first(lambda: node.events("api.ended") or None, LIMIT_S)[0]
            assert ended["exit_code"] in (69, 78), node.log_text()
            assert f"SERVER_PORT={port}" in ended["reason"]
            with node.client() as client:
                assert client.submit("echo", {"text": "hi"}).wait(LIMIT_S).is_final
            assert node.stats()["metrics"]["zjp_api_ends_total"]["series"][0]["value"] >= 1
            assert node.stop() == 0


@pytest.mark.covers("http:gate")
def test_operators_find_the_gate_by_the_data_folder_and_it_goes_with_the_node(tmp_path: Path) -> None:
    folder = tmp_path / ("a-long-name-" * 8)
    with RunningNode(folder, auth_enabled=True, jwt_secret="5YbGx2qkJ0p9vQwz7TnLr4sKfVhXcMiU") as node:
        address = gate_address(node.data_dir)
        with Client(address, cluster="zjp", key_file="") as client:
            client.pause("default")
            ada = client.put_user(User("ada", "admin", "$argon2id$v=19$one"))
            with pytest.raises(WrongState, match="ada is the last admin"):
                client.remove_user("ada")
            client.put_user(structs.replace(ada, name="ben", version=0, hash="$argon2id$v=19$two"))
            assert client.remove_user("ada")
            assert [user.name for user in client.users()] == ["ben"]
            told = [(one.who, one.what, one.subject) for one in client.events("audit").events]
            assert told == [
                ("local", "user-remove", "ada"), ("local", "user-put", "ben"), ("local", "user-put", "ada"), ("local", "pause", "default"),
            ]  # fmt: skip
            assert client.failures().groups == []
            job = client.submit("noop", delay="1h")
            assert client.remove_jobs([job, bytes(16)]) == ["removed", "unknown"]
            assert client.get_many([job]) == [None]
            assert isinstance(client.ask_node(client.ping().node, AskStats()), Stats)
        place = Path(address.removeprefix("ipc://"))
        assert place.exists()
        assert node.stop() == 0
        assert not place.parent.exists()
