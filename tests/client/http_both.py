"""What the tests of the HTTP doors share: both clients behind one call, scripted servers, and the plain answers of an API."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.http_peer import Heard, HttpPeer, Reply
from zjp import AsyncClient, Client

SOME_ID = "0197a3f0-0000-7000-8000-000000000000"
Deed = Callable[[Any], Any]
Do = Callable[..., Any]


@pytest.fixture(params=["blocking", "asyncio"])
def do(request: pytest.FixtureRequest) -> Do:
    """`do(deed, address, **options)`: what the deed gives with a client of either kind."""

    def blocking(deed: Deed, *addresses: str, **options: Any) -> Any:
        with Client(*addresses, **{"token": "", "ca_file": "", **options}) as client:
            return deed(client)

    async def later(deed: Deed, *addresses: str, **options: Any) -> Any:
        async with AsyncClient(*addresses, **{"token": "", "ca_file": "", **options}) as client:
            found = deed(client)
            return await found if inspect.isawaitable(found) else found

    if request.param == "blocking":
        return blocking
    return lambda deed, *addresses, **options: asyncio.run(later(deed, *addresses, **options))


def made(heard: Heard) -> Reply:
    return Reply({"id": heard.json()["id"], "existed": False, "durability": "disk"}, 201)


def queues(_: Heard) -> Reply:
    row = {
        "queue": "default",
        "pending": 1,
        "scheduled": 2,
        "retrying": 3,
        "running": 4,
        "paused": False,
        "oldest_seconds": 0.5,
    }
    return Reply({"items": [row], "cursor": None})


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    with HttpPeer(queues) as peer:
        yield peer


@pytest.fixture
def other() -> Iterator[HttpPeer]:
    with HttpPeer(queues) as other:
        yield other


def ask(client: Any) -> Any:
    return client.queues()


def submit(client: Any) -> Any:
    return client.submit("email", {"n": 1})
