"""A long poll ends with its caller: the handler at once, its place at the node soon after. Real sockets, one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.api.test_http import listening
from tests.node.gated import Gated, gated
from zjp.api.app import make_app
from zjp.api.desk import Desk
from zjp.api.http import Listener
from zjp.api.open_door import OpenDoor
from zjp.api.routes import jobs
from zjp.config import Settings

pytestmark = pytest.mark.covers("http:jobs", "http:server")

LIMIT_S = 60.0


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Gated]:
    async with gated(tmp_path) as made:
        yield made


@pytest.fixture
async def listener(node: Gated) -> AsyncIterator[Listener]:
    async with node.door() as client:
        app = make_app(Desk(Settings(), client, OpenDoor(is_local=True), speaks_for_others=True))
        async with listening(app) as made:
            yield made


async def poll(listener: Listener, job_id: str, wait_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(f"GET /api/v1/jobs/{job_id}/result?wait={wait_s} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer


async def until(claim: Callable[[], object], *, is_so: bool = True) -> None:
    async with asyncio.timeout(LIMIT_S):
        while bool(claim()) is not is_so:  # noqa: ASYNC110 (neither tells anybody)
            await asyncio.sleep(0.005)


async def waiting_job(node: Gated) -> str:
    async with node.door() as client:
        return (await client.submit("email", {}, delay="1h")).id


def handlers() -> int:
    """Of long polls, under way in this process."""
    return sum(task.get_coro().__name__ == "_end_of" for task in asyncio.all_tasks())  # type: ignore[union-attr]


async def test_long_poll_ends_when_its_caller_hangs_up(node: Gated, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WAIT_PART_S", 0.2)
    job_id = await waiting_job(node)
    places = node.intake._jobs._waiters
    _, writer = await poll(listener, job_id, 60)
    await until(lambda: places and handlers())
    writer.close()
    await until(handlers, is_so=False)
    await until(lambda: places, is_so=False)


async def test_many_callers_who_hang_up_leave_nothing_behind(node: Gated, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "WAIT_PART_S", 0.2)
    job_id = await waiting_job(node)
    places = node.intake._jobs._waiters
    writers = [(await poll(listener, job_id, 60))[1] for _ in range(20)]
    await until(lambda: handlers() == 20)
    for writer in writers:
        writer.transport.abort()
    await until(handlers, is_so=False)
    await until(lambda: places, is_so=False)


async def test_long_poll_is_asked_in_parts_and_lasts_as_long_as_it_was_asked_to(
    node: Gated, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "WAIT_PART_S", 0.05)
    job_id = await waiting_job(node)
    began = asyncio.get_running_loop().time()
    reader, writer = await poll(listener, job_id, 0.5)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
    assert b" 202 " in head
    assert asyncio.get_running_loop().time() - began >= 0.5
    writer.close()


async def test_long_poll_of_one_who_stays_ends_with_the_job(node: Gated, listener: Listener) -> None:
    job_id = await waiting_job(node)
    reader, writer = await poll(listener, job_id, 60)
    await until(handlers)
    async with node.door() as client:
        await client.cancel(job_id)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
    assert b" 200 " in head
    size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert json.loads(await reader.readexactly(size))["status"] == "cancelled"
    writer.close()
