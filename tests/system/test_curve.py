"""A node with CURVE on, as a process: who has a key gets in, who has none is told, and revoking works while it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.running import DidNotStart, RunningNode, run_zjp
from zjp import Client
from zjp.config import Settings
from zjp.errors import NodeUnreachable, NotAllowed, ZjpError
from zjp.node.node import Node
from zjp.transport.probe import DoorIsOpen
from zjp.transport.zap import Guard

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:curve")]

APP = "tests.fakes:app"


def zjp(folder: Path, *arguments: str) -> str:
    done = run_zjp("keys", *arguments, cwd=folder, env={"ZJP_DATA_DIR": str(folder / "data"), "ZJP_NODE_ID": "n1"})
    assert done.code == 0, done
    return done.out.strip()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[RunningNode]:
    """With keys for a producer and an observer, all made by the commands that a user has."""
    running = RunningNode(tmp_path, app=APP, worker_count=1, node_id="n1", curve_enabled=True)
    server_key = zjp(tmp_path, "node")
    for name, role in (("web", "producer"), ("watch", "observer")):
        zjp(tmp_path, "producer", name)
        zjp(tmp_path, "authorize", f"{name}.pub", "--role", role)
    running.client_options = {"key_file": tmp_path / "web.key", "server_key": server_key}
    with running:
        yield running


@pytest.mark.covers("settings:CURVE_ENABLED", "cli:keys")
def test_a_producer_with_a_key_works_and_one_without_is_told_why_not(node: RunningNode, tmp_path: Path) -> None:
    with node.client() as client:
        assert client.submit("add", {"a": 1, "b": 2}).wait(timeout=20).result == 3
        with pytest.raises(NotAllowed, match="Pause needs a key of role admin; web has one of role producer"):
            client.pause("default")
    keys, node.client_options = node.client_options, {"key_file": ""}
    with node.client(timeout=1) as client, pytest.raises(NodeUnreachable, match="only one of the two uses CURVE"):
        client.ping()
    environment = {"ZJP_CLIENT_ADDRESS": node.address, "ZJP_CLIENT_KEY_FILE": str(tmp_path / "watch.key")}
    asked = run_zjp("stats", "--json", env={**environment, "ZJP_CLIENT_SERVER_KEY": keys["server_key"]})
    assert asked.code == 0, asked
    node.client_options = keys


def test_revoking_cuts_a_live_client_off_at_the_next_signal(node: RunningNode, tmp_path: Path) -> None:
    with node.client(timeout=20) as client:
        client.ping()
        zjp(tmp_path, "revoke", "web", "--yes")
        client.ping()  # the node has not been told
        os.kill(node.pid, signal.SIGHUP)
        with node.client(timeout=1) as other, pytest.raises(NodeUnreachable, match="the key was refused"):
            ping_for_ever(other)  # until the signal was seen
        client._timeout_s = 1.0
        with pytest.raises((ZjpError, TimeoutError)):
            client.ping()
    zjp(tmp_path, "authorize", "web.pub", "--role", "producer")
    os.kill(node.pid, signal.SIGHUP)
    with node.client(timeout=20) as client:
        client.ping()


def ping_for_ever(client: Client) -> None:
    while True:
        client.ping()


@pytest.mark.covers("settings:CURVE_DIR")
def test_a_node_without_a_key_does_not_start_and_says_how_to_make_one(tmp_path: Path) -> None:
    node = RunningNode(tmp_path, node_id="n1", curve_enabled=True, curve_dir=tmp_path / "keys")
    with pytest.raises(DidNotStart, match="make one: zjp keys node --name n1") as told:
        node.start()
    assert told.value.exit_code == 78


class OpenNode(Node):
    """A node whose key check lets everybody in, as a fault of ours or of a library might."""

    def _make_guard(self) -> Guard | None:
        guard = super()._make_guard()
        assert guard is not None
        everybody = guard.holder(guard.pair.public.hex())
        guard._judge = lambda request: (everybody, "")  # type: ignore[method-assign]
        return guard


async def test_a_node_whose_door_is_open_does_not_start(tmp_path: Path) -> None:
    zjp(tmp_path, "node")
    node = OpenNode(Settings(data_dir=tmp_path / "data", node_id="n1", zmq_bind="tcp://127.0.0.1:*", curve_enabled=True, api_enabled=False))
    with pytest.raises(DoorIsOpen, match="let somebody in with a key that nobody authorized") as told:
        await node.start()
    assert told.value.exit_code == 78


def test_a_node_does_not_start_with_the_key_of_another(tmp_path: Path) -> None:
    zjp(tmp_path, "node", "--name", "n2")
    with pytest.raises(DidNotStart, match="is the key of node n2, and this node is n1") as told:
        RunningNode(tmp_path, node_id="n1", curve_enabled=True).start()
    assert told.value.exit_code == 78
