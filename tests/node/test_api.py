"""The HTTP API's process as the node keeps it; a small program stands in for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.node import stand_in_api
from zjp.config import TABLE, Settings
from zjp.node import api
from zjp.node.api import ApiProcess, frame
from zjp.node.stats import NodeStats

pytestmark = pytest.mark.covers("http:process", "settings:API_ENABLED")

WITHIN_S = 20.0
SETTINGS = Settings(
    jwt_secret="s3cret-of-the-tokens",
    redis_password="pw",
    mongodb_uri="mongodb://u:pw@db",
    redis_addr="redis://:pw@db",
    server_port=1,
)
Start = Callable[..., ApiProcess]


class StandIn:
    def __init__(self, path: Path) -> None:
        self.path, self.stats = path, NodeStats("n1", 1)

    def said(self) -> list[dict[str, Any]]:
        """Whole lines only: the last one may still be on its way into the file."""
        whole, _, _ = self.path.read_text().rpartition("\n") if self.path.exists() else ("", "", "")
        return [json.loads(line) for line in whole.splitlines()]

    async def has_said(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(WITHIN_S):
            while len(self.said()) < count:  # noqa: ASYNC110 (a file tells nobody)
                await asyncio.sleep(0.005)
        return self.said()

    def ends(self) -> float:
        return self.stats._counters.snapshot()["zjp_api_ends_total"]["series"][0]["value"]


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    return StandIn(tmp_path / "said")


@pytest.fixture
async def start(stand_in: StandIn) -> AsyncIterator[Start]:
    made: list[ApiProcess] = []

    def begin(mode: str = "", program: tuple[str, ...] | None = None) -> ApiProcess:
        kept = ApiProcess(
            SETTINGS, stand_in.stats, node="n1", address="ipc:///gate", gate=b"\x01\x02", pause_s=0.02,
            program=program or (sys.executable, stand_in_api.__file__, str(stand_in.path), *([mode] if mode else [])),
        )  # fmt: skip
        made.append(kept)
        kept.start()
        return kept

    yield begin
    for kept in made:
        kept.kill()
        await kept.stop()


async def test_it_is_told_where_the_gate_is_by_the_pipe_and_nothing_that_it_must_not_know(
    start: Start, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZJP_REDIS_PASSWORD", "pw-in-the-environment")
    monkeypatch.setenv("JWT_SECRET", "secret-in-the-environment")
    kept = start()
    first, told = await stand_in.has_said(2)
    assert (told["address"], told["gate"], told["node"]) == ("ipc:///gate", "0102", "n1")
    assert told["settings"]["jwt_secret"] == "s3cret-of-the-tokens"
    assert told["settings"]["server_port"] == "1"
    assert told["settings"]["cluster_name"] == "zjp"
    assert not {TABLE[name].field for name in ("REDIS_PASSWORD", "MONGODB_URI", "REDIS_ADDR", "CURVE_DIR")} & set(
        told["settings"]
    )
    assert not [text for text in first["environment"].values() if "in-the-environment" in text]
    assert first["session"] == first["pid"] == kept.pid


def test_the_settings_arrive_as_texts_that_give_them_again() -> None:
    message = msgspec.msgpack.decode(
        frame("a", b"g", "n", replace(SETTINGS, trusted_proxies="10.0.0.0/8", jwt_ttl_s=90.0))[4:]
    )
    for field, text in message["settings"].items():
        row = next(row for row in TABLE.values() if row.field == field)
        value = None if text == "none" and row.default is None else row.kind.parse(text)
        assert value == getattr(replace(SETTINGS, trusted_proxies="10.0.0.0/8", jwt_ttl_s=90.0), field)


@pytest.mark.covers("settings:MAX_BODY", "settings:METRICS_HOST")
def test_every_setting_of_the_api_arrives_there_and_none_of_others() -> None:
    told = set(msgspec.msgpack.decode(frame("a", b"g", "n", SETTINGS)[4:])["settings"])
    wanted = {row.field for row in TABLE.values() if row.group in ("HTTP API", "Metrics") and not row.later}
    assert wanted < told
    assert {"max_body_bytes", "metrics_host", "log_level", "max_payload_bytes"} < told
    assert [row.name for row in TABLE.values() if row.secret and row.field in told] == ["JWT_SECRET"]


async def test_it_is_started_again_when_it_dies_and_that_is_counted(start: Start, stand_in: StandIn) -> None:
    kept = start()
    first, _ = await stand_in.has_said(2)
    os.kill(first["pid"], signal.SIGKILL)
    said = await stand_in.has_said(4)
    assert said[2]["pid"] == kept.pid != first["pid"]
    assert stand_in.ends() == 1


async def test_one_that_cannot_have_its_port_is_tried_again_and_the_log_says_what_to_do(
    start: Start, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    start("78")
    await stand_in.has_said(3)
    ended = [record for record in caplog.records if record.getMessage() == "api.ended"]
    told = vars(ended[0])["fields"]
    assert told["exit_code"] == 78
    assert "SERVER_PORT=1, METRICS_PORT=9090): stop the program that has it, or set another one" in told["reason"]
    assert stand_in.ends() >= 2


async def test_a_program_that_is_not_there_is_told_in_the_log_and_ends_with_the_node(
    start: Start, caplog: pytest.LogCaptureFixture, stand_in: StandIn
) -> None:
    kept = start(program=("/no/such/program",))
    async with asyncio.timeout(WITHIN_S):
        while stand_in.ends() < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    assert "api.not_started" in {record.getMessage() for record in caplog.records}
    await kept.stop()


async def test_a_reload_is_told_and_counts_for_the_next_one_too(start: Start, stand_in: StandIn) -> None:
    kept = start()
    await stand_in.has_said(2)
    kept.reload(replace(SETTINGS, log_level="debug"))
    said = await stand_in.has_said(3)
    assert said[2]["settings"]["log_level"] == "debug"
    kept.kill()
    assert (await stand_in.has_said(5))[4]["settings"]["log_level"] == "debug"


async def test_it_is_told_to_end_and_not_started_again(start: Start, stand_in: StandIn) -> None:
    kept = start()
    await stand_in.has_said(2)
    await kept.stop()
    assert stand_in.said()[2:] == [{"told": "TERM"}]
    assert (kept.pid, stand_in.ends()) == (None, 0)


async def test_one_that_does_not_end_is_killed(
    start: Start, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "STOP_S", 0.05)
    kept = start("deaf")
    await stand_in.has_said(2)
    await kept.stop()
    assert kept.pid is None


async def test_it_ends_when_the_pipe_does_as_at_the_death_of_its_node(start: Start, stand_in: StandIn) -> None:
    kept = start()
    await stand_in.has_said(2)
    assert kept._process is not None
    assert kept._process.stdin is not None
    kept._process.stdin.close()
    assert (await stand_in.has_said(3))[2] == {"told": "end"}
