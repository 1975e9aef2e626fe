"""What a node tells systemd, heard on a real socket; and the units, judged by systemd itself where it is there."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.system.running import ROOT, RunningNode, clean_environment
from zjp.node.notify import Supervisor

pytestmark = pytest.mark.covers("deployments:systemd")

UNITS = ROOT / "deploy" / "systemd"
LISTEN_LIMIT_S = 20.0


class Manager:
    """The manager's end of the socket."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.settimeout(LISTEN_LIMIT_S)
        self.environment = {"NOTIFY_SOCKET": address}

    def hears(self) -> set[str]:
        """The lines of the next datagram."""
        return set(self._socket.recv(4096).decode().splitlines())

    def hears_in_the_end(self, line: str) -> None:
        while line not in self.hears():
            pass

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    with closing(
        Manager(str(tmp_path / "notify") if request.param == "path" else f"@zjp-{uuid.uuid4().hex}")
    ) as opened:
        yield opened


class NodeOfAManager(RunningNode):
    environment: Mapping[str, str] = {}

    def launch(self, **settings: object) -> None:
        """As RunningNode does, with the manager's variables."""
        self._flags |= settings
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program(), *self._arguments()], cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env=clean_environment(self.environment),
            )  # fmt: skip


@pytest.mark.system
def test_a_real_node_says_ready_beats_reloads_and_says_that_it_stops(tmp_path: Path) -> None:
    with closing(Manager(f"@zjp-{uuid.uuid4().hex}")) as manager:
        node = NodeOfAManager(tmp_path, log_level="info")
        node.environment = {**manager.environment, "WATCHDOG_USEC": "600000"}
        node.launch()
        try:
            first = manager.hears()
            assert {"READY=1", f"MAINPID={node.pid}"} <= first
            assert node.events("node.started")  # not before it was
            manager.hears_in_the_end("WATCHDOG=1")
            os.kill(node.pid, signal.SIGHUP)
            manager.hears_in_the_end("RELOADING=1")
            manager.hears_in_the_end("READY=1")
            assert node.stop() == 0
            manager.hears_in_the_end("STOPPING=1")
        finally:
            node.kill()


async def test_beats_come_three_times_within_the_limit_until_the_end(manager: Manager) -> None:
    supervisor = Supervisor({**manager.environment, "WATCHDOG_USEC": "150000", "WATCHDOG_PID": str(os.getpid())})
    loop = asyncio.get_running_loop()
    supervisor.ready()
    assert "READY=1" in manager.hears()
    assert manager.hears() == {"WATCHDOG=1"}
    begun = loop.time()
    assert await asyncio.to_thread(manager.hears) == {"WATCHDOG=1"}
    assert 0.04 <= loop.time() - begun <= 10
    supervisor.end()


async def test_a_watchdog_of_another_process_is_not_fed(manager: Manager) -> None:
    supervisor = Supervisor({**manager.environment, "WATCHDOG_USEC": "100", "WATCHDOG_PID": "1"})
    supervisor.ready()
    supervisor.stopping()
    assert "READY=1" in manager.hears()
    assert "STOPPING=1" in manager.hears()


def test_a_reload_before_the_start_is_over_does_not_say_ready(manager: Manager) -> None:
    supervisor = Supervisor(manager.environment)
    supervisor.reloading()
    supervisor.reloaded()
    supervisor.stopping()
    assert "STOPPING=1" in manager.hears()


@pytest.mark.parametrize("address", ["", "relative", "@", "/nobody/listens/here", "@zjp-nobody-listens"])
def test_without_a_manager_nothing_is_said_and_nothing_breaks(address: str) -> None:
    supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "many"})
    supervisor.ready()
    supervisor.reloading()
    supervisor.stopping()
    supervisor.end()


# ── units ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def entries(unit: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("name", ["zjp-node.service", "zjp-node@.service"])
def test_unit_says_what_the_node_does(name: str) -> None:
    unit = entries(UNITS / name)
    assert unit["Type"] == ["notify"]
    assert unit["KillMode"] == ["mixed"]
    assert unit["DynamicUser"] == ["yes"]
    assert unit["RestartPreventExitStatus"] == ["2 78"]
    assert int(unit["TimeoutStopSec"][0]) > 30 + 5  # SHUTDOWN_GRACE and the outbox's grace
    assert int(unit["TimeoutStartSec"][0]) > 120  # FIRST_WORKER_S
    assert int(unit["WatchdogSec"][0]) >= 10
    assert unit["StateDirectory"] == [unit["WorkingDirectory"][0].removeprefix("%S/")]
    assert f"DATA_DIR=%S/{unit['StateDirectory'][0]}" in unit["Environment"]


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here (Debian: apt-get install systemd)"
)
@pytest.mark.parametrize("name", ["zjp-node.service", "zjp-node@.service"])
def test_systemd_finds_no_fault_in_the_unit(name: str, tmp_path: Path) -> None:
    instance = name.replace("@.", "@a.")
    text = (UNITS / name).read_text().replace("/opt/zjp/bin/python", shutil.which("python3") or "/usr/bin/python3")
    (tmp_path / instance).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / instance)], capture_output=True, text=True, check=False
    )
    # Units of the machine itself may have faults; ours must not be named.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "zjp" in line] == []
