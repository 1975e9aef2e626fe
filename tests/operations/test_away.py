"""What /metrics says while the node behind it, or the store behind that, is away: always something, with status 200."""

from __future__ import annotations

import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as read_text

from scripts.redis_server import RedisServer
from tests.redis import start_redis
from tests.system.running import RunningNode, await_that, first

pytestmark = [pytest.mark.system, pytest.mark.covers("metrics:endpoint")]

WITHIN_S = 60.0


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = start_redis()
    yield server
    server.stop()


@pytest.fixture
def node(tmp_path: Path, redis: RedisServer) -> Iterator[RunningNode]:
    """It claims nothing: no worker has to start for this."""
    running = RunningNode(tmp_path, redis_addr=redis.url, api_enabled=True, server_port=0, metrics_port=0)
    try:
        yield running.start()
    finally:
        running.kill()


def told(port: int) -> dict[str, float]:
    """Values of series without labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        families = list(read_text(answer.read().decode()))
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


def test_store_and_node_that_are_away_are_told_and_come_back(node: RunningNode, redis: RedisServer) -> None:
    port = first(lambda: next((int(line["metrics_port"]) for line in node.events("api.listening")), None), WITHIN_S)
    await_that(lambda: told(port).get("zjp_store_up") == 1, WITHIN_S)
    redis.pause()
    away = told(port)
    assert (away["zjp_up"], away["zjp_store_up"]) == (1, 0)
    assert "zjp_jobs_submitted_total" not in away
    redis.go_on()
    await_that(lambda: told(port).get("zjp_store_up") == 1, WITHIN_S)
    os.kill(node.pid, signal.SIGSTOP)
    away = told(port)
    assert away["zjp_up"] == 0
    assert "zjp_store_up" not in away
    assert away["zjp_api_cpu_seconds_total"] > 0
    os.kill(node.pid, signal.SIGCONT)
    await_that(lambda: told(port).get("zjp_up") == 1 and "zjp_jobs_submitted_total" in told(port), WITHIN_S)
