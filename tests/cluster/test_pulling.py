"""`python -m sims.live` on a cluster that runs: each fault does what it says, and nothing of it is left when it ends.

Three nodes on the loopback of one namespace, so that the machine's own rules stay as they are.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from sims.live import ports
from tests.cluster.netns import Network, run, what_is_missing
from tests.cluster.stage import Stage
from tests.redis import start_redis
from tests.system.running import ROOT, clean_environment, first

pytestmark = [pytest.mark.system, pytest.mark.covers("cluster:live"), pytest.mark.timeout(300)]

BEGIN_S = 30.0


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    if missing := what_is_missing():
        pytest.skip(missing)
    redis = start_redis()
    with ExitStack() as stack:
        stack.callback(redis.stop)
        prefix = stack.enter_context(Network(1)).command(0)
        stage = stack.enter_context(Stage(tmp_path_factory.mktemp("raft"), redis, "raft", 3, prefix=prefix))
        stage.agreed()
        yield stage


@contextmanager
def pulled(stage: Stage, verb: str, name: str, *options: str) -> Iterator[list[str]]:
    """Until the block ends, then Ctrl-C. What it said, in full after the block."""
    said: list[str] = []
    peers = ",".join(stage.addresses[other] for other in stage.but(name))
    node = str(stage.nodes[name].pid) if verb == "kill" else stage.addresses[name]
    more = [] if verb in ("kill", "delay") else ["--peers", peers]
    process = subprocess.Popen(
        [*stage.prefix, sys.executable, "-m", "sims.live", verb, node, *more, *options],
        cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said.append(process.stdout.readline())
        yield said
        process.send_signal(signal.SIGINT)
        said.append(process.communicate(timeout=BEGIN_S)[0])
        assert process.returncode == 0, said
    finally:
        process.kill()
        process.communicate()
    assert "zjp_live" not in run(*stage.prefix, "nft", "list", "tables")


@pytest.mark.parametrize(("verb", "options"), [("cut", ()), ("one-way", ("--mute",)), ("one-way", ("--deaf",))])
def test_leader_that_is_cut_off_is_replaced_and_follows_when_that_is_undone(stage: Stage, verb: str, options: tuple[str, ...]) -> None:
    old = stage.agreed()
    with pulled(stage, verb, old.leader, *options) as said:
        stage.agreed(stage.but(old.leader), above=old.epoch)
        first(lambda: True if not stage.watch.said[old.leader].office else (stage.watch.look() or None), BEGIN_S, "it gives up")
    assert said[-1] == "undone\n"
    stage.agreed(above=old.epoch)


def test_killed_leader_is_replaced_and_started_again(stage: Stage) -> None:
    old = stage.agreed()
    with pulled(stage, "kill", old.leader) as said:
        stage.nodes[old.leader].kill()  # it is dead; its end is taken note of
        stage.watch.forget(old.leader)
        stage.agreed(stage.but(old.leader), above=old.epoch)
    pid = int(said[-1].split()[-1])
    try:
        stage.agreed(above=old.epoch)
    finally:
        os.kill(pid, signal.SIGKILL)
        first(lambda: None if ports.inodes(pid) else True, BEGIN_S, "it is gone")
        stage.watch.forget(old.leader)
        stage.restart(old.leader)
        stage.agreed(above=old.epoch)


def test_loss_of_some_packets_is_survived(stage: Stage) -> None:
    old = stage.agreed()
    with pulled(stage, "loss", old.leader, "--percent", "5") as said:
        assert "losing 5 %" in said[0]
    stage.agreed()


def test_delayed_node_is_late_and_in_time_again_afterwards(stage: Stage) -> None:
    name = stage.but(stage.agreed().leader)[0]
    with pulled(stage, "delay", name, "--ms", "300", "--jitter-ms", "0") as said:
        assert "300 ms late" in said[0]
        first(lambda: True if greeting_s(stage, name) >= 0.3 else None, BEGIN_S, "it is late")
    first(lambda: True if greeting_s(stage, name) < 0.3 else None, BEGIN_S, "it is in time again")
    stage.agreed()


GREET = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as door:
    door.recv(1)
    begun = time.monotonic()
    door.sendall(bytes.fromhex("ff00000000000000017f") + b"\\x03\\x01" + b"NULL".ljust(52, b"\\0"))
    read = 1
    while read < 64 and (part := door.recv(64)):
        read += len(part)
    print(time.monotonic() - begun)
"""
"""ZMTP's first words: what the door answers to ours shows when ours came. (It ends the connection: the mechanism is not its own.)"""


def greeting_s(stage: Stage, name: str) -> float:
    address = ports.read_address(stage.addresses[name])
    try:
        return float(run(*stage.prefix, sys.executable, "-c", GREET, address.host, str(address.port)))
    except Exception:
        return -1.0


# ── finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_node_is_found_by_its_door_and_by_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = ports.Address("127.0.0.1", door.getsockname()[1])
        assert ports.find(f"tcp://{address}") == ports.Target(os.getpid(), address)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "is no address"), ("²", "'²' is no address"), ("127.0.0.1:²", "is no address"), (f"{'a' * 64}:1", "label"),
        ("127.0.0.1:1", "nobody listens on"), ("4194305", "there is no process"),
    ],
)
def test_what_is_not_there_is_refused_with_what_was_looked_for(text: str, told: str) -> None:
    with pytest.raises(ports.NotFound, match=told):
        ports.find(text)


def test_node_that_is_none_is_refused_by_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sims.live", "kill", "nonsense", "--for", "1"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "is no address" in done.stderr
