"""scripts/: each has a usage text and does what it says, on nodes of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from scripts.mongo_server import Missing, MongoServer, class_path
from tests.system.running import ROOT, clean_environment

pytestmark = [pytest.mark.covers("deployments:scripts"), pytest.mark.system]

SCRIPTS = ROOT / "scripts"
NAMES = ("local-dev", "monitor", "test-algorithms", "test-mongodb")
UP_LIMIT_S = 90
ENDED_BY_INTERRUPT = 130
METRICS_ABOVE = 1000
"""local-dev's metrics ports are so far above the HTTP ports."""

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None and not os.environ.get("CI"),
    reason="redis-server is not here (Debian: apt-get install redis-server)",
)


def environment() -> dict[str, str]:
    return clean_environment({"PYTHON": sys.executable, "NO_COLOR": "1"})


def run(name: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPTS / name), *arguments], cwd=ROOT, env={**environment(), **more}, capture_output=True, text=True, check=False, timeout=110
    )  # fmt: skip


def free_ports(count: int, above: int = 0) -> int:
    """The first of so many free ones in a row, as well as those so far above them. Nobody keeps them: others may be quicker."""
    while True:
        base = random.randrange(20_000, 30_000)
        try:
            for port in [*range(base, base + count), *range(base + above, base + above + count)]:
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base


@contextmanager
def local_dev(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Up; its process and what it has said."""
    process = subprocess.Popen(
        [str(SCRIPTS / "local-dev"), *arguments], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    said: list[str] = []
    is_up = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if line.startswith("up:"):
                is_up.set()
        is_up.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert is_up.wait(UP_LIMIT_S), "".join(said)
        assert any(line.startswith("up:") for line in said), "".join(said)
        yield process, said
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(60)
        listener.join(10)
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.parametrize("name", NAMES)
def test_help_says_how_it_is_used(name: str) -> None:
    done = run(name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: scripts/{name}")


@pytest.mark.parametrize("name", ["monitor", "test-algorithms", "test-mongodb"])
def test_unknown_flag_is_a_usage_error(name: str) -> None:
    assert run(name, "--no-such-flag").returncode == 2


@needs_redis
def test_one_command_makes_a_cluster_that_can_be_watched_and_ctrl_c_ends_all_of_it() -> None:
    port, zmq_port = free_ports(2, METRICS_ABOVE), free_ports(2)
    with local_dev("--nodes", "2", "--port", str(port), "--zmq-port", str(zmq_port), "--worker-count", "1") as (
        process,
        said,
    ):
        watched = run("monitor", "--rounds", "1", f"tcp://127.0.0.1:{zmq_port}")
        assert watched.returncode == 0, watched.stderr
        assert "all well" in watched.stdout, watched.stdout
        assert watched.stdout.count("node-2") >= 1
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == ENDED_BY_INTERRUPT, "".join(said)
    assert said[-1] == "all ended\n"
    left = subprocess.run(["pgrep", "-f", f"tcp://127.0.0.1:{zmq_port}"], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@needs_redis
def test_a_short_load_runs_under_an_algorithm() -> None:
    zmq_port = free_ports(1)
    done = run("test-algorithms", "--nodes", "1", "--jobs", "20", "--zmq-port", str(zmq_port), "gossip")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "── gossip" in done.stdout
    assert "all well" in done.stdout


@pytest.mark.slow
@needs_redis
def test_a_short_load_runs_under_every_algorithm() -> None:
    zmq_port = free_ports(3)
    done = run("test-algorithms", "--jobs", "500", "--zmq-port", str(zmq_port))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("all well") == 3


def test_mongodb_is_tried_with_a_job_and_its_record() -> None:
    try:
        class_path()
    except Missing as missing:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(missing))
    with MongoServer() as server:
        done = run("test-mongodb", server.uri, "zjp_try")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "MongoDB keeps the records" in done.stdout
