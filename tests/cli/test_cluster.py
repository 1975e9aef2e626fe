"""`zjp cluster` against a real node alone: what it shows, what it refuses, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.system.running import ROOT, Ended, RunningNode, clean_environment, run_zjp
from zjp import Client

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:seen", "cli:cluster", "main-path:10")]

Zjp = Callable[..., Ended]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with RunningNode(
        tmp_path_factory.mktemp("node"), app="tests.cli.node_tasks:app", node_id="one", worker_count=2, worker_processes=1,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def zjp(node: RunningNode) -> Zjp:
    return lambda *arguments: run_zjp("--address", node.address, *arguments)


def test_node_alone_shows_itself_as_leader_and_all_well(zjp: Zjp, node: RunningNode) -> None:
    told = zjp("cluster", "nodes", "--json").json()
    assert (told["node"], told["leader"], told["algorithm"], told["quorum"], told["voters"]) == ("one", "one", "alone", 0, [])
    (one,) = told["nodes"]
    assert (one["node"], one["role"], one["health"], one["is_up"], one["boot"]) == ("one", "leader", "alive", True, 1)
    assert one["address"] == node.address
    assert one["since"] is not None
    shown = zjp("cluster", "nodes")
    assert (shown.code, "one   leader  alive" in shown.out, shown.err.strip()) == (0, True, "as one sees it")
    health = zjp("cluster", "health")
    assert (health.code, "all well" in health.out) == (0, True)
    assert zjp("cluster", "health", "--json").json()["ok"] is True


def test_history_tells_the_election_with_how_long_nobody_led(zjp: Zjp) -> None:
    changes = zjp("cluster", "history", "--json").json()
    elected = next(change for change in changes if change["kind"] == "leader_elected")
    assert (elected["node"], elected["epoch"]) == ("one", 1)
    assert elected["leaderless_ms"] > 0
    assert "leader_elected" in zjp("cluster", "history", "--limit", "5").out


@pytest.mark.covers("cli:exit-codes")
def test_what_one_node_cannot_do_is_refused_with_the_reason(zjp: Zjp) -> None:
    for arguments, code, text in (
        (("transfer",), 1, "one has no mesh to hand the leadership over by"),
        (("transfer", "one"), 0, "one leads already"),
        (("drain", "two"), 1, "no node 'two' in this cluster as one sees it"),
        (("history", "--limit", "501"), 2, "501"),
    ):
        told = zjp("cluster", *arguments)
        assert (told.code, text in told.err) == (code, True), (arguments, told)


def test_drained_node_refuses_jobs_until_it_is_undone(zjp: Zjp) -> None:
    assert zjp("cluster", "drain", "one").code == 0
    health = zjp("cluster", "health")
    assert (health.code, "one is draining" in health.out) == (1, True)
    refused = zjp("--timeout", "300ms", "submit", "echo")
    assert refused.code == 69, refused
    assert zjp("cluster", "drain", "one", "--undo").code == 0
    assert zjp("cluster", "health").code == 0
    assert zjp("submit", "echo", "a=1", "--wait").json() == {"a": 1}


def test_watch_prints_a_line_per_change_and_ends_with_130_on_ctrl_c(node: RunningNode) -> None:
    command = [sys.executable, "-m", "zjp", "--address", node.address, "cluster", "watch", "--json", "--every", "50ms"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment()) as watch:
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline()) for _ in range(3)]
        watch.send_signal(signal.SIGINT)
        assert watch.wait(30) == 130
        assert watch.stderr is not None
        assert watch.stderr.read() == "\nzjp: interrupted\n"
    assert [(one["subject"], one["state"]) for one in seen] == [
        ("node", "one answers"), ("leader", "one in epoch 1"), ("node one", "leader, alive"),
    ]  # fmt: skip


@pytest.mark.covers("client:async")
async def test_async_client_asks_the_same(node: RunningNode) -> None:
    from zjp import AsyncClient

    with Client(node.address) as client:
        expected = client.cluster(), client.history(10)
    async with AsyncClient(node.address) as client:
        assert (await client.cluster(), await client.history(10)) == expected
