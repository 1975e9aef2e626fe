"""A real Prometheus for tests, with the project's own configuration and rules; only targets and intervals are the test's."""

from __future__ import annotations

import contextlib
import json
import math
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.operations.tools import prometheus
from tests.system.running import await_that

SHIPPED = Path(__file__).parent.parent.parent / "compose" / "prometheus"
START_S = 30.0
STOP_S = 10.0
LOOK_S = 0.02
EVERY = "500ms"
"""Also the time for one scrape; with less, a busy machine would miss too many."""
LISTENS = re.compile(r'msg="Listening on" address=(\S+)')


class RunningPrometheus:
    def __init__(self, address: str) -> None:
        self._url = f"http://{address}"

    def is_ready(self) -> bool:
        """It listens before it has read its rules."""
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=10):
                return True
        except urllib.error.HTTPError as fault:
            fault.close()
            return False

    def get(self, path: str, **query: str) -> Any:
        """What the API answers, its envelope taken off."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as fault:
            with fault:
                raise AssertionError(f"{query}: {fault.read().decode(errors='replace')}") from None

    def query(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series, those that are no number (0 / 0) left out."""
        found = self.get("query", query=expr)["result"]
        values = [(one["metric"], float(one["value"][1])) for one in found]
        return [(labels, value) for labels, value in values if math.isfinite(value)]


@contextlib.contextmanager
def running(folder: Path, targets: Mapping[str, str]) -> Iterator[RunningPrometheus]:
    """`targets`: name -> host:port. The names become the label `instance`."""
    (folder / "prometheus.json").write_text(json.dumps(configuration(targets)))
    log_path = folder / "prometheus.log"
    arguments = [
        prometheus(), f"--config.file={folder / 'prometheus.json'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
    ]  # fmt: skip
    with log_path.open("ab") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        server = RunningPrometheus(_address(process, log_path))
        await_that(server.is_ready, START_S)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def configuration(targets: Mapping[str, str]) -> dict[str, Any]:
    shipped: dict[str, Any] = yaml.safe_load((SHIPPED / "prometheus.yml").read_text())
    (scrape,) = shipped["scrape_configs"]
    static = [{"targets": [address], "labels": {"instance": name}} for name, address in targets.items()]
    return {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": [str(SHIPPED / name) for name in shipped["rule_files"]],
        "scrape_configs": [{"job_name": scrape["job_name"], "static_configs": static}],
    }


def _address(process: subprocess.Popen[bytes], log_path: Path) -> str:
    end = time.monotonic() + START_S
    while (said := LISTENS.search(log_path.read_text(errors="replace"))) is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"prometheus ended with {process.wait(LOOK_S)}:\n{log_path.read_text()[-2000:]}")
        assert time.monotonic() < end, f"prometheus does not listen:\n{log_path.read_text()[-2000:]}"
    return said.group(1)
