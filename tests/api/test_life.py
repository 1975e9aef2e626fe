"""How the API process begins and ends: told by its node, by signals, by a port that is taken."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.running import RunningApi
from tests.system.running import ROOT, DidNotStart, RunningNode, await_that, clean_environment

pytestmark = [pytest.mark.system, pytest.mark.covers("http:process")]


def test_process_ends_with_its_node(api: RunningApi, node: RunningNode, tmp_path: Path) -> None:
    with RunningApi(tmp_path, node.address) as own:
        assert own.hang_up() == 0


def test_port_in_use_ends_it_with_one_line_and_78(api: RunningApi, node: RunningNode, tmp_path: Path) -> None:
    with pytest.raises(DidNotStart) as told:
        RunningApi(tmp_path, node.address, server_port=str(api.port)).start()
    assert told.value.exit_code == 78
    assert f"SERVER_PORT={api.port}: the port is in use on 127.0.0.1" in str(told.value)
    assert "Traceback" not in str(told.value)


def test_node_that_is_not_there_is_told_and_found_when_it_comes(node: RunningNode, tmp_path: Path) -> None:
    with RunningApi(tmp_path, f"ipc://{tmp_path}/nobody") as own, own.client() as http:
        assert http.get("/healthz").status_code == 200
        ready = http.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert http.get("/health").json()["status"] == "down"


def test_hang_up_signal_and_a_further_message_read_the_log_level_again(node: RunningNode, tmp_path: Path) -> None:
    with RunningApi(tmp_path, node.address) as own:
        own.tell({"address": node.address, "gate": b"", "node": "", "settings": {"log_level": "debug", "log_format": "json"}})
        await_that(lambda: own.events("api.reloaded"))
        assert own.events("api.reloaded")[-1]["log_level"] == "debug"


def test_it_stands_alone_as_a_gateway_with_settings_from_flags(node: RunningNode, tmp_path: Path) -> None:
    flags = ["--client-address", node.address, "--server-port", "0", "--metrics-port", "0", "--log-format", "json"]
    command = [sys.executable, "-m", "zjp.api", *flags]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        await_that(lambda: "api.listening" in (tmp_path / "log").read_text() or process.poll() is not None)
        assert process.poll() is None, (tmp_path / "log").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()


def test_bad_setting_is_told_with_78() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "zjp.api", "--server-port", "99999"], cwd=ROOT, env=clean_environment(), capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 78
    assert "SERVER_PORT=99999" in done.stderr
