"""The server itself: slow, endless and too many connections, broken HTTP, its end. In this process, with limits that tests can wait for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from zjp.api.http import Limits, Listener
from zjp.api.reading import Gone, headers_of, read_body
from zjp.errors import ConfigError

pytestmark = pytest.mark.covers("http:server")

FAST = {"header_s": 0.2, "body_idle_s": 0.2, "body_s": 1.0, "keep_alive_s": 0.3}
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """How many bytes the body had."""
    try:
        body = await read_body(receive, headers_of(scope), 1 << 20)
    except Gone:
        return
    except Exception as fault:
        await send({"type": "http.response.start", "status": fault.status, "headers": [(b"connection", b"close")]})  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b""})
        return
    answer = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(answer)).encode())]})
    await send({"type": "http.response.body", "body": answer})


@asynccontextmanager
async def listening(app: Any = echo, **limits: Any) -> AsyncIterator[Listener]:
    """With its sweep a hundred times a second."""
    listener = Listener("127.0.0.1", 0, "SERVER_PORT", Limits(**limits), sweep_s=0.01)
    await listener.start(app)
    try:
        yield listener
    finally:
        await listener.stop()


async def exchange(listener: Listener, *parts: bytes) -> bytes:
    """Everything that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    try:
        for part in parts:
            writer.write(part)
        return await asyncio.wait_for(reader.read(), 20)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def status(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


async def test_headers_that_do_not_come_are_not_waited_for() -> None:
    async with listening(**FAST) as listener:
        answer = await exchange(listener, b"GET / HTTP/1.1\r\nHost: loc")
        assert status(answer) == 408
        assert b"application/problem+json" in answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "too-slow"


async def test_body_that_does_not_come_is_not_waited_for() -> None:
    async with listening(**FAST) as listener:
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
        assert status(await exchange(listener, head)) == 408


async def test_idle_connection_is_closed_after_its_answer() -> None:
    async with listening(**FAST) as listener:
        answer = await exchange(listener, GET)
        assert status(answer) == 200


async def test_body_in_chunks_without_an_end_is_cut_at_the_limit() -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    async with listening() as listener:
        answer = await exchange(listener, b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 24)
        assert status(answer or b"HTTP/1.1 413 ") == 413


async def test_too_large_and_too_many_headers_are_refused() -> None:
    async with listening() as listener:
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 20000 + b"\r\n\r\n"
        many = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"\r\n"
        assert [status(await exchange(listener, request)) for request in (long, many)] == [431, 431]


async def test_header_line_without_an_end_is_cut() -> None:
    async with listening() as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(b"GET / HTTP/1.1\r\nX-Long: ")
        await writer.drain()
        sent = 0
        try:
            while not reader.at_eof() and sent < 10_000_000:
                writer.write(b"x" * 4096)
                await writer.drain()
                sent += 4096
        except ConnectionError:
            pass
        writer.close()
        assert sent < 5_000_000


async def test_broken_http_is_told_and_closed() -> None:
    async with listening() as listener:
        for request in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n", b"lorem ipsum\r\n\r\n"):
            answer = await exchange(listener, request)
            assert status(answer) == 400, request
            assert b"application/problem+json" in answer
        both = b"POST / HTTP/1.1\r\nHost: l\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /"
        assert status(await exchange(listener, both)) == 400


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with listening(**FAST) as listener:
        one = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        answer = await exchange(listener, one % 3 + b"abc" + one % 5 + b"abcde" + GET)
        bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"3", b"5", b"0"]


async def test_one_address_has_so_many_connections_and_no_more() -> None:
    async with listening(per_address=3, has_no_limit=lambda address: False) as listener:
        held = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
        assert await exchange(listener, GET) == b""
        held[0][1].close()
        await until(lambda: listener.house is not None and len(listener.house.connections) == 2)
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(GET)
        assert b"200" in await reader.readline()
        for _, other in [*held, (reader, writer)]:
            other.close()


async def test_new_connection_takes_the_place_of_one_that_asks_for_nothing() -> None:
    async with listening(in_all=3) as listener:
        idle = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(GET)
        assert b"200" in await asyncio.wait_for(reader.readline(), 20)
        for _, other in [*idle, (reader, writer)]:
            other.close()


async def test_slow_connections_do_not_keep_others_from_being_answered() -> None:
    async with listening() as listener:
        slow = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(200)]
        for _, writer in slow:
            writer.write(b"GET / HTTP/1.1\r\nX-")
        loop = asyncio.get_running_loop()
        took = []
        for _ in range(50):
            began = loop.time()
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(GET)
            assert b"200" in await reader.readline()
            writer.close()
            took.append(loop.time() - began)
        assert sorted(took)[25] < 0.2
        for _, writer in slow:
            writer.close()


async def test_port_in_use_is_said_with_the_setting() -> None:
    async with listening() as listener:
        with pytest.raises(ConfigError, match=f"SERVER_PORT={listener.port}: the port is in use"):
            Listener("127.0.0.1", listener.port, "SERVER_PORT")
    with pytest.raises(ConfigError, match=r"METRICS_PORT: nowhere\.invalid is no address"):
        Listener("nowhere.invalid", 0, "METRICS_PORT")


async def test_end_lets_requests_finish_and_cuts_the_rest() -> None:
    go = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await go.wait()
        await echo(scope, receive, send)

    async with listening(slow) as listener:
        asked = asyncio.ensure_future(exchange(listener, GET))
        await until(lambda: listener.house is not None and bool(listener.house.state.tasks))
        idle = await asyncio.open_connection("127.0.0.1", listener.port)
        stopping = asyncio.ensure_future(listener.stop())
        go.set()
        assert status(await asked) == 200
        await asyncio.wait_for(stopping, 5)
        assert await idle[0].read() == b""
        idle[1].close()


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not claim():  # noqa: ASYNC110 (what is waited for is nobody's event)
            await asyncio.sleep(0)
